"""Iterations against measured servers: times to the first token and per token.

    python validation/serving/compare.py splitwise perf_model_a100_h100.csv.gz
    python validation/serving/compare.py closed-loop e2e_silicon_ttft_tpot.csv.gz

The files are not shipped: the README says where they are from. Tables are written beside this file.
Nothing is fitted to them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bankwidth.errors import MappingError
from bankwidth.results import Table
from bankwidth.serving.capacity import room_of
from bankwidth.serving.iteration import Batch, Group
from bankwidth.serving.pricing import PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.spec import load_machine, load_workload

HERE = Path(__file__).parent
PS_PER_MS = 1e9
Row = Mapping[str, str]
# Names in the files, and ours. BLOOM has biases by position, a family that is not modelled.
MACHINES = {
    "h100-80gb": "h100",
    "a100-80gb": "a100",
    "h100_sxm": "h100",
    "h200_sxm": "h200",
}
MODELS = {
    "llama2-70b": "llama-2-70b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3-8b",  # the same but for its rotary scaling
    "meta-llama/Llama-3.1-70B": "llama-3-70b",
    "Qwen/Qwen3-32B": "qwen3-32b",
}


class Setting(NamedTuple):
    """A model as it was served."""

    machine: str
    model: str
    tensor: int
    weights: str  # their format


@cache
def served(setting: Setting) -> Served:
    """As the simulator sees it."""
    return Served(
        machine=load_machine(setting.machine),
        workload=load_workload(setting.model),
        tensor=setting.tensor,
        options={"weight_dtype": setting.weights},
    )


@cache
def pricing(setting: Setting) -> SimulatedPricing:
    """Every shape by itself."""
    return SimulatedPricing(served(setting), PricingOptions(exact_shapes=True))


def prompts_ms(setting: Setting, batch: int, tokens: int) -> float:
    """One iteration of whole prompts."""
    chunk = Group(batch, tokens, tokens, "prefill")
    none = np.zeros(0, dtype=np.int64)
    return pricing(setting).price(Batch((chunk,), none, batch)).latency_ps / PS_PER_MS


def decode_ms(setting: Setting, batch: int, kv_len: int) -> float:
    """One token of each sequence."""
    lengths = np.full(batch, kv_len, dtype=np.int64)
    return pricing(setting).price(Batch((), lengths, batch)).latency_ps / PS_PER_MS


def fits(setting: Setting, tokens: int) -> bool:
    """Whether so many tokens have room at once; others are served in turns."""
    try:
        room = room_of(served(setting))
    except MappingError:
        return False
    return tokens * room.kv_bytes_per_token <= room.kv_bytes


# ---- Splitwise: whole prompts, then tokens


def splitwise(rows: Iterable[Row]) -> Table:
    """A row per shape: medians of what was measured, and ours."""
    shapes: dict[tuple[Setting, int, int, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row["model"] in MODELS and row["hardware"] in MACHINES:
            sizes = (int(row[name]) for name in ("batch_size", "prompt_size", "token_size"))
            batch, prompt, tokens = sizes
            shapes[_setting_of(row), batch, prompt, tokens].append(row)
    found = [_shape(*shape, rows) for shape, rows in sorted(shapes.items())]
    return _table([row for row in found if row is not None])


def _setting_of(row: Row) -> Setting:
    tensor = int(row["tensor_parallel"])
    return Setting(MACHINES[row["hardware"]], MODELS[row["model"]], tensor, "fp16")


def _shape(setting: Setting, batch: int, prompt: int, tokens: int, rows: list[Row]) -> Any:
    if not fits(setting, batch * (prompt + tokens)):
        return None
    ttft_ms = median(float(row["prompt_time"]) for row in rows)
    tbt_ms = median(float(row["token_time"]) for row in rows)
    ours = prompts_ms(setting, batch, prompt), decode_ms(setting, batch, prompt + tokens // 2)
    return {
        "machine": setting.machine,
        "tensor": setting.tensor,
        "batch": batch,
        "prompt": prompt,
        "output": tokens,
        "ttft_measured_ms": round(ttft_ms, 1),
        "ttft_ours_ms": round(ours[0], 1),
        "ttft_error": round(ours[0] / ttft_ms - 1, 3),
        "tbt_measured_ms": round(tbt_ms, 2),
        "tbt_ours_ms": round(ours[1], 2),
        "tbt_error": round(ours[1] / tbt_ms - 1, 3),
    }


# ---- servers with so many requests under way at any time


def closed_loop(rows: Iterable[Row]) -> Table:
    """A row per model, machine and software: errors of the time per token over all its points."""
    errors: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        if _is_known(row):
            error = _error(row)
            if error is not None:
                setting = _loop_setting(row)
                key = (setting.model, setting.machine, setting.weights, row["backend"])
                errors[key].append(error)
    return _table([_summary(key, found) for key, found in sorted(errors.items())])


def _is_known(row: Row) -> bool:
    together = row["mode"] == "agg" and row["pp_size"] in ("", "1")
    return together and row["model_path"] in MODELS and row["system"] in MACHINES


def _loop_setting(row: Row) -> Setting:
    """Weights in 8 bits where the model is; products are then still in 16."""
    weights = "fp8" if "fp8" in (row["precision"] or row["gemm_quant_mode"]) else "bf16"
    tensor = int(row["tp_size"] or 1)
    return Setting(MACHINES[row["system"]], MODELS[row["model_path"]], tensor, weights)


def _error(row: Row) -> float | None:
    setting, batch = _loop_setting(row), int(row["batch_size"])
    prompt, output = int(row["isl"]), int(row["osl"])
    if not fits(setting, batch * (prompt + output)):
        return None
    return tpot_ms(setting, batch, prompt, output) / float(row["silicon_tpot_ms"]) - 1


def tpot_ms(setting: Setting, batch: int, prompt: int, output: int) -> float:
    """Time per token of a request among `batch` that are always under way.

    While it makes `output` tokens, each of the others comes to its end once, and the prompt of the
    next one runs between two tokens.
    """
    others = (batch - 1) * prompts_ms(setting, 1, prompt) / output
    return decode_ms(setting, batch, prompt + output // 2) + others


def _summary(key: tuple[str, ...], errors: list[float]) -> dict[str, Any]:
    names = ("model", "machine", "weights", "software")
    return {
        **dict(zip(names, key, strict=True)),
        "points": len(errors),
        "median_error": round(median(errors), 3),
        "median_absolute_error": round(median(map(abs, errors)), 3),
        "worst_error": round(max(errors) if max(errors) > -min(errors) else min(errors), 3),
    }


# ---- tables


def _table(rows: list[dict[str, Any]]) -> Table:
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def read(path: Path) -> Iterator[Row]:
    """Lines of a table, packed or not."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as lines:
        yield from csv.DictReader(lines)


def errors_by(table: Table, column: str) -> str:
    """Mean of the errors' sizes, by machine and devices."""
    groups: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in table.rows():
        groups[row["machine"], row["tensor"]].append(abs(row[column]))
    parts = (
        f"{machine} tensor {tensor}: {math.fsum(found) / len(found):.1%} of {len(found)}"
        for (machine, tensor), found in sorted(groups.items())
    )
    return f"{column}: " + "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("splitwise", "closed-loop"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    table = (splitwise if options.what == "splitwise" else closed_loop)(read(options.file))
    table.to_csv(HERE / f"{options.what}.csv")
    if options.what == "splitwise":
        print(errors_by(table, "ttft_error"), errors_by(table, "tbt_error"), sep="\n")
    else:
        print(table.to_csv_text(), end="")


if __name__ == "__main__":
    main()
