from __future__ import annotations

from typing import Any

import pytest

from bankwidth.operators import Elementwise, Embedding, Matmul, Moe, Norm, Select, Softmax
from bankwidth.operators.formats.aten import KNOWN, aten_operator, torch_dtype

BF16, FP8 = "c10::BFloat16", "c10::Float8_e4m3fn"


def made(op: str, shapes: list[Any], dtype: str = BF16, values: tuple[str, ...] = ()) -> Any:
    types = [dtype if shape else "Scalar" for shape in shapes]
    return aten_operator("x", op, shapes, types, values)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float", "fp32"), ("double", "fp64"), ("c10::Half", "fp16"), (BF16, "bf16"), (FP8, "fp8"),
        ("signed char", "int8"), ("unsigned char", "int8"), ("long int", None), ("bool", None),
        ("TensorList", None), ("", None), ("c10::complex<float>", None),
    ],
)  # fmt: skip
def test_names_of_dtypes(name: str, dtype: str | None) -> None:
    assert torch_dtype(name) == dtype


@pytest.mark.parametrize(
    ("op", "shapes", "sizes"),
    [
        ("aten::mm", [[4, 8], [8, 16]], (1, 4, 16, 8, True, False)),
        ("aten::bmm", [[3, 4, 8], [3, 8, 16]], (3, 4, 16, 8, False, False)),
        ("aten::addmm", [[16], [4, 8], [8, 16], [], []], (1, 4, 16, 8, True, True)),
        ("aten::addmm", [[4, 16], [4, 8], [8, 16], [], []], (1, 4, 16, 8, True, False)),
        ("aten::baddbmm", [[3, 4, 16], [3, 4, 8], [3, 8, 16]], (3, 4, 16, 8, False, False)),
        ("aten::linear", [[2, 3, 8], [16, 8], [16]], (1, 6, 16, 8, True, True)),
        ("aten::linear", [[2, 3, 8], [16, 8], []], (1, 6, 16, 8, True, False)),
        ("aten::matmul", [[2, 3, 8], [8, 16]], (1, 6, 16, 8, True, False)),
        ("aten::matmul", [[2, 5, 3, 8], [2, 5, 8, 7]], (10, 3, 7, 8, False, False)),
        ("aten::matmul", [[2, 5, 3, 8], [1, 5, 8, 7]], (10, 3, 7, 8, False, False)),
        ("aten::_scaled_mm", [[4, 8], [8, 16], [], []], (1, 4, 16, 8, True, False)),
    ],
)
def test_products(op: str, shapes: list[Any], sizes: tuple[Any, ...]) -> None:
    found = made(op, shapes)
    assert isinstance(found, Matmul)
    assert (found.batch, found.m, found.n, found.k, found.has_weight, found.bias) == sizes


def test_eight_bit_products_leave_in_sixteen() -> None:
    found = made("aten::_scaled_mm", [[4, 8], [8, 16], [], []], FP8)
    assert (found.dtype, found.weight_dtype, found.out_dtype) == ("fp8", "fp8", "bf16")
    assert made("aten::mm", [[4, 8], [8, 16]]).out_dtype is None


@pytest.mark.parametrize(
    ("op", "shapes", "values", "expected"),
    [
        ("aten::native_layer_norm", [[2, 3, 8], [], [8], [8], []], ("", "[8]"), ("layer", 6, 8)),
        ("aten::layer_norm", [[2, 3, 8], [], [8], [8], []], ("", "[3, 8]"), ("layer", 2, 24)),
        ("aten::_fused_rms_norm", [[6, 8], [], [8], []], ("", "[8]"), ("rms", 6, 8)),
        ("_C::rms_norm", [[6, 8], [6, 8], [8], []], (), ("rms", 6, 8)),
    ],
)
def test_norms(
    op: str, shapes: list[Any], values: tuple[str, ...], expected: tuple[str, int, int]
) -> None:
    found = made(op, shapes, values=values)
    assert isinstance(found, Norm)
    assert (found.style, found.rows, found.width) == expected


