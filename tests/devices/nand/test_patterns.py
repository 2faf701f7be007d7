"""Generated requests to a drive: where they go, and what share of them writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.nand.patterns import DrivePattern, requests_of
from bankwidth.errors import SpecError

SECTOR = 512


def offsets(capacity_bytes: int, **fields: Any) -> list[int]:
    found: list[int] = requests_of(DrivePattern(**fields), capacity_bytes).offset_bytes.tolist()
    return found


def test_sequential_blocks_follow_each_other_and_start_again() -> None:
    found = offsets(10_240, kind="seq", count=4, block_bytes=4096)
    assert found == [0, 4096, 0, 4096]  # 2048 bytes at the end hold no block


def test_a_stride_starts_again_where_the_next_block_would_not_fit() -> None:
    found = offsets(20_480, kind="stride", count=5, block_bytes=4096, stride_bytes=6144)
    assert found == [0, 6144, 12_288, 0, 6144]
    assert offsets(16_896, kind="stride", count=4, block_bytes=4096, stride_bytes=6144)[2:] == [
        12_288,
        0,
    ]


def test_a_long_stride_does_not_overflow() -> None:
    capacity = 1 << 50
    found = offsets(capacity, kind="stride", count=4, block_bytes=512, stride_bytes=1 << 49)
    assert found == [0, 1 << 49, 0, 1 << 49]


def test_random_blocks_are_all_over_the_drive_and_repeat_with_their_seed() -> None:
    fields: dict[str, Any] = {"kind": "random", "count": 20_000, "block_bytes": 16_384}
    capacity = 100 * 16_384 + 512
    one = offsets(capacity, **fields)
    assert set(one) == {16_384 * block for block in range(100)}
    assert np.bincount(np.array(one) // 16_384).min() > 130  # of 200 on average
    assert one == offsets(capacity, **fields)
    assert one != offsets(capacity, **fields, seed=1)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_writes_have_their_share_and_move_no_offset(share: float) -> None:
    pattern = DrivePattern(kind="random", count=100_000, write_share=share)
    mixed = requests_of(pattern, 1 << 30)
    assert mixed.is_write.mean() == pytest.approx(share, abs=5e-3)
    reads = requests_of(DrivePattern(kind="random", count=100_000), 1 << 30)
    np.testing.assert_array_equal(mixed.offset_bytes, reads.offset_bytes)


@given(
    kind=st.sampled_from(["seq", "random", "stride"]),
    count=st.integers(1, 300),
    block=st.integers(1, 40),
    stride=st.integers(1, 60),
    sectors=st.integers(60, 3000),
    seed=st.integers(-5, 2**70),
)
def test_every_block_is_on_the_drive_and_on_sectors(
    kind: str, count: int, block: int, stride: int, sectors: int, seed: int
) -> None:
    pattern = DrivePattern(
        kind=kind,
        count=count,
        block_bytes=block * SECTOR,
        stride_bytes=stride * SECTOR if kind == "stride" else None,
        seed=seed,
    )
    found = requests_of(pattern, sectors * SECTOR)
    assert len(found) == count
    assert not (found.offset_bytes % SECTOR).any()
    assert (found.offset_bytes >= 0).all()
    assert (found.offset_bytes + found.size_bytes <= sectors * SECTOR).all()
    assert found.arrival_ps is None


def test_the_first_requests_of_a_longer_pattern_are_the_shorter_one() -> None:
    fields: dict[str, Any] = {"kind": "random", "write_share": 0.5}
    long = requests_of(DrivePattern(count=500, **fields), 1 << 30).first(90)
    short = requests_of(DrivePattern(count=90, **fields), 1 << 30)
    np.testing.assert_array_equal(long.offset_bytes, short.offset_bytes)
    np.testing.assert_array_equal(long.is_write, short.is_write)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "sequential"}, "--pattern: unknown 'sequential', allowed: seq, random, stride"),
        ({"kind": "randm"}, "did you mean 'random'?"),
        ({"kind": "randrw"}, "did you mean '--pattern random --write-share 0.5'?"),
        ({"kind": "RandRead"}, "did you mean '--pattern random'?"),
        ({"count": 0}, "--count: 0, a drive takes 1 to 100000000"),
        ({"count": 10**9}, "--count: 1000000000, a drive takes 1 to 100000000"),
        ({"write_share": 1.5}, "--write-share: 1.5 is not between 0 and 1"),
        ({"write_share": float("nan")}, "--write-share: nan is not between 0 and 1"),
        ({"block_bytes": 4000}, "--block: 4000 bytes, must be a multiple of 512 bytes"),
        ({"block_bytes": 0}, "--block: 0 bytes, must be a multiple of 512 bytes"),
        ({"kind": "stride"}, "--pattern stride needs --stride"),
        ({"kind": "stride", "stride_bytes": 100}, "--stride: 100 bytes, must be a multiple of"),
        ({"stride_bytes": 4096}, "--stride belongs to --pattern stride, not to seq"),
    ],
)
def test_patterns_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        DrivePattern(**{"kind": "seq", "count": 10, **fields})
    assert message in str(caught.value)


def test_a_block_must_fit_the_drive() -> None:
    with pytest.raises(SpecError, match="--block: 8192 bytes are beyond the capacity of 4096"):
        offsets(4096, kind="seq", count=1, block_bytes=8192)
    with pytest.raises(SpecError, match="--stride: 8192 bytes are beyond the capacity of 4096"):
        offsets(4096, kind="stride", count=1, block_bytes=512, stride_bytes=8192)
