"""Products on the clock: cycles are those of the commands; more hardware is never slower."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.sram_lut.problems import problems

from bankwidth.devices.sram_lut.commands import Phase, Program
from bankwidth.devices.sram_lut.costs import LAWS, Costs, Law
from bankwidth.devices.sram_lut.engine import rows_of, run_product
from bankwidth.devices.sram_lut.gemv import product_steps, table_steps
from bankwidth.devices.sram_lut.product import Chip, Operand, Product
from bankwidth.devices.sram_lut.tiling import tilings
from bankwidth.devices.sram_lut.work import ProductWork, TableWork, by_round
from bankwidth.errors import MappingError

NEURAL_CACHE = Costs(
    {
        "move": Law(0, 1, 0), "logic": Law(0, 1, 0), "add": Law(0, 1, 1),
        "accumulate": Law(0, 1, 1), "multiply": Law(1, 5, -2), "tag": Law(0, 0, 1),
        "lane_shift": Law(0, 2, 0), "access": Law(0, 1, 0),
    }
)  # fmt: skip


def chip(**changes: Any) -> Chip:
    plain = Chip(
        slices=4, banks_per_slice=2, arrays_per_bank=4, rows=256, columns=256,
        layout="transposed", word_bits=0, buffers=2, slice_bus_bits=512, bank_port_bits=256,
    )  # fmt: skip
    return replace(plain, **changes)


def product(**changes: Any) -> Product:
    values = np.random.default_rng(1).integers(-128, 128, (8, 512))
    plain = Product(
        name="p", algorithm="weight_tables", lanes=1024, inputs=512,
        numbers=Operand(bits=4, coding="twos", wire_bits=4),
        index=Operand(bits=8, coding="twos", wire_bits=8), values=values, members=8, group=4,
        accumulator_bits=None, zeros=True, runs=True, needed_entries=True, convert=False,
    )  # fmt: skip
    return replace(plain, **changes)


@settings(deadline=None, max_examples=60)
@given(problems())
def test_work_is_what_the_commands_cost(problem: Any) -> None:
    """Group sums made for all arrays at once are those of walking one array's commands."""
    _, asked, _ = problem
    rows = replace(rows_of(chip(rows=4096, word_bits=0), asked), members=len(asked.values))
    if asked.algorithm == "multiply":
        groups = -(-asked.inputs // asked.group)
        width = asked.index.value_bits
        steps = product_steps(rows, groups * asked.group, width, signed=True)
        source: Any = ProductWork(
            NEURAL_CACHE, groups, asked.group, len(asked.values), width, signed=True
        )
    else:
        looked_up = asked.look_up()
        steps = table_steps(rows, looked_up, all_entries=not asked.needed_entries)
        source = TableWork(
            NEURAL_CACHE, looked_up, asked.members, all_entries=not asked.needed_entries
        )
    work = source.of(rows)
    cycles = NEURAL_CACHE.cycles(Program(steps.commands))
    walked = np.bincount(steps.group, weights=cycles, minlength=len(work.lookups))
    assert (work.lookups.sum(axis=1) + work.builds.sum(axis=1) == walked).all()


@settings(deadline=None, max_examples=40)
@given(problems(), st.integers(1, 4))
def test_each_tile_of_members_has_work_of_its_own(problem: Any, members: int) -> None:
    _, asked, _ = problem
    if asked.algorithm == "multiply":
        return
    rows = replace(rows_of(chip(rows=4096), asked), members=members)
    every = not asked.needed_entries
    work = TableWork(NEURAL_CACHE, asked.look_up(), asked.members, all_entries=every).of(rows)
    for tile, first in enumerate(range(0, asked.members, members)):
        part = asked.values[first : first + members]
        own = replace(asked, values=part, members=len(part))
        steps = table_steps(rows, own.look_up(), all_entries=every)
        cycles = NEURAL_CACHE.cycles(Program(steps.commands))
        walked = np.bincount(steps.group, weights=cycles, minlength=len(work.lookups))
        assert (work.lookups[:, tile] + work.builds[:, tile] == walked).all()


@settings(deadline=None, max_examples=60)
@given(problems())
def test_twice_the_arrays_can_do_as_these_do(problem: Any) -> None:
    small, asked, _ = problem
    large = replace(small, arrays_per_bank=2 * small.arrays_per_bank)
    few, many = (
        set(tilings(asked.shape, each.hardware, rows_of(each, asked))) for each in (small, large)
    )
    assert {replace(way, waves=0) for way in few} <= {replace(way, waves=0) for way in many}


@settings(deadline=None, max_examples=60)
@given(problems(), st.data())
def test_rounds_lose_no_work(problem: Any, data: st.DataObject) -> None:
    small, asked, _ = problem
    if asked.algorithm == "multiply":
        return
    tiling = data.draw(
        st.sampled_from(list(tilings(asked.shape, small.hardware, rows_of(small, asked))))
    )
    work = TableWork(NEURAL_CACHE, asked.look_up(), asked.members, all_entries=False).of(
        tiling.rows
    )
    if tiling.outer_parts == 1:
        rounds = by_round(work, tiling)
        assert rounds.clip(0).sum() == tiling.lane_tiles * (work.lookups.sum() + work.builds.sum())


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from(["arrays_per_bank", "banks_per_slice", "slices"]))
def test_twice_the_arrays_are_never_slower(problem: Any, what: str) -> None:
    small, asked, _ = problem
    twice: dict[str, Any] = {what: 2 * getattr(small, what)}
    large = replace(small, **twice)
    few, many = (run_product(c, NEURAL_CACHE, asked).cycles for c in (small, large))
    assert many <= few


