"""Shipped devices against the arithmetic of their data sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import floor, prod
from pathlib import Path

import numpy as np
import pytest

from bankwidth.devices.dram import DramChannel, DramConfig, Stream, config_of, replay
from bankwidth.devices.dram.checker import Issued, issued_of
from bankwidth.devices.dram.commands import Level
from bankwidth.devices.dram.config import QUEUE_SLOTS
from bankwidth.devices.dram.mapping import MOP_COLUMN_BITS
from bankwidth.devices.dram.replay import words_of
from bankwidth.devices.dram.table import Controller
from bankwidth.spec import load_device, sources_of
from bankwidth.spec.dram import CommandEnergySpec, DramSpec

Device = Callable[[str], DramSpec]
FOLDER = Path(__file__).parents[3] / "arch" / "devices" / "dram"
FAR = 10**9


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a data sheet, a standard or an announcement says of one channel."""

    pins: int
    gbps: float  # per pin
    bits_per_ck: int  # per pin and cycle of the command clock
    banks: int
    row_bytes: int
    gbit: float  # density of a part, times the parts that make up a channel
    rfc_ns: int
    refi_ns: int


# fmt: off
SHEETS = {
    #                   pins  Gbps              bits banks  row  Gbit         tRFC tREFI
    "ddr4-2400":    Sheet( 64, 2.4,              2,   8, 8192,  8 * 4,       360, 7800),
    "ddr4-2666":    Sheet( 64, 8 / 3,            2,  16, 8192,  8 * 8,       350, 7800),
    "ddr4-3200":    Sheet( 64, 3.2,              2,  16, 8192,  8 * 8,       360, 7800),
    "ddr5-4800":    Sheet( 32, 4.8,              2,  32, 4096, 16 * 4,       295, 3900),
    "ddr5-6400":    Sheet( 32, 6.4,              2,  32, 4096, 16 * 4,       295, 3900),
    "lpddr5-6400":  Sheet( 16, 6.4,              8,  16, 2048, 16,           280, 3906),
    "lpddr5x-8533": Sheet( 16, 8.533,            8,  16, 2048, 16,           280, 3906),
    "lpddr4x-4267": Sheet( 16, 4.267,            2,   8, 2048, 16,           380, 3904),
    "gddr6-10":     Sheet( 16, 10.0,             8,  16, 2048, 16 / 2,       120, 1900),
    "gddr6-16":     Sheet( 16, 16.0,             8,  16, 2048,  8 / 2,       120, 1900),
    "gddr6-16x8":   Sheet( 16, 16.0,             8,  16, 4096, 16 / 2 * 2,   120, 1900),
    "gddr6-18x8":   Sheet( 16, 18.0,             8,  16, 4096, 16 / 2 * 2,   120, 1900),
    "hbm2-1754":    Sheet(128, 2 * 0.877,        2,  32, 1024,  8 * 8 / 8,   350, 3900),
    "hbm2-2000":    Sheet(128, 2.0,              2,  32, 1024,  8 * 2,       350, 3900),
    "hbm2-2000-pim": Sheet(64, 2.0,              2,  16, 1024,  2,           350, 3900),
    "hbm2e-3190":   Sheet(128, 2039 * 8 / 5120,  2,  32, 1024, 16 * 8 / 8,   350, 3900),
    "hbm2e-3600":   Sheet(128, 3.6,              2,  32, 1024, 16 * 8 / 8,   350, 3900),
    "hbm3-5200":    Sheet( 64, 5.2,              4,  64, 1024, 16 * 8 / 16,  350, 3900),
    "hbm3-5230":    Sheet( 64, 3350 * 8 / 5120,  4,  64, 1024, 16 * 8 / 16,  350, 3900),
    "hbm3-6400":    Sheet( 64, 6.4,              4,  64, 1024, 16 * 8 / 16,  350, 3900),
    "hbm3e-6250":   Sheet( 64, 4800 * 8 / 6144,  4,  64, 1024, 24 * 8 / 16,  350, 3900),
    "hbm3e-7992":   Sheet( 64, 2 * 3.996,        4,  64, 1024, 24 * 8 / 16,  350, 3900),
    "hbm3e-8000":   Sheet( 64, 8.0,              4,  64, 1024, 24 * 8 / 16,  450, 3900),
    "hbm3e-9200":   Sheet( 64, 9.2,              4,  64, 1024, 24 * 8 / 16,  450, 3900),
}
# fmt: on
# JESD79-5 cuts its clock periods to whole picoseconds; all others are rounded to the nearest.
CUT_CLOCKS = ("ddr5-4800", "ddr5-6400")
# Rows of 24 Gb dies are rounded up from 24576 to a power of two: addresses are cut into bit fields.
ROUNDED_UP = {name: 32768 / 24576 for name in SHEETS if name.startswith("hbm3e")}
# All-bank refreshes that take all rows, where not 8192: Micron's GDDR6 has 16k in 32 ms.
REFRESHES = {"gddr6-10": 16384, "gddr6-16x8": 16384, "gddr6-18x8": 16384}
# Channels, and bytes per ns on the data sheet of a GPU or of a stack.
MEMORIES = {
    "gddr6-10": (16, 320.0),
    "gddr6-16x8": (24, 768.0),
    "gddr6-18x8": (24, 864.0),
    "hbm2-1754": (32, 898.0),
    "hbm2e-3190": (40, 2039.0),
    "hbm2e-3600": (8, 460.0),
    "hbm3-5200": (128, 5325.0),
    "hbm3-5230": (80, 3350.0),
    "hbm3-6400": (16, 819.0),
    "hbm3e-6250": (96, 4800.0),
    "hbm3e-7992": (128, 8184.0),
}
# Streaming, pJ per bit in all: the range in which published totals of such a memory lie.
PJ_PER_BIT = {"ddr4": (12, 22), "ddr5": (9, 15), "lpddr": (3, 7), "gddr": (7, 11), "hbm": (3, 7)}
# Two chips share the pins of a channel: the second's standby and activates, on the same bits.
CLAMSHELL = ("gddr6-16x8", "gddr6-18x8")
CLAMSHELL_PJ_PER_BIT = 2.5


