"""Shipped devices against the arithmetic of their data sheets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bankwidth.devices.dram import DramChannel, Stream, config_of
from bankwidth.errors import SpecError
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

Device = Callable[[str], DramSpec]
GIB = 2**30
# name: pins of a channel, Gbps per pin, banks, bytes per row, bytes that a channel must hold
SHEETS = {
    "ddr4-3200": (64, 3.2, 16, 8192, 8 * GIB),
    "ddr5-4800": (32, 4.8, 32, 4096, 8 * GIB),
    "lpddr5-6400": (16, 6.4, 16, 2048, 2 * GIB),
    "gddr6-16": (16, 16.0, 16, 2048, GIB // 2),
    "hbm2-2000": (128, 2.0, 32, 1024, 2 * GIB),
    "hbm2e-3190": (128, 3.19, 32, 1024, 80e9 / 40),
    "hbm3-5230": (64, 5.23, 64, 1024, 80e9 / 80),
    "hbm3e-6250": (64, 6.25, 64, 1024, 141e9 / 96),
}
# memories of GPUs: channels and bytes per ns on the data sheet
MEMORIES = {"hbm3e-6250": (96, 4800.0), "hbm3-5230": (80, 3350.0), "hbm2e-3190": (40, 2039.0)}


def test_every_device_file_is_checked() -> None:
    folder = Path(__file__).parents[3] / "arch" / "devices" / "dram"
    assert {path.stem for path in folder.glob("*.yaml")} == set(SHEETS)


@pytest.mark.parametrize("name", SHEETS)
def test_peak_capacity_and_rows(name: str, device_spec: Device) -> None:
    pins, gbps, banks, row_bytes, capacity = SHEETS[name]
    spec = device_spec(name)
    assert spec.channel_peak_bytes_per_ns == pytest.approx(pins * gbps / 8, rel=3e-3)
    assert spec.organisation.num_banks == banks
    assert spec.organisation.row_bytes == row_bytes
    assert spec.channel_capacity_bytes >= capacity


@pytest.mark.parametrize("name", MEMORIES)
def test_channels_make_the_memory(name: str, device_spec: Device) -> None:
    channels, bytes_per_ns = MEMORIES[name]
    peak = channels * device_spec(name).channel_peak_bytes_per_ns
    assert peak == pytest.approx(bytes_per_ns, rel=2e-3)


@pytest.mark.parametrize("name", SHEETS)
def test_timing_is_consistent(name: str, device_spec: Device) -> None:
    timing = device_spec(name).timing
    assert abs(timing.ras + timing.rp - timing.rc) <= 2  # each is rounded up by itself
    assert timing.ccds >= timing.burst_ck  # bursts do not overlap on the pins
    assert timing.rrds <= timing.rrdl <= timing.faw
    assert 0.02 < timing.rfc / timing.refi < 0.12


@pytest.mark.parametrize("name", SHEETS)
def test_sequential_reads_come_near_the_peak(name: str, device_spec: Device) -> None:
    config = config_of(device_spec(name))
    channel = DramChannel(config, scheduler="FRFCFS-RowHit", mapper="MOP4CLXOR")
    channel.add(Stream(0, (500_000, 1, 1)))
    channel.advance(10**9)
    achieved = channel.read_bytes / (channel.now_ck * config.tick_ps / 1000)
    usable = config.peak_bytes_per_ns * (1 - channel.refresh_blocked_ck / channel.now_ck)
    assert 0.88 * usable < achieved <= usable * 1.001


@pytest.mark.parametrize("name", SHEETS)
def test_streaming_energy_is_plausible(name: str, device_spec: Device) -> None:
    channel = DramChannel(config_of(device_spec(name)), mapper="MOP4CLXOR")
    channel.add(Stream(0, (500_000, 1, 1)))
    channel.advance(10**9)
    per_bit = sum(channel.energy_pj().values()) / (channel.read_bytes * 8)
    low, high = {"ddr4": (12, 22), "ddr5": (9, 15), "lpdd": (3, 7), "gddr": (7, 11)}.get(
        name[:4], (3, 7)
    )
    assert low < per_bit < high


def broken(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of a shipped device with one text replaced."""
    source = Path(__file__).parents[3] / "arch" / "devices" / "dram" / "ddr4-3200.yaml"
    text = source.read_text()
    assert old in text
    path = tmp_path / "broken.yaml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('rcd: "22 ck"', 'rcd: "22"', r"timing\.rcd: '22': unit missing"),
        ('rcd: "22 ck"', 'rcd: "-1 ck"', r"timing\.rcd: '-1 ck': .*at least 0"),
        ('rcd: "22 ck"', 'rdc: "22 ck"', r"timing\.rdc: unknown key 'rdc', did you mean"),
        ("rows: 65536", "rows: 65000", r"organisation\.rows: 65000 is no power of two"),
        ("rows: 65536", "rows: 65536\n  stack_ids: 2", "a DDR4 channel has no stack_ids"),
        ("rows: 65536", "rows: 65536\n  ranks: 16", "256 banks in a channel, at most 128"),
        ("standard: DDR4", "standard: DDR3", "standard.*DDR4, DDR5, LPDDR5, GDDR6, HBM2, HBM3"),
        ('idd4r: "168 mA"', 'idd4r: "20 mA"', r"energy\.idd4r: is below idd3n"),
        ("kind: dram", 'kind: dram\ncapacity: "9 GB"', "capacity: 9000000000 B is more than"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_device(broken(tmp_path, old, new))


def test_times_round_up_to_cycles(tmp_path: Path) -> None:
    spec = load_device(broken(tmp_path, 'rcd: "22 ck"', 'rcd: "13.8 ns"'))
    assert isinstance(spec, DramSpec)
    assert spec.timing.model_dump()["rcd"] == 23  # 13.8 / 0.625 = 22.08
