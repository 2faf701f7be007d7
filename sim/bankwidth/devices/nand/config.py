"""A drive's description compiled to integers: picoseconds, bytes, counts.

Times of commands are sums of ONFI bus times (ONFI 5.1, section 4; the sums are those of MQSim's
`ONFI_Channel_NVDDR2`, which keeps the standard's cycles). Bytes over a wire take an exact ratio of
picoseconds, rounded once per transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from bankwidth.devices.nand.policies import Bus, Interleave, MultiPlane, Stripe
from bankwidth.spec.nand import NandInterfaceSpec, NandTimingSpec
from bankwidth.spec.ssd import HostLinkSpec, SsdSpec
from bankwidth.units import ns_to_ps

# Speed grades whose names are cut: NV-DDR2 at "333 MT/s" has a cycle of 6 ns (ONFI 5.1, timing
# modes). MT/s as named -> MT/s that it is.
GRADES: Final = {
    166: Fraction(500, 3),
    266: Fraction(800, 3),
    267: Fraction(800, 3),
    333: Fraction(1000, 3),
    533: Fraction(1600, 3),
    666: Fraction(2000, 3),
    667: Fraction(2000, 3),
    1066: Fraction(3200, 3),
    1067: Fraction(3200, 3),
    1333: Fraction(4000, 3),
    1866: Fraction(5600, 3),
    1867: Fraction(5600, 3),
    2133: Fraction(6400, 3),
}
SECTOR_BYTES: Final = 512  # moved at least, where there is no codeword
# Bytes of NVMe's messages over PCIe (NVM Express 1.4, 3.1 and 4).
DOORBELL_BYTES: Final = 4
READ_REQUEST_BYTES: Final = 4  # beyond the packet overhead: a header and no data
COMMAND_BYTES: Final = 64
COMPLETION_BYTES: Final = 16
PS_PER_NS: Final = 1000
MAX_DENOMINATOR: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveConfig:
    """One drive, hashable. A time of 0 ps where it says "0: none" means that there is no such."""

    name: str
    # geometry, each per the level above it
    channels: int
    chips_per_channel: int
    dies_per_chip: int
    planes: int
    blocks_per_plane: int
    pages_per_block: int
    page_bytes: int
    spare_bytes: int
    unit_bytes: int  # data that leave a die at once at least: a codeword, or a sector
    logical_pages: int  # that the host sees
    striping: tuple[int, ...]  # Stripe: what changes first from one logical page to the next
    # array
    read_ps: tuple[int, ...]  # by page % len: lower, middle, upper
    program_ps: tuple[int, ...]
    erase_ps: int
    read_cache_busy_ps: int  # 0: none
    program_cache_busy_ps: int  # 0: none
    suspend_ps: int  # 0: none
    # bus of a channel
    read_command_ps: int
    multi_plane_read_ps: int  # each further plane
    data_setup_ps: int
    multi_plane_data_ps: int  # each further plane; holds its set-up
    program_command_ps: int
    multi_plane_program_ps: int  # each further plane
    erase_command_ps: int
    suspend_command_ps: int
    page_transfer_ps: int  # data out: page and spare
    page_in_ps: int  # data in: page and spare
    bus_ps_numerator: int  # per byte
    bus_ps_denominator: int
    # error correction
    has_ecc: bool
    ecc_latency_ps: int
    ecc_page_ps: int  # a page through the decoder
    ecc_ps_numerator: int  # per byte of data
    ecc_ps_denominator: int
    retry_mean: float  # reads of the array again, per page
    retry_seed: int
    # controller and drive DRAM
    cores: int
    core_ps: int  # of a core, per command
    lookup_ps: int  # per page
    dram_ps_per_page: int
    dram_ps_numerator: int  # per byte
    dram_ps_denominator: int
    write_buffer_bytes: int  # 0: a write is done once it is in flash
    gc_threshold_blocks: int
    endurance: int
    # host link
    queue_depth: int  # commands in the drive
    pcie_lanes: int
    pcie_payload_bytes: int
    pcie_overhead_bytes: int
    pcie_ps_numerator: int  # per byte and lane
    pcie_ps_denominator: int
    pcie_page_ps: int  # a page, either way
    nvme_doorbell_ps: int  # down
    nvme_request_ps: int  # up: the drive asks for a command, or for data to write
    nvme_command_ps: int  # down: the command
    nvme_completion_ps: int  # up
    nvme_latency_ps: int  # of a command on top of its messages
    nvme_write_ps: int  # of a write on top of that
    # policies
    bus: int  # Bus
    interleave: int  # Interleave
    multi_plane: int  # MultiPlane
    multi_plane_read: bool
    multi_plane_program: bool
    cache_read: bool
    cache_program: bool
    suspend: bool
    partial_read: bool
    # energy
    read_pj: float  # page
    program_pj: float  # page
    erase_pj: float  # block
    bus_pj_per_bit: float
    ecc_pj_per_bit: float
    pcie_pj_per_bit: float
    dram_pj_per_bit: float
    die_idle_mw: float  # one die
    controller_mw: float

    @property
    def dies(self) -> int:
        """Dies of the drive."""
        return self.channels * self.chips_per_channel * self.dies_per_chip

    @property
    def dies_per_channel(self) -> int:
        """Dies that share a bus."""
        return self.chips_per_channel * self.dies_per_chip

    @property
    def physical_pages(self) -> int:
        """Pages of all blocks."""
        return self.dies * self.planes * self.blocks_per_plane * self.pages_per_block

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the host sees."""
        return self.logical_pages * self.page_bytes

    @property
    def nvme_fetch_ps(self) -> int:
        """From the doorbell until the drive has the command."""
        return (
            self.nvme_doorbell_ps
            + self.nvme_request_ps
            + self.nvme_command_ps
            + self.nvme_latency_ps
        )

    def bus_ps(self, size_bytes: int) -> int:
        """Time of bytes on a channel's bus, spare bytes counted in by the caller."""
        return rounded(size_bytes * self.bus_ps_numerator, self.bus_ps_denominator)

    def moved_bytes(self, data_bytes: int) -> int:
        """Bytes on the bus when `data_bytes` of a page are read: whole units with their spare."""
        units = -(-data_bytes // self.unit_bytes) if self.partial_read else self.units_per_page
        return units * self.unit_bytes + -(-self.spare_bytes * units // self.units_per_page)

    @property
    def units_per_page(self) -> int:
        """Codewords (or sectors) of a page."""
        return self.page_bytes // self.unit_bytes

    def ecc_ps(self, data_bytes: int) -> int:
        """Time that a decoder takes for data, its latency apart."""
        return rounded(data_bytes * self.ecc_ps_numerator, self.ecc_ps_denominator)

    def dram_ps(self, data_bytes: int) -> int:
        """Time of data on the drive's DRAM, once in or out."""
        return rounded(data_bytes * self.dram_ps_numerator, self.dram_ps_denominator)

    def pcie_bytes(self, data_bytes: int) -> int:
        """Bytes on the wires: each packet of at most a payload has its overhead."""
        packets = -(-data_bytes // self.pcie_payload_bytes)
        return data_bytes + packets * self.pcie_overhead_bytes

    def pcie_ps(self, data_bytes: int) -> int:
        """Time of a message with its packets, spread over all lanes."""
        per_lane = -(-self.pcie_bytes(data_bytes) // self.pcie_lanes)
        return rounded(per_lane * self.pcie_ps_numerator, self.pcie_ps_denominator)


def rounded(numerator: int, denominator: int) -> int:
    """The ratio to the nearest whole number, halves up: what the kernel does as well."""
    return (2 * numerator + denominator) // (2 * denominator)


def config_of(spec: SsdSpec) -> DriveConfig:
    """Compiles a description: one drive of the `drives` of a memory."""
    nand = spec.nand
    moved_bytes = nand.page_bytes + nand.spare_bytes
    bus = ps_per_byte(spec.channel_rate_gbps, nand.interface)
    bus_page_ps = rounded(moved_bytes * bus.numerator, bus.denominator)
    return DriveConfig(
        name=spec.name,
        channels=spec.channels,
        chips_per_channel=spec.chips_per_channel,
        dies_per_chip=spec.dies_per_chip,
        planes=nand.planes,
        blocks_per_plane=nand.blocks_per_plane,
        pages_per_block=nand.pages_per_block,
        page_bytes=nand.page_bytes,
        spare_bytes=nand.spare_bytes,
        unit_bytes=_unit_bytes(spec),
        logical_pages=spec.logical_pages,
        striping=tuple(int(Stripe[name.upper()]) for name in spec.ftl.striping),
        page_transfer_ps=bus_page_ps,
        page_in_ps=bus_page_ps,
        bus_ps_numerator=bus.numerator,
        bus_ps_denominator=bus.denominator,
        endurance=nand.endurance,
        **_array(nand.timing),
        **_commands(nand.timing),
        **_ecc(spec),
        **_controller(spec),
        **_host(spec.host, nand.page_bytes),
        **_policies(spec),
        **_energies(spec),
    )


def ps_per_byte(rate_gbps: float, interface: NandInterfaceSpec) -> Fraction:
    """Picoseconds of a byte on a bus of `width` pins, of a grade with a cut name as it is."""
    written = Fraction(repr(rate_gbps)) * 1000
    mega_transfers = GRADES.get(int(written), written) if written.denominator == 1 else written
    return _short(Fraction(8 * 10**6, interface.width_bits) / mega_transfers)


def _unit_bytes(spec: SsdSpec) -> int:
    if spec.ecc is not None:
        return spec.ecc.codeword_bytes
    page_bytes = spec.nand.page_bytes
    return SECTOR_BYTES if page_bytes % SECTOR_BYTES == 0 else page_bytes


def _array(timing: NandTimingSpec) -> dict[str, Any]:
    return {
        "read_ps": tuple(ns_to_ps(ns) for ns in timing.read_ns),
        "program_ps": tuple(ns_to_ps(ns) for ns in timing.program_ns),
        "erase_ps": ns_to_ps(timing.erase_ns),
        "read_cache_busy_ps": ns_to_ps(timing.read_cache_busy_ns or 0.0),
        "program_cache_busy_ps": ns_to_ps(timing.program_cache_busy_ns or 0.0),
        "suspend_ps": ns_to_ps(timing.suspend_ns or 0.0),
    }


def _commands(t: NandTimingSpec) -> dict[str, Any]:
    """Bus times of the commands: cycles of command and address bytes, and what must lie between."""
    # fmt: off
    times_ns = {
        "read_command_ps":        t.t_cs_ns + 6 * t.t_wc_ns + t.t_wb_ns + t.t_rr_ns,
        "multi_plane_read_ps":    t.t_dbsy_ns + 6 * t.t_wc_ns,
        "data_setup_ps":          t.t_rpre_ns + t.t_dqsre_ns,
        "multi_plane_data_ps":    t.t_rhw_ns + 6 * t.t_wc_ns + t.t_ccs_ns
                                  + t.t_rpre_ns + t.t_dqsre_ns,
        "program_command_ps":     t.t_cs_ns + 6 * t.t_wc_ns + t.t_adl_ns
                                  + t.t_wpst_ns + t.t_wpsth_ns + t.t_wb_ns,
        "multi_plane_program_ps": 5 * t.t_wc_ns + t.t_adl_ns + t.t_wpst_ns
                                  + t.t_cals_ns + t.t_wb_ns + t.t_dbsy_ns,
        "erase_command_ps":       t.t_cs_ns + 4 * t.t_wc_ns + t.t_wb_ns,
        "suspend_command_ps":     t.t_cs_ns + 3 * t.t_wc_ns,
    }
    # fmt: on
    return {name: ns_to_ps(ns) for name, ns in times_ns.items()}


def _ecc(spec: SsdSpec) -> dict[str, Any]:
    ecc = spec.ecc
    per_byte = _ps_per_byte_of(ecc.rate_per_decoder_bytes_per_ns) if ecc else Fraction(0)
    page_bytes = spec.nand.page_bytes
    return {
        "has_ecc": ecc is not None,
        "ecc_latency_ps": ns_to_ps(ecc.latency_ns) if ecc else 0,
        "ecc_page_ps": rounded(page_bytes * per_byte.numerator, per_byte.denominator),
        "ecc_ps_numerator": per_byte.numerator,
        "ecc_ps_denominator": per_byte.denominator,
        "retry_mean": float(ecc.mean_retries_per_page) if ecc else 0.0,
        "retry_seed": ecc.seed if ecc else 0,
    }


def _controller(spec: SsdSpec) -> dict[str, Any]:
    per_byte = _ps_per_byte_of(spec.dram.bandwidth_bytes_per_ns)
    page_bytes = spec.nand.page_bytes
    return {
        "cores": spec.controller.cores,
        "core_ps": ns_to_ps(spec.controller.command_time_ns),
        "lookup_ps": ns_to_ps(spec.ftl.lookup_time_ns),
        "dram_ps_per_page": rounded(page_bytes * per_byte.numerator, per_byte.denominator),
        "dram_ps_numerator": per_byte.numerator,
        "dram_ps_denominator": per_byte.denominator,
        "write_buffer_bytes": spec.dram.write_buffer_bytes,
        "gc_threshold_blocks": spec.ftl.gc_threshold_blocks,
    }


def _ps_per_byte_of(bytes_per_ns: float | None) -> Fraction:
    if bytes_per_ns is None:
        return Fraction(0)
    return _short(PS_PER_NS / Fraction(repr(float(bytes_per_ns))))


def _short(per_byte: Fraction) -> Fraction:
    """Small enough for the kernel's products of 64 bits; a rate with few digits stays exact."""
    return per_byte.limit_denominator(MAX_DENOMINATOR)


def _host(host: HostLinkSpec, page_bytes: int) -> dict[str, Any]:
    per_byte = _ps_per_byte_of(host.rate_per_lane_bytes_per_ns)
    overhead = host.packet_overhead_bytes

    def message_ps(data_bytes: int) -> int:
        packets = -(-data_bytes // host.max_payload_bytes)
        per_lane = -(-(data_bytes + packets * overhead) // host.lanes)
        return rounded(per_lane * per_byte.numerator, per_byte.denominator)

    return {
        "queue_depth": host.queue_depth,
        "pcie_lanes": host.lanes,
        "pcie_payload_bytes": host.max_payload_bytes,
        "pcie_overhead_bytes": overhead,
        "pcie_ps_numerator": per_byte.numerator,
        "pcie_ps_denominator": per_byte.denominator,
        "pcie_page_ps": message_ps(page_bytes),
        "nvme_doorbell_ps": message_ps(DOORBELL_BYTES),
        "nvme_request_ps": message_ps(READ_REQUEST_BYTES),
        "nvme_command_ps": message_ps(COMMAND_BYTES),
        "nvme_completion_ps": message_ps(COMPLETION_BYTES),
        "nvme_latency_ps": ns_to_ps(host.command_latency_ns),
        "nvme_write_ps": ns_to_ps(host.write_latency_ns),
    }


def _policies(spec: SsdSpec) -> dict[str, Any]:
    policy = spec.policy
    return {
        "bus": int(Bus[policy.bus.upper()]),
        "interleave": int(Interleave[policy.interleave.upper()]),
        "multi_plane": int(MultiPlane[spec.nand.multi_plane.upper()]),
        "multi_plane_read": policy.multi_plane_read,
        "multi_plane_program": policy.multi_plane_program,
        "cache_read": policy.cache_read,
        "cache_program": policy.cache_program,
        "suspend": policy.suspend,
        "partial_read": policy.partial_read,
    }


def _energies(spec: SsdSpec) -> dict[str, Any]:
    flash, drive = spec.nand.energy, spec.energy
    return {
        "read_pj": flash.read_pj,
        "program_pj": flash.program_pj,
        "erase_pj": flash.erase_pj,
        "bus_pj_per_bit": flash.bus_pj_per_bit,
        "ecc_pj_per_bit": drive.ecc_pj_per_bit,
        "pcie_pj_per_bit": drive.pcie_pj_per_bit,
        "dram_pj_per_bit": drive.dram_pj_per_bit,
        "die_idle_mw": flash.idle_mw,
        "controller_mw": drive.controller_mw,
    }
