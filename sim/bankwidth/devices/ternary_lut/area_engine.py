"""Area of the cores of a machine's engine, from its description."""

from __future__ import annotations

from bankwidth.devices.ternary_lut.area import CoreArea, core_area
from bankwidth.devices.ternary_lut.area_core import CoreDesign
from bankwidth.devices.ternary_lut.gates import Gates
from bankwidth.spec.ternary_lut import TernaryLutSpec


def design_of(spec: TernaryLutSpec) -> CoreDesign:
    """The cores of an engine. Sums in one memory with few write ports are kept as they are."""
    return CoreDesign(
        group_size=spec.group_size,
        tables=spec.tables,
        lookups_per_table=spec.lookups_per_table,
        activation=spec.activation_dtype,
        halved=spec.table.halved,
        outputs=max(spec.accumulators, spec.lookups_per_table),
        cores=spec.cores,
    )


def engine_area(spec: TernaryLutSpec, gates: Gates | None = None) -> CoreArea:
    """Area of an engine's cores in um2; buffers, ports and the units beside them are left out.

    An engine of an FPGA gets the area that its cores would have as gates. Raises SpecError for a
    format that the library has no units of.
    """
    return core_area(design_of(spec), gates)
