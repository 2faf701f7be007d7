"""Llama-3.1-70B in FP8 served by vLLM on H100 and H200: our TTFT and TPOT beside measured ones.

    python validation/serving/vllm.py [--measured ../shared/measured] [--rounds 10] [--csv FILE]

The points are InferenceMAX's, as aiconfigurator publishes them. Each is run as its client and its
server were set: so many users send the next request when their last is answered, ten requests a
user; lengths of prompts and outputs are even between 0.8 and 1.0 of the nominal ones; decodes
first, then pieces of prompts, at most 8192 tokens an iteration; as many sequences as users.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from bankwidth.kernel_cache import prepare
from bankwidth.serving.requests import Request, Requests, requests_of
from bankwidth.serving.run import ServingResult, serve
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.serving import serving_spec

MEASURED = Path(__file__).parents[3] / "shared" / "measured"
FILE = "aiconfigurator/e2e_silicon_ttft_tpot.csv.gz"
MODEL, OURS = "meta-llama/Llama-3.1-70B", "llama-3-70b"  # of equal shapes
SYSTEMS = {"h100_sxm": "h100", "h200_sxm": "h200"}
BACKEND, PRECISION = "vllm", "fp8"
SHORTEST = 0.8  # of the nominal lengths: InferenceMAX's RANDOM_RANGE_RATIO
ROUNDS = 10  # requests of each user: its --num-prompts
BATCHED_TOKENS = 8192  # its --max-num-batched-tokens, with --enable-chunked-prefill
FULL = 0.95  # peak share of the blocks from which on requests may have waited for them
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point."""

    machine: str
    prompt: int  # nominal tokens
    output: int
    users: int
    tensor: int  # GPUs that share the model
    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A point beside a run of ours."""

    machine: str
    prompt: int
    output: int
    users: int
    tensor: int
    measured_ttft_ms: float
    our_ttft_ms: float
    measured_tpot_ms: float
    our_tpot_ms: float
    peak_occupancy: float

    @property
    def tpot_ratio(self) -> float:
        """Ours over the measured."""
        return self.our_tpot_ms / self.measured_tpot_ms

    @property
    def ttft_ratio(self) -> float:
        """Ours over the measured."""
        return self.our_ttft_ms / self.measured_ttft_ms

    @property
    def has_room(self) -> bool:
        """Whether no request waited for blocks: how large the cache was is not recorded."""
        return self.peak_occupancy < FULL


def read_points(folder: Path = MEASURED) -> list[Point]:
    """The measured points, in order of machine, lengths, GPUs and users."""
    text = gzip.decompress((folder / FILE).read_bytes()).decode()
    rows = [row for row in csv.DictReader(io.StringIO(text)) if _is_chosen(row)]
    points = [
        Point(
            SYSTEMS[row["system"]],
            *(int(row[name]) for name in ("isl", "osl", "batch_size", "tp_size")),
            *(float(row[f"silicon_{name}_ms"]) for name in ("ttft", "tpot")),
        )
        for row in rows
    ]
    return sorted(points, key=lambda p: (p.machine, p.prompt, p.output, p.tensor, p.users))


def _is_chosen(row: dict[str, str]) -> bool:
    found = row["model_path"], row["backend"], row["precision"], row["mode"]
    return found == (MODEL, BACKEND, PRECISION, "agg") and row["system"] in SYSTEMS


def requests_like(point: Point, rounds: int = ROUNDS) -> Requests:
    """Lengths as the client drew them."""
    draw = np.random.default_rng(0)
    number = point.users * rounds
    prompts, outputs = (
        draw.integers(int(SHORTEST * most), most + 1, number).tolist()
        for most in (point.prompt, point.output)
    )
    pairs = zip(prompts, outputs, strict=True)
    return requests_of(Request(0, prompt, output) for prompt, output in pairs)


def run(point: Point, rounds: int = ROUNDS) -> ServingResult:
    """Our run of a point."""
    options = {
        "policy": "sarathi",
        "chunk_tokens": BATCHED_TOKENS,
        "max_sequences": point.users,
        "prefix_cache": False,
    }
    return serve(
        load_machine(point.machine),
        load_workload(OURS),
        requests_like(point, rounds),
        serving_spec(options),
        tensor=point.tensor,
        concurrency=point.users,
        weight_dtype="fp8",
        activation_dtype="fp8",
    )


def compare(point: Point, rounds: int = ROUNDS) -> Compared:
    """Means of ours beside the measured."""
    summary = run(point, rounds).to_json()
    ttft, tpot = (summary["latency"][name]["mean_ns"] / NS_PER_MS for name in ("ttft", "tpot"))
    (machine,) = summary["machines"].values()
    where = (point.machine, point.prompt, point.output, point.users, point.tensor)
    peak = machine["kv"]["peak_occupancy"]
    return Compared(*where, point.ttft_ms, ttft, point.tpot_ms, tpot, peak)


# ---------------------------------------------------------------------------- what is printed
def sentences(found: list[Compared]) -> Iterator[str]:
    """What to keep in mind of all points with room."""
    judged = [each for each in found if each.has_room]
    for name in ("tpot_ratio", "ttft_ratio"):
        ratios = np.array([getattr(each, name) for each in judged])
        error = float(np.mean(np.abs(ratios - 1)))
        low, middle, high = np.quantile(ratios, (0, 0.5, 1))
        yield (
            f"{name}: mean error {error:.1%}, median {middle:.3f}, {low:.3f} to {high:.3f}, "
            f"{len(ratios)} points with room for all"
        )


def table(found: list[Compared]) -> Iterator[str]:
    """A row of Markdown per machine and number of GPUs, of the points with room for all."""
    yield "| GPUs | points | TPOT: mean error | bias | TTFT: ours / measured |"
    yield "| --- | --- | --- | --- | --- |"
    judged = [each for each in found if each.has_room]
    for machine, tensor in sorted({(each.machine, each.tensor) for each in judged}):
        rows = [each for each in judged if (each.machine, each.tensor) == (machine, tensor)]
        tpot = np.array([each.tpot_ratio for each in rows]) - 1
        ttft = np.array([each.ttft_ratio for each in rows])
        yield (
            f"| {tensor} x {machine} | {len(rows)} | {np.mean(np.abs(tpot)):.1%} | "
            f"{np.mean(tpot):+.1%} | {ttft.min():.2f} to {ttft.max():.2f} |"
        )


def line(row: Compared) -> str:
    """One point in a line."""
    return (
        f"{row.machine} x{row.tensor} {row.prompt}+{row.output}, {row.users} users: "
        f"TTFT {row.our_ttft_ms:.0f} of {row.measured_ttft_ms:.0f} ms, "
        f"TPOT {row.our_tpot_ms:.2f} of {row.measured_tpot_ms:.2f} ms ({row.tpot_ratio:.2f})"
        f"{'' if row.has_room else ', waits for blocks'}"
    )


def write(found: list[Compared], path: Path) -> None:
    """All points as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Compared)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in found)


def main() -> None:
    """Print a row per point as it is done, then what to keep in mind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    prepare()
    found = []
    for point in read_points(given.measured):
        found.append(compare(point, given.rounds))
        print(line(found[-1]), flush=True)
    print("\n".join([*table(found), *sentences(found)]))
    if given.csv:
        write(found, given.csv)


if __name__ == "__main__":
    main()
