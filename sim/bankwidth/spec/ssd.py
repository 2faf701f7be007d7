"""A drive of NAND flash: its dies behind channels, controller, code, translation and host link."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    BytesOrZero,
    BytesPerNs,
    Count,
    DeviceSpec,
    Gbps,
    Mw,
    NsOrZero,
    PjPerBit,
    Relation,
    Spec,
    pick,
    pick_bytes,
)
from bankwidth.spec.nand import NandSpec, known_rate

STRIPES: Final = ("channel", "chip", "die", "plane")
MAX_PAGES: Final = 2**31 - 2  # of one drive; the engine's tables hold page numbers of 32 bits
# policy -> the time of the part without which it cannot do it, and what that is called
NEEDS_OF_POLICY: Final = {
    "cache_read": ("read_cache_busy_ns", "cache read"),
    "cache_program": ("program_cache_busy_ns", "cache program"),
    "suspend": ("suspend_ns", "suspend"),
}


class HostLinkSpec(Spec):
    """PCIe as the drive sees it, and the NVMe commands that pass it."""

    lanes: Count
    rate_per_lane_bytes_per_ns: BytesPerNs = Field(description="of one lane and direction")
    max_payload_bytes: Bytes = Field(description="data of one packet at most")
    packet_overhead_bytes: BytesOrZero = Field(description="header, link and physical layer")
    command_latency_ns: NsOrZero = Field(
        description="of a command on top of its messages: the front ends of host and drive"
    )
    write_latency_ns: NsOrZero = Field(
        default=0.0, description="of a write on top of that: set-up of the transfer of its data"
    )
    queue_depth: Count = Field(description="commands that the drive holds at once")


class ControllerSpec(Spec):
    """Cores that run the firmware; a command takes one of them."""

    cores: Count
    command_time_ns: NsOrZero = Field(description="of one core, per command of the host")


class EccSpec(Spec):
    """The error-correcting code: one pipelined decoder per channel."""

    codeword_bytes: Bytes = Field(description="data of one codeword")
    latency_ns: NsOrZero = Field(description="of the decoder's pipeline")
    rate_per_decoder_bytes_per_ns: BytesPerNs = Field(description="data that a decoder passes")
    mean_retries_per_page: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="reads of the array again because a page could not be decoded"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        default=0, description="of the draw which pages these are"
    )


class FtlSpec(Spec):
    """The page-mapped translation layer."""

    striping: list[Literal["channel", "chip", "die", "plane"]] = Field(
        description="where consecutive logical pages go: what changes first, next, ..."
    )
    over_provisioning: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of all pages that the host does not see"
    )
    gc_threshold_blocks: Annotated[int, Field(ge=1)] = Field(
        description="free blocks of a plane at which blocks are collected"
    )
    lookup_time_ns: NsOrZero = Field(description="of one page in the mapping table")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Striping names each level once."""
        striping = pick(data, "striping")
        if not isinstance(striping, list) or any(name not in STRIPES for name in striping):
            return
        if sorted(striping) != sorted(STRIPES):
            shown, needed = ", ".join(striping), ", ".join(STRIPES)
            yield ("striping",), f"[{shown}] must name each of {needed} once"


