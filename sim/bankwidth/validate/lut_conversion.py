"""Type conversion in compute SRAM: numbers beside numpy's bit for bit, cycles beside closed forms.

Samples are seeded; rows that a conversion does not write first hold random bits. What SAIL's own
conversion takes is not public (arXiv 2509.25853: it names the idea, not the cycles), so the closed
forms are those of the algorithms here, counted by hand from their steps under the costs of Neural
Cache: n cycles a copy or a logic operation of n rows, n + 1 an addition, 1 a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.conversion import (
    Codes,
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
from bankwidth.validate.lut_laws import styles
from bankwidth.validate.verdicts import Case

SEED: Final = 13
SAMPLES: Final = 2048
DST, SRC, SECOND, SCRATCH = 0, 64, 128, 192  # rows
NUMPY: Final = "numpy, IEEE 754 float32"
COUNTED: Final = "counted by hand from the steps of the algorithm (devices/sram_lut)"
STYLES: Final = ("neural-cache", "ccb")  # both give copies, logic, additions and tags the same
MULTIPLIER: Final = 1518500250  # of 31 bits: 0.7071, as gemmlowp has it
GROUP: Final = 32  # lanes of a block with a scale of its own, as GGUF's
TINY: Final = float(np.finfo(np.float32).tiny)
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Operand(NamedTuple):
    """What lies in the lanes before a conversion: the low `bits` bits of whole numbers."""

    bits: int
    values: Ints


def converted(
    maker: Maker, x: Operand, width: int, second: Operand | None = None, /, **options: Any
) -> Ints:
    """What a maker's program leaves: two's complement of `width` bits.

    `second`, at row `SECOND`, is the scale or the multiplier of each lane. All rows else hold
    random bits before.
    """
    operands = {SRC: x} if second is None else {SRC: x, SECOND: second}
    builder = ProgramBuilder()
    for row, operand in operands.items():
        builder.write(row, operand.bits, str(row))
    scratch_rows = maker(builder, DST, SRC, SCRATCH, **options)
    builder.read(DST, width, "y")
    cells = Cells(SCRATCH + scratch_rows, len(x.values))
    cells.bits[:] = np.random.default_rng(SEED).integers(0, 2, cells.bits.shape)
    data = {str(row): operand.values for row, operand in operands.items()}
    return cells.execute(builder.build(), data)["y"]


def cycles(style: str, maker: Maker, **options: Any) -> int:
    """Of one conversion, all lanes of an array at once."""
    program = program_of(maker, DST, SRC, SCRATCH, **options)
    return int(styles()[style].cycles(program).sum())


# --------------------------------------------------------------------------------------- numbers
def stored(values: Floats) -> Ints:
    """The bits of fp32 as two's complement."""
    return np.ascontiguousarray(values, dtype=np.float32).view(np.int32).astype(np.int64)


def stored_half(values: NDArray[np.float16]) -> Ints:
    """Those of fp16."""
    return np.ascontiguousarray(values).view(np.int16).astype(np.int64)


def product(x: Floats, y: Floats) -> Floats:
    """What the arrays should give: numpy's product, without subnormal numbers on the way."""
    with np.errstate(over="ignore", under="ignore"):
        return flushed(flushed(x) * flushed(y))


def flushed(x: Floats) -> Floats:
    """A zero of its sign for each subnormal number."""
    return np.where(np.abs(x) < np.float32(TINY), np.copysign(np.float32(0), x), x)


def rounded(x: Ints, shift: Shift) -> Ints:
    """x / 2^bits as `Shift` has it, in integers."""
    floor, rest = x >> shift.bits, x & ((1 << shift.bits) - 1)
    twice = 2 * rest - (1 << shift.bits)  # below, at or above a half
    at_half = {
        "half_up": np.ones_like(x, dtype=bool),
        "half_away": x >= 0,
        "half_even": floor % 2 == 1,
        "down": np.zeros_like(x, dtype=bool),
    }[shift.rounding]
    goes_up = ((twice > 0) & (shift.rounding != "down")) | ((twice == 0) & at_half)
    return np.where(goes_up & (shift.bits > 0), floor + 1, floor)


def scaled_integers(x: Ints, multiplier: int, shifts: Sequence[Shift], out_bits: int) -> Ints:
    """What `scale_integer` should give; |x * multiplier| must be below 2^62."""
    total = x * multiplier
    for shift in shifts:
        total = rounded(total, shift)
    return np.clip(total, -(1 << (out_bits - 1)), (1 << (out_bits - 1)) - 1)


# --------------------------------------------------------------------------------------- samples
def integers(codes: Codes) -> Ints:
    """Codes in all of their range, its ends and what is next to them and to 0 first."""
    low = codes.lowest + codes.zero_point
    ends = [low, low + (1 << codes.bits) - 1, codes.zero_point, low + 1]
    random = np.random.default_rng(SEED).integers(low, low + (1 << codes.bits), SAMPLES - len(ends))
    return np.concatenate([np.array(ends, dtype=np.int64), random])


