from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.roofline.tiles import Cores, tiling_of

CORES = Cores(
    count=108, buffer_bytes=192 * 1024, tile_sides=(8, 64, 128, 512), tile_depth=32,
    register_side=16,
)  # fmt: skip


def product_blocks(cores: Cores, m: int, n: int, k: int) -> int:
    return tiling_of(cores, m, n, k, 1, 2.0).blocks


@pytest.mark.parametrize(
    ("blocks", "share"),
    [(1, 1 / 108), (107, 107 / 108), (108, 1.0), (109, 109 / 216), (252, 252 / 324)],
)
def test_cores_without_a_block_in_the_last_round_idle(blocks: int, share: float) -> None:
    assert CORES.busy_share(blocks) == pytest.approx(share)


def test_a_tile_is_never_longer_than_what_it_cuts() -> None:
    """One row of x is read by every tile, of which 8 columns keep 1536/1620 of the cores busy.

    (12288 + 1536) / (1536/1620)^2 = 15377; tiles of 128: (12288 + 96) / (96/108)^2 = 15674.
    """
    assert product_blocks(CORES, 1, 12288, 4608) == 1536


def test_idle_cores_cost_more_than_traffic() -> None:
    """8 tiles of 512 columns move least, but 100 of the 108 cores would idle."""
    assert product_blocks(CORES, 512, 4096, 64) > 8


def test_a_tile_must_fit_the_buffer() -> None:
    small = replace(CORES, buffer_bytes=8 * 1024, tile_sides=(8, 64, 512))
    # 64 x 64 results alone have 8 KiB: what fits has 8 rows or 8 columns.
    assert product_blocks(small, 512, 512, 64) >= 512 * 512 // (8 * 64)


def test_where_no_tile_fits_the_smallest_is_taken() -> None:
    none = replace(CORES, buffer_bytes=16, tile_sides=(16, 8))
    assert product_blocks(none, 64, 64, 64) == 64


def test_elements_move_once_per_tile_of_the_other_side() -> None:
    """One tile: x, W and y once. Registers of 16 x 16: x for 4 columns of tiles, W for 2 rows."""
    one = replace(CORES, count=1, tile_sides=(64,))
    tiling = tiling_of(one, 32, 64, 100, 3, 2.0)
    assert tiling.blocks == 3
    assert tiling.cache_elements == 3 * (32 * 100 + 64 * 100 + 32 * 64)
    assert tiling.core_elements == 3 * (4 * 32 * 100 + 2 * 64 * 100 + 32 * 64)


@given(
    m=st.integers(1, 2000),
    n=st.integers(1, 20000),
    k=st.integers(1, 20000),
    batch=st.integers(1, 8),
)
def test_tiles_cover_the_product(m: int, n: int, k: int, batch: int) -> None:
    blocks = tiling_of(CORES, m, n, k, batch, 2.0).blocks
    assert blocks >= batch
    assert blocks % batch == 0
    assert 0 < CORES.busy_share(blocks) <= 1
    assert blocks // batch * 512 * 512 >= m * n  # no tile is larger than 512 x 512