class DriveDramSpec(Spec):
    """The drive's own memory: mapping table and data on their way."""

    capacity_bytes: Bytes
    bandwidth_bytes_per_ns: BytesPerNs | None = Field(
        default=None, description="absent: no time is counted"
    )
    write_buffer_bytes: BytesOrZero = Field(
        default=0, description="written data are done once in here; 0: once in flash"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The buffer is a part of it."""
        buffer, capacity = (
            pick_bytes(data, "write_buffer_bytes"),
            pick_bytes(data, "capacity_bytes"),
        )
        if capacity and buffer > capacity:
            yield ("write_buffer",), f"{buffer} bytes do not fit into the {capacity} of the DRAM"


class DrivePolicySpec(Spec):
    """What the controller chooses where the parts leave a choice."""

    bus: Literal["command_first", "data_first_lockstep"] = Field(
        default="command_first",
        description="command_first: a read is issued between two transfers; data_first_lockstep: "
        "data that wait win, so that the chips of a channel run in step",
    )
    interleave: Literal["die", "chip"] = Field(
        default="die", description="chip: one command at a time for all dies of a chip"
    )
    cache_read: bool = Field(
        default=False, description="the array reads the next page while one is moved out"
    )
    cache_program: bool = Field(
        default=False, description="the next page is moved in while one is programmed"
    )
    multi_plane_read: bool = Field(default=True, description="pages of several planes at once")
    multi_plane_program: bool = Field(default=True, description="pages of several planes at once")
    suspend: bool = Field(default=False, description="a read interrupts a program or an erase")
    partial_read: bool = Field(
        default=True, description="only the codewords asked for leave the die, not the whole page"
    )


class DriveEnergySpec(Spec):
    """Energy of the drive without its flash."""

    controller_mw: Mw = Field(description="cores, link and DRAM with nothing to move")
    ecc_pj_per_bit: PjPerBit = Field(description="decoding or encoding")
    pcie_pj_per_bit: PjPerBit
    dram_pj_per_bit: PjPerBit


class AccessSpec(Spec):
    """How the host's software reads and writes a drive."""

    block_bytes: Bytes = Field(default=128 * 1024, description="of one request to the drive")
    queue_depth: Count = Field(default=32, description="requests that it keeps under way")
    software_time_ns: NsOrZero = Field(
        default=0.0, description="of a request in the host, before it reaches the drive"
    )


class SsdSpec(DeviceSpec):
    """One drive, and how many equal ones a memory is made of."""

    kind: Literal["ssd"]
    channels: Count
    chips_per_channel: Count
    dies_per_chip: Count
    nand: NandSpec = Field(description="the part; `device:` brings it")
    channel_rate_gbps: Gbps = Field(description="of the bus of a channel, within the part's range")
    host: HostLinkSpec
    controller: ControllerSpec
    ecc: EccSpec | None = Field(default=None, description="absent: data pass uncorrected")
    ftl: FtlSpec
    dram: DriveDramSpec
    policy: DrivePolicySpec = Field(default_factory=DrivePolicySpec)
    energy: DriveEnergySpec
    drives: Count = Field(default=1, description="equal drives that share the traffic evenly")
    access: AccessSpec = Field(default_factory=AccessSpec)

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The part can do what the drive asks of it."""
        nand = pick(data, "nand")
        if pick(nand, "kind") != "nand":
            return  # said elsewhere
        yield from _wrong_rate(data, nand)
        yield from _wrong_codeword(pick(data, "ecc"), nand)
        yield from _wrong_policy(pick(data, "policy"), nand)
        yield from _wrong_threshold(pick(data, "ftl"), nand)

    def contradictions(self) -> Iterator[Relation]:
        """Something is left for the host, and pages can be counted."""
        if self.physical_pages > MAX_PAGES:
            yield ("nand",), f"a drive of {self.physical_pages} pages, at most {MAX_PAGES}"
        if self.logical_pages < 1:
            share, pages = self.ftl.over_provisioning, self.physical_pages
            yield ("ftl", "over_provisioning"), f"{share} of {pages} pages leaves none"

    @property
    def dies(self) -> int:
        """Dies of one drive."""
        return self.channels * self.chips_per_channel * self.dies_per_chip

    @property
    def raw_bytes(self) -> int:
        """Data of all pages of one drive."""
        return self.dies * self.nand.die_bytes

    @property
    def physical_pages(self) -> int:
        """All pages of one drive."""
        return self.raw_bytes // self.nand.page_bytes

    @property
    def logical_pages(self) -> int:
        """Pages that the host sees of one drive."""
        return int(self.physical_pages * (1.0 - self.ftl.over_provisioning))

    @property
    def drive_capacity_bytes(self) -> int:
        """What the host sees of one drive."""
        return self.logical_pages * self.nand.page_bytes

    @property
    def capacity_bytes(self) -> int:
        """What the host sees of all drives."""
        return self.drives * self.drive_capacity_bytes

    @property
    def channel_peak_bytes_per_ns(self) -> float:
        """Bus of one channel, spare bytes and all."""
        return self.channel_rate_gbps * self.nand.interface.width_bits / 8


def _wrong_rate(data: object, nand: object) -> Iterator[Relation]:
    interface, rate = pick(nand, "interface"), known_rate(pick(data, "channel_rate_gbps"))
    least = known_rate(pick(interface, "least_rate_gbps"))
    most = known_rate(pick(interface, "most_rate_gbps"))
    if rate and least and most and not least <= rate <= most:
        allowed = f"{least * 1000:g} to {most * 1000:g} MT/s"
        yield ("channel_rate",), f"{rate * 1000:g} MT/s, the part runs at {allowed}"


def _wrong_codeword(ecc: object, nand: object) -> Iterator[Relation]:
    page, codeword = pick_bytes(nand, "page_bytes"), pick_bytes(ecc, "codeword_bytes")
    if page and codeword and page % codeword:
        yield ("ecc", "codeword"), f"a page of {page} bytes is no multiple of {codeword} bytes"


def _wrong_policy(policy: object, nand: object) -> Iterator[Relation]:
    timing = pick(nand, "timing")
    for name, (time, what) in NEEDS_OF_POLICY.items():
        if pick(policy, name) is True and timing is not None and pick(timing, time) is None:
            key = time.removesuffix("_ns")
            yield ("policy", name), f"the part has no {what}: its timing gives no {key}"


def _wrong_threshold(ftl: object, nand: object) -> Iterator[Relation]:
    free, blocks = pick(ftl, "gc_threshold_blocks"), pick(nand, "blocks_per_plane")
    if isinstance(free, int) and isinstance(blocks, int) and 0 < blocks <= free:
        yield ("ftl", "gc_threshold_blocks"), f"{free} free blocks of a plane that has {blocks}"
