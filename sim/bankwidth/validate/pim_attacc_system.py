"""DGX and DGX with AttAcc: a decode step against the simulator of the paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from bankwidth.errors import MappingError, TraceError
from bankwidth.operators import DTYPE_BITS
from bankwidth.system.run import Progress
from bankwidth.validate.attacc_models import DTYPES, GATED, SHAPES
from bankwidth.validate.attacc_system import Figures, Job, figures_of
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

COLUMNS: Final = (
    "system", "ngpu", "pim", "model", "dtype", "bs", "Lin", "Lout",
    "pipe_level", "is_parallel", "power_constraint", "g_time_ms",
)  # fmt: skip
SOURCE: Final = "scale-snu/attacc_simulator at c600051, Python system model"
TOLERANCE_PCT: Final = 10.0  # issue: AttAcc GPT-3 175B system rows
# column -> figure of ours; those that a file has besides g_time_ms are compared as well
FIGURES: Final = {
    "g_time_ms": "time_ms",
    "g_matmul": "matmul_ms",
    "g_fc": "fc_ms",
    "g_comm": "comm_ms",
    "g_etc": "etc_ms",
    "g_energy_nJ": "energy_nj",
}
SYSTEMS: Final = ("dgx", "dgx-attacc")
NOT_MODELLED: Final = {"dgx-cpu": "attention on the host's processors is not modelled"}
LEVELS: Final = ("bank", "bg", "buffer")
# Arithmetic per byte of memory by which the table tells GPUs apart: their flops over 3352 GB/s.
OPERATIONS_PER_BYTE: Final = {"A100a": 93.1, "H100": 295.2}
WITHIN: Final = 0.01


def compare(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Times and energy of every row; what we cannot run is a case that does not hold.

    Raises TraceError for a row that is wrong.
    """
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        if row.text("system", (*SYSTEMS, *NOT_MODELLED)) in NOT_MODELLED:
            yield _not_run(row, f"{row['system']}: {NOT_MODELLED[row['system']]}")
            continue
        job = job_of(row)
        try:
            figures = figures_of(job)
        except MappingError as error:
            yield _not_run(row, str(error))
            continue
        yield from _cases(row, job, figures)


def _not_run(row: Row, reason: str) -> Case:
    name = f"{row.text('model')}, {row['system']}, batch {row.text('bs')} ({row.where})"
    return Case(
        id=name,
        quantity="g_time_ms",
        reference=row.number("g_time_ms"),
        ours="not run",
        tolerance_pct=TOLERANCE_PCT,
        source=SOURCE,
        note=reason,
    )


def _cases(row: Row, job: Job, figures: Figures) -> Iterator[Case]:
    for column, figure in FIGURES.items():
        if row.get(column):
            yield Case(
                id=_name(job),
                quantity=column,
                reference=row.number(column),
                ours=getattr(figures, figure),
                tolerance_pct=TOLERANCE_PCT,
                source=SOURCE,
                note=_note(column, job),
            )


def job_of(row: Row) -> Job:
    """What a row describes. Raises TraceError for what is wrong or not known."""
    system = row.text("system", SYSTEMS)
    with_banks = system == "dgx-attacc"
    return Job(
        gpu=_gpu(row),
        devices=row.count("ngpu", least=1),
        model=row.text("model", SHAPES),
        dtype=row.text("dtype", DTYPES),
        batch=row.count("bs", least=1),
        prompt=row.count("Lin", least=1),
        output=row.count("Lout", least=2),
        level=row.text("pim", LEVELS) if with_banks else "",
        is_limited=with_banks and _flag(row, "power_constraint"),
        is_earlier=with_banks,
        by_heads=with_banks and _flag(row, "pipe_level"),
        shares_feed_forward=with_banks and _flag(row, "is_parallel"),
    )


def _flag(row: Row, column: str) -> bool:
    return row.text(column, ("True", "False")) == "True"


def _gpu(row: Row) -> str:
    """The table names no GPU, but its arithmetic per byte."""
    if not row.get("sys_opb"):
        return "A100a"
    found = row.number("sys_opb")
    for gpu, operations in OPERATIONS_PER_BYTE.items():
        if abs(found / operations - 1.0) < WITHIN:
            return gpu
    known = ", ".join(f"{v} ({k})" for k, v in OPERATIONS_PER_BYTE.items())
    raise TraceError(f"{row.where}: sys_opb: no GPU is known with {found}, allowed: {known}")


def _name(job: Job) -> str:
    parts = [f"{job.model} {job.dtype}", f"{job.devices} x {job.gpu}", f"batch {job.batch}"]
    parts.append(f"{job.prompt}/{job.output}")
    if job.level:
        parts.append(f"{job.level}{', limited' if job.is_limited else ''}")
    chosen = {"by heads": job.by_heads, "co-processing": job.shares_feed_forward}
    return ", ".join([*parts, *(name for name, on in chosen.items() if on)])


def _note(column: str, job: Job) -> str:
    """What is different by construction, or was assumed."""
    return (_WITH_BANKS if job.level else _GPUS_ALONE).get(column, "") or _NOTES.get(column, "")


_NOTES: Final = {
    "g_etc": "with residual additions, which the reference has not",
    "g_energy_nJ": "without refresh and standby, which the reference does not count",
}
_GPUS_ALONE: Final = {
    "g_matmul": "with the softmax, which the reference has in a column of its own",
}
_WITH_BANKS: Final = {
    "g_matmul": "banks as the reference's cache of cycles tells: see attacc_ramulator_cached",
    "g_fc": "only what is exposed; shared products at the rate that the banks sustain, the "
    "reference takes their peak",
}


