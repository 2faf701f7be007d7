"""Closed forms of what a drive does when one of its parts is never idle, beside the drive itself.

They hold for our own mode: commands before data on a channel's bus, dies that work side by side,
queues deep enough that the part that binds never waits. A rate is the least of what the parts in
the way of a page can pass (the "bounds"); a latency is the sum of its stages. Derived here from
what each part does with a page; the law of bus and dies is that of every ONFI channel
(SimpleSSD's and MQSim's papers use it, with other rules of who goes first).

Rates are pages per ps, over the whole drive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import numpy as np

from bankwidth.devices.dram.splitmix import splitmix64
from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.devices.nand.requests import Requests
from bankwidth.spec import SsdSpec, load_device
from bankwidth.spec.base import Spec
from bankwidth.validate.verdicts import Case

PUBLISHED: Final = "closed forms"
TOLERANCE_PCT: Final = 1.0
SOURCE: Final = "closed form, derived in validate/flash_laws.py"
RUN_PAGES: Final = 8192  # of the shorter of two runs, at least
RANDOM_LAPS: Final = 16  # times as many of random pages, whose dies are unevenly asked at the end
DEPTH_PER_DIE: Final = 256  # requests under way: enough that what binds never waits
SEED: Final = 0xC0FFEE
Rate = Fraction  # pages per ps


# ---------------------------------------------------------------------------- times of one page
def read_command_ps(config: DriveConfig, planes: int = 1) -> int:
    """Bus time of the command of a read of pages on several planes of a die."""
    return config.read_command_ps + (planes - 1) * config.multi_plane_read_ps


def program_command_ps(config: DriveConfig, planes: int = 1) -> int:
    """Bus time of the command of a program of pages on several planes of a die, without data."""
    return config.program_command_ps + (planes - 1) * config.multi_plane_program_ps


def data_out_ps(config: DriveConfig, planes: int = 1) -> int:
    """Bus time of whole pages out of several planes of a die, the set-up of each among it."""
    first = config.data_setup_ps + config.page_transfer_ps
    return first + (planes - 1) * (config.multi_plane_data_ps + config.page_transfer_ps)


def mean_read_ps(config: DriveConfig) -> Fraction:
    """Array time of a read over all types of pages: a block has as many of each."""
    return Fraction(sum(config.read_ps), len(config.read_ps))


def mean_program_ps(config: DriveConfig) -> Fraction:
    """Array time of a program over all types of pages."""
    return Fraction(sum(config.program_ps), len(config.program_ps))


# ---------------------------------------------------------------------------- what a part can pass
def read_bus_bound(config: DriveConfig, planes: int = 1) -> Rate:
    """Every channel's bus carries command and data of each page, one way at a time."""
    group_ps = read_command_ps(config, planes) + data_out_ps(config, planes)
    return Fraction(config.channels * planes, group_ps)


def read_die_bound(config: DriveConfig, planes: int = 1) -> Rate:
    """A die is taken from a read's command to the end of its data; planes share one tR.

    With cache reads (31h) the array goes on while data leave from the cache register: a die's
    period is the longer of both, the command and the move to that register (tRCBSY).
    """
    command_ps, out_ps = read_command_ps(config, planes), data_out_ps(config, planes)
    if config.cache_read:
        longer_ps = Fraction(sum(max(ps, out_ps) for ps in config.read_ps), len(config.read_ps))
        period_ps = command_ps + longer_ps + config.read_cache_busy_ps
    else:
        period_ps = command_ps + mean_read_ps(config) + out_ps
    return config.dies * planes / period_ps


def decoder_bound(config: DriveConfig) -> Rate | None:
    """Every channel's decoder passes the data of one page after the other."""
    return Fraction(config.channels, config.ecc_page_ps) if config.ecc_page_ps else None


def core_bound(config: DriveConfig, pages_per_command: int = 1) -> Rate | None:
    """Each command takes one of the controller's cores."""
    return Fraction(config.cores * pages_per_command, config.core_ps) if config.core_ps else None


def link_up_bound(config: DriveConfig, pages_per_command: int = 1) -> Rate:
    """Towards the host pass data, and per read a request for the command and its completion."""
    messages_ps = config.nvme_request_ps + config.nvme_completion_ps
    data_ps = pages_per_command * config.pcie_page_ps
    return Fraction(pages_per_command, data_ps + messages_ps)