def test_softmax_along_any_axis() -> None:
    found = made("aten::_softmax", [[2, 4, 5], [], []], values=("", "-1", "False"))
    assert isinstance(found, Softmax)
    assert (found.rows, found.width) == (8, 5)
    assert made("aten::softmax", [[2, 4, 5], [], []], values=("", "1", "")).width == 4


def test_a_look_up_reads_rows_of_its_table() -> None:
    types = [BF16, "long int", "Scalar"]
    found = aten_operator("x", "aten::embedding", [[90, 8], [2, 3], []], types)
    assert isinstance(found, Embedding)
    assert (found.vocab, found.width, found.tokens) == (90, 8, 6)


@pytest.mark.parametrize(
    ("op", "shapes", "expected"),
    [
        ("aten::add", [[2, 3, 8], [2, 3, 8], []], ("add", 48, 2, 6)),
        ("aten::add_", [[2, 3, 8], [2, 3, 8], []], ("add", 48, 2, 6)),
        ("aten::mul", [[6, 8], [6, 8]], ("mul", 48, 2, 6)),
        ("aten::silu", [[6, 8]], ("silu", 48, 1, 6)),
        ("aten::relu_", [[6, 8]], ("relu", 48, 1, 6)),
        ("_C::silu_and_mul", [[6, 8], [6, 16]], ("silu_mul", 48, 2, 6)),
    ],
)
def test_functions_of_elements(
    op: str, shapes: list[Any], expected: tuple[str, int, int, int]
) -> None:
    found = made(op, shapes)
    assert isinstance(found, Elementwise)
    assert (found.function, found.elements, found.num_inputs, found.rows) == expected


def test_a_short_sum_is_an_addition_and_a_long_one_is_not_known() -> None:
    found = made("aten::sum", [[6, 4, 8], [], [], []], values=("", "[1]", "False", ""))
    assert isinstance(found, Elementwise)
    assert (found.function, found.elements, found.num_inputs) == ("add", 48, 4)
    assert made("aten::sum", [[6, 4096], [], []], values=("", "[-1]", "False")) is None


def test_the_largest_of_each_row() -> None:
    found = made("aten::argmax", [[6, 500], [], []], values=("", "-1", "False"))
    assert isinstance(found, Select)
    assert (found.rows, found.width, found.k) == (6, 500, 1)
    assert made("aten::topk", [[6, 64], [], []], values=("", "8", "-1")).k == 8


def test_experts_of_vllm() -> None:
    shapes = [[6, 8], [16, 24, 8], [16, 8, 12], [6, 2], [6, 2]]
    found = made("vllm::inplace_fused_experts", shapes)
    assert isinstance(found, Moe)
    sizes = (found.tokens, found.hidden, found.inter, found.experts, found.topk, found.gated)
    assert sizes == (6, 8, 12, 16, 2, True)


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        ("aten::mm", [[4, 8], [9, 16]]),
        ("aten::mm", [[4, 8]]),
        ("aten::mm", []),
        ("aten::linear", [[8], [16, 8], []]),
        ("aten::scaled_dot_product_attention", [[2, 3, 4], [2, 3, 4], [2, 3, 4]]),
        ("aten::scaled_dot_product_attention", [[2, 3, 1, 8], [2, 2, 4, 8], [2, 2, 4, 8]]),
        ("aten::embedding", [[8], [2]]),
        ("aten::softmax", [[]]),
        ("mylib::mm", [[4, 8], [8, 16]]),
    ],
)
def test_what_does_not_fit_is_not_known(op: str, shapes: list[Any]) -> None:
    assert made(op, shapes) is None


@pytest.mark.parametrize("op", sorted(KNOWN))
def test_no_call_with_odd_shapes_breaks_anything(op: str) -> None:
    shapes: list[Any]
    for shapes in ([], [[]], [[2], [3]], [[[2, 3]], []], [[0, 4], [4, 0]], [[2, 3, 4, 5]] * 9):
        made(op, shapes, values=("x", "[-9]", "", "7") * 3)
