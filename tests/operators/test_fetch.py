"""What comes in from further away, and hidden states out of the cache."""

from __future__ import annotations

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import Fetch, KvRead


def test_a_fetch_reads_far_and_leaves_an_activation() -> None:
    op = Fetch(name="f", size_bytes=1000, what="experts", pieces=3)
    (far,), (near,) = op.inputs, op.outputs
    assert (far.role, far.size_bytes, near.role, near.size_bytes) == (
        "far",
        1000,
        "activation",
        1000,
    )
    assert op.flops == op.stored_bytes == 0


def test_what_it_is_taken_from_may_be_more() -> None:
    assert Fetch(name="f", size_bytes=1000).far_stored_bytes == 1000
    assert Fetch(name="f", size_bytes=1000, kept_bytes=8000).far_stored_bytes == 8000
    assert Fetch(name="f", size_bytes=1000, kept_bytes=0).far_stored_bytes == 0


def test_without_anything_to_wait_for_it_is_a_prefetch() -> None:
    assert Fetch(name="f", size_bytes=1).is_prefetch
    assert not Fetch(name="f", size_bytes=1, deps=("choice",)).is_prefetch


def test_what_a_fetch_cannot_be() -> None:
    with pytest.raises(TraceError, match="10 bytes cannot lie in 11 pieces"):
        Fetch(name="f", size_bytes=10, pieces=11)
    with pytest.raises(TraceError, match="kept_bytes must be at least 0"):
        Fetch(name="f", size_bytes=10, kept_bytes=-1)
    with pytest.raises(TraceError, match="size_bytes must be at least 1"):
        Fetch(name="f", size_bytes=0)


def test_hidden_states_are_read_as_they_are_stored_and_left_as_numbers() -> None:
    op = KvRead(name="r", tokens=64, width=128, dtype="bf16", kv_dtype="int4_g128")
    assert op.read_bytes == op.stored_bytes == 64 * (128 // 2 + 2)
    assert op.write_bytes == 2 * 64 * 128
    assert op.flops == 2 * 64 * 128
    assert KvRead(name="r", tokens=64, width=128, dtype="bf16", kv_dtype="bf16").flops == 0


def test_hidden_states_may_be_far() -> None:
    op = KvRead(name="r", tokens=4, width=8, dtype="bf16", kv_dtype="bf16", kv_role="far")
    assert (op.stored_bytes, op.far_stored_bytes, op.inputs[0].role) == (0, 64, "far")