def link_down_bound(config: DriveConfig, pages_per_command: int = 1) -> Rate:
    """Towards the drive pass data to write, and per write two doorbells and the command."""
    messages_ps = 2 * config.nvme_doorbell_ps + config.nvme_command_ps
    data_ps = pages_per_command * config.pcie_page_ps
    return Fraction(pages_per_command, data_ps + messages_ps)


def dram_bound(config: DriveConfig) -> Rate | None:
    """Every page of the host goes into the drive's DRAM and out again."""
    both_ps = 2 * config.dram_ps_per_page
    return Fraction(1, both_ps) if both_ps else None


def write_bus_bound(config: DriveConfig, planes: int = 1) -> Rate:
    """Every channel's bus carries command and data of each page to program."""
    group_ps = program_command_ps(config, planes) + planes * config.page_in_ps
    return Fraction(config.channels * planes, group_ps)


def write_die_bound(config: DriveConfig, planes: int = 1) -> Rate:
    """A die is taken from a program's command until it is through; planes share one tPROG.

    With cache programs the next data come in while the array works.
    """
    in_ps = program_command_ps(config, planes) + planes * config.page_in_ps
    if config.cache_program:
        busy_ps = config.program_cache_busy_ps
        times = [max(ps, in_ps) + busy_ps for ps in config.program_ps]
        period_ps = Fraction(sum(times), len(times))
    else:
        period_ps = in_ps + mean_program_ps(config)
    return config.dies * planes / period_ps


# ---------------------------------------------------------------------------- all parts together
def read_bounds(
    config: DriveConfig, planes: int = 1, pages_per_command: int = 1
) -> dict[str, Rate]:
    """What each part that pages for the host pass would allow alone, by its name."""
    return _known(
        {
            "bus": read_bus_bound(config, planes),
            "dies": read_die_bound(config, planes),
            "decoders": decoder_bound(config),
            "dram": dram_bound(config),
            "link": link_up_bound(config, pages_per_command),
            "cores": core_bound(config, pages_per_command),
        }
    )


def write_bounds(
    config: DriveConfig, planes: int = 1, pages_per_command: int = 1
) -> dict[str, Rate]:
    """The same of pages that the host writes while no blocks are collected."""
    return _known(
        {
            "bus": write_bus_bound(config, planes),
            "dies": write_die_bound(config, planes),
            "dram": dram_bound(config),
            "link": link_down_bound(config, pages_per_command),
            "cores": core_bound(config, pages_per_command),
        }
    )


def _known(bounds: dict[str, Rate | None]) -> dict[str, Rate]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def binds(bounds: dict[str, Rate]) -> str:
    """The part that passes least."""
    return min(bounds, key=lambda name: bounds[name])


def read_latency_ps(config: DriveConfig, page: int = 0) -> int:
    """A read of one whole page on an idle drive: the sum of its stages.

    `page` is its number in its block, which says the type. DRAM and link work at once.
    """
    stages_ps = (
        config.nvme_fetch_ps,
        config.core_ps,
        config.lookup_ps,
        config.read_command_ps,
        config.read_ps[page % len(config.read_ps)],
        config.data_setup_ps,
        config.page_transfer_ps,
        config.ecc_page_ps,
        config.ecc_latency_ps,
        max(config.pcie_page_ps, 2 * config.dram_ps_per_page),
        config.nvme_completion_ps,
    )
    return sum(stages_ps)


def write_latency_ps(config: DriveConfig, page: int = 0) -> int:
    """A write of one whole page on an idle drive: with a buffer its stages end in the DRAM."""
    stages_ps = (
        config.nvme_fetch_ps,
        config.nvme_write_ps,
        config.core_ps,
        config.lookup_ps,
        config.nvme_request_ps,
        max(config.pcie_page_ps, 2 * config.dram_ps_per_page),
        config.nvme_completion_ps,
    )
    flash_ps = (
        config.program_command_ps
        + config.page_in_ps
        + config.program_ps[page % len(config.program_ps)]
    )
    return sum(stages_ps) + (0 if config.write_buffer_bytes else flash_ps)


