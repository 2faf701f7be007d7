"""What it takes a GPU to make 16-bit values of weights that are stored in fewer bits.

Kernels for such weights load them as they are stored and convert them in registers, in front of the
tensor cores. Counted are instructions of a thread, per weight, as in FasterTransformer's converters
(NVIDIA/FasterTransformer at 87d7789, interleaved_numeric_conversion.h): eight 4-bit weights take a
shift, four `lop3` (mask and merge, two weights each), and four half2 operations that take off what
the merge added; four 8-bit weights take two `prmt` and two half2. A half2 multiply by the scale
comes on top. To bf16 it is assumed to take as many.

Other widths are derived from these: a width is stored as planes of 1, 2, 4 or 8 bits (GGUF keeps
the fifth bit of q5_0 apart, too), each of which is merged in like 4-bit weights.
"""

from __future__ import annotations

from typing import Final

PAIR: Final = 0.5  # an instruction for two weights, per weight
SHIFT: Final = 1 / 8  # a shift of a register of eight weights, so that the masks meet the rest
BYTE: Final = 8
# Five values in a byte, base 3: assumed a multiply by the power, a multiply by 3, a shift, and the
# half2 that takes 1 off, as the CPU code of GGUF's TQ1_0 does it (ggml-quants.c, recalled).
TERNARY: Final = 3.0 + PAIR
# DFloat11 (arXiv 2504.11651, section 3.3): threads go through their coded exponents twice, first to
# count them, then to write. Assumed per value and pass: two look-ups of a byte in shared memory,
# three shifts and masks, one addition.
CODED: Final = 2 * 6.0


def conversion_instructions(bits: int, *, in_powers_of_three: bool = False) -> float:
    """Instructions per weight of `bits` bits, scale included."""
    if in_powers_of_three:
        return TERNARY + PAIR
    planes = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    merged = sum(PAIR if width == BYTE else PAIR + SHIFT for width in planes)
    return merged + PAIR + PAIR  # the merge's offset, the scale
