"""Descriptions of interconnects and of kernels for mixtures of experts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bankwidth.spec import InterconnectSpec, MoeKernelsSpec

NVLINK: dict[str, Any] = {
    "name": "NVLink 4", "max_ways": 8, "bandwidth": "450 GB/s", "payload": 0.775, "hop": "850 ns",
    "start": "3.1 us", "handshake": "13.4 us", "copy_bandwidth": "840 GB/s", "energy": "5 pJ/bit",
}  # fmt: skip
MOE: dict[str, Any] = {
    "tile_rule": "by_tokens", "shared": "228 KiB", "route": "19.1 us", "choice": "2.5 ns",
    "share_out": "9.8 us", "tensor_efficiency": 0.9, "small_tensor_efficiency": 0.2,
    "feed_bytes_per_cycle": 36.8, "feed_share": 1.0, "step_cycles": 5.0, "block_cycles": 3390.0,
    "unaligned_slowdown": 13.4, "move_share": 0.276, "overlap": 6.2,
}  # fmt: skip


def test_an_interconnect_is_read_with_its_units() -> None:
    spec = InterconnectSpec.model_validate(NVLINK)
    assert (spec.bandwidth_bytes_per_ns, spec.hop_ns, spec.multicast) == (450.0, 850.0, None)


def test_a_switch_that_adds_is_described_apart() -> None:
    spec = InterconnectSpec.model_validate(
        NVLINK | {"multicast": {"payload": 0.675, "fill": "71 us"}}
    )
    assert spec.multicast is not None
    assert spec.multicast.fill_ns == 71_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_ways": 1}, "an interconnect joins at least 2 GPUs"),
        ({"max_ways": 0}, "greater than 0"),
        ({"payload": 1.1}, "less than or equal to 1"),
        ({"payload": 0.0}, "greater than 0"),
        ({"bandwidth": "450 GB"}, "bandwidth"),
        ({"bandwith": "450 GB/s"}, "Extra inputs are not permitted"),
        ({"multicast": {"payload": 0.5}}, "multicast.fill"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        InterconnectSpec.model_validate(NVLINK | changes)


def test_kernels_for_experts_are_read_with_their_units() -> None:
    spec = MoeKernelsSpec.model_validate(MOE | {"tuned": [{"experts": 8, "inter": 3584}]})
    assert (spec.route_ns, spec.choice_ns, spec.shared_bytes) == (19_100, 2.5, 228 * 1024)
    assert (spec.tuned[0].experts, spec.tuned[0].inter) == (8, 3584)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tile_rule": "by_size"}, "'by_tokens' or 'by_experts'"),
        ({"overlap": 0.5}, "greater than or equal to 1"),
        ({"unaligned_slowdown": 0.9}, "greater than or equal to 1"),
        ({"tuned": [{"experts": 8}]}, "tuned.0.inter"),
    ],
)
def test_kernels_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MoeKernelsSpec.model_validate(MOE | changes)
