"""The arrays of a drive's state: made, and made larger."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.nand import kernel_state as w
from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.policies import Bus, Interleave, MultiPlane
from bankwidth.devices.nand.state import REQUEST_COLUMNS, State, build
from bankwidth.errors import SpecError

Ints = NDArray[np.int64]
PAGES, GROUPS, TRACE_ROWS, LOG_ROWS = 2048, 256, 1 << 16, 1 << 12
MOST_PHYSICAL_PAGES: Final = 2**31 - 2  # the FTL's words have 32 bits
PATIENCE_PS: Final = 5_000_000_000  # 5 ms: a program or erase that waited longer goes before reads
MOST_SUSPENDS: Final = 4  # of one program or erase, so that it comes to an end
_SCALE: Final = 2**32


def fresh_state(config: DriveConfig, compute_lanes: int, then_lanes: int, *, trace: bool) -> State:
    """A drive at time 0, full of data that lie at home (in lockstep mode: empty).

    Raises SpecError for more pages than the tables can name.
    """
    if config.physical_pages > MOST_PHYSICAL_PAGES:
        raise SpecError(
            f"{config.name}: {config.physical_pages} pages, the simulator's tables name at most "
            f"{MOST_PHYSICAL_PAGES}; simulate fewer channels or chips"
        )
    units_per_channel = config.chips_per_channel * (1 if _by_chip(config) else config.dies_per_chip)
    units = config.channels * units_per_channel
    planes = config.dies * config.planes
    blocks = planes * config.blocks_per_plane
    shapes: dict[str, tuple[int, ...]] = {
        "units": (units, w.NUM_U),
        "channels": (config.channels, w.NUM_C),
        "sources": (4, w.NUM_Q),
        "phases": (8, w.NUM_P),
        "commands": (config.channels, units_per_channel + 1),
        "transfers": (config.channels, units_per_channel * (config.planes + 2) + 1),
        "cores": (max(1, config.cores),),
        "touched": (config.channels,),
        "lanes": (compute_lanes + then_lanes,),
        "read_ps": (len(config.read_ps),),
        "program_ps": (len(config.program_ps),),
        "planes": (planes, w.NUM_L),
        **_pools(PAGES, GROUPS, units, config.channels),
        # parts of these that are not touched cost no memory
        "mapped": (config.logical_pages,),
        "holder": (config.physical_pages,),
        "pending": (config.logical_pages,),
        **dict.fromkeys(("stale", "erases", "written", "free_blocks"), (blocks,)),
        **dict.fromkeys(REQUEST_COLUMNS, (0,)),
        "log": (LOG_ROWS, 3),
        "trace": (TRACE_ROWS if trace else 1, w.TRACE_WORDS),
    }
    z = build(shapes)
    z.m[: w.NUM_K] = _constants(config, units_per_channel, compute_lanes, then_lanes)
    z.read_ps[:], z.program_ps[:] = config.read_ps, config.program_ps
    _initialise(z, units_per_channel, trace=trace)
    return z


def _pools(pages: int, groups: int, units: int, channels: int) -> dict[str, tuple[int, ...]]:
    events = 2 * pages + 2 * groups + 2 * units + channels + 64
    return {
        "pages": (pages, w.NUM_T),
        "groups": (groups, w.NUM_G),
        **dict.fromkeys(("heap_ps", "heap_order", "heap_event"), (events,)),
    }


def _by_chip(config: DriveConfig) -> bool:
    return config.interleave == Interleave.CHIP


def _initialise(z: State, units_per_channel: int, *, trace: bool) -> None:
    z.units[:, w.U_CHANNEL] = np.arange(len(z.units)) // units_per_channel
    for column in (w.U_READ_HEAD, w.U_READ_TAIL, w.U_WRITE_HEAD, w.U_WRITE_TAIL, w.U_OP):
        z.units[:, column] = w.NOBODY
    z.units[:, w.U_SUSPENDED_OP] = z.units[:, w.U_INPUT] = w.NOBODY
    z.channels[:, w.C_PAGE] = w.NOBODY
    z.planes[:, w.L_OPEN] = w.NOBODY
    z.planes[:, w.L_UNUSED] = z.m[w.K_HOME_BLOCKS]
    z.m[w.S_WAIT_HEAD] = z.m[w.S_WAIT_TAIL] = w.NOBODY
    z.m[w.S_TRACED], z.m[w.S_NEED] = trace, 64
    _chain(z.pages, w.T_NEXT, 0, w.NOBODY)
    _chain(z.groups, w.G_NEXT, 0, w.NOBODY)
    z.m[w.S_FREE_PAGES], z.m[w.S_FREE_GROUPS] = len(z.pages), len(z.groups)


def _chain(rows: Ints, column: int, first: int, last: int) -> None:
    """Free rows from `first` on, each naming the next; the last one names `last`."""
    rows[first:, column] = np.arange(first + 1, len(rows) + 1)
    rows[-1, column] = last


def grown(z: State, *, pages: int = 0, groups: int = 0) -> State:
    """The same state with room for so many pages and groups more, and for what they may log."""
    had_pages, had_groups = len(z.pages), len(z.groups)
    pools = _pools(had_pages + pages, had_groups + groups, len(z.units), len(z.channels))
    logged = int(z.m[w.S_LOG] + 16 * z.m[w.S_NEED]) if z.m[w.S_LOGGED] else 0
    new = build(z.shapes | pools | {"log": (max(len(z.log), 2 * logged), 3)}, z)
    if pages:
        _chain(new.pages, w.T_NEXT, had_pages, int(z.m[w.S_FREE_PAGE]))
        new.m[w.S_FREE_PAGE] = had_pages
        new.m[w.S_FREE_PAGES] += pages
    if groups:
        _chain(new.groups, w.G_NEXT, had_groups, int(z.m[w.S_FREE_GROUP]))
        new.m[w.S_FREE_GROUP] = had_groups
        new.m[w.S_FREE_GROUPS] += groups
    return new


def pages_of_event(config: DriveConfig, pages: int, *, writes: bool) -> int:
    """The most pages that one event makes: those of a request, and what collecting blocks moves."""
    moved = 2 * config.pages_per_block + 4
    return max(pages, config.planes) * (moved if writes else 1) + 8


def _constants(config: DriveConfig, per_channel: int, compute: int, then: int) -> Ints:
    k = np.zeros(w.NUM_K, dtype=np.int64)
    words = (
        _geometry(config, per_channel)
        | _timing(config)
        | _front(config)
        | _choices(config)
        | {w.K_COMPUTE_LANES: compute, w.K_THEN_LANES: then}
    )
    for word, value in words.items():
        k[word] = value
    numbers = (config.channels, config.chips_per_channel, config.dies_per_chip, config.planes)
    for i, level in enumerate(config.striping):
        k[w.K_STRIPE + i], k[w.K_STRIPE + 4 + i] = level, numbers[level]
    return k


def _geometry(config: DriveConfig, units_per_channel: int) -> dict[int, int]:
    planes = config.dies * config.planes
    per_block = config.pages_per_block
    lockstep = config.bus == Bus.DATA_FIRST_LOCKSTEP
    home = -(-config.logical_pages // (planes * per_block))
    return {
        w.K_CHANNELS: config.channels,
        w.K_UNITS: config.channels * units_per_channel,
        w.K_UNITS_PER_CHANNEL: units_per_channel,
        w.K_CHIPS: config.chips_per_channel,
        w.K_DIES: config.dies_per_chip,
        w.K_PLANES: config.planes,
        w.K_BLOCKS: config.blocks_per_plane,
        w.K_PAGES: per_block,
        w.K_PAGE_BYTES: config.page_bytes,
        w.K_PAGE_TYPES: len(config.read_ps),
        w.K_PROGRAM_TYPES: len(config.program_ps),
        w.K_HOME_BLOCKS: 0 if lockstep else home,
        w.K_LOGICAL_PAGES: config.logical_pages,
    }


def _timing(config: DriveConfig) -> dict[int, int]:
    return {
        w.K_READ_CMD: config.read_command_ps,
        w.K_READ_CMD_PLANE: config.multi_plane_read_ps,
        w.K_SETUP: config.data_setup_ps,
        w.K_SETUP_PLANE: config.multi_plane_data_ps,
        w.K_PAGE_OUT: config.page_transfer_ps,
        w.K_PAGE_IN: config.page_in_ps,
        w.K_PROGRAM_CMD: config.program_command_ps,
        w.K_PROGRAM_CMD_PLANE: config.multi_plane_program_ps,
        w.K_ERASE_CMD: config.erase_command_ps,
        w.K_ERASE: config.erase_ps,
        w.K_CACHE_READ_PS: config.read_cache_busy_ps,
        w.K_CACHE_PROGRAM_PS: config.program_cache_busy_ps,
        w.K_SUSPEND_CMD: config.suspend_command_ps,
        w.K_PARTIAL: config.partial_read,
        w.K_UNIT_BYTES: config.unit_bytes,
        w.K_UNITS_PER_PAGE: config.units_per_page,
        w.K_SPARE_BYTES: config.spare_bytes,
        w.K_BUS_NUM: config.bus_ps_numerator,
        w.K_BUS_DEN: config.bus_ps_denominator,
    }


def _front(config: DriveConfig) -> dict[int, int]:
    """Decoder, controller, DRAM and host link."""
    failing = config.retry_mean / (1.0 + config.retry_mean)
    return {
        w.K_HAS_ECC: config.has_ecc,
        w.K_ECC_PS: config.ecc_page_ps,
        w.K_ECC_LATENCY: config.ecc_latency_ps,
        w.K_ECC_NUM: config.ecc_ps_numerator,
        w.K_ECC_DEN: config.ecc_ps_denominator,
        w.K_RETRY: round(failing * _SCALE),
        w.K_RETRY_SEED: config.retry_seed,
        w.K_CORES: max(1, config.cores),
        w.K_CORE_PS: config.core_ps,
        w.K_LOOKUP: config.lookup_ps,
        w.K_DOORBELL: config.nvme_doorbell_ps,
        w.K_REQUEST: config.nvme_request_ps,
        w.K_COMMAND: config.nvme_command_ps,
        w.K_COMPLETION: config.nvme_completion_ps,
        w.K_LATENCY: config.nvme_latency_ps,
        w.K_WRITE_LATENCY: config.nvme_write_ps,
        w.K_LINK_PAYLOAD: config.pcie_payload_bytes,
        w.K_LINK_OVERHEAD: config.pcie_overhead_bytes,
        w.K_LINK_LANES: config.pcie_lanes,
        w.K_LINK_NUM: config.pcie_ps_numerator,
        w.K_LINK_DEN: config.pcie_ps_denominator,
        w.K_DRAM_NUM: config.dram_ps_numerator,
        w.K_DRAM_DEN: config.dram_ps_denominator,
    }


def _choices(config: DriveConfig) -> dict[int, int]:
    lockstep = config.bus == Bus.DATA_FIRST_LOCKSTEP
    rule = w.PAIR_ANY if config.multi_plane == MultiPlane.INDEPENDENT else w.PAIR_SAME_OFFSET
    programs = w.PAIR_SAME_OFFSET  # planes that read on their own still program together
    if lockstep:
        rule = programs = w.PAIR_SAME_PAGE
    return {
        w.K_LOCKSTEP: lockstep,
        w.K_BY_CHIP: _by_chip(config),
        w.K_PAIR_READS: rule if config.multi_plane_read else w.PAIR_NONE,
        w.K_PAIR_PROGRAMS: programs if config.multi_plane_program else w.PAIR_NONE,
        w.K_BUFFER_PAGES: config.write_buffer_bytes // config.page_bytes,
        w.K_GC_BLOCKS: config.gc_threshold_blocks,
        w.K_PATIENCE: 2**61 if lockstep else PATIENCE_PS,
        w.K_CACHE_READ: config.cache_read,
        w.K_CACHE_PROGRAM: config.cache_program,
        w.K_SUSPEND: config.suspend_ps if config.suspend else 0,
        w.K_MOST_SUSPENDS: MOST_SUSPENDS,
    }
