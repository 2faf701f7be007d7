"""Collectives: times by hand, bytes that must cross, and which algorithm is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.collective import (
    NCCL,
    Exchange,
    Fabric,
    collective_cost,
    collective_kernel,
    fabric_of,
)
from bankwidth.errors import MappingError
from bankwidth.spec import InterconnectSpec

# Data cross at 50 bytes per ns.
FABRIC = Fabric(
    max_ways=8, bytes_per_ns=100.0, payload=0.5, hop_ns=10.0, start_ns=100.0,
    handshake_ns=1000.0, copy_bytes_per_ns=200.0,
)  # fmt: skip
SWITCH = replace(FABRIC, multicast_payload=0.5, multicast_fill_ns=5000.0)
RINGS = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1}
FUNCTIONS = st.sampled_from([*RINGS, "all_to_all", "send_recv"])
WAYS = st.sampled_from([2, 4, 8])
SIZE = st.integers(1, 1 << 32)


def exchange(function: str = "all_reduce", size_bytes: int = 1 << 30, ways: int = 4) -> Exchange:
    return Exchange(function=function, size_bytes=size_bytes, ways=ways)


def test_a_long_ring_takes_its_steps_one_after_the_other() -> None:
    cost = collective_cost(FABRIC, exchange(size_bytes=4_000_000, ways=4))
    # 6 steps of 1 MB at 50 bytes per ns and of 10 ns each, one copy of 1 MB at 200 bytes per ns
    assert cost.label == "ring Simple"
    assert cost.time_ns == pytest.approx(1100 + 6 * (20_000 + 10) + 5_000)
    assert cost.link_bytes == 6_000_000


def test_a_short_ring_is_latency() -> None:
    cost = collective_cost(FABRIC, exchange(size_bytes=8, ways=8))
    # 14 hops; 14 pieces of 1 byte and as much flag
    assert cost.label == "ring LL"
    assert cost.time_ns == pytest.approx(100 + 14 * 10, rel=0.05)
    assert cost.link_bytes == 28


def test_in_between_flags_ride_in_lines_of_128_bytes() -> None:
    cost = collective_cost(FABRIC, exchange("all_gather", 12_000, 2))
    assert cost.label == "ring LL128"
    assert cost.link_bytes == 6_000 * 128 / 120
    assert cost.time_ns == pytest.approx(
        100 + NCCL.ll128_start_hops * 10 + 10 + 6_400 / (50 * NCCL.ll128_share)
    )


@given(st.sampled_from(list(RINGS)), WAYS)
def test_a_ring_moves_what_must_cross(function: str, ways: int) -> None:
    cost = collective_cost(FABRIC, exchange(function, 1 << 30, ways))
    assert cost.link_bytes == RINGS[function] * (ways - 1) * (1 << 30) // ways


def test_only_reductions_add_and_each_sum_of_n_is_n_minus_1_additions() -> None:
    added = {f: collective_cost(FABRIC, exchange(f)).add_flops for f in (*RINGS, "all_to_all")}
    elements = (1 << 30) // 2
    assert added == {
        "all_reduce": elements * 3 // 4, "all_gather": 0,
        "reduce_scatter": elements * 3 // 4, "all_to_all": 0,
    }  # fmt: skip


@given(FUNCTIONS, SIZE, SIZE, WAYS, st.sampled_from(["nccl", "tensorrt_llm"]))
def test_more_bytes_are_never_faster(
    function: str, first: int, second: int, ways: int, library: str
) -> None:
    short, long = (
        collective_cost(SWITCH, exchange(function, size, ways), library)
        for size in sorted((first, second))
    )
    assert short.time_ns <= long.time_ns


@given(FUNCTIONS, SIZE, WAYS, st.sampled_from(["nccl", "vllm", "tensorrt_llm"]))
def test_nothing_beats_the_links(function: str, size: int, ways: int, library: str) -> None:
    cost = collective_cost(FABRIC, exchange(function, size, ways), library)
    share = 1.0 if function == "send_recv" else (ways - 1) / ways
    least = size * share * (2 if function == "all_reduce" and ways > 2 else 1)
    assert cost.link_bytes >= int(least)
    assert cost.time_ns >= int(least) / FABRIC.bytes_per_ns


@given(FUNCTIONS, SIZE, WAYS)
def test_faster_links_are_never_slower(function: str, size: int, ways: int) -> None:
    faster = replace(FABRIC, bytes_per_ns=200.0)
    x = exchange(function, size, ways)
    assert collective_cost(faster, x).time_ns <= collective_cost(FABRIC, x).time_ns


def test_more_gpus_take_longer_for_the_same_message() -> None:
    for size in (8, 1 << 20, 1 << 30):
        times = [collective_cost(FABRIC, exchange(size_bytes=size, ways=n)) for n in (2, 4, 8)]
        assert times[0].time_ns < times[1].time_ns < times[2].time_ns


def test_the_switch_adds_long_messages_of_floats_among_many() -> None:
    x = exchange(size_bytes=1 << 30, ways=8)
    assert collective_cost(SWITCH, x).label == "in-network"
    assert collective_cost(SWITCH, x).add_flops == 0
    assert collective_cost(SWITCH, replace(x, is_float=False)).label == "ring Simple"
    assert collective_cost(SWITCH, replace(x, function="all_gather")).label == "ring Simple"
    assert collective_cost(SWITCH, replace(x, size_bytes=1 << 10)).label == "ring LL128"


def test_one_shot_sends_everything_to_everyone() -> None:
    cost = collective_cost(FABRIC, exchange(size_bytes=200_000, ways=4), "vllm")
    # 3 messages of 200 kB at 50 bytes per ns, one copy within the GPU, 3.8 hops
    assert cost.label == "one-shot"
    assert cost.link_bytes == 600_000
    assert cost.time_ns == pytest.approx(12_000 + 1_000 + 38)
    assert cost.add_flops == 3 * 100_000


@pytest.mark.parametrize(
    ("ways", "size", "label"),
    [
        (2, 64 << 20, "one-shot"),
        (4, (512 << 10) - 1, "one-shot"),
        (4, 512 << 10, "two-shot"),
        (8, (256 << 10) - 1, "one-shot"),
        (8, 256 << 10, "two-shot"),
        (8, 64 << 20, "two-shot"),
        (8, (64 << 20) + 1, "ring Simple"),
    ],
)
def test_vllm_goes_by_size(ways: int, size: int, label: str) -> None:
    cost = collective_cost(FABRIC, exchange(size_bytes=size, ways=ways), "vllm")
    assert cost.label == label


def test_two_shots_send_as_little_as_a_ring() -> None:
    cost = collective_cost(FABRIC, exchange(size_bytes=800_000, ways=8), "vllm")
    # 14 pieces of 100 kB cross; its own is read and written, all are written; 8.1 hops
    assert cost.link_bytes == 1_400_000
    assert cost.time_ns == pytest.approx(28_000 + (0.5 + 0.125) * 4_000 + 81)


def test_tensorrt_llm_hands_over_to_nccl_when_that_is_faster() -> None:
    labels = [
        collective_cost(SWITCH, exchange(size_bytes=size, ways=8), "tensorrt_llm").label
        for size in (1 << 10, 1 << 30)
    ]
    assert labels == ["one-shot", "in-network"]


def test_custom_kernels_reduce_and_nothing_else() -> None:
    x = exchange("all_gather", 1 << 10)
    assert collective_cost(FABRIC, x, "vllm") == collective_cost(FABRIC, x, "nccl")


def test_a_send_has_one_peer() -> None:
    two, eight = (collective_cost(FABRIC, exchange("send_recv", 1 << 30, n)) for n in (2, 8))
    assert two == eight
    assert two.link_bytes == 1 << 30


def test_a_gpu_by_itself_has_nothing_to_do() -> None:
    cost = collective_cost(FABRIC, exchange(ways=1))
    assert (cost.time_ns, cost.link_bytes, cost.add_flops) == (0, 0, 0)


def test_as_a_kernel_it_keeps_time_and_bytes() -> None:
    cost = collective_cost(FABRIC, exchange(size_bytes=4_000_000, ways=4))
    kernel = collective_kernel(FABRIC, cost)
    assert kernel.compute_ns == cost.time_ns
    assert (kernel.read_bytes, kernel.write_bytes) == (4_000_000, 4_000_000)
    assert kernel.ideal_ns == 6_000_000 / 100
    assert kernel.vector_flops == cost.add_flops


@pytest.mark.parametrize(
    ("x", "library", "said"),
    [
        (exchange(), "ncl", "unknown collectives library 'ncl', did you mean 'nccl'"),
        (
            exchange("all_redux"),
            "nccl",
            "unknown collective 'all_redux', did you mean 'all_reduce'",
        ),
        (exchange(ways=16), "nccl", "all_reduce among 16 GPUs: their interconnect joins 8"),
    ],
)
def test_what_cannot_be_is_named(x: Exchange, library: str, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        collective_cost(FABRIC, x, library)


def test_a_described_interconnect_gives_its_numbers() -> None:
    spec = InterconnectSpec.model_validate(
        {
            "name": "NVLink", "max_ways": 8, "bandwidth": "100 GB/s", "payload": 0.5,
            "hop": "10 ns", "start": "100 ns", "handshake": "1 us", "copy_bandwidth": "200 GB/s",
            "multicast": {"payload": 0.5, "fill": "5 us"}, "energy": "5 pJ/bit",
        }
    )  # fmt: skip
    assert fabric_of(spec) == SWITCH
    assert fabric_of(spec.model_copy(update={"multicast": None})) == FABRIC
