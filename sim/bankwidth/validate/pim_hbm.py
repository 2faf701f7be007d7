"""HBM-PIM against Samsung's PIMSimulator: cycles, and the reads and writes of its controllers.

Kernels of the units are compared within 2 %. Plain traffic of the host, for which no target is
stated, goes through our DRAM engine: another controller, so it is compared within 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram import config_of as dram_config_of
from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.hbm_pim import END_CK, KERNELS, kernel_program, traffic
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SpecError, TraceError
from bankwidth.spec import DramSpec, PimSpec, load_device
from bankwidth.system.run import Progress
from bankwidth.validate.hbm_streams import OPERANDS, phases_of, stream_cycles
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

COLUMNS: Final = (
    "kernel", "channels", "out_dim_or_elems_or_bytes", "in_dim", "cycles", "reads", "writes",
)  # fmt: skip
DEVICE: Final = "pim/hbm2-pim"
MEMORY: Final = "dram/hbm2-2000-pim"
SOURCE: Final = "SAITPublic/PIMSimulator b464dde, HBM2 preset as shipped"
PRODUCTS: Final = ("gemv", "gemvtree", "hostgemv")  # kernels with an input dimension
STREAMS: Final = ("hostgemv", *OPERANDS, "read", "write")
# Systems of the reference by their channels -> ranks of each: only its 64 channels have two (by
# its memory size), whose refreshes take turns.
RANKS: Final[Mapping[int, int]] = {64: 2}
CHANNELS: Final = tuple(1 << bits for bits in range(11))  # that a system may have
PIM_TOLERANCE_PCT: Final = 2.0
STREAM_TOLERANCE_PCT: Final = 10.0
TURNS_NOTE: Final = "two ranks refreshed in turn: the first refresh comes after half an interval"
STREAM_NOTE: Final = "no target stated; ours has queues of 32, not 64, and closes rows on demand"


class Ours(NamedTuple):
    """What we have for a row; reads and writes over all channels."""

    cycles: int
    reads: int
    writes: int


class _Devices(NamedTuple):
    banks: PimConfig
    memory: DramConfig


def compare(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Cycles of every row, and the commands where they are given.

    Raises TraceError for a row that is wrong.
    """
    devices = _devices()
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        yield from _cases(row, devices)


def kernel_figures(
    config: PimConfig, kernel: str, channels: int, outputs: int, inputs: int
) -> Ours:
    """A kernel of the units; all channels do the same share. Raises SpecError for wrong sizes."""
    turns = config.controller.model_copy(update={"ranks": RANKS.get(channels, 1)})
    config = replace(config, controller=turns)
    macros = kernel_program(config, kernel, -(-outputs // channels), inputs)
    cycles = PimChannel(config).run(ChannelProgram(macros=macros, channels=channels)) + END_CK
    reads, writes = (count * channels for count in traffic(config, macros))
    return Ours(cycles, reads, writes)


def stream_figures(
    config: DramConfig, kernel: str, channels: int, outputs: int, inputs: int
) -> Ours:
    """A kernel of the host: the same data as plain reads and writes.

    Raises SpecError for more data than the memory holds.
    """
    phases = phases_of(kernel, outputs, inputs, config.burst_bytes)
    moved_bytes = sum(phase.bursts for phase in phases) * config.burst_bytes
    if moved_bytes > channels * config.capacity_bytes:
        raise SpecError(f"{kernel} moves {moved_bytes} bytes, more than the memory holds")
    reads, writes = (
        sum(phase.bursts for phase in phases if phase.is_write == way) for way in (False, True)
    )
    turns = RANKS.get(channels, 1)
    return Ours(stream_cycles(config, phases, channels, turns=turns), reads, writes)


def _devices() -> _Devices:
    banks, memory = load_device(DEVICE), load_device(MEMORY)
    if not isinstance(banks, PimSpec) or not isinstance(memory, DramSpec):
        raise SpecError(f"{DEVICE}, {MEMORY}: need computing banks and a memory")
    return _Devices(config_of(banks), dram_config_of(memory))


def _cases(row: Row, devices: _Devices) -> Iterator[Case]:
    kernel, channels, outputs, inputs = _run_of(row)
    is_stream = kernel in STREAMS
    try:
        if is_stream:
            ours = stream_figures(devices.memory, kernel, channels, outputs, inputs)
        else:
            ours = kernel_figures(devices.banks, kernel, channels, outputs, inputs)
    except SpecError as error:
        raise TraceError(f"{row.where}: {error}") from error
    name = f"{kernel} ch={channels} {outputs}" + (f"x{inputs}" if inputs else "")
    yield Case(
        id=name,
        quantity="cycles",
        reference=row.count("cycles"),
        ours=ours.cycles,
        tolerance_pct=STREAM_TOLERANCE_PCT if is_stream else PIM_TOLERANCE_PCT,
        source=SOURCE,
        note=_note(is_stream, channels),
    )
    for way in ("reads", "writes"):
        if (row.get(way) or "").strip():  # not given for rows of the repository's own log
            count = getattr(ours, way)
            yield Case(id=name, quantity=way, reference=row.count(way), ours=count, source=SOURCE)


def _run_of(row: Row) -> tuple[str, int, int, int]:
    """Kernel, channels, outputs and inputs. Raises TraceError where one cannot be."""
    kernel = row.text("kernel", (*KERNELS, *STREAMS))
    channels = row.count("channels", least=1)
    if channels not in CHANNELS:
        raise TraceError(f"{row.where}: channels: need a power of two up to 1024, found {channels}")
    outputs = row.count("out_dim_or_elems_or_bytes", least=1)
    return kernel, channels, outputs, row.count("in_dim", least=1) if kernel in PRODUCTS else 0


def _note(is_stream: bool, channels: int) -> str:
    notes = [STREAM_NOTE] * is_stream + [TURNS_NOTE] * (RANKS.get(channels, 1) > 1)
    return "; ".join(notes)


REFERENCES: Final = ((COLUMNS, compare),)
