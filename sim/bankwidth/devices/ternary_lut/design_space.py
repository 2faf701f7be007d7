"""Which core is smallest for a format and a throughput: all group sizes and shapes, in a blink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import isqrt
from typing import Any, Final

from bankwidth.devices.ternary_lut.area import CoreArea, core_area
from bankwidth.devices.ternary_lut.area_core import MAX_GROUP, CoreDesign
from bankwidth.devices.ternary_lut.area_tables import kept_sums
from bankwidth.devices.ternary_lut.gates import Gates, format_of, shipped_gates
from bankwidth.errors import SpecError
from bankwidth.results import Table

GROUPS: Final = tuple(range(1, MAX_GROUP))
SPARE: Final = 1 / 16  # share of weights that cores may take more than asked for
Shape = tuple[int, int, int]  # group size, tables, look-ups per table


def design_space(
    macs_per_clock: int,
    like: CoreDesign | None = None,
    *,
    groups: Iterable[int] = GROUPS,
    square: bool = False,
    gates: Gates | None = None,
) -> list[CoreArea]:
    """All group sizes and shapes that take so many weights a clock, smallest first.

    `like` says the rest: format, product, how weights come, number of cores (which share the
    weights), accumulators. Shapes have 1, 2, 4, ... look-ups per table and as few tables as do;
    with `square`, as many outputs as activations, as near as the group size lets. Smallest by area
    per weight a clock. Raises SpecError where no shape fits.
    """
    like = like or CoreDesign(group_size=1, tables=1, lookups_per_table=1)
    gates = gates or shipped_gates()
    groups = tuple(groups) if like.product == "lookup" else (1,)
    shapes = _square if square else _all
    found = [
        core_area(_shaped(like, shape), gates)
        for shape in shapes(groups, -(-macs_per_clock // like.cores))
    ]
    if not found:
        raise SpecError(
            f"{macs_per_clock} weights a clock of {like.cores} cores: no shape takes as many in "
            f"groups of {', '.join(map(str, groups))}"
        )
    return sorted(found, key=lambda area: area.um2_per_mac)


def best_design(
    macs_per_clock: int,
    like: CoreDesign | None = None,
    *,
    groups: Iterable[int] = GROUPS,
    square: bool = False,
    gates: Gates | None = None,
) -> CoreArea:
    """The smallest of `design_space`, which says the options and what is raised."""
    return design_space(macs_per_clock, like, groups=groups, square=square, gates=gates)[0]


def _shaped(like: CoreDesign, shape: Shape) -> CoreDesign:
    """The same in another shape; accumulators as many as asked for, and at least one a look-up."""
    group, tables, lookups = shape
    outputs = None if like.outputs is None else max(like.outputs, lookups)
    return replace(
        like, group_size=group, tables=tables, lookups_per_table=lookups, outputs=outputs
    )


def _all(groups: Iterable[int], macs: int) -> Iterator[Shape]:
    for group in groups:
        lookups = 1
        while lookups * group <= macs:
            tables = -(-macs // (group * lookups))
            if group * tables * lookups <= macs * (1 + SPARE):
                yield group, tables, lookups
            lookups *= 2


def _square(groups: Iterable[int], macs: int) -> Iterator[Shape]:
    side = isqrt(macs)
    for group in groups:
        if group <= side:
            yield group, -(-side // group), side


def pareto(designs: Sequence[CoreArea]) -> list[CoreArea]:
    """Designs that no other beats in both area and look-ups per table, smallest first.

    A core with many look-ups per table is idle in part where a product has fewer outputs.
    """
    front: list[CoreArea] = []
    for area in sorted(designs, key=lambda a: (a.um2_per_mac, a.core.lookups_per_table)):
        if not front or area.core.lookups_per_table < front[-1].core.lookups_per_table:
            front.append(area)
    return front


def index_bits(core: CoreDesign) -> int:
    """Of a product's weights: a sign, and the number of a sum or none; two bits of a single one."""
    if core.product != "lookup":
        return 2
    words = kept_sums(core.group_size, halved=core.halved)
    return words.bit_length() + (1 if core.halved else 0)


def input_bits(core: CoreDesign, gates: Gates | None = None) -> int:
    """Activations and indices of weights that come into all cores per clock."""
    bits = format_of(core.activation, (gates or shipped_gates()).library).bits
    activations = core.group_size * core.tables * bits
    indices = core.tables * core.lookups_per_table * index_bits(core)
    return core.cores * (activations + indices)


_UNITS: Final = {"area_um2": "um2", "area_um2_per_mac": "um2"}


def designs_table(designs: Sequence[CoreArea]) -> Table:
    """Designs as a table: sizes, area in um2, per weight a clock and by part, bits in per clock."""
    cores = [area.core for area in designs]
    names = ("activation", "product", "group_size", "tables", "lookups_per_table", "cores")
    sizes: dict[str, list[Any]] = {name: [getattr(core, name) for core in cores] for name in names}
    figures: dict[str, list[float]] = {
        "macs_per_clock": [core.macs_per_clock for core in cores],
        "input_bits_per_clock": [input_bits(core) for core in cores],
        "area_um2": [area.total_um2 for area in designs],
        "area_um2_per_mac": [area.um2_per_mac for area in designs],
    }
    parts = designs[0].parts_um2 if designs else {}
    areas = {f"{name}_um2": [area.parts_um2[name] for area in designs] for name in parts}
    units = _UNITS | dict.fromkeys(areas, "um2")
    return Table({**sizes, **figures, **areas}, units=units)
