"""A chip of round numbers: 100 SMs of 1000 tensor and 100 vector FLOPs per ns at 1 GHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bankwidth.devices.gpu.chip import Chip
from bankwidth.spec import AttentionSpec, MatmulKernelsSpec, TileFamilySpec, VectorKernelsSpec

MakeChip = Callable[..., Chip]
TILES = ((100, 100),)


def make_matmul(**changes: object) -> MatmulKernelsSpec:
    """Kernels that lose no time beside their multiplies."""
    values: dict[str, object] = {
        "tiles": [TileFamilySpec(m=[100], n=[100])],
        "blocks": "persistent",
        "step_bytes": "128 B",
        "start_ns": "0 ns",
        "prologue_cycles": 0.0,
        "tensor_efficiency": 1.0,
        "feed_bytes_per_cycle": 1e9,
        "step_cycles": 0.0,
        "store_bytes_per_cycle": 1e9,
        "split_ns": "0 ns",
        "overlap": 2.0,
    }
    return MatmulKernelsSpec(**(values | changes))  # type: ignore[arg-type]


def make_vector(**changes: object) -> VectorKernelsSpec:
    """Ten blocks of 100 threads on an SM; half of the L2 is kept."""
    values: dict[str, object] = {
        "threads": 1000,
        "load_cycles": 100.0,
        "memory_load_cycles": 50.0,
        "l2_kept": 0.5,
    }
    return VectorKernelsSpec(**(values | changes))  # type: ignore[arg-type]


def make_attention() -> AttentionSpec:
    """One kernel of tiles of 128 by 128 that loses no time beside its multiplies."""
    call = {"kernel": "plain", "capture": "plain"}
    plain = {
        "name": "plain",
        "tiles": [{"max_head_dim": 256, "rows": 128, "keys": 128}],
        "tensor_share": 1.0,
        "exposed_exps": 1.0,
        "block_cycles": 0.0,
        "row_bytes_per_cycle": 1e9,
        "feed_bytes_per_cycle": 1e9,
        "overlap": 1.0,
    }
    found = {"name": "plain", "kernels": {"plain": plain}, "prefill": call, "decode": call}
    return AttentionSpec.model_validate(found | {"captures": {"plain": {"launch": "0 ns"}}})


def _make_chip(
    *, tiles: tuple[tuple[int, int], ...] = TILES, kernels: object = None, **changes: object
) -> Chip:
    values: dict[str, object] = {
        "sms": 100,
        "clock_ghz": 1.0,
        "tensor_flops_per_ns": {"bf16": 1000.0},
        "vector_flops_per_ns": {"fp32": 100.0},
        "exp_per_ns": 1e9,
        "l2_bytes": 1_000_000,
        "l2_warm": 0.5,
        "l2_bytes_per_ns": 1e9,
        "sustained_slowdown": 0.0,
        "matmul": kernels or make_matmul(),
        "attention": make_attention(),
        "vector": make_vector(),
        "tile_m": np.array([m for m, _ in tiles]),
        "tile_n": np.array([n for _, n in tiles]),
    }
    return Chip(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_chip() -> MakeChip:
    """A chip with some of its numbers changed."""
    return _make_chip


@pytest.fixture(scope="session")
def make_kernels() -> Callable[..., MatmulKernelsSpec]:
    """Matmul kernels with some of their numbers changed."""
    return make_matmul


@pytest.fixture(scope="session")
def make_vector_kernels() -> Callable[..., VectorKernelsSpec]:
    """Vector kernels with some of their numbers changed."""
    return make_vector


@pytest.fixture
def chip() -> Chip:
    return _make_chip()