def test_every_device_file_is_checked() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(SHEETS)


# ---------------------------------------------------------------------------- data sheets
@pytest.mark.parametrize("name", SHEETS)
def test_the_clock_is_that_of_the_pins(name: str, device_spec: Device) -> None:
    sheet, timing = SHEETS[name], device_spec(name).timing
    exact_ps = sheet.bits_per_ck * 1000 / sheet.gbps
    rounding = 0 if name in CUT_CLOCKS else 0.5
    assert timing.tck_ps == floor(exact_ps + rounding)
    assert device_spec(name).organisation.prefetch == sheet.bits_per_ck * timing.burst_ck


@pytest.mark.parametrize("name", SHEETS)
def test_peak_is_pins_times_rate(name: str, device_spec: Device) -> None:
    sheet, spec = SHEETS[name], device_spec(name)
    rounding = sheet.bits_per_ck * 1000 / sheet.gbps / spec.timing.tck_ps
    peak = sheet.pins * sheet.gbps / 8
    assert spec.channel_peak_bytes_per_ns == pytest.approx(peak * rounding, rel=1e-12)
    assert rounding == pytest.approx(1, abs=1.7e-3)  # a whole picosecond of the fastest clock


@pytest.mark.parametrize("name", SHEETS)
def test_capacity_and_rows(name: str, device_spec: Device) -> None:
    sheet, spec = SHEETS[name], device_spec(name)
    sheet_bytes = sheet.gbit * 2**30 / 8
    assert spec.channel_capacity_bytes == sheet_bytes * ROUNDED_UP.get(name, 1)
    assert spec.organisation.num_banks == sheet.banks
    assert spec.organisation.row_bytes == sheet.row_bytes


@pytest.mark.parametrize("name", MEMORIES)
def test_channels_make_the_memory(name: str, device_spec: Device) -> None:
    channels, bytes_per_ns = MEMORIES[name]
    peak = channels * device_spec(name).channel_peak_bytes_per_ns
    assert peak == pytest.approx(bytes_per_ns, rel=2e-3)


@pytest.mark.parametrize("name", SHEETS)
def test_timing_is_consistent(name: str, device_spec: Device) -> None:
    timing = device_spec(name).timing
    assert abs(timing.ras + timing.rp - timing.rc) <= 2  # each is rounded up by itself
    assert timing.ccdl >= timing.ccds >= timing.burst_ck  # bursts do not overlap on the pins
    assert timing.rrds <= timing.rrdl <= timing.faw


