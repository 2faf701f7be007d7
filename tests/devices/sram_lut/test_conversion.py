"""What all conversions have in common: rows, layout, cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import (
    A_BITS,
    BITS,
    DST,
    OP,
    PHASE,
    A,
    Op,
    Phase,
    Program,
    ProgramBuilder,
)
from bankwidth.devices.sram_lut.conversion import (
    Codes,
    LaneMultiplier,
    LaneScale,
    Maker,
    ProgramScale,
    Shift,
    absolute_maximum,
    dequantise,
    gemmlowp_shifts,
    half_to_single,
    int_to_float,
    program_of,
    quantise,
    rows_needed,
    scale_integer,
    single_to_half,
)
from bankwidth.devices.sram_lut.costs import LAWS, Costs, Law
from bankwidth.errors import MappingError
from bankwidth.validate import lut_conversion

NEURAL_CACHE = Costs(
    dict.fromkeys(LAWS, Law(linear=1.0))
    | {"add": Law(linear=1.0, constant=1.0), "multiply": Law(1.0, 5.0, -2.0)}
)
SCALE_ROW, SCRATCH, ROWS = 128, 192, 448
KNOWN = ProgramScale(float(np.float32(12.7)))
LANES = LaneScale(SCALE_ROW)
# Maker, bits of the result, options.
CONVERSIONS: list[tuple[Maker, int, dict[str, Any]]] = [
    (int_to_float, 32, {"codes": Codes(bits=8)}),
    (int_to_float, 32, {"codes": Codes(bits=32)}),
    (int_to_float, 32, {"codes": Codes(bits=4, signed=False, zero_point=8)}),
    (dequantise, 32, {"codes": Codes(bits=8), "scale": KNOWN}),
    (dequantise, 32, {"codes": Codes(bits=24), "scale": LANES}),
    (dequantise, 32, {"codes": Codes(bits=6), "scale": LaneScale(SCALE_ROW, "fp16")}),
    (quantise, 8, {"bits": 8, "scale": LANES}),
    (quantise, 4, {"bits": 4, "scale": KNOWN, "format": "fp16"}),
    (scale_integer, 8, {"bits": 32, "multiplier": 77, "shifts": [Shift(9)], "out_bits": 8}),
    (
        scale_integer,
        8,
        {
            "bits": 24,
            "multiplier": LaneMultiplier(SCALE_ROW, 16),
            "shifts": gemmlowp_shifts(3),
            "out_bits": 8,
            "zero_point": 5,
        },
    ),
    (half_to_single, 32, {}),
    (single_to_half, 16, {}),
    (absolute_maximum, 32, {"lanes": 32}),
]
IDS = [f"{maker.__name__}-{i}" for i, (maker, _, _) in enumerate(CONVERSIONS)]
each = pytest.mark.parametrize(("maker", "out_bits", "options"), CONVERSIONS, ids=IDS)


def cycles(maker: Maker, **options: Any) -> int:
    return int(NEURAL_CACHE.cycles(program_of(maker, 0, 64, SCRATCH, **options)).sum())


@each
def test_only_the_result_and_the_scratch_that_was_asked_for_are_written(
    maker: Maker, out_bits: int, options: Any
) -> None:
    cells = Cells(ROWS, 64)
    cells.bits[:] = np.random.default_rng(1).integers(0, 2, cells.bits.shape)
    before = cells.bits.copy()
    cells.execute(program_of(maker, 0, 64, SCRATCH, **options))
    end = SCRATCH + rows_needed(maker, **options)
    changed = np.flatnonzero((cells.bits != before).any(axis=1))
    assert set(changed) <= {*range(out_bits), *range(SCRATCH, end)}
    assert (cells.bits[end - 1] != before[end - 1]).any(), "the last one is used"


@each
def test_what_lay_in_the_scratch_and_in_the_result_does_not_matter(
    maker: Maker, out_bits: int, options: Any
) -> None:
    results = []
    for seed in (1, 2):
        cells = Cells(ROWS, 64)
        cells.bits[:] = np.random.default_rng(seed).integers(0, 2, cells.bits.shape)
        cells.bits[64:SCRATCH] = np.random.default_rng(9).integers(0, 2, (SCRATCH - 64, 64))
        cells.execute(program_of(maker, 0, 64, SCRATCH, **options))
        results.append(cells.bits[:out_bits].copy())
    assert (results[0] == results[1]).all()


@each
def test_all_cycles_count_as_conversion_and_the_phase_is_given_back(
    maker: Maker, out_bits: int, options: Any
) -> None:
    builder = ProgramBuilder(phase=Phase.BUILD)
    maker(builder, 0, 64, SCRATCH, **options)
    assert builder.phase is Phase.BUILD
    assert set(builder.build().commands[:, PHASE]) == {Phase.CONVERT}


@each
def test_no_command_overwrites_what_it_has_still_to_read(
    maker: Maker, out_bits: int, options: Any
) -> None:
    """Bits go one by one, the lowest first: a value must not move up onto itself."""
    program = program_of(maker, 0, 64, SCRATCH, **options)
    assert not list(overwriting(program))


def overwriting(program: Program) -> Any:
    moves = (Op.COPY, Op.INVERT, Op.AND, Op.OR, Op.XOR, Op.ADD, Op.SUBTRACT, Op.LANE_SHIFT)
    for row in program.commands.tolist():
        held = min(abs(row[A_BITS]), row[BITS])
        if row[OP] in moves and row[A] < row[DST] < row[A] + held:
            yield row


def test_the_check_of_overwriting_finds_one() -> None:
    builder = ProgramBuilder()
    builder.copy(1, 0, 8)
    assert len(list(overwriting(builder.build()))) == 1


def test_arrays_of_words_are_refused_with_what_to_do() -> None:
    with pytest.raises(MappingError, match=r"layout 'words'.*mapping\.sram_lut\.convert: host"):
        program_of(half_to_single, 0, 64, SCRATCH, layout="words")


def test_cycles_of_integers_to_floats_are_those_counted_by_hand() -> None:
    for bits in range(2, 25):
        codes = Codes(bits=bits)
        assert cycles(int_to_float, codes=codes) == lut_conversion.to_float_ck(bits)
        half = LaneScale(SCALE_ROW, "fp16")
        by_hand = lut_conversion.times_half_ck(bits)
        assert cycles(dequantise, codes=codes, scale=half) == by_hand


@pytest.mark.parametrize(
    ("maker", "named", "fewest", "most", "others"),
    [
        (int_to_float, "codes", 2, 32, {}),
        (dequantise, "codes", 2, 32, {"scale": KNOWN}),
        (dequantise, "codes", 2, 32, {"scale": LANES}),
        (quantise, "bits", 2, 16, {"scale": ProgramScale(3.0)}),
        (quantise, "bits", 2, 16, {"scale": LANES}),
        (scale_integer, "bits", 2, 40, {"multiplier": 99, "shifts": [Shift(5)], "out_bits": 8}),
        (absolute_maximum, "lanes", 1, 64, {}),
    ],
)
def test_wider_never_takes_fewer_cycles(
    maker: Maker, named: str, fewest: int, most: int, others: Any
) -> None:
    widths = range(fewest, most + 1)
    values = [Codes(bits=n) for n in widths] if named == "codes" else list(widths)
    took = [cycles(maker, **{named: value}, **others) for value in values]
    assert took == sorted(took)
    assert took[-1] > took[0]


def test_a_scale_with_fewer_digits_takes_fewer_cycles() -> None:
    codes = Codes(bits=8)
    took = [
        cycles(dequantise, codes=codes, scale=ProgramScale(value))
        for value in (0.5, 3.0, float(np.float32(0.1)))
    ]
    assert took == sorted(took)
    assert took[0] < took[1] < took[2]


def test_the_widest_conversions_fit_an_array_of_256_rows() -> None:
    widest = rows_needed(dequantise, codes=Codes(bits=32), scale=LANES)
    assert widest + 3 * 32 <= 256
    assert rows_needed(quantise, bits=16, scale=LANES) + 2 * 32 + 16 <= 256
