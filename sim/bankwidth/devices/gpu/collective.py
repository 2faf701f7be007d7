"""Collectives among the GPUs of one node: what the thread blocks of each library do, by when.

- ring (NCCL): a GPU passes pieces of 1/n of the message to its neighbour, in n - 1 steps for a
  gather or a scatter and in twice as many for an all-reduce; at the end it copies the last piece
  to its place. Three protocols, of which NCCL takes the one that it expects to be fastest: LL and
  LL128 put a flag into each line of 16 or 128 bytes, Simple sends plain data behind a handshake.
- direct (NCCL all-to-all and send): every peer gets its piece at once, by LL or Simple.
- in-network (NVLS of NCCL): the switch adds what it reads from all GPUs and multicasts the sums.
- one-shot and two-shot (all-reduce of vLLM and TensorRT-LLM): each GPU gets the whole message of
  every peer and adds by itself; or adds its own 1/n, and then gets the other pieces.

Sizes are those of nccl-tests, so that (n - 1)/n of them cross the links in every function but
all_reduce, where twice as much does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.errors import MappingError, did_you_mean
from bankwidth.spec import InterconnectSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """The links between the GPUs of one node, as one of them sees them."""

    max_ways: int  # GPUs that are joined
    bytes_per_ns: float  # in one direction, headers included
    payload: float  # share of it that data get in long transfers
    hop_ns: float  # from a store until the peer sees it
    start_ns: float  # from the start of a kernel of NCCL until its first store
    handshake_ns: float  # more than that before plain data flow (Simple)
    copy_bytes_per_ns: float  # within the GPU, by the thread blocks that communicate
    multicast_payload: float = 0.0  # share through a switch that adds; 0: there is none
    multicast_fill_ns: float = 0.0  # until that pipeline is full

    @property
    def data_bytes_per_ns(self) -> float:
        """Data in one direction, in long transfers."""
        return self.bytes_per_ns * self.payload


def fabric_of(spec: InterconnectSpec) -> Fabric:
    """The numbers of a described interconnect."""
    switch = spec.multicast
    return Fabric(
        max_ways=spec.max_ways,
        bytes_per_ns=spec.bandwidth_bytes_per_ns,
        payload=spec.payload,
        hop_ns=spec.hop_ns,
        start_ns=spec.start_ns,
        handshake_ns=spec.handshake_ns,
        copy_bytes_per_ns=spec.copy_bandwidth_bytes_per_ns,
        multicast_payload=switch.payload if switch else 0.0,
        multicast_fill_ns=switch.fill_ns if switch else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A collective among `ways` GPUs; `size_bytes` as nccl-tests count.

    That is the larger of one GPU's input and output: the message of an all-reduce, the output of
    an all-gather, the input of a reduce-scatter or an all-to-all.
    """

    function: str
    size_bytes: int
    ways: int
    element_bytes: float = 2.0
    is_float: bool = True  # a switch adds no integers


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveCost:
    """One GPU's part. `link_bytes` leave over its links, flags included."""

    label: str
    time_ns: float  # without the launch of the kernel
    link_bytes: int
    local_bytes: int  # read and written in its own memory
    add_flops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nccl:
    """How NCCL's protocols use the links; the shares are of a link's data rate."""

    # 4 bytes of data and 4 of flag, twice per store; 120 of data and 8 of flag per 128 stored by a
    # warp (NCCL, src/device/prims_ll.h and prims_ll128.h).
    ll_line: tuple[int, int] = (16, 8)  # bytes, flag bytes
    ll128_line: tuple[int, int] = (128, 8)
    # Calibrated on the all-reduce, all-gather, reduce-scatter and all-to-all rows of H200, H100
    # and A100 (aiconfigurator at 095f58a), a seeded half.
    ll_share: float = 0.078  # stored lines of the one channel that short messages get
    ll128_share: float = 0.43  # by the fewer channels of LL128
    ll128_start_hops: float = 1.5
    direct_ll_share: float = 0.047  # one channel per peer
    direct_hops: float = 3.7  # connection, store, flag
    direct_handshake: float = 0.42  # of the ring's: there is one step to agree on


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """An all-reduce kernel outside NCCL; it hands over to NCCL for long messages."""

    share: float  # of a link's data rate
    copies: float  # of the message within the GPU, while the links wait
    one_shot_hops: float  # barriers and latency
    two_shot_hops: float
    max_bytes: int
    one_shot_bytes: Callable[[int], float]  # the longest message sent in one shot, by `ways`