# ---- figures of the paper

PUBLISHED: Final = "Park et al., ASPLOS 2024, as quoted in a reading note"
BATCHES: Final = (17, 35, 53)  # from what fits DGX_Base up to what fits twice its memory
FULL: Final[dict[str, Any]] = {
    "level": "bank",
    "is_limited": True,
    "by_heads": True,
    "shares_feed_forward": True,
}
BASE_BYTES, LARGE_BYTES = 640 * 2**30, 1280 * 2**30
ASSUMED: Final = (
    "assumed: as many requests of 2048 + 2048 tokens as the memory left by the weights holds, of "
    "640 GiB (DGX_Base) or 1280 GiB (DGX_Large, and DGX with AttAcc); the paper's request mix and "
    "its limits of latency were not at hand"
)


class Headline(NamedTuple):
    """A model's throughput with all optimisations over GPUs alone, and energy per token saved."""

    model: str
    dtype: str
    over_base: float
    over_large: float
    saved_pct: float | None = None  # over DGX_Base


HEADLINES: Final = (
    Headline("GPT-175B", "W16A16", 3.91, 2.39, 65.9),
    Headline("GPT-175B", "W16A16", 4.84, 2.48),  # quoted beside the other two
    Headline("LLAMA-65B", "W16A16", 3.49, 2.81, 66.7),
    Headline("MT-530B", "W8A8", 5.93, 2.01, 66.8),
)


def published() -> Iterator[Case]:
    """Ratios of the paper, at the batches that fit."""
    for headline in HEADLINES:
        yield from _headline(headline)
    yield from _optimisations()
    yield _lone_sequence()


def _headline(line: Headline) -> Iterator[Case]:
    base, large = (
        _job(line.model, line.dtype, batch_of(line.model, line.dtype, memory_bytes))
        for memory_bytes in (BASE_BYTES, LARGE_BYTES)
    )
    banks = replace(large, **FULL)
    what = "throughput ratio" if line.saved_pct is not None else "throughput ratio, also quoted"
    name = f"{line.model} {line.dtype}, AttAcc at batch {banks.batch} over "
    for system, other, ratio in (
        (f"DGX_Base at batch {base.batch}", base, line.over_base),
        (f"DGX_Large at batch {large.batch}", large, line.over_large),
    ):
        ours = _throughput(banks) / _throughput(other)
        yield _paper_case(name + system, what, ratio, ours, ASSUMED)
    if line.saved_pct is not None:
        ours = 100.0 * (1.0 - _energy(banks) / _energy(base))
        saved = "energy per token saved, %"
        yield _paper_case(f"{name}DGX_Base", saved, line.saved_pct, ours, ASSUMED)


def _optimisations() -> Iterator[Case]:
    """The largest gain of each over batches of GPT-3 175B."""
    naive = [
        replace(_job("GPT-175B", "W16A16", batch), level="bank", is_limited=True)
        for batch in BATCHES
    ]
    piped = [replace(job, by_heads=True) for job in naive]
    shared = [replace(job, shares_feed_forward=True) for job in piped]
    for name, slow, fast, ratio in (
        ("head-level pipelining over none", naive, piped, 1.15),
        ("feed-forward co-processing on top", piped, shared, 1.10),
    ):
        gains = [
            figures_of(s).time_ms / figures_of(f).time_ms for s, f in zip(slow, fast, strict=True)
        ]
        yield _paper_case(f"GPT-175B, {name}", "largest speed-up", ratio, max(gains), "")


def _lone_sequence() -> Case:
    """What the table of the system does not have: a batch of one."""
    job = replace(_job("GPT-175B", "W16A16", 1), output=128)
    return Case(
        id=_name(job),
        quantity="g_time_ms",
        reference=31.03,
        ours=figures_of(job).time_ms,
        tolerance_pct=TOLERANCE_PCT,
        source=SOURCE,
    )


def _paper_case(name: str, quantity: str, ratio: float, ours: float, note: str) -> Case:
    return Case(
        id=name,
        quantity=quantity,
        reference=ratio,
        ours=ours,
        tolerance_pct=TOLERANCE_PCT,
        source=PUBLISHED,
        note=note,
    )


def _throughput(job: Job) -> float:
    return job.batch / figures_of(job).time_ms


def _energy(job: Job) -> float:
    return figures_of(job).energy_nj / job.batch


def _job(model: str, dtype: str, batch: int) -> Job:
    return Job(
        gpu="A100a", devices=8, model=model, dtype=dtype, batch=batch, prompt=2048, output=2048
    )


def batch_of(model: str, dtype: str, memory_bytes: int) -> int:
    """Requests of 2048 + 2048 tokens whose keys and values fit beside the weights."""
    shape = SHAPES[model]
    element_bytes = DTYPE_BITS[DTYPES[dtype]] // 8
    products = 3 if model.startswith(GATED) else 2
    weights = shape.layers * shape.hidden**2 * (4 + products * shape.inner) * element_bytes
    request = shape.layers * 2 * 4096 * shape.hidden * element_bytes
    return int((memory_bytes - weights) / request)


REFERENCES: Final = ((COLUMNS, compare),)