@settings(deadline=None, max_examples=40)
@given(problems())
def test_the_split_sums_to_the_cycles(problem: Any) -> None:
    small, asked, _ = problem
    outcome = run_product(small, NEURAL_CACHE, asked)
    assert sum(outcome.split.values()) == outcome.cycles
    assert min(outcome.split.values()) >= 0
    assert outcome.ideal_cycles <= outcome.cycles


def test_looking_up_less_is_faster() -> None:
    every: dict[str, Any] = {"zeros": False, "runs": False, "needed_entries": False}
    plain = product(**every)
    before = run_product(chip(), NEURAL_CACHE, plain).cycles
    for choice in ("zeros", "runs"):
        less = product(**every | {choice: True})
        assert run_product(chip(), NEURAL_CACHE, less).cycles < before
    one = {"values": plain.values[:1], "members": 1}
    all_built, some_built = (
        run_product(chip(), NEURAL_CACHE, product(**every | one | {"needed_entries": needed}))
        for needed in (False, True)
    )
    assert some_built.phase_cycles[Phase.BUILD] < all_built.phase_cycles[Phase.BUILD]


def test_members_that_repeat_cost_what_the_first_ones_do() -> None:
    """Sixteen members, of which two tiles of four are drawn, as all sixteen written out."""
    whole = product(values=np.tile(product().values, (2, 1)), members=16)
    repeated = product(members=16)
    few = chip(rows=190)
    found = [run_product(few, NEURAL_CACHE, asked) for asked in (whole, repeated)]
    assert found[0].tiling.rows.members == 4
    assert found[0].cycles == found[1].cycles
    assert found[0].phase_cycles == found[1].phase_cycles


def test_a_second_buffer_hides_the_numbers_behind_the_work() -> None:
    one, two = (run_product(chip(buffers=n), NEURAL_CACHE, product()) for n in (1, 2))
    assert two.cycles < one.cycles


def test_a_wider_bus_is_never_slower() -> None:
    cycles = [
        run_product(chip(slice_bus_bits=bits, bank_port_bits=bits), NEURAL_CACHE, product()).cycles
        for bits in (16, 32, 64, 128, 256, 512)
    ]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


def test_a_table_that_does_not_fit_says_the_rows_it_needs() -> None:
    message = (
        r"p: groups of 8 do not fit: a table of 256 entries needs 1729 rows \(247 sums of up to 7 "
        r"bits\), with 64 rows of weights and one accumulator of 21 bits 1814 rows, an array "
        r"has 256"
    )
    with pytest.raises(MappingError, match=message):
        run_product(chip(), NEURAL_CACHE, product(group=8))


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    with pytest.raises(MappingError, match=r"need accumulators of 21 bits, .* is 16"):
        run_product(chip(), NEURAL_CACHE, product(accumulator_bits=16))


def test_words_too_narrow_for_a_sum_are_refused() -> None:
    with pytest.raises(MappingError, match="sums need 21 bits, a lane has words of 16"):
        run_product(chip(layout="words", word_bits=16), NEURAL_CACHE, product())


def test_every_operation_has_a_law() -> None:
    with pytest.raises(KeyError):
        Costs({law: Law() for law in LAWS[1:]})
