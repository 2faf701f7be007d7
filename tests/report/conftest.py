"""A made-up run, for tests of what is shown: every sum holds, no simulator is needed."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bankwidth.results import TIME_PARTS, Counter, Result, Slice, Table

PICOSECONDS = {  # operator: time in whole ps of bound, launch, quantisation, row miss, ...
    "qkv_proj": (21_000_000, 1_000_000, 500_000, 700_000, 600_000, 300_000, 0),
    "attention": (9_000_000, 1_000_000, 250_000, 400_000, 200_000, 150_000, 0),
    "out_proj": (7_000_000, 1_000_000, 125_000, 200_000, 190_000, 80_000, 40_000),
    "gate_up_proj": (38_000_000, 1_000_000, 900_000, 1_300_000, 1_200_000, 310_000, 0),
    "down_proj": (19_000_000, 1_000_000, 450_000, 600_000, 500_000, 290_000, 0),
    "rms_norm": (60_000, 1_500_000, 0, 0, 0, 40_000, 0),
    "silu_mul": (90_000, 1_200_000, 0, 0, 0, 35_000, 0),
}
KINDS = {"attention": "attention", "rms_norm": "norm", "silu_mul": "elementwise"}
FLOP_PER_BYTE = {
    **{"qkv_proj": 1.0, "attention": 4.0, "out_proj": 1.0, "gate_up_proj": 1.0},
    **{"down_proj": 1.0, "rms_norm": 0.5, "silu_mul": 0.0},
}
PJ_PER_BYTE = {"gpu": 5.5, "hbm": 31.25, "hbm-phy": 6.4}


def _names(layers: int, name: Callable[[str], str]) -> list[tuple[int, str, str]]:
    return [(layer, plain, name(plain)) for layer in range(layers) for plain in PICOSECONDS]


def build(
    layers: int = 4, name: Callable[[str], str] = str, machine: str = "h200", tokens: int = 1
) -> Result:
    """A decode step of `layers` equal layers; `name` may rename the operators."""
    named = _names(layers, name)
    parts_ps = np.array([PICOSECONDS[plain] for _, plain, _ in named])
    time_ps = parts_ps.sum(axis=1)
    end_ps = np.cumsum(time_ps)
    size = np.array([4800 * PICOSECONDS[plain][0] // 1000 for _, plain, _ in named])
    energy = {f"energy_{part}_pj": size * each for part, each in PJ_PER_BYTE.items()}
    row_pj = [math.fsum(row) for row in zip(*energy.values(), strict=True)]
    operators = Table(
        {
            "index": np.arange(len(named)),
            "name": [shown for _, _, shown in named],
            "kind": [KINDS.get(plain, "matmul") for _, plain, _ in named],
            "layer": [layer for layer, _, _ in named],
            "engine": ["gpu"] * len(named),
            "start_ns": (end_ps - time_ps) / 1000,
            "end_ns": end_ps / 1000,
            "duration_ns": time_ps / 1000,
            "time_ns": time_ps / 1000,
            "bound": [_bound(plain) for _, plain, _ in named],
            "lower_bound_ns": parts_ps[:, 0] / 1000,
            **{part: parts_ps[:, i] / 1000 for i, part in enumerate(TIME_PARTS)},
            "flops": [
                int(s * FLOP_PER_BYTE[plain]) for (_, plain, _), s in zip(named, size, strict=True)
            ],
            "read_bytes": size - 4096,
            "write_bytes": np.full(len(named), 4096),
            "bytes_hbm": size,
            "energy_pj": row_pj,
            **energy,
        }
    )
    latency_ns = int(end_ps[-1]) / 1000
    by_component = {part: math.fsum(energy[f"energy_{part}_pj"]) for part in PJ_PER_BYTE}
    return Result(
        machine=machine,
        workload="llama-2-7b",
        phase="decode",
        batch=1,
        context=2048,
        tokens=tokens,
        latency_ps=int(end_ps[-1]),
        lower_bound_ns=0.96 * float(parts_ps[:, 0].sum()) / 1000,
        operators=operators,
        components=_components(by_component, latency_ns, int(size.sum())),
        commands=Table(
            {
                "component": ["hbm", "hbm"],
                "command": ["ACT", "RD"],
                "count": [layers * 1000, layers * 64000],
                "energy_pj": [layers * 9.0e5, layers * 4.0e6],
            }
        ),
        parts_ns={p: math.fsum(parts_ps[:, i] / 1000) for i, p in enumerate(TIME_PARTS)},
        energy_by_component_pj=by_component,
        provenance={"version": "0.1.0", "config_hash": "0123abcd", "seed": 0},
        slices=_slices(named, time_ps, end_ps),
        counters=(Counter("hbm", "read bandwidth", "GB/s", (0, int(end_ps[0])), (4100.0, 4300.5)),),
        metrics={"row_hit_rate": 0.981},
        roofs={
            "peaks_tflops": {"gpu tensor bf16": 989.4, "gpu vector": 66.9},
            "bandwidth_bytes_per_ns": {"hbm": 4800.0},
        },
    )


def _bound(plain: str) -> str:
    return "launch" if plain in ("rms_norm", "silu_mul") else "hbm bandwidth"


def _components(by_component: dict[str, float], latency_ns: float, moved_bytes: int) -> Table:
    names = list(by_component)
    busy_ns = [0.9 * latency_ns, 0.8 * latency_ns, 0.7 * latency_ns]
    return Table(
        {
            "name": names,
            "kind": ["engine", "memory", "link"],
            "busy_ns": busy_ns,
            "idle_ns": [latency_ns - busy for busy in busy_ns],
            "utilisation": [0.9, 0.8, 0.7],
            "read_bytes": [moved_bytes] * 3,
            "write_bytes": [0] * 3,
            "energy_dynamic_pj": [0.75 * by_component[n] for n in names],
            "energy_static_pj": [0.25 * by_component[n] for n in names],
            "energy_pj": [by_component[n] for n in names],
        }
    )


def _slices(named: list[tuple[int, str, str]], time_ps: Any, end_ps: Any) -> tuple[Slice, ...]:
    slices = []
    for (layer, plain, shown), time, end in zip(
        named, time_ps.tolist(), end_ps.tolist(), strict=True
    ):
        kind = KINDS.get(plain, "matmul")
        slices.append(Slice("gpu", shown, end - time, time, kind, {"layer": layer}))
        slices.append(Slice("hbm/channel 0", shown, end - time, time * 9 // 10, "read"))
    return tuple(slices)


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """The builder of made-up runs."""
    return build


@pytest.fixture
def result() -> Result:
    """A made-up run of four layers."""
    return build()


# ---------------------------------------------------------------------------- a browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"),
)
Browse = Callable[[str, str], tuple[dict[str, Any], str]]


def browse_with(chromium: str, page: str, script: str, folder: Path) -> tuple[dict[str, Any], str]:
    """What `script` returns inside the page after it loaded, and the browser's console lines."""
    probe = f"""<script>addEventListener("load", () => {{
      const found = (() => {{ {script} }})();
      const out = document.createElement("pre");
      out.id = "found"; out.textContent = JSON.stringify(found); document.body.append(out);
    }});</script></body>"""
    file = folder / "page.html"
    file.write_text(page.replace("</body>", probe), encoding="utf-8")
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(found.group(1))), console


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Runs a script in a page; skips where no browser is at hand."""
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    return lambda page, script: browse_with(CHROMIUM, page, script, tmp_path)