def normal_floats(seed: int = SEED) -> Floats:
    """Normal numbers of any exponent, zeros of both signs first."""
    random = np.random.default_rng(seed)
    bits = random.integers(1 << 23, 255 << 23, SAMPLES) | (random.integers(0, 2, SAMPLES) << 31)
    values = bits.astype(np.uint32).view(np.float32)
    values[:2] = 0.0, -0.0
    return values


def activations(bits: int) -> tuple[Floats, Floats]:
    """Normally distributed numbers, many half way between two integers, and reciprocal steps."""
    random = np.random.default_rng(SEED)
    most = (1 << (bits - 1)) - 1
    x = random.normal(0, 1, SAMPLES).astype(np.float32)
    scale = (most / random.uniform(1, 4, SAMPLES)).astype(np.float32)
    x[::4] = (random.integers(-2 * most - 2, 2 * most + 3, SAMPLES // 4) / 2).astype(np.float32)
    scale[::4] = 1.0
    return x, scale


def half_floats() -> NDArray[np.float16]:
    """Every number of fp16 but not-a-number."""
    values = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    return values[~np.isnan(values)]


# ------------------------------------------------------------------------------------------ cases
def published() -> Iterator[Case]:
    """Lanes equal to numpy's bit for bit, and cycles by style."""
    for name, found, expected in _numbers():
        yield Case(
            id=name,
            quantity="lanes equal bit for bit",
            reference=len(expected),
            ours=int((found == expected).sum()),
            source=NUMPY,
        )
    for style in STYLES:
        yield from _cycles(style)


def _numbers() -> Iterator[tuple[str, Ints, Ints]]:
    """Name, ours, numpy's."""
    yield from _from_integers()
    yield from _to_integers()
    yield from _halves()
    yield from _fixed_point()


def _from_integers() -> Iterator[tuple[str, Ints, Ints]]:
    for codes in (*map(_signed, (4, 8, 16, 24, 32)), Q4_0):
        x = integers(codes)
        numbers = (x - codes.zero_point).astype(np.float32)
        name = f"{_name(codes)} to fp32"
        operand = Operand(codes.bits, x)
        yield name, converted(int_to_float, operand, 32, codes=codes), stored(numbers)
        yield f"{name}, times fp32 per lane", *_times_single(codes, operand, numbers)
        yield f"{name}, times fp16 per lane", *_times_half(codes, operand, numbers)
        known = np.float32(0.0123)
        ours = converted(dequantise, operand, 32, codes=codes, scale=ProgramScale(float(known)))
        yield f"{name}, times a known scale", ours, stored(numbers * known)


def _times_single(codes: Codes, x: Operand, numbers: Floats) -> tuple[Ints, Ints]:
    scale = normal_floats()
    second = Operand(32, stored(scale))
    ours = converted(dequantise, x, 32, second, codes=codes, scale=LaneScale(SECOND))
    return ours, stored(product(numbers, scale))


def _times_half(codes: Codes, x: Operand, numbers: Floats) -> tuple[Ints, Ints]:
    finite = half_floats()[np.isfinite(half_floats())]
    scale = np.random.default_rng(SEED).choice(finite, SAMPLES)
    second = Operand(16, stored_half(scale))
    ours = converted(dequantise, x, 32, second, codes=codes, scale=LaneScale(SECOND, "fp16"))
    return ours, stored(numbers * scale.astype(np.float32))


def _to_integers() -> Iterator[tuple[str, Ints, Ints]]:
    for bits in (4, 8, 16):
        x, scale = activations(bits)
        most = (1 << (bits - 1)) - 1
        second = Operand(32, stored(scale))
        single = Operand(32, stored(x))
        ours = converted(quantise, single, bits, second, bits=bits, scale=LaneScale(SECOND))
        yield f"fp32 to int{bits}, scale per lane", ours, _quantised(x, scale, most)
        known = np.float32(most / 3.7)
        ours = converted(quantise, single, bits, bits=bits, scale=ProgramScale(float(known)))
        yield f"fp32 to int{bits}, known scale", ours, _quantised(x, known, most)
        half = x.astype(np.float16)
        ours = converted(
            quantise,
            Operand(16, stored_half(half)),
            bits,
            bits=bits,
            scale=ProgramScale(float(known)),
            format="fp16",
        )
        expected = _quantised(half.astype(np.float32), known, most)
        yield f"fp16 to int{bits}, known scale", ours, expected
    x, _ = activations(8)
    largest = np.array([np.abs(x[i : i + GROUP]).max() for i in range(len(x))])
    ours = converted(absolute_maximum, Operand(32, stored(x)), 32, lanes=GROUP)
    yield f"largest of {GROUP} lanes, fp32", ours, stored(largest)


def _quantised(x: Floats, scale: Any, most: int) -> Ints:
    whole: Ints = np.clip(np.rint(x * scale), -most, most).astype(np.int64)
    return whole


def _halves() -> Iterator[tuple[str, Ints, Ints]]:
    half = half_floats()
    ours = converted(half_to_single, Operand(16, stored_half(half)), 32)
    yield "fp16 to fp32, every number", ours, stored(half.astype(np.float32))
    x = normal_floats()
    between = half[:-1].astype(np.float64) / 2 + half[1:].astype(np.float64) / 2  # ties
    ties = between[np.isfinite(between)][::8].astype(np.float32)
    x = np.concatenate([x, ties, np.nextafter(ties, np.float32(0))])
    with np.errstate(over="ignore", under="ignore"):
        expected = stored_half(x.astype(np.float16))
    yield "fp32 to fp16", converted(single_to_half, Operand(32, stored(x)), 16), expected


def _fixed_point() -> Iterator[tuple[str, Ints, Ints]]:
    x = integers(_signed(32))
    for name, shifts in SCALINGS.items():
        options: dict[str, Any] = {"multiplier": MULTIPLIER, "shifts": shifts, "out_bits": 8}
        ours = converted(scale_integer, Operand(32, x), 8, bits=32, **options)
        yield f"int32 to int8, {name}", ours, scaled_integers(x, **options)


def _cycles(style: str) -> Iterator[Case]:
    for bits in (2, 4, 8, 16, 24):
        codes = _signed(bits)
        scale = LaneScale(SECOND, "fp16")
        yield _counted(style, f"int{bits} to fp32", to_float_ck(bits), int_to_float, codes=codes)
        yield _counted(
            style,
            f"int{bits} to fp32, times fp16 per lane",
            times_half_ck(bits),
            dequantise,
            codes=codes,
            scale=scale,
        )
    for lanes in (32, 256):
        name, law = f"largest of {lanes} lanes, fp32", largest_ck(lanes, shift_ck(style))
        yield _counted(style, name, law, absolute_maximum, lanes=lanes)


def _counted(style: str, name: str, law_ck: int, maker: Callable[..., int], **options: Any) -> Case:
    return Case(
        id=f"{style}: {name}",
        quantity="cycles",
        reference=law_ck,
        ours=cycles(style, maker, **options),
        source=COUNTED,
        note=f"{rows_needed(maker, **options)} rows of scratch",
    )


def to_float_ck(bits: int) -> int:
    """A signed integer of at most 24 bits to fp32: `int_to_float.py` has the sum."""
    steps = (bits - 1).bit_length()
    return bits * (steps + 1) + (1 << steps) + 56


def times_half_ck(bits: int) -> int:
    """The same times a scale of fp16 (11 bits of significand) in each lane."""
    steps = (bits - 1).bit_length()
    wide, narrow, width = max(bits, 11), min(bits, 11), bits + 11
    below = width - 24  # rows that rounding looks at
    parts_ck: tuple[int, ...] = (
        2,  # zeros, ones
        2 * bits + 2 + steps * bits + (1 << steps) + 1,  # magnitude, leading one up, which are zero
        10 + 4 + 1 + (4 * 11 + 2**4) + 1,  # the scale taken apart, subnormal ones too
        max(0, -below) + narrow * (wide + 4) + wide - 2 + 2,  # product, sign, zeros
        1 + 1 + min(width, 26) + 1,  # its leading one
        {1: 1, 2: 3}.get(below, max(0, below)),
        8 + 5 * (8 + 1),  # exponent: a constant and five parts
        1 + 31 + 1 + (31 if below <= 0 else 32),  # sign, zeros, lanes that are not zero
    )
    return sum(parts_ck)


def largest_ck(lanes: int, move_ck: int) -> int:
    """The largest of 31-bit numbers: move, compare, tag, copy, log2(lanes) times."""
    steps = (lanes - 1).bit_length()
    return 2 + 31 + 1 + steps * (move_ck + (32 + 1) + 1 + 31)


def shift_ck(style: str) -> int:
    """31-bit numbers to other lanes, which styles do each in their way."""
    builder = ProgramBuilder()
    builder.lane_shift(DST, SRC, 31, 1)
    return int(styles()[style].cycles(builder.build()).sum())


def _signed(bits: int) -> Codes:
    return Codes(bits=bits)


def _name(codes: Codes) -> str:
    kind = "int" if codes.signed else "uint"
    return f"{kind}{codes.bits}" + (f" less {codes.zero_point}" if codes.zero_point else "")


Q4_0: Final = Codes(bits=4, signed=False, zero_point=8)
SCALINGS: Final = {
    "one rounding": (Shift(38),),
    "two roundings as gemmlowp's": gemmlowp_shifts(7),
    "ties to even": (Shift(38, "half_even"),),
}
