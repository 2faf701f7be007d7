"""Area of ternary look-up cores (Geens et al., ISPASS 2026, arXiv 2604.25183) beside ours.

Its body was not at hand: figures are those of the abstract, of the generator's read-me, and of an
independent reading note of tables III and IV and of sections V and VI. Ours is composed of gates
(`devices/ternary_lut/gates.py`); no constant of it is fitted to any of these figures.

What "full-width multiplication" of table IV multiplies is read here as the weight, converted to
the activations' format inside the core: its core takes 69 um2 per weight more than the one that
flips signs, and no multiplier of two fp16 numbers is as small (ours: 142 um2, without subnormal
numbers); the authors' own unit for such products converts the weight and multiplies. This reading
was chosen with the figures in sight; the other one is a case as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Final

from bankwidth.devices.ternary_lut.area import CoreArea, core_area
from bankwidth.devices.ternary_lut.area_core import CoreDesign, Product
from bankwidth.devices.ternary_lut.area_tables import shared_additions
from bankwidth.devices.ternary_lut.design_space import best_design
from bankwidth.devices.ternary_lut.gates import Gates, shipped_gates
from bankwidth.validate.verdicts import Band, Case

PAPER: Final = "Geens et al., ISPASS 2026 (arXiv 2604.25183)"
ABSTRACT: Final = f"{PAPER}, abstract"
NOTE: Final = f"{PAPER}, table IV, as an independent reading note has it: TSMC 16 nm, 500 MHz"
SECTIONS: Final = f"{PAPER}, sections V and VI, as an independent reading note has them"
GENERATOR: Final = f"{PAPER}, read-me of its generator (KULeuven-MICAS/ternary-lut-dse)"
HOROWITZ: Final = "Horowitz, ISSCC 2014, 45 nm: areas as public code quotes them"
TELLME: Final = CoreDesign(group_size=3, tables=28, lookups_per_table=16)  # its release
WITHIN_PCT: Final = 25.0  # the target
SIDE: Final = 32  # of table IV's tile
SMALLER: Final = "ours is an area-optimal mapping without a clock"
READING: Final = (
    "read as: the weight, converted to fp16 in the core, times the activation; synthesis folds "
    "what the weight's three values leave unused"
)


def published() -> Iterator[Case | Band]:
    """Cores of 32 x 32, what the format changes, sizes and shapes, published designs, units."""
    yield from _tile()
    yield from _formats()
    yield from _sizes()
    yield from _retuned()
    yield from _additions()
    yield from _units()


def square(activation: str, side: int, cores: int = 1) -> CoreArea:
    """The smallest look-up cores of so many activations and outputs in all."""
    return best_design(side * side, _like(activation, cores=cores), square=True)


def dense(activation: str, side: int, product: Product) -> CoreArea:
    """The same with a product per weight."""
    return best_design(side * side, _like(activation, product), square=True)


def _like(activation: str, product: Product = "lookup", cores: int = 1) -> CoreDesign:
    return CoreDesign(
        group_size=1,
        tables=1,
        lookups_per_table=1,
        activation=activation,
        product=product,
        cores=cores,
    )


# ---- table IV


def _tile() -> Iterator[Case]:
    lookup = square("fp16", SIDE)
    group = f"groups of {lookup.core.group_size}, our smallest; {SMALLER}"
    flip = dense("fp16", SIDE, "sign_flip")
    multiplied = dense("fp16", SIDE, "ternary_multiplier")
    general = dense("fp16", SIDE, "flushing_multiplier")
    yield _area("look-up core", 0.120, lookup, group)
    yield _area("core that flips signs", 0.197, flip, SMALLER)
    yield _area("multiplier core", 0.268, multiplied, f"{READING}; {SMALLER}")
    yield _ratio("multiplier core over look-up core", 2.2, multiplied, lookup, READING, ABSTRACT)
    yield _ratio("sign-flip core over look-up core", 0.197 / 0.120, flip, lookup, "", NOTE)
    yield _ratio(
        "multiplier core over look-up core, any weight",
        2.2,
        general,
        lookup,
        "the other reading: a multiplier of any two normal numbers; too large for table IV, see "
        "the module",
        ABSTRACT,
    )


def _area(what: str, reference_mm2: float, ours: CoreArea, note: str) -> Case:
    return Case(
        id=f"fp16, {SIDE} x {SIDE}",
        quantity=f"{what}, mm2",
        reference=reference_mm2,
        ours=ours.total_um2 / 1e6,
        tolerance_pct=WITHIN_PCT,
        source=NOTE,
        note=note,
    )


def _ratio(
    what: str, reference: float, large: CoreArea, small: CoreArea, note: str, source: str
) -> Case:
    return Case(
        id=f"fp16, {SIDE} x {SIDE}",
        quantity=what,
        reference=reference,
        ours=large.um2_per_mac / small.um2_per_mac,
        tolerance_pct=WITHIN_PCT,
        source=source,
        note=note,
    )


# ---- formats


def gain(activation: str, side: int = SIDE) -> float:
    """Area of the core that flips signs over the smallest look-up core."""
    return dense(activation, side, "sign_flip").um2_per_mac / square(activation, side).um2_per_mac


def _formats() -> Iterator[Band]:
    gains = {name: gain(name) for name in ("fp16", "int8", "int4")}
    yield _more("fp16 over int8", "what look-ups save, ratio", gains["fp16"] / gains["int8"])
    yield _more("int8 over int4", "what look-ups save, ratio", gains["int8"] / gains["int4"])
    yield Band(
        id="int8",
        quantity="sign-flip core over look-up core",
        low=0.9,
        high=1.2,
        ours=gains["int8"],
        source=SECTIONS,
        note="in words: larger groups bring very little where an addition costs about a look-up",
    )
    yield Band(
        id="int8",
        quantity="group size of the smallest square core",
        low=1,
        high=2,
        ours=square("int8", SIDE).core.group_size,
        source=SECTIONS,
        note="in words, as above; 3 with sums of 32 bit everywhere, as the generator writes them",
    )


def _more(what: str, quantity: str, ours: float) -> Band:
    return Band(
        id=what, quantity=quantity, low=1.0, high=inf, ours=ours, source=ABSTRACT, note="in words"
    )


# ---- sizes and shapes


def _sizes() -> Iterator[Band]:
    for name in ("fp16", "int8"):
        sides = (8, SIDE, 64, 96)
        densities = [square(name, side).um2_per_mac for side in sides]
        yield Band(
            id=f"{name}, tiles of 8, 32, 64 and 96",
            quantity="least step in area per weight, small over next",
            low=1.0,
            high=inf,
            ours=min(small / large for small, large in pairwise(densities)),
            source=SECTIONS,
            note="in words: maximising core size consistently improves density (abstract)",
        )
        many, one = square(name, 96, cores=16), square(name, 96)
        yield _more(f"{name}, 16 cores over one", "area at the same throughput", _over(many, one))
        yield _shape(name)


def _over(large: CoreArea, small: CoreArea) -> float:
    return large.um2_per_mac / small.um2_per_mac


def _shape(activation: str) -> Band:
    """Outputs per activation of the smallest core of any shape."""
    core = best_design(SIDE * SIDE, _like(activation)).core
    wide = activation == "fp16"
    return Band(
        id=f"{activation}, {SIDE * SIDE} weights a clock",
        quantity="outputs over activations of the smallest shape",
        low=1.0 if wide else 0.0,
        high=inf if wide else 1.0,
        ours=core.lookups_per_table / (core.group_size * core.tables),
        source=SECTIONS,
        note="figure 8, its direction: wider than high for fp16, higher than wide for int8",
    )


# ---- published designs, tables, units


def _retuned() -> Iterator[Case]:
    best = best_design(TELLME.macs_per_clock, _like("int8"))
    core = best.core
    yield Case(
        id="TeLLMe v2's groups of 3, 28 tables, 16 outputs, int8",
        quantity="its area over the best of its throughput",
        reference=1.2,
        ours=_over(core_area(TELLME), best),
        tolerance_pct=WITHIN_PCT,
        source=f"{ABSTRACT}: up to, of designs that it names in its body",
        note=f"best: groups of {core.group_size}, {core.tables} tables, {core.lookups_per_table} "
        "outputs; 1.05 with sums of 32 bit everywhere; TENET's groups of 2 are the best for int8",
    )


def _additions() -> Iterator[Case]:
    group = 4
    naive = 3**group * (group - 1)
    yield Case(
        id="table of a group of 4",
        quantity="additions saved by halving and sharing, %",
        reference=82.0,
        ours=100.0 * (1 - shared_additions(group) / naive),
        tolerance_pct=5.0,
        source=GENERATOR,
        note="36 of 243; the generator's tree has 44, of which some add 0",
    )


def _units() -> Iterator[Case]:
    gates = shipped_gates()
    fp16 = gates.library.formats["fp16"]
    fast = "known: his floats are made for speed; ours are the smallest that compute the same"
    yield _unit(gates, "addition, int8", 36.0, gates.adder(8), "")
    yield _unit(gates, "addition, int32", 137.0, gates.adder(32), "")
    yield _unit(gates, "product, int8", 282.0, gates.multiplier(8, 8), "")
    yield _unit(gates, "addition, fp16", 1360.0, fp16.adder_gates, fast)
    yield _unit(gates, "product, fp16", 1640.0, fp16.multiplier_gates, fast)


def _unit(gates: Gates, what: str, reference_um2: float, amount: float, note: str) -> Case:
    return Case(
        id="45 nm",
        quantity=f"{what}, um2",
        reference=reference_um2,
        ours=amount * gates.library.cells.nand2_um2,
        tolerance_pct=WITHIN_PCT,
        source=HOROWITZ,
        note=note,
    )
