"""Descriptions of chips of which a roofline is known."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bankwidth.spec import RooflineSpec, load_machine, shipped_names

CHIP: dict[str, Any] = {
    "kind": "roofline", "name": "chip", "matrix": {"fp32": "3 TFLOPS"},
    "vector": {"fp32": "1 TFLOPS"}, "cache": "1 MiB", "overhead": {"default": "5 us"},
    "energy": {
        "flop": {"fp32": "2 pJ"}, "vector_flop": {"fp32": "3 pJ"}, "cache": "1 pJ/bit",
        "static": "1 W",
    },
}  # fmt: skip


def test_a_roofline_is_read_with_its_units() -> None:
    spec = RooflineSpec.model_validate(CHIP)
    assert (spec.matrix_tflops["fp32"], spec.overhead_ns["default"]) == (3.0, 5000.0)
    assert (spec.compute_utilisation, spec.cores, spec.ring) == (1.0, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"overhead": {"matmul": "5 us"}}, "'default' is missing"),
        ({"overhead": {"default": "5 us", "matmull": "5 us"}}, "did you mean 'matmul'"),
        ({"vector_bandwidth": {"norms": "5 GB/s"}}, "did you mean 'norm'"),
        ({"matrix": {"fp32": "3 TFLOPS", "fp16": "6 TFLOPS"}}, "no energy for fp16"),
        ({"vector": {"bf16": "3 TFLOPS"}}, "no energy for bf16"),
        ({"compute_utilisation": 1.2}, "less than or equal to 1"),
        ({"cores": {"count": 4}}, "tile_sides"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RooflineSpec.model_validate(CHIP | changes)


def test_the_xeon_is_a_machine_of_its_own() -> None:
    assert "xeon-gold-6154" in shipped_names("machine")
    machine = load_machine("xeon-gold-6154")
    assert machine.engines["cpu"].kind == "roofline"
    ddr4 = machine.memories["ddr4"]
    assert ddr4.channels * ddr4.channel_peak_bytes_per_ns == pytest.approx(128.0)