def _vllm_one_shot_bytes(ways: int) -> float:
    """vLLM, csrc/custom_all_reduce.cuh: always of two GPUs, else below 512 or 256 KiB."""
    return math.inf if ways == 2 else (512 if ways <= 4 else 256) * 1024 - 1


def _always(ways: int) -> float:
    return math.inf


NCCL: Final = Nccl()
# Hops and shares: calibrated on the H200 rows of the same tables. vLLM reads peers between two
# barriers; TensorRT-LLM writes to them, data and flag in one.
DIRECT: Final[dict[str, Direct]] = {
    "vllm": Direct(
        share=1.0,
        copies=1.0,
        one_shot_hops=3.8,
        two_shot_hops=8.1,
        max_bytes=64 << 20,
        one_shot_bytes=_vllm_one_shot_bytes,
    ),
    "tensorrt_llm": Direct(
        share=0.87,
        copies=0.0,
        one_shot_hops=1.86,
        two_shot_hops=0.0,
        max_bytes=8 << 20,
        one_shot_bytes=_always,
    ),
}
LIBRARIES: Final = ("nccl", *DIRECT)
OVERLAP: Final = 8.0  # exponent: pieces are loaded, sent and stored all at once


def collective_cost(fabric: Fabric, x: Exchange, library: str = "nccl") -> CollectiveCost:
    """One GPU's part of a collective, by the algorithm that the library takes.

    Raises MappingError for an unknown library or function, or more GPUs than are joined.
    """
    _check(fabric, x, library)
    if x.ways == 1:
        return CollectiveCost(label="alone", time_ns=0, link_bytes=0, local_bytes=0, add_flops=0)
    able = [] if library == "nccl" else list(_direct_kernels(fabric, x, DIRECT[library]))
    if library != "vllm" or not able:  # vLLM goes by size alone, TensorRT-LLM by expected time
        able += _nccl(fabric, x)
    return min(able, key=lambda cost: cost.time_ns)


def collective_kernel(fabric: Fabric, cost: CollectiveCost) -> KernelCost:
    """The same as a kernel of one GPU: loads and stores flow while the links work."""
    half = cost.local_bytes // 2
    return KernelCost(
        label=cost.label,
        blocks=1,
        waves=1,
        ideal_ns=cost.link_bytes / fabric.bytes_per_ns,
        compute_ns=cost.time_ns,
        overlap=OVERLAP,
        read_bytes=half,
        write_bytes=half,
        l2_bytes=cost.local_bytes + cost.link_bytes,
        vector_flops=cost.add_flops,
        link_bytes=cost.link_bytes,
    )


def _check(fabric: Fabric, x: Exchange, library: str) -> None:
    if library not in LIBRARIES:
        hint = did_you_mean(library, LIBRARIES)
        known = ", ".join(LIBRARIES)
        raise MappingError(f"unknown collectives library {library!r}{hint} (known: {known})")
    if x.function not in _STEPS:
        hint = did_you_mean(x.function, _STEPS)
        raise MappingError(f"unknown collective {x.function!r}{hint} (known: {', '.join(_STEPS)})")
    if x.ways > fabric.max_ways:
        raise MappingError(
            f"{x.function} among {x.ways} GPUs: their interconnect joins {fabric.max_ways}"
        )


# Steps of a ring over pieces of size/n, in units of n - 1; 0: no ring, every peer at once.
_STEPS: Final = {
    "all_reduce": 2,
    "all_gather": 1,
    "reduce_scatter": 1,
    "all_to_all": 0,
    "send_recv": 0,
}


def _nccl(fabric: Fabric, x: Exchange) -> Iterator[CollectiveCost]:
    if not _STEPS[x.function]:
        yield from _peers(fabric, x)
        return
    yield from _rings(fabric, x)
    if x.function == "all_reduce" and x.is_float and fabric.multicast_payload:
        yield _in_network(fabric, x)


