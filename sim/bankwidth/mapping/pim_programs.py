"""Which programs a device's commands allow: one maker per family of command sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from bankwidth.errors import MappingError
from bankwidth.mapping.aim_programs import AimPrograms
from bankwidth.mapping.attacc_programs import AttaccPrograms
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_hbm_pim import HbmPimPrograms
from bankwidth.mapping.pim_geometry import PimGeometry, geometry_of
from bankwidth.mapping.stages import Stage
from bankwidth.operators import Operator
from bankwidth.spec import MachineSpec, PimMappingSpec, PimSpec


class Programs(Protocol):
    """How one family of command sets computes operators."""

    def supports(self, op: Operator) -> bool:
        """Whether there are programs for an operator."""

    def tensor(self, op: Operator, index: int, context: LoweringContext) -> tuple[str, int]:
        """Name of what the operator keeps in the banks, and the rows per bank that it takes."""

    def stages(self, op: Operator, index: int, context: LoweringContext) -> Sequence[Stage]:
        """What is to do, in order; `index` is the operator's place in the trace.

        Raises MappingError for sizes and formats that the banks cannot take.
        """


class Family(NamedTuple):
    """Commands by which a device is known to be of a family, and who writes its programs."""

    commands: frozenset[str]
    maker: Callable[[PimSpec, PimGeometry, PimMappingSpec], Programs]


# The first family whose commands a device has; to add one, a line here.
PROGRAMS: Final[tuple[Family, ...]] = (
    Family(frozenset({"WR_GB", "WR_BIAS", "MAC_ABK", "RD_MAC"}), AimPrograms),
    Family(frozenset({"WR_CRF", "START_PIM", "WR_GRF", "MAC", "STORE"}), HbmPimPrograms),
    Family(frozenset({"WR_GB", "MV_GB", "MAC", "MV_SB", "SFM"}), AttaccPrograms),
)


def programs_of(spec: PimSpec, machine: MachineSpec) -> tuple[Programs, PimGeometry]:
    """Who writes the programs of a device, and its banks.

    Raises MappingError when no family knows its commands.
    """
    if spec.memory is None:
        raise MappingError(f"{machine.name}: the pim engine names no memory")
    for family in PROGRAMS:
        if family.commands <= spec.commands.keys():
            geometry = geometry_of(spec, machine.memories[spec.memory].channels)
            return family.maker(spec, geometry, machine.mapping.pim), geometry
    known = "; ".join(", ".join(sorted(family.commands)) for family in PROGRAMS)
    raise MappingError(
        f"{machine.name}: no programs are known for the commands of {spec.name}; a device needs "
        f"all of one of: {known}"
    )
