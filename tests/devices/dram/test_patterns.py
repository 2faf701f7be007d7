"""Generated patterns: what they are, and that skipping through them changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram.golden import requests_of
from bankwidth.devices.dram.patterns import (
    CHUNK_REQUESTS,
    Pattern,
    PatternKind,
    chunks,
    replay_stream,
    stream_of,
)
from bankwidth.devices.dram.replay import Replay, replay
from bankwidth.errors import SpecError

Load = Callable[[str], DramConfig]
NAMES = ("DDR4", "DDR4_2R", "DDR5", "LPDDR5", "GDDR6", "HBM2", "HBM3")
UNKNOWN_WHEN_SKIPPED = {
    "cmd_hash", "sum_accept_ck", "sum_done_ck", "record", "commands", "skipped_requests",
}  # fmt: skip


def words(pattern: Pattern, config: DramConfig, channels: int = 1) -> Any:
    return np.concatenate([chunk.words for chunk in chunks(pattern, config, channels=channels)])


def known(result: Replay) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(result)} - UNKNOWN_WHEN_SKIPPED
    return {name: getattr(result, name) for name in names}


@pytest.mark.parametrize(("kind", "family"), [("seq", "seqR"), ("random", "randR")])
def test_reads_are_those_of_the_golden_runs(kind: str, family: str, golden_config: Load) -> None:
    config = golden_config("HBM2")
    count = CHUNK_REQUESTS + 1000
    own = words(Pattern(kind=PatternKind(kind), count=count), config)
    np.testing.assert_array_equal(own, requests_of(family, count, config, seed=0xC0FFEE))


def test_a_stride_wraps_at_the_capacity(golden_config: Load) -> None:
    config = golden_config("GDDR6")
    stride = config.capacity_bytes // 2 + 1024
    own = words(Pattern(kind=PatternKind.STRIDE, count=4, stride_bytes=stride), config) >> 1
    expected = [0, stride, 2048, stride + 2048]
    assert own.tolist() == expected


def test_channels_widen_the_address_space(golden_config: Load) -> None:
    config = golden_config("GDDR6")
    pattern = Pattern(kind=PatternKind.RANDOM, count=1000)
    assert (words(pattern, config, channels=4) >> 1).max() >= 2 * config.capacity_bytes


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_writes_have_their_share(share: float, golden_config: Load) -> None:
    pattern = Pattern(kind=PatternKind.SEQUENTIAL, count=200_000, write_share=share)
    drawn = (words(pattern, golden_config("DDR4")) & 1).mean()
    assert drawn == pytest.approx(share, abs=5e-3)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("LPDDR5", Pattern(kind="random", count=CHUNK_REQUESTS * 2 + 5, write_share=0.3)),
        ("HBM2", Pattern(kind="stride", count=CHUNK_REQUESTS * 2 + 5, stride_bytes=768)),
    ],
)  # the second has room in its queue where the second chunk ends
def test_chunks_change_nothing(name: str, pattern: Pattern, golden_config: Load) -> None:
    config = golden_config(name)
    for rate, gap in ((1, 1), (3, 2), (1, 60)):  # the last: hardly anything waits
        at_once = replay(config, words(pattern, config), rate=rate, gap=gap)
        in_chunks = replay(config, chunks(pattern, config), rate=rate, gap=gap)
        assert in_chunks.cmd_hash == at_once.cmd_hash
        assert known(in_chunks) == known(at_once)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_skipping_through_a_pattern_is_exact(data: st.DataObject, golden_config: Load) -> None:
    config = golden_config(data.draw(st.sampled_from(NAMES)))
    bursts = data.draw(st.sampled_from([1, 1, 2, 4, 24, 64, 1023, 4095, 4096]))  # some make laps
    pattern = Pattern(
        kind=PatternKind.STRIDE,
        count=data.draw(st.integers(1, 400_000)),
        stride_bytes=bursts * config.burst_bytes,
        write_share=data.draw(st.sampled_from([0, 1])),
    )
    options: dict[str, Any] = {
        "mapper": data.draw(st.sampled_from(["RoBaRaCoCh", "MOP4CLXOR"])),
        "refresh": data.draw(st.sampled_from(["AllBank", "NoRefresh"])),
        "rate": data.draw(st.sampled_from([1, 4])),
        "gap": data.draw(st.sampled_from([1, 7])),
    }
    stream = stream_of(pattern, config, options["mapper"])
    assert stream is not None
    skipped = replay_stream(config, stream, **options)
    assert known(skipped) == known(replay(config, chunks(pattern, config), **options))


@pytest.mark.parametrize("name", ["GDDR6", "HBM3"])
def test_wrapping_at_the_capacity_is_skipped_exactly(name: str, golden_config: Load) -> None:
    config = dataclasses.replace(golden_config(name), rows=256)
    config = dataclasses.replace(
        config, capacity_bytes=config.num_banks * 256 * config.columns * config.burst_bytes
    )
    laps = 2 * config.capacity_bytes // config.burst_bytes + 12345
    pattern = Pattern(kind=PatternKind.SEQUENTIAL, count=laps)
    stream = stream_of(pattern, config, "RoBaRaCoCh")
    assert stream is not None
    skipped = replay_stream(config, stream, refresh="NoRefresh")
    assert skipped.skipped_requests > 0
    assert known(skipped) == known(replay(config, chunks(pattern, config), refresh="NoRefresh"))


@pytest.mark.parametrize(
    "pattern",
    [
        Pattern(kind=PatternKind.RANDOM, count=10),
        Pattern(kind=PatternKind.SEQUENTIAL, count=10, write_share=0.5),
        Pattern(kind=PatternKind.STRIDE, count=10, stride_bytes=100),
        Pattern(kind=PatternKind.STRIDE, count=10, stride_bytes=1 << 29),
    ],
)
def test_what_is_not_one_affine_stream_is_not_taken_for_one(
    pattern: Pattern, golden_config: Load
) -> None:
    assert stream_of(pattern, golden_config("HBM2"), "RoBaRaCoCh") is None


def test_a_billion_requests_take_the_steps_of_few(golden_config: Load) -> None:
    config = golden_config("HBM3")
    long = Pattern(kind=PatternKind.SEQUENTIAL, count=10**9)
    stream = stream_of(long, config, "RoBaRaCoCh")
    assert stream is not None
    result = replay_stream(config, stream)
    assert result.reads == 10**9
    assert result.reads - result.skipped_requests < 5_000_000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"count": 0}, "--count: 0, at least 1"),
        ({"write_share": 1.5}, "--write-share: 1.5 is not between 0 and 1"),
        ({"kind": PatternKind.STRIDE}, "--pattern stride needs --stride"),
        ({"stride_bytes": 64}, "--stride belongs to --pattern stride, not to seq"),
    ],
)
def test_impossible_patterns_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(Pattern(kind=PatternKind.SEQUENTIAL, count=1), **fields)