def _rings(fabric: Fabric, x: Exchange) -> Iterator[CollectiveCost]:
    steps = _STEPS[x.function] * (x.ways - 1)
    piece = x.size_bytes / x.ways
    rate, hop_ns = fabric.data_bytes_per_ns, fabric.hop_ns
    for label, line, share, start_ns, copied in (
        ("LL", NCCL.ll_line, NCCL.ll_share, 0.0, 0.0),
        ("LL128", NCCL.ll128_line, NCCL.ll128_share, NCCL.ll128_start_hops * hop_ns, 0.0),
        ("Simple", (1, 0), 1.0, fabric.handshake_ns, piece),
    ):
        sent = steps * piece * _with_flags(line)
        time_ns = fabric.start_ns + start_ns + steps * hop_ns + sent / (rate * share)
        time_ns += copied / fabric.copy_bytes_per_ns
        yield _cost(x, f"ring {label}", time_ns, sent, 2 * x.size_bytes)


def _with_flags(line: tuple[int, int]) -> float:
    """Bytes stored per byte of data."""
    size, flags = line
    return size / (size - flags)


def _peers(fabric: Fabric, x: Exchange) -> Iterator[CollectiveCost]:
    """Each peer's piece at once; a send has one peer and the whole message for it."""
    others = 1 if x.function == "send_recv" else x.ways - 1
    piece = x.size_bytes if x.function == "send_recv" else x.size_bytes / x.ways
    rate = fabric.data_bytes_per_ns
    start_ns = fabric.start_ns + NCCL.direct_hops * fabric.hop_ns
    flagged = piece * _with_flags(NCCL.ll_line)
    ll_ns = start_ns + flagged / (rate * NCCL.direct_ll_share)
    yield _cost(x, "direct LL", ll_ns, others * flagged, 2 * x.size_bytes)
    shake_ns = NCCL.direct_handshake * fabric.handshake_ns
    own = piece if x.function == "all_to_all" else 0.0
    simple_ns = start_ns + shake_ns + others * piece / rate + own / fabric.copy_bytes_per_ns
    yield _cost(x, "direct Simple", simple_ns, others * piece, 2 * x.size_bytes)


def _in_network(fabric: Fabric, x: Exchange) -> CollectiveCost:
    """A GPU reads sums of its 1/n and multicasts them: in each direction, 1 + 1/n messages."""
    crossing = x.size_bytes * (1 + 1 / x.ways)
    fill_ns = fabric.start_ns + fabric.multicast_fill_ns
    time_ns = fill_ns + crossing / (fabric.bytes_per_ns * fabric.multicast_payload)
    return _cost(x, "in-network", time_ns, crossing, 2 * x.size_bytes, adds=False)


def _direct_kernels(fabric: Fabric, x: Exchange, direct: Direct) -> Iterator[CollectiveCost]:
    if x.function != "all_reduce" or x.size_bytes > direct.max_bytes:
        return
    rate = fabric.data_bytes_per_ns * direct.share
    if x.size_bytes <= direct.one_shot_bytes(x.ways):
        hops, label, sent, copied = direct.one_shot_hops, "one-shot", x.ways - 1.0, 1.0
    else:  # its own piece is read and written, then all pieces are written
        hops, label = direct.two_shot_hops, "two-shot"
        sent, copied = 2 * (x.ways - 1) / x.ways, 0.5 + 1 / x.ways
    sent_bytes = sent * x.size_bytes
    copied_bytes = copied * direct.copies * x.size_bytes
    time_ns = hops * fabric.hop_ns + sent_bytes / rate + copied_bytes / fabric.copy_bytes_per_ns
    yield _cost(x, label, time_ns, sent_bytes, 2 * x.size_bytes)


def _cost(
    x: Exchange, label: str, time_ns: float, sent: float, local: float, *, adds: bool = True
) -> CollectiveCost:
    return CollectiveCost(
        label=label,
        time_ns=time_ns,
        link_bytes=math.ceil(sent),
        local_bytes=math.ceil(local),
        add_flops=_additions(x, label) if adds else 0,
    )


def _additions(x: Exchange, label: str) -> int:
    """Of one GPU: n - 1 for each element of its piece; of every element in one shot."""
    if x.function not in ("all_reduce", "reduce_scatter"):
        return 0
    elements = x.size_bytes / x.element_bytes
    return math.ceil(elements * (x.ways - 1) / (1 if label == "one-shot" else x.ways))
