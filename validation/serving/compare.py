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
from bankwidth.serving.capacity import room_for, room_of
from bankwidth.serving.iteration import Batch, Group
from bankwidth.serving.pricing import PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.serving.requests import Request, requests_of
from bankwidth.serving.run import serve_priced
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.serving import serving_spec

HERE = Path(__file__).parent
PS_PER_MS = 1e9
NS_PER_MS = 1e6
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


# ---- servers with so many users at any time

# How each server orders prompts and decodes. SGLang runs prompts first; vLLM from 0.8 on and
# TensorRT-LLM run both together, up to 8192 tokens in an iteration. Recalled, unverified.
POLICIES: dict[str, dict[str, Any]] = {
    "sglang": {"policy": "vllm"},
    "vllm": {"policy": "sarathi", "chunk_tokens": 8192},
    "trtllm": {"policy": "sarathi", "chunk_tokens": 8192},
}
ROUNDS = 5  # requests of each user


class Errors(NamedTuple):
    """Of one point: our mean time over the measured one, less one."""

    ttft: float
    tpot: float


def closed_loop(rows: Iterable[Row]) -> Table:
    """A row per model, machine and software: errors over all its points."""
    found: dict[tuple[str, ...], list[Errors]] = defaultdict(list)
    for row in rows:
        if _is_known(row) and _fits(row):
            setting = _loop_setting(row)
            key = (setting.model, setting.machine, row["backend"])
            found[key].append(errors_of(row))
    return _table([_summary(key, errors) for key, errors in sorted(found.items())])


def _is_known(row: Row) -> bool:
    """Models of 16 bits, prompts and tokens on the same machines."""
    together = row["mode"] == "agg" and row["pp_size"] in ("", "1")
    in_16_bits = "fp8" not in (row["precision"] or row["gemm_quant_mode"])
    known = row["model_path"] in MODELS and row["system"] in MACHINES
    return together and in_16_bits and known


def _loop_setting(row: Row) -> Setting:
    tensor = int(row["tp_size"] or 1)
    return Setting(MACHINES[row["system"]], MODELS[row["model_path"]], tensor, "bf16")


def _fits(row: Row) -> bool:
    tokens = int(row["batch_size"]) * (int(row["isl"]) + int(row["osl"]))
    return fits(_loop_setting(row), tokens)


def errors_of(row: Row) -> Errors:
    """A whole run: users that all begin at once, each with one request after the other."""
    users = int(row["batch_size"])
    options = serving_spec({**POLICIES[row["backend"]], "max_sequences": users})
    setting = _loop_setting(row)
    one = Request(0, int(row["isl"]), int(row["osl"]))
    result = serve_priced(
        requests_of([one] * (ROUNDS * users)),
        options,
        pricing=lines(setting),
        room=room_for(served(setting), options),
        concurrency=users,
    )
    latency = result.to_json()["latency"]
    ttft_ms, tpot_ms = (latency[name]["mean_ns"] / NS_PER_MS for name in ("ttft", "tpot"))
    measured = float(row["silicon_ttft_ms"]), float(row["silicon_tpot_ms"])
    return Errors(ttft_ms / measured[0] - 1, tpot_ms / measured[1] - 1)


@cache
def lines(setting: Setting) -> SimulatedPricing:
    """As a request-level run prices."""
    return SimulatedPricing(served(setting))


def _summary(key: tuple[str, ...], errors: list[Errors]) -> dict[str, Any]:
    names = ("model", "machine", "software")
    found: dict[str, Any] = {**dict(zip(names, key, strict=True)), "points": len(errors)}
    for name in Errors._fields:
        values = [getattr(error, name) for error in errors]
        found[f"{name}_median_error"] = round(median(values), 3)
        found[f"{name}_median_absolute_error"] = round(median(map(abs, values)), 3)
    return found


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
