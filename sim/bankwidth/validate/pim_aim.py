"""Micro-benchmarks of the AiM simulator: equal to the cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bankwidth.devices.pim.aim import micro_cycles
from bankwidth.devices.pim.config import config_of
from bankwidth.errors import SpecError, TraceError
from bankwidth.spec import PimSpec, load_device
from bankwidth.system.run import Progress
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

COLUMNS: Final = ("case", "params", "memory_system_cycles", "tCK_ns")
DEVICE: Final = "pim/gddr6-aim"
SOURCE: Final = "arkhadem/aim_simulator, presets GDDR6_AiM_org and GDDR6_AiM_timing"


def compare(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Cycles of every row. Raises TraceError for a case that is unknown or lacks a parameter."""
    spec = load_device(DEVICE)
    if not isinstance(spec, PimSpec):
        raise SpecError(f"{DEVICE} describes no computing banks")
    config = config_of(spec)
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        case, params = row.text("case"), row.text("params")
        if row.number("tCK_ns") * 1000 != config.tick_ps:
            raise TraceError(f"{row.where}: tCK_ns: the device's clock is {config.tick_ps} ps")
        try:
            ours = micro_cycles(case, params, config)
        except (KeyError, TraceError) as error:
            raise TraceError(f"{row.where}: {case} {params}: {error}") from error
        yield Case(
            id=f"{case} {params}",
            quantity="cycles",
            reference=row.count("memory_system_cycles"),
            ours=ours,
            source=SOURCE,
        )


REFERENCES: Final = ((COLUMNS, compare),)
