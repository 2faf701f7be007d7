"""Area of cores: sums of parts, hand counts, what grows with what, and mistakes in a design."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.ternary_lut import area_sums, area_tables
from bankwidth.devices.ternary_lut.area import baseline_area, core_area
from bankwidth.devices.ternary_lut.area_core import Build, CoreDesign, Product, Weights, blocks_of
from bankwidth.devices.ternary_lut.area_engine import design_of, engine_area
from bankwidth.devices.ternary_lut.design_space import best_design
from bankwidth.devices.ternary_lut.gates import Gates, shipped_gates
from bankwidth.errors import SpecError
from bankwidth.spec import TernaryLutSpec, load_device

GATES = shipped_gates()
FORMATS = ("fp32", "fp16", "bf16", "fp8", "fp8_e5m2", "int16", "int8", "int5", "int4", "int2")
DENSE: tuple[Product, ...] = (
    "sign_flip",
    "ternary_multiplier",
    "flushing_multiplier",
    "multiplier",
)
BUILDS: tuple[Build, ...] = ("shared", "separate", "stored")
CORE = CoreDesign(group_size=3, tables=11, lookups_per_table=32, activation="fp16")

cores = st.builds(
    CoreDesign,
    group_size=st.integers(1, 5),
    tables=st.integers(1, 40),
    lookups_per_table=st.integers(1, 100),
    activation=st.sampled_from(FORMATS),
    halved=st.booleans(),
    build=st.sampled_from(BUILDS),
    cores=st.integers(1, 4),
)


def total(core: CoreDesign) -> float:
    return core_area(core).total_um2


# ---- tables


@pytest.mark.parametrize("group", range(1, 6))
def test_halved_sums_are_those_of_which_no_other_is_the_negative(group: int) -> None:
    weights = [w for w in product((-1, 0, 1), repeat=group) if any(w)]
    positive = [w for w in weights if next(x for x in w if x) > 0]
    assert area_tables.halved_sums(group) == len(positive)
    assert area_tables.kept_sums(group, halved=False) == len(weights)
    by_terms = {terms: sum(1 for w in positive if sum(map(abs, w)) == terms)
                for terms in range(1, group + 1)}  # fmt: skip
    assert dict(area_tables.sums_by_terms(group)) == by_terms
    assert area_tables.separate_additions(group) == sum(sum(map(abs, w)) - 1 for w in positive)
    assert area_tables.shared_additions(group) == len([w for w in positive if sum(map(abs, w)) > 1])


def test_a_table_of_two_is_a_sum_a_difference_and_the_two_themselves() -> None:
    core = CoreDesign(group_size=2, tables=1, lookups_per_table=1, activation="int8")
    parts = core_area(core).parts_um2
    sums = GATES.adder(9) + GATES.subtractor(9)
    assert parts["sums"] == pytest.approx(sums * GATES.um2)
    assert parts["tables"] == pytest.approx((9 + 9 + 8 + 8) * GATES.register_bit * GATES.um2)


@given(core=cores)
def test_sharing_never_makes_tables_larger_and_stored_ones_add_nothing(core: CoreDesign) -> None:
    shared, separate, stored = (core_area(replace(core, build=build)).parts_um2 for build in BUILDS)
    assert shared["sums"] <= separate["sums"]
    assert stored["sums"] == 0
    assert stored["tables"] > shared["tables"]
    assert {k: v for k, v in shared.items() if k != "sums"} == {
        k: v for k, v in separate.items() if k != "sums"
    }


@given(core=cores)
def test_halving_never_makes_tables_or_selectors_larger(core: CoreDesign) -> None:
    halved = core_area(replace(core, halved=True)).parts_um2
    whole = core_area(replace(core, halved=False)).parts_um2
    for part in ("sums", "tables", "products"):
        assert halved[part] <= whole[part]
    assert whole["signs"] == 0


@given(core=cores)
def test_a_whole_table_has_a_register_for_each_negative_too(core: CoreDesign) -> None:
    halved, whole = (core_area(replace(core, halved=halved)) for halved in (True, False))
    assert whole.parts_um2["tables"] == pytest.approx(2 * halved.parts_um2["tables"])


@given(core=cores)
def test_halving_makes_cores_of_groups_smaller(core: CoreDesign) -> None:
    grouped = replace(core, group_size=max(core.group_size, 2))
    assert total(replace(grouped, halved=True)) < total(replace(grouped, halved=False))


# ---- sums


def test_a_tree_widens_as_it_goes() -> None:
    core = CoreDesign(group_size=1, tables=5, lookups_per_table=1, activation="int4")
    hand = 2 * GATES.adder(5) + GATES.adder(6) + GATES.adder(7)  # 1+1, 1+1, 2+2, 4+1
    assert area_sums.tree(blocks_of(core)) == pytest.approx(hand)


def test_products_of_a_multiplier_are_twice_as_wide() -> None:
    core = CoreDesign(
        group_size=1, tables=2, lookups_per_table=1, activation="int8", product="multiplier"
    )
    assert area_sums.tree(blocks_of(core)) == pytest.approx(GATES.adder(17))


def test_a_float_tree_has_one_unit_less_than_products() -> None:
    units = GATES.library.formats["fp16"]
    parts = core_area(CORE).parts_um2
    assert parts["adders"] == pytest.approx(32 * 10 * units.adder_gates * GATES.um2)


def test_sums_can_be_as_wide_as_the_generator_makes_them() -> None:
    core = CoreDesign(
        group_size=2, tables=4, lookups_per_table=1, activation="int8", datapath_bits=32
    )
    assert area_sums.tree(blocks_of(core)) == pytest.approx(3 * GATES.adder(32))
    assert total(core) > total(replace(core, datapath_bits=None))
    floats = replace(core, activation="fp16")
    assert total(floats) == total(replace(floats, datapath_bits=None))


def test_more_outputs_than_a_clock_takes_are_more_accumulators_and_lines() -> None:
    more = core_area(replace(CORE, outputs=320)).parts_um2
    few = core_area(CORE).parts_um2
    assert more["accumulators"] == pytest.approx(10 * few["accumulators"])
    assert more["control"] > few["control"]
    assert {k: v for k, v in more.items() if k not in ("accumulators", "control")} == {
        k: v for k, v in few.items() if k not in ("accumulators", "control")
    }


def test_integers_have_registers_between_steps_only_on_demand() -> None:
    core = replace(CORE, activation="int8")
    assert core_area(core).parts_um2["pipeline"] == 0
    assert core_area(replace(core, pipelined=True)).parts_um2["pipeline"] > 0
    assert core_area(replace(CORE, pipelined=False)).parts_um2["pipeline"] == 0


# ---- whole cores


@given(core=cores)
def test_the_area_is_the_sum_of_its_parts_and_of_its_cores(core: CoreDesign) -> None:
    area = core_area(core)
    assert area.total_um2 == pytest.approx(sum(area.parts_um2.values()))
    assert area.total_um2 == pytest.approx(core.cores * total(replace(core, cores=1)))
    assert area.um2_per_mac * core.macs_per_clock == pytest.approx(area.total_um2)
    assert all(part >= 0 for part in area.parts_um2.values())


@given(core=cores, name=st.sampled_from(["tables", "lookups_per_table", "cores"]))
def test_more_of_anything_is_larger(core: CoreDesign, name: str) -> None:
    more = replace(core, **{name: getattr(core, name) + 1})
    assert total(more) > total(core)


@given(core=cores, width=st.integers(2, 31))
def test_wider_activations_are_larger(core: CoreDesign, width: int) -> None:
    narrow, wide = (replace(core, activation=f"int{bits}") for bits in (width, width + 1))
    assert total(narrow) < total(wide)


@given(core=cores)
def test_larger_groups_of_as_many_tables_are_larger(core: CoreDesign) -> None:
    assert total(replace(core, group_size=core.group_size + 1)) > total(core)


@given(core=cores, kind=st.sampled_from(DENSE))
def test_a_baseline_takes_as_many_weights_and_is_the_sum_of_its_parts(
    core: CoreDesign, kind: Product
) -> None:
    area = baseline_area(core, kind)
    dense = area.core
    assert dense.macs_per_clock == core.macs_per_clock
    one = area_sums.products(blocks_of(dense))
    count = dense.cores * dense.tables * dense.lookups_per_table
    assert area.parts_um2["products"] == pytest.approx(count * one * GATES.um2)
    assert area.total_um2 == pytest.approx(sum(area.parts_um2.values()))


@given(core=cores)
def test_multipliers_are_larger_the_more_they_multiply(core: CoreDesign) -> None:
    areas = [baseline_area(core, kind).total_um2 for kind in DENSE]
    assert areas == sorted(areas)


def test_an_integer_core_that_flips_signs_is_close_to_one_with_groups_of_one() -> None:
    flips = baseline_area(replace(CORE, activation="fp16"), "sign_flip")
    ones = core_area(replace(CORE, group_size=1, tables=33, activation="fp16"))
    assert ones.total_um2 == pytest.approx(flips.total_um2, rel=0.01)


@given(core=cores)
def test_a_process_of_half_the_gate_halves_the_area(core: CoreDesign) -> None:
    small = Gates(GATES.library.model_copy(update={"gate_um2": GATES.um2 / 2}))
    assert core_area(core, small).total_um2 == pytest.approx(total(core) / 2)


def test_density_is_by_the_clock() -> None:
    area = core_area(CORE)
    assert area.macs_per_ns_mm2(0.5) == pytest.approx(0.5 * 1056 / (area.total_um2 / 1e6))


# ---- packed weights


def decoders(weights: Weights, group: int, kind: Product = "lookup") -> float:
    core = CoreDesign(
        group_size=group, tables=1, lookups_per_table=1, product=kind, weights=weights
    )
    return core_area(core).parts_um2["decoders"] / GATES.um2


def test_weights_cost_what_their_packing_takes() -> None:
    known = GATES.library.decoders
    assert decoders("index", 3) == 0
    assert decoders("two_bit", 3) == pytest.approx(known.two_bit_index_gates["3"])
    bytes_of_five = 3 * known.five_in_eight_gates / 5
    assert decoders("five_in_eight", 3) == pytest.approx(bytes_of_five + decoders("two_bit", 3))
    assert decoders("two_bit", 1, "sign_flip") == 0
    assert decoders("five_in_eight", 1, "sign_flip") == pytest.approx(known.five_in_eight_gates / 5)


def test_a_packing_without_decoder_says_for_which_groups_there_is_one() -> None:
    with pytest.raises(SpecError, match=r"groups of 5: nangate45-16nm has .* 1, 2, 3, 4; or"):
        decoders("two_bit", 5)


# ---- mistakes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"group_size": 0}, r"group_size 0: need a whole number of at least 1"),
        ({"group_size": 8}, r"group_size 8: at most 7"),
        ({"tables": -1}, r"tables -1: need"),
        ({"lookups_per_table": 2.5}, r"lookups_per_table 2.5: need"),
        ({"cores": True}, r"cores True: need"),
        ({"product": "multiply"}, r"product 'multiply', allowed: lookup, .*did you mean"),
        ({"product": "sign_flip"}, r"group_size 3 with 'sign_flip'.*groups of 1"),
        ({"build": "share"}, r"build 'share'.*did you mean 'shared'"),
        ({"weights": "packed"}, r"weights 'packed', allowed: index, two_bit, five_in_eight"),
        ({"outputs": 31}, r"outputs 31: fewer than the 32"),
        ({"datapath_bits": 0}, r"datapath_bits 0: at least 1"),
        ({"accumulator_bits": 0}, r"accumulator_bits 0: need"),
    ],
)
def test_a_wrong_design_is_one_message(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(CORE, **wrong)  # type: ignore[arg-type]


def test_an_unknown_format_is_said_when_the_area_is_asked_for() -> None:
    with pytest.raises(SpecError, match="activations of 'fp12'"):
        core_area(replace(CORE, activation="fp12"))


# ---- engines


def test_an_engine_has_the_area_of_its_cores() -> None:
    spec = load_device("ternary_lut/ternary-lut-16nm")
    assert isinstance(spec, TernaryLutSpec)
    design = design_of(spec)
    assert (design.group_size, design.tables, design.lookups_per_table) == (3, 32, 96)
    assert design.halved
    assert design.outputs == spec.accumulators
    assert engine_area(spec).total_um2 == core_area(design).total_um2
    two = spec.model_copy(update={"cores": 2})
    assert engine_area(two).total_um2 == pytest.approx(2 * engine_area(spec).total_um2)


def test_whole_tables_of_an_engine_are_whole() -> None:
    spec = load_device("ternary_lut/tellme-v2")
    assert isinstance(spec, TernaryLutSpec)
    assert not spec.table.halved
    assert not design_of(spec).halved


def test_the_shipped_chip_has_the_smallest_square_core_of_its_size() -> None:
    spec = load_device("ternary_lut/ternary-lut-16nm")
    assert isinstance(spec, TernaryLutSpec)
    best = best_design(96 * 96, replace(CORE, outputs=None), square=True)
    assert best.core.group_size == spec.group_size
    assert best.core.tables == spec.tables
    assert best.um2_per_mac == pytest.approx(76.6, abs=0.05)  # as its file says
    assert best.total_um2 / 1e6 == pytest.approx(0.71, abs=0.005)