@pytest.mark.parametrize("name", SHEETS)
def test_refresh_times_are_the_sheets_rounded_up(name: str, device_spec: Device) -> None:
    sheet, timing = SHEETS[name], device_spec(name).timing
    assert timing.rfc == -(-sheet.rfc_ns * 1000 // timing.tck_ps)
    assert timing.refi == -(-sheet.refi_ns * 1000 // timing.tck_ps)


# ---------------------------------------------------------------------------- gaps, in ticks
@dataclass(frozen=True, slots=True)
class Gaps:
    """Ticks from the start of a command to the start of the next, below the same bank."""

    activate_to_read: int
    activate_to_close: int
    read_to_read: int  # of one bank group
    read_to_close: int
    close_to_activate: int
    close_to_refresh: int  # all banks
    refresh_to_activate: int


def gap_ticks(config: DramConfig, before: str, after: str) -> int:
    """The longest gap that any rule puts between two commands that meet at every level."""
    names = dict(zip(config.commands, config.command_names, strict=True))
    gaps = [
        rule.gap_ticks
        for rule in config.constraints
        if (names[rule.before], names[rule.after]) == (before, after)
        and rule.window == 1
        and not rule.sibling
    ]
    return max(gaps, default=0)


def activate_of(config: DramConfig) -> str:
    """LPDDR5 activates in two halves; rules count from the first."""
    return "ACT1" if "ACT1" in config.command_names else "ACT"


def gaps_of(config: DramConfig) -> Gaps:
    activate = activate_of(config)
    pairs = (
        (activate, "RD"), (activate, "PREpb"), ("RD", "RD"), ("RD", "PREpb"), ("PREpb", activate),
        ("PREab", "REFab"), ("REFab", activate),
    )  # fmt: skip
    return Gaps(*(gap_ticks(config, before, after) for before, after in pairs))


def rising(config: DramConfig, tick: int) -> int:
    """The first tick at which anything but a precharge may start: odd ones, of half clocks."""
    return tick | 1 if config.controller is Controller.HALF_CLOCK else tick


def num_pseudo(config: DramConfig) -> int:
    return config.level_counts[1] if config.levels[1] is Level.PSEUDO_CHANNEL else 1


def bus_ticks(config: DramConfig) -> float:
    """Ticks per burst when the pins of all pseudo-channels are busy."""
    return config.burst_ticks / num_pseudo(config)


def closing_ticks(config: DramConfig) -> int:
    """Ticks in which no row can be open around a refresh: pseudo-channels close in turn."""
    gaps = gaps_of(config)
    return config.num_refresh_scopes * gaps.close_to_refresh + gaps.refresh_to_activate


# ---------------------------------------------------------------------------- refresh
@dataclass(frozen=True, slots=True)
class Refreshing:
    """One interval: when the refresh was due, and the commands before and after."""

    due: int
    before: list[Issued]  # up to the last refresh command
    after: list[Issued]

    def last(self, name: str, scope: tuple[int, ...], until: int) -> int:
        """Tick of the last such command of a scope before `until`; long ago if there is none."""
        ticks = [
            command.tick
            for command in self.before
            if command.name == name
            and command.tick < until
            and command.place[: len(scope)] == scope
        ]
        return ticks[-1] if ticks else -FAR


def sequential_commands(config: DramConfig, mapper: str) -> list[Issued]:
    """What a busy channel issues around each of eight refreshes."""
    interval, around = config.times["refi"], 2 * config.times["rc"]
    bursts = int(8 * interval / bus_ticks(config))
    address = np.arange(bursts, dtype=np.int64) * config.burst_bytes
    words = words_of(address, np.zeros(bursts, dtype=np.bool_))
    result = replay(
        config, words, scheduler="FRFCFS-RowHit", mapper=mapper, with_commands=True, with_hash=False
    )
    phase = (result.commands[:, 0] + around) % interval
    near = result.commands[phase < 2 * around + 2 * closing_ticks(config)]
    return list(issued_of(near, config))


def refreshings(config: DramConfig, issued: list[Issued]) -> Iterator[Refreshing]:
    interval = config.times["refi"]
    for due in range(interval, issued[-1].tick - interval, interval):
        near = [c for c in issued if due - interval // 2 < c.tick < due + interval // 2]
        last = max(i for i, command in enumerate(near) if command.name == "REFab")
        yield Refreshing(due, near[: last + 1], near[last + 1 :])


def refreshed_ticks(config: DramConfig, one: Refreshing) -> dict[tuple[int, ...], int]:
    """When each pseudo-channel or rank was refreshed; its rows closed as early as they may."""
    gaps, activate = gaps_of(config), activate_of(config)
    refreshed: dict[tuple[int, ...], int] = {}
    free = one.due  # pseudo-channels are refreshed in turn
    for refresh in (c for c in one.before if c.name == "REFab" and c.tick >= one.due):
        scope = refresh.place[: config.levels.index(config.refresh_level) + 1]
        close = one.last("PREab", scope, refresh.tick)
        ready = [
            one.last(before, scope, close) + gap_ticks(config, before, "PREab")
            for before in (activate, "RD", "PREpb")
        ]
        assert 0 <= close - max(free, *ready) < config.ticks_per_ck
        cycle = one.last(activate, scope, close) + gap_ticks(config, activate, "REFab")
        assert refresh.tick == rising(config, max(cycle, close + gaps.close_to_refresh))
        refreshed[scope], free = refresh.tick, refresh.tick + 1
    return refreshed


@pytest.mark.parametrize("mapper", ["MOP4CLXOR", "RoBaRaCoCh"])
@pytest.mark.parametrize("name", SHEETS)
def test_every_tick_of_a_refresh_is_explained(name: str, mapper: str, device_spec: Device) -> None:
    """Rows close as early as tRAS and tRTP allow, then tRP, tRFC, and the first activate."""
    config = config_of(device_spec(name))
    seen = list(refreshings(config, sequential_commands(config, mapper)))
    assert len(seen) >= 5
    for one in seen:
        refreshed = refreshed_ticks(config, one)
        assert len(refreshed) == config.num_refresh_scopes
        first = next(command for command in one.after if command.name == activate_of(config))
        scope = first.place[: config.levels.index(config.refresh_level) + 1]
        done = refreshed[scope] + gaps_of(config).refresh_to_activate
        assert first.tick == rising(config, done)


@pytest.mark.parametrize("mapper", ["MOP4CLXOR", "RoBaRaCoCh"])
@pytest.mark.parametrize("name", SHEETS)
def test_refresh_blocks_for_its_time_and_the_rows_that_close(
    name: str, mapper: str, device_spec: Device
) -> None:
    """tRFC, tRP of each pseudo-channel, and at most the row opened last until it may close."""
    config = config_of(device_spec(name))
    gaps, interval, refreshes = gaps_of(config), config.times["refi"], 50
    channel = DramChannel(config, scheduler="FRFCFS-RowHit", mapper=mapper)
    channel.add(Stream(0, (config.capacity_bytes // config.burst_bytes, 1, 1)))
    channel.advance(refreshes * interval + interval // 2)
    least = config.num_refresh_scopes * gaps.close_to_refresh + config.times["rfc"]
    row = max(gaps.activate_to_close, gaps.activate_to_read + gaps.read_to_close)
    edges = 2 * config.num_refresh_scopes  # next pseudo-channel, next rising edge
    share = channel.refresh_blocked_ck / (refreshes * interval)
    assert least / interval <= share <= (least + row + edges) / interval


# ---------------------------------------------------------------------------- streams
@cache
def streamed(path: Path, mapper: str, refresh: str) -> DramChannel:
    """A channel that has read one long sequential stream."""
    spec = load_device(path)
    assert isinstance(spec, DramSpec)
    channel = DramChannel(
        config_of(spec), scheduler="FRFCFS-RowHit", mapper=mapper, refresh=refresh
    )
    channel.add(Stream(0, (500_000, 1, 1)))
    channel.advance(FAR)
    return channel


def bursts_of(channel: DramChannel) -> int:
    return channel.counts["RD"]


def refreshes_of(channel: DramChannel) -> float:
    return channel.counts["REFab"] / channel.config.num_refresh_scopes


def blocked_ticks(channel: DramChannel) -> float:
    """Of all refreshes: rows closed, and the first row open again."""
    config = channel.config
    return refreshes_of(channel) * (closing_ticks(config) + gaps_of(config).activate_to_read)


def interleaved_ticks(channel: DramChannel) -> float:
    """The least time of MOP4CLXOR: the pins, or what a bank needs whose row changes.

    Four bursts visit a bank, then the next bank's. When its row changes, the first of them waits in
    the queue for tRP and the others for tRP + tRCD and their turns of tCCD_L; the queue and the
    activated request hold so many that visits follow each other no faster (Little's law). Nor do
    they faster than tRRD and tFAW allow.
    """
    config, gaps = channel.config, gaps_of(channel.config)
    visit = 1 << MOP_COLUMN_BITS
    on_pins = visit * bus_ticks(config)
    row = gaps.close_to_activate + gaps.activate_to_read
    turns = sum(range(visit)) * gaps.read_to_read
    queued = gaps.close_to_activate + (visit - 1) * row + turns
    times, pseudo = config.times, num_pseudo(config)
    change = max(
        on_pins, queued / (QUEUE_SLOTS + 1), times["rrds"] / pseudo, times["faw"] / 4 / pseudo
    )
    stall = channel.counts["PREpb"] * (change - on_pins)
    return bursts_of(channel) * bus_ticks(config) + stall + blocked_ticks(channel)


def row_by_row_ticks(channel: DramChannel) -> float:
    """The least time of RoBaRaCoCh: every row at tCCD_L, as many at once as the queue sees.

    All bursts of a row come before those of the next, which lies in another bank. So a bank group
    bounds at tCCD_L, but the queue sees the next rows while the last bursts of one are left:
    `ahead` ticks after a row's first request arrived it is open, and in the steady state the rows
    before it have left just what fills the queue.
    """
    config, gaps = channel.config, gaps_of(channel.config)
    bursts, each = config.columns, gaps.read_to_read
    closed_first = channel.counts["PREpb"] / channel.counts[activate_of(config)]
    ahead = gaps.activate_to_read + closed_first * gaps.close_to_activate
    seen = QUEUE_SLOTS + 1

    def left(period: float) -> float:
        older = (bursts - (k * period - ahead) / each for k in range(1, QUEUE_SLOTS))
        return sum(max(0.0, rest) for rest in older)

    on_pins = bursts * bus_ticks(config)
    period = next(p for p in count(int(on_pins)) if left(p + 1) <= seen)
    # two rows at a time cannot both have tCCD_L where their bursts fill the pins
    both = seen - ahead / each
    shared = (bursts - 2 * both) * each + both * max(each, 2 * config.burst_ticks)
    rows = bursts_of(channel) / bursts
    return rows * max(on_pins, period, shared) + blocked_ticks(channel)


# Share of the explained maximum that must be reached. What is left are activates that wait for each
# other and for the command bus; most is left where the whole queue waits for rows (HBM3E).
REACHED = {"MOP4CLXOR": 0.92, "RoBaRaCoCh": 0.94}


@pytest.mark.parametrize("refresh", ["NoRefresh", "AllBank"])
@pytest.mark.parametrize("mapper", REACHED)
@pytest.mark.parametrize("name", SHEETS)
def test_a_stream_reaches_its_explained_maximum(name: str, mapper: str, refresh: str) -> None:
    channel = streamed(FOLDER / f"{name}.yaml", mapper, refresh)
    explain = interleaved_ticks if mapper == "MOP4CLXOR" else row_by_row_ticks
    reached = explain(channel) / channel.now_ck
    assert REACHED[mapper] < reached <= 1


@pytest.mark.parametrize("refresh", ["NoRefresh", "AllBank"])
@pytest.mark.parametrize("mapper", REACHED)
@pytest.mark.parametrize("name", SHEETS)
def test_no_stream_beats_the_pins(name: str, mapper: str, refresh: str) -> None:
    """Whatever explains it: pins that idle while rows are closed bound every stream."""
    channel = streamed(FOLDER / f"{name}.yaml", mapper, refresh)
    config = channel.config
    idle = gaps_of(config).activate_to_read + refreshes_of(channel) * closing_ticks(config)
    assert channel.now_ck >= bursts_of(channel) * bus_ticks(config) + idle


@pytest.mark.parametrize("name", SHEETS)
def test_one_bank_streams_at_the_gap_of_its_group(name: str, device_spec: Device) -> None:
    """Every tick of rows that are read one after the other in one bank."""
    config = config_of(device_spec(name))
    gaps, rows = gaps_of(config), 100
    channel = DramChannel(
        config, scheduler="FRFCFS-RowHit", refresh="NoRefresh", mapper="RoBaRaCoCh"
    )
    row_bursts = config.columns * prod(config.level_counts)
    channel.add(Stream(0, (config.columns, rows, 1), (1, row_bursts, 0)))
    channel.advance(FAR)
    activate, last = 1, -FAR
    for _ in range(rows):
        read = rising(config, activate + gaps.activate_to_read)
        if config.controller is Controller.SPLIT_ACTIVATE:  # the data clock has stopped
            expired = last + config.read_latency_ticks + config.times["wckpst"]
            read += int(read >= expired)
        last = read + (config.columns - 1) * gaps.read_to_read
        activate = rising(config, last + gaps.read_to_close + gaps.close_to_activate)
    assert channel.now_ck == last + config.read_latency_ticks
    share = rows * config.columns * config.burst_ticks / channel.now_ck
    assert 0.6 < share * gaps.read_to_read / config.burst_ticks < 1


# ---------------------------------------------------------------------------- energy
@pytest.mark.parametrize("name", SHEETS)
def test_streaming_energy_is_plausible(name: str) -> None:
    channel = streamed(FOLDER / f"{name}.yaml", "MOP4CLXOR", "AllBank")
    per_bit = sum(channel.energy_pj().values()) / (channel.read_bytes * 8)
    low, high = next(span for family, span in PJ_PER_BIT.items() if name.startswith(family))
    second = CLAMSHELL_PJ_PER_BIT if name in CLAMSHELL else 0
    assert low < per_bit - second < high


@pytest.mark.parametrize("name", SHEETS)
def test_no_energy_is_zero(name: str, device_spec: Device) -> None:
    spec = device_spec(name)
    energies = config_of(spec).energies
    assert min(getattr(energies, field) for field in energies.__slots__) > 0
    given = spec.energy.model_dump(exclude={"method", "source"})
    assert min(given.values()) > 0


@pytest.mark.parametrize("name", SHEETS)
def test_every_energy_has_a_source_of_its_own(name: str, device_spec: Device) -> None:
    sources = sources_of(FOLDER / f"{name}.yaml")
    energies = {key: text for key, text in sources.items() if key.startswith("energy.")}
    assert len(energies) == len(device_spec(name).energy.model_dump(exclude={"method", "source"}))
    assert all(energies.values())
    assert device_spec(name).source not in energies.values()  # which speaks of the timing


@pytest.mark.parametrize("name", [name for name in SHEETS if name.startswith(("hbm", "gddr"))])
def test_a_refresh_activates_the_rows_it_refreshes(name: str, device_spec: Device) -> None:
    """No currents of them are public: all refreshes take all rows of a scope, as activates."""
    spec = device_spec(name)
    assert isinstance(spec.energy, CommandEnergySpec)
    rows = spec.organisation.rows / ROUNDED_UP.get(name, 1) / REFRESHES.get(name, 8192)
    banks = spec.organisation.num_banks // config_of(spec).num_refresh_scopes
    activate = spec.energy.activate_pj
    assert spec.energy.refresh_bank_pj == pytest.approx(rows * activate, rel=0.01)
    assert spec.energy.refresh_pj == pytest.approx(banks * rows * activate, rel=0.01)


# ---------------------------------------------------------------------------- rounding
def test_times_round_up_to_cycles(tmp_path: Path) -> None:
    text = (FOLDER / "ddr4-3200.yaml").read_text(encoding="utf-8")
    path = tmp_path / "longer.yaml"
    path.write_text(text.replace('rcd: "22 ck"', 'rcd: "13.8 ns"'), encoding="utf-8")
    spec = load_device(path)
    assert isinstance(spec, DramSpec)
    assert spec.timing.model_dump()["rcd"] == 23  # 13.8 / 0.625 = 22.08
