"""Cores whose area is asked for: what is chosen about them, and the widths that follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from bankwidth.devices.ternary_lut.gates import Format, Gates, format_of, shipped_gates
from bankwidth.errors import SpecError, did_you_mean

Product = Literal["lookup", "sign_flip", "ternary_multiplier", "flushing_multiplier", "multiplier"]
Build = Literal["shared", "separate", "stored"]
Weights = Literal["index", "two_bit", "five_in_eight"]
MAX_GROUP: Final = 7  # 1093 sums of a halved table
_CHOICES: Final = {
    "product": get_args(Product),
    "build": get_args(Build),
    "weights": get_args(Weights),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreDesign:
    """A core that multiplies ternary weights, and how many of them there are.

    A clock takes `group_size` x `tables` activations and gives `lookups_per_table` partial sums.

    product: `lookup`, or of each single activation `sign_flip` (kept, negated or dropped), or a
        multiplier: of the weight in the activations' format (`ternary_multiplier`, what synthesis
        leaves of it), of any two numbers (`multiplier`), or of normal ones (`flushing_multiplier`).
    halved: of a sum and its negative only one is kept; a look-up then negates on demand.
    build: of the sums: each one addition on another (`shared`), each on its own (`separate`), or
        written from outside (`stored`).
    weights: how they come: as a group's sign and index, two bits each, or five in a byte.
    outputs: accumulators, of which a clock adds to `lookups_per_table`; None: no more than these.
    datapath_bits: of sums of integers behind the look-ups; None: as many as they need.
    accumulator_bits: of integers; floats keep their format.
    pipelined: a register behind each product and in front of each addition; None: of floats.
    """

    group_size: int
    tables: int
    lookups_per_table: int
    activation: str = "int8"
    product: Product = "lookup"
    halved: bool = True
    build: Build = "shared"
    weights: Weights = "index"
    outputs: int | None = None
    datapath_bits: int | None = None
    accumulator_bits: int = 32
    pipelined: bool | None = None
    cores: int = 1

    def __post_init__(self) -> None:
        """Raises SpecError for a size below 1, an unknown choice, or sizes that do not go."""
        _check_sizes(self)
        for name, allowed in _CHOICES.items():
            found = getattr(self, name)
            if found not in allowed:
                hint = did_you_mean(str(found), allowed)
                raise SpecError(f"{name} {found!r}, allowed: {', '.join(allowed)}{hint}")
        if self.product != "lookup" and self.group_size != 1:
            raise SpecError(
                f"group_size {self.group_size} with {self.product!r}: "
                "products of single activations have groups of 1"
            )

    @property
    def macs_per_clock(self) -> int:
        """Weights that all cores take per clock."""
        return self.cores * self.group_size * self.tables * self.lookups_per_table

    @property
    def accumulators(self) -> int:
        """Of one core."""
        return self.lookups_per_table if self.outputs is None else self.outputs

    def dense(self, product: Product) -> CoreDesign:
        """The core that takes as many weights a clock with a product of its own for each."""
        rows = self.group_size * self.tables
        return replace(self, product=product, group_size=1, tables=rows)


def _check_sizes(core: CoreDesign) -> None:
    for name in ("group_size", "tables", "lookups_per_table", "accumulator_bits", "cores"):
        found = getattr(core, name)
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise SpecError(f"{name} {found!r}: need a whole number of at least 1")
    if core.group_size > MAX_GROUP:
        raise SpecError(f"group_size {core.group_size}: at most {MAX_GROUP}, of 1093 sums a table")
    if core.datapath_bits is not None and core.datapath_bits < 1:
        raise SpecError(f"datapath_bits {core.datapath_bits}: at least 1, or None for exact sums")
    if core.accumulators < core.lookups_per_table:
        raise SpecError(
            f"outputs {core.outputs}: fewer than the {core.lookups_per_table} of a clock"
        )


@dataclass(frozen=True, slots=True)
class Blocks:
    """A core's format and the blocks that its area is made of."""

    core: CoreDesign
    gates: Gates
    format: Format

    @property
    def pipelined(self) -> bool:
        """Whether registers stand between the steps."""
        said = self.core.pipelined
        return self.format.is_float if said is None else said

    @property
    def accumulator_bits(self) -> int:
        """Of one accumulator."""
        return self.format.bits if self.format.is_float else self.core.accumulator_bits

    def sum_bits(self, terms: int) -> int:
        """Width of the sum of so many products; those of a multiplier are wider."""
        if self.format.is_float:
            return self.format.bits
        wide = self.core.product in ("multiplier", "flushing_multiplier")
        needed = 2 * self.format.bits + (terms - 1).bit_length()
        return max(needed if wide else self.format.sum_bits(terms), self.core.datapath_bits or 0)

    def adder(self, bits: int) -> float:
        """Of two numbers, in gates."""
        units = self.format.units
        return units.adder_gates if units else self.gates.adder(bits)

    def subtractor(self, bits: int) -> float:
        """The same of a difference: a float's sign is inverted."""
        units = self.format.units
        return units.adder_gates + 1 if units else self.gates.subtractor(bits)

    def negator(self, bits: int) -> float:
        """On demand."""
        return self.gates.xor2 if self.format.is_float else self.gates.negator(bits)


def blocks_of(core: CoreDesign, gates: Gates | None = None) -> Blocks:
    """Blocks of a core; of the shipped library unless told. Raises SpecError for its format."""
    gates = gates or shipped_gates()
    return Blocks(core, gates, format_of(core.activation, gates.library))
