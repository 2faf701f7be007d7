"""Functions of vectors: operations and inputs by their formulas."""

from __future__ import annotations

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import Elementwise
from bankwidth.operators.vector import FUNCTIONS


def function(name: str, inputs: int) -> Elementwise:
    return Elementwise(name="e", function=name, elements=12, num_inputs=inputs, dtype="bf16")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.endswith("_mul")])
def test_a_gate_is_a_function_and_one_product_more(name: str) -> None:
    plain = function(name.removesuffix("_mul"), 1)
    assert function(name, 2).flops == plain.flops + 12
    assert function(name, 2).read_bytes == 2 * plain.read_bytes


@pytest.mark.parametrize(("inputs", "operations"), [(2, 3), (3, 5), (8, 15)])
def test_parts_of_a_softmax_are_scaled_and_added(inputs: int, operations: int) -> None:
    assert function("merge", inputs).flops == operations * 12
    assert function("merge", inputs).read_bytes == inputs * 24


@pytest.mark.parametrize(("name", "inputs"), [("tanh", 2), ("softplus", 3), ("merge", 1)])
def test_a_function_has_its_inputs(name: str, inputs: int) -> None:
    with pytest.raises(TraceError, match=f"{name} has"):
        function(name, inputs)
