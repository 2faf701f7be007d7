"""A chip of round numbers: 100 SMs of 1000 tensor and 100 vector FLOPs per ns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bankwidth.devices.gpu.chip import Chip
from bankwidth.spec import TileSpec

MakeChip = Callable[..., Chip]


def _make_chip(**changes: object) -> Chip:
    values: dict[str, object] = {
        "sms": 100,
        "tensor_flops_per_ns": {"bf16": 1000.0},
        "vector_flops_per_ns": {"fp32": 100.0},
        "exp_per_ns": 1e9,
        "l2_bytes": 1_000_000,
        "l2_bytes_per_ns": 1e9,
        "block_ns": 0.0,
        "stages": 4,
        "tiles": (TileSpec(m=100, n=100, k=50),),
    }
    return Chip(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_chip() -> MakeChip:
    """A chip with some of its numbers changed."""
    return _make_chip


@pytest.fixture
def chip() -> Chip:
    return _make_chip()
