"""Area of cores that look ternary products up, and of those that multiply or add instead.

Composed of gates (`gates.py`), nothing of it fitted to the area of a core. Parts are those of the
generator of Geens et al. (arXiv 2604.25183, github.com/KULeuven-MICAS/ternary-lut-dse): tables in
registers, a selector per look-up, trees of adders, an accumulator per output, counters. Memories,
routing, clock trees and the filling of rows are left out, as in a synthesis' area of cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bankwidth.devices.ternary_lut import area_sums, area_tables
from bankwidth.devices.ternary_lut.area_core import Blocks, CoreDesign, Product, blocks_of
from bankwidth.devices.ternary_lut.gates import Gates
from bankwidth.errors import SpecError

COUNTER_BITS: Final = 12  # assumed: products of up to 4096 rows of groups or of outputs
_FIVE: Final = 5  # weights in a byte


@dataclass(frozen=True, slots=True)
class CoreArea:
    """Area of all cores of a design, in um2 of cells, by part."""

    core: CoreDesign
    parts_um2: Mapping[str, float]

    @property
    def total_um2(self) -> float:
        """Sum of the parts."""
        return sum(self.parts_um2.values())

    @property
    def um2_per_mac(self) -> float:
        """Area for one weight a clock: what a density is compared by."""
        return self.total_um2 / self.core.macs_per_clock

    def macs_per_ns_mm2(self, clock_ghz: float) -> float:
        """Weights per nanosecond and mm2 at a clock."""
        return clock_ghz * 1e6 / self.um2_per_mac


def core_area(core: CoreDesign, gates: Gates | None = None) -> CoreArea:
    """Area of a design; of the shipped cells in the size of 16 nm unless told.

    Raises SpecError for a format that the library has no units of, or weights packed in a way that
    it has no decoder for.
    """
    blocks = blocks_of(core, gates)
    scale = core.cores * blocks.gates.um2
    parts = {name: scale * amount for name, amount in _parts(blocks).items()}
    return CoreArea(core, MappingProxyType(parts))


def baseline_area(core: CoreDesign, product: Product, gates: Gates | None = None) -> CoreArea:
    """Area of the core that takes as many weights a clock with a product for each."""
    return core_area(core.dense(product), gates)


def _parts(blocks: Blocks) -> dict[str, float]:
    """Gates of one core."""
    core = blocks.core
    products = core.tables * core.lookups_per_table
    return {
        "sums": core.tables * area_tables.additions(blocks),
        "tables": core.tables * area_tables.registers(blocks),
        "products": products * area_sums.products(blocks),
        "signs": products * area_sums.signs(blocks),
        "adders": core.lookups_per_table * area_sums.tree(blocks),
        "pipeline": core.lookups_per_table * area_sums.pipeline(blocks),
        "accumulators": core.accumulators * area_sums.accumulator(blocks),
        "decoders": products * _decoder(blocks),
        "control": _control(blocks),
    }


def _decoder(blocks: Blocks) -> float:
    """Weights of one product, as they come, to a sign and an index."""
    core, decoders = blocks.core, blocks.gates.library.decoders
    if core.weights == "index":
        return 0.0
    unpacked = core.group_size * decoders.five_in_eight_gates / _FIVE
    first = unpacked if core.weights == "five_in_eight" else 0.0
    return first + _index(blocks)


def _index(blocks: Blocks) -> float:
    """Weights of two bits each to a table's index; a product of one takes them as they are."""
    core, known = blocks.core, blocks.gates.library.decoders.two_bit_index_gates
    if core.product != "lookup":
        return 0.0
    found = known.get(str(core.group_size))
    if found is None:
        raise SpecError(
            f"weights {core.weights!r} in groups of {core.group_size}: {blocks.gates.library.name} "
            f"has decoders for groups of {', '.join(known)}; or let them come as 'index'"
        )
    return found


def _control(blocks: Blocks) -> float:
    """Counters of rows, outputs and activations, two of them delayed; a line per set of outputs."""
    core, gates = blocks.core, blocks.gates
    lines = -(-core.accumulators // core.lookups_per_table)
    delayed = 2 * COUNTER_BITS * gates.register_bit
    return 3 * gates.counter(COUNTER_BITS) + delayed + lines * (gates.register_bit + gates.and2)