# ---------------------------------------------------------------------------- what the drive does
def steady_rate(
    config: DriveConfig, *, is_write: bool = False, is_random: bool = False, pages: int = RUN_PAGES
) -> Rate:
    """Pages per ps of page-sized requests, without the start and the end of the run.

    These are the same in two runs, one of `pages` (rounded up to whole laps over all types of pages
    of all planes) and one of twice as many; their difference has neither.
    """
    lap = config.dies * config.planes * math.lcm(len(config.read_ps), len(config.program_ps))
    short = -(-pages * (RANDOM_LAPS if is_random else 1) // lap) * lap
    first, second = (
        _end_ps(config, number, is_write=is_write, is_random=is_random)
        for number in (short, 2 * short)
    )
    return Fraction(short, second - first)


def _end_ps(config: DriveConfig, number: int, *, is_write: bool, is_random: bool) -> int:
    from bankwidth.devices.nand.drive import Drive

    place = np.arange(number, dtype=np.int64)
    if is_random:
        place = (splitmix64(SEED, place) % np.uint64(config.logical_pages)).astype(np.int64)
    requests = Requests(
        offset_bytes=place % config.logical_pages * config.page_bytes,
        size_bytes=np.full(number, config.page_bytes, dtype=np.int64),
        is_write=np.full(number, is_write),
    )
    depth = min(config.queue_depth, DEPTH_PER_DIE * config.dies)
    return Drive(config, skip=False).replay(requests, queue_depth=depth).end_ps


def one_by_one_ps(config: DriveConfig, *, is_write: bool = False) -> int:
    """Latency of one page on a drive that does nothing else."""
    from bankwidth.devices.nand.drive import Drive

    requests = Requests(
        offset_bytes=np.zeros(1, dtype=np.int64),
        size_bytes=np.full(1, config.page_bytes, dtype=np.int64),
        is_write=np.full(1, is_write),
    )
    return int(Drive(config, skip=False).replay(requests, queue_depth=1).latency_ps[0])


# ---------------------------------------------------------------------------- shipped drives
@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A part of a shipped drive, with fields that bring one of its bounds to bear."""

    id: str
    device: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    is_write: bool = False
    is_random: bool = False
    binds: str  # the part that passes least

    @property
    def config(self) -> DriveConfig:
        """The drive; nothing is read again."""
        spec = load_device(f"ssd/{self.device}")
        assert isinstance(spec, SsdSpec)
        return config_of(changed(changed(spec, self.changes), NO_RETRIES))

    def bounds(self, config: DriveConfig) -> dict[str, Rate]:
        """What each part would allow."""
        together = config.multi_plane_program if self.is_write else config.multi_plane_read
        bounds = write_bounds if self.is_write else read_bounds
        return bounds(config, config.planes if together else 1)

    def case(self) -> Case:
        """The law beside the drive, in MB/s."""
        config = self.config
        bounds = self.bounds(config)
        rate = steady_rate(config, is_write=self.is_write, is_random=self.is_random)
        return Case(
            id=f"{self.device}: {self.id}",
            quantity="MB/s",
            reference=_megabytes(bounds[binds(bounds)], config),
            ours=_megabytes(rate, config),
            tolerance_pct=TOLERANCE_PCT,
            source=SOURCE,
            note=f"binds: {binds(bounds)}",
        )


def changed(spec: Spec, changes: Mapping[str, Any]) -> Any:
    """A description with some fields changed; those of sections below by nested mappings."""
    values = {
        name: changed(getattr(spec, name), value) if isinstance(value, Mapping) else value
        for name, value in changes.items()
    }
    return spec.model_copy(update=values)


def _megabytes(rate: Rate, config: DriveConfig) -> float:
    return float(rate * config.page_bytes * 10**6)


NO_RETRIES: Final[Mapping[str, Any]] = {"ecc": {"mean_retries_per_page": 0.0}}
ONE_AT_A_TIME: Final[Mapping[str, Any]] = {
    "multi_plane_read": False,
    "multi_plane_program": False,
    "cache_read": False,
    "cache_program": False,
}
# fmt: off
LAWS: Final = (
    Law(id="8 dies on a channel, random", device="samsung-980-pro", is_random=True, binds="bus",
        changes={"channels": 1, "dies_per_chip": 4, "policy": ONE_AT_A_TIME}),
    Law(id="2 dies on a channel", device="samsung-980-pro", binds="dies",
        changes={"channels": 2, "chips_per_channel": 1, "policy": ONE_AT_A_TIME}),
    Law(id="2 dies on a channel, random", device="samsung-980-pro", is_random=True, binds="dies",
        changes={"channels": 1, "chips_per_channel": 1, "policy": ONE_AT_A_TIME}),
    Law(id="one die, planes together", device="crucial-t700", binds="dies",
        changes={"channels": 1, "chips_per_channel": 1,
                 "policy": {**ONE_AT_A_TIME, "multi_plane_read": True}}),
    Law(id="2 dies, planes together", device="solidigm-d5-p5316", binds="dies",
        changes={"channels": 1, "chips_per_channel": 1, "dies_per_chip": 2,
                 "policy": {**ONE_AT_A_TIME, "multi_plane_read": True}}),
    Law(id="one die, cache reads", device="samsung-980-pro", binds="dies",
        changes={"channels": 1, "chips_per_channel": 1, "dies_per_chip": 1,
                 "policy": {**ONE_AT_A_TIME, "cache_read": True}}),
    Law(id="one die, cache reads of a fast array", device="samsung-sz985", binds="dies",
        changes={"channels": 1, "chips_per_channel": 1, "dies_per_chip": 1,
                 "policy": {**ONE_AT_A_TIME, "cache_read": True}}),
    Law(id="2 dies, cache reads", device="samsung-sz985", binds="bus",
        changes={"channels": 1, "chips_per_channel": 1, "dies_per_chip": 2,
                 "policy": {**ONE_AT_A_TIME, "cache_read": True}}),
    Law(id="slow decoders", device="instinfer-csd", binds="decoders",
        changes={"channels": 4, "policy": ONE_AT_A_TIME,
                 "ecc": {"rate_per_decoder_bytes_per_ns": 0.5}}),
    Law(id="whole drive", device="instinfer-csd", binds="link"),
    Law(id="one lane, random", device="samsung-980-pro", is_random=True, binds="link",
        changes={"host": {"lanes": 1}}),
    Law(id="one slow core", device="samsung-sz985", binds="cores",
        changes={"controller": {"cores": 1, "command_time_ns": 5000.0}}),
    Law(id="writes of 4 dies", device="samsung-980-pro", is_write=True, binds="dies",
        changes={"channels": 1, "policy": ONE_AT_A_TIME, "dram": {"write_buffer_bytes": 0}}),
    Law(id="writes, planes together", device="crucial-t700", is_write=True, binds="dies",
        changes={"channels": 2, "dram": {"write_buffer_bytes": 0},
                 "policy": {**ONE_AT_A_TIME, "multi_plane_program": True}}),
    Law(id="writes of 16 dies", device="samsung-sz985", is_write=True, binds="dies",
        changes={"channels": 1, "policy": ONE_AT_A_TIME, "dram": {"write_buffer_bytes": 0}}),
    Law(id="writes over a slow bus", device="samsung-sz985", is_write=True, binds="bus",
        changes={"channels": 1, "channel_rate_gbps": 0.4, "dram": {"write_buffer_bytes": 0},
                 "policy": ONE_AT_A_TIME}),
    Law(id="cache programs of one die", device="samsung-sz985", is_write=True, binds="dies",
        changes={"channels": 1, "chips_per_channel": 1, "dies_per_chip": 1,
                 "dram": {"write_buffer_bytes": 0},
                 "policy": {**ONE_AT_A_TIME, "cache_program": True}}),
)
# fmt: on
LATENCIES: Final = ("samsung-980-pro", "samsung-sz985", "crucial-t700", "instinfer-csd")


def published() -> Iterator[Case]:
    """The laws beside the drive: rates within 1 %, latencies to the picosecond."""
    yield from (law.case() for law in LAWS)
    for device in LATENCIES:
        config = Law(id="", device=device, binds="").config
        for is_write, law in ((False, read_latency_ps), (True, write_latency_ps)):
            yield Case(
                id=f"{device}: one {'write' if is_write else 'read'} alone",
                quantity="ns",
                reference=law(config) / 1000,
                ours=one_by_one_ps(config, is_write=is_write) / 1000,
                source=SOURCE,
            )
