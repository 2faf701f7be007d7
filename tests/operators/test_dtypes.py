from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.operators import DTYPE_BITS, DTYPE_BLOCKS, Tensor, canonical_dtype, packed_bytes
from bankwidth.operators.dtypes import unknown_dtype


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("bfloat16", "bf16"),
        ("torch.float16", "fp16"),
        ("half", "fp16"),
        ("FP8", "fp8"),
        ("float8_e4m3fn", "fp8"),
        ("int4", "int4"),
    ],
)
def test_names_of_other_tools_are_understood(name: str, canonical: str) -> None:
    assert canonical_dtype(name) == canonical


def test_an_unknown_dtype_has_no_canonical_name_and_a_hint() -> None:
    assert canonical_dtype("bf17") is None
    assert "did you mean 'bf16'" in unknown_dtype("bf17")


def test_four_bit_values_are_packed_two_in_a_byte() -> None:
    assert [packed_bytes(elements, "int4") for elements in (1, 2, 3)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("dtype", "bits"), [("q8_0", 8.5), ("q4_0", 4.5), ("q2_k", 2.625), ("ternary", 1.6)]
)
def test_blocks_hold_their_scales(dtype: str, bits: float) -> None:
    assert 8 * packed_bytes(256 * 5, dtype) == 256 * 5 * bits
    assert packed_bytes(1, dtype) == packed_bytes(2, dtype)  # a block is whole


@given(st.integers(0, 10**9), st.sampled_from(sorted(DTYPE_BITS.keys() - DTYPE_BLOCKS.keys())))
def test_packing_wastes_less_than_a_byte(elements: int, dtype: str) -> None:
    spare_bits = 8 * packed_bytes(elements, dtype) - elements * DTYPE_BITS[dtype]
    assert 0 <= spare_bits < 8


def test_size_of_a_tensor_is_its_elements_times_the_width() -> None:
    tensor = Tensor(name="w", shape=(3, 5, 7), dtype="fp32", role="weight")
    assert (tensor.elements, tensor.size_bytes) == (105, 420)


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        ("int4_g128", 4 + 16 / 128),
        ("int4_g128z", 4 + 20 / 128),
        ("int3_g64", 3.25),
        ("fp8_b128", 8 + 32 / 128**2),
        ("bf16_2of4", 9),
        ("int4_2of4", 3),
        ("int4_2of4_g128", 3 + 16 / 128),
        ("bf16_1of4", 4.5),
        ("mxfp4", 4.25),
        ("nvfp4", 4.5),
        ("dfloat11", 11),
    ],
)
def test_composed_formats_hold_scales_and_places(dtype: str, bits: float) -> None:
    assert 8 * packed_bytes(2**20, dtype) == 2**20 * bits
    assert dtype in DTYPE_BITS
    assert canonical_dtype(dtype.upper()) == dtype


@pytest.mark.parametrize(
    "name", ["int4_g0", "int4_g", "int4_4of4", "int4_0of4", "q4_0_g32", "bf17_g8", "int4_g128q"]
)
def test_a_composed_format_that_means_nothing_is_unknown(name: str) -> None:
    assert canonical_dtype(name) is None
    assert name not in DTYPE_BITS


@given(st.integers(1, 10**6), st.integers(1, 8), st.integers(1, 300))
def test_more_values_and_finer_groups_never_take_less(count: int, bits: int, group: int) -> None:
    fine, coarse = f"int{bits}_g{group}", f"int{bits}_g{group + 1}"
    assert packed_bytes(count, fine) >= packed_bytes(count, coarse) - 2  # a cut group is rounded
    assert packed_bytes(count + 1, fine) >= packed_bytes(count, fine)
    assert packed_bytes(count, f"{fine}z") >= packed_bytes(count, fine)
    assert packed_bytes(count, fine) >= packed_bytes(count, f"int{bits}")
