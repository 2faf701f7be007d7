"""The search for the smallest core: against all shapes tried one by one, and its edges."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bankwidth as bw
from bankwidth.devices.ternary_lut.area import core_area
from bankwidth.devices.ternary_lut.area_core import CoreDesign
from bankwidth.devices.ternary_lut.design_space import (
    SPARE,
    best_design,
    design_space,
    designs_table,
    index_bits,
    input_bits,
    pareto,
)
from bankwidth.devices.ternary_lut.gates import Gates, shipped_gates
from bankwidth.errors import SpecError

LIKE = CoreDesign(group_size=1, tables=1, lookups_per_table=1, activation="fp16")


@settings(max_examples=20, deadline=None)
@given(
    macs=st.integers(16, 5000),
    cores=st.integers(1, 4),
    activation=st.sampled_from(["fp16", "int8"]),
)
def test_designs_take_the_weights_asked_for_and_few_more(
    macs: int, cores: int, activation: str
) -> None:
    like = replace(LIKE, cores=cores, activation=activation)
    found = design_space(macs, like)
    each = -(-macs // cores)
    for area in found:
        assert macs <= area.core.macs_per_clock <= cores * each * (1 + SPARE)
        assert area.core.cores == cores
        assert area.total_um2 == core_area(area.core).total_um2
    densities = [area.um2_per_mac for area in found]
    assert densities == sorted(densities)
    assert best_design(macs, like) == found[0]


def test_no_shape_of_powers_of_two_is_missed() -> None:
    tried = [
        core_area(replace(LIKE, group_size=g, tables=t, lookups_per_table=2**n)).um2_per_mac
        for g in range(1, 5)
        for n in range(9)
        for t in range(1, 257)
        if 256 <= g * t * 2**n <= 256 * (1 + SPARE)
    ]
    assert best_design(256, LIKE, groups=range(1, 5)).um2_per_mac <= min(tried) * 1.0001


def test_the_extremes_are_among_the_shapes() -> None:
    shapes = {
        (area.core.group_size, area.core.tables, area.core.lookups_per_table)
        for area in design_space(1024, LIKE)
    }
    assert {(1, 1, 1024), (1, 1024, 1), (4, 1, 256), (2, 512, 1)} <= shapes


def test_square_cores_have_as_many_outputs_as_activations() -> None:
    for area in design_space(32 * 32, LIKE, square=True):
        core = area.core
        assert core.lookups_per_table == 32
        assert 32 <= core.group_size * core.tables < 32 + core.group_size


def test_many_cores_share_the_weights_and_their_sides_shrink() -> None:
    found = best_design(64 * 64, replace(LIKE, cores=16), square=True).core
    assert (found.cores, found.lookups_per_table) == (16, 16)


def test_products_of_single_activations_have_one_group_size() -> None:
    found = design_space(1024, replace(LIKE, product="sign_flip"))
    assert {area.core.group_size for area in found} == {1}
    assert {area.core.product for area in found} == {"sign_flip"}


def test_accumulators_are_kept_or_as_many_as_a_clock_needs() -> None:
    for area in design_space(1024, replace(LIKE, outputs=64)):
        assert area.core.outputs == max(64, area.core.lookups_per_table)


def test_costlier_additions_ask_for_larger_groups() -> None:
    sizes = [
        best_design(1024, replace(LIKE, activation=name), square=True).core.group_size
        for name in ("int2", "int8", "fp16")
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_cheap_adders_leave_nothing_to_look_up() -> None:
    library = shipped_gates().library
    units = library.formats["fp16"].model_copy(update={"adder_gates": 1.0})
    cheap = library.model_copy(update={"formats": {"fp16": units}})
    plain = replace(LIKE, pipelined=False)
    assert best_design(1024, plain, square=True).core.group_size == 3
    assert best_design(1024, plain, square=True, gates=Gates(cheap)).core.group_size == 1


def test_the_front_gives_up_area_only_for_fewer_outputs() -> None:
    found = design_space(1024, LIKE)
    front = pareto(found)
    assert front[0] == found[0]
    for small, narrow in pairwise(front):
        assert small.um2_per_mac <= narrow.um2_per_mac
        assert small.core.lookups_per_table > narrow.core.lookups_per_table
    for area in found:
        assert any(
            f.um2_per_mac <= area.um2_per_mac
            and f.core.lookups_per_table <= area.core.lookups_per_table
            for f in front
        )
    assert pareto([]) == []


@pytest.mark.parametrize(
    ("group", "halved", "bits"),
    [(1, True, 2), (2, True, 4), (3, True, 5), (4, True, 7), (3, False, 5), (5, True, 8)],
)
def test_an_index_tells_all_weights_of_a_group_apart(group: int, halved: bool, bits: int) -> None:
    core = replace(LIKE, group_size=group, halved=halved)
    assert index_bits(core) == bits
    assert 2**bits >= 3**group


def test_bits_in_are_activations_and_indices() -> None:
    core = replace(LIKE, group_size=3, tables=11, lookups_per_table=32, cores=2)
    assert input_bits(core) == 2 * (33 * 16 + 11 * 32 * 5)


def test_the_table_has_a_row_per_design_and_areas_that_add_up() -> None:
    found = design_space(1024, LIKE)
    table = designs_table(found)
    assert len(table) == len(found)
    parts = [name for name in table if name.endswith("_um2") and name != "area_um2"]
    assert sum(table[name] for name in parts) == pytest.approx(table["area_um2"])
    assert "um2" in table.to_csv_text().splitlines()[0]
    assert len(designs_table([])) == 0


def test_a_throughput_that_no_shape_has_is_said() -> None:
    with pytest.raises(SpecError, match=r"3 weights a clock of 1 cores: no shape .* groups of 5"):
        design_space(3, LIKE, groups=[5])


def test_an_unknown_format_is_said() -> None:
    with pytest.raises(SpecError, match="'int99'"):
        design_space(1024, replace(LIKE, activation="int99"))


def test_the_whole_space_is_searched_in_a_blink() -> None:
    start = time.perf_counter()
    design_space(4096, LIKE)
    assert time.perf_counter() - start < 1.0


def test_users_find_it_in_the_package() -> None:
    design = bw.TernaryLutDesign(group_size=3, tables=11, lookups_per_table=32, activation="fp16")
    assert bw.ternary_lut_area(design).total_um2 == core_area(design).total_um2
    assert bw.ternary_lut_designs(1024, design)[0].core.activation == "fp16"
