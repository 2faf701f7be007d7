"""Shipped parts and drives: they compile, and agree with what is published of them.

Nothing in the files is fitted to the speeds below: how far the bounds that a description gives lie
from a rated speed is its own statement, and kept here.
"""

from __future__ import annotations

import pytest

from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.spec import NandSpec, SsdSpec, load_device, shipped_names
from bankwidth.spec.files import ROOT

PARTS = [name for name in shipped_names("device") if name.startswith("nand/")]
DRIVES = [name for name in shipped_names("device") if name.startswith("ssd/")]
GIB = 1 << 30
US = 1000.0  # ns


def part(name: str) -> NandSpec:
    spec = load_device(name)
    assert isinstance(spec, NandSpec)
    return spec


def drive(name: str) -> SsdSpec:
    spec = load_device(name)
    assert isinstance(spec, SsdSpec)
    return spec


def bus_bytes_per_ns(config: DriveConfig) -> float:
    """Data that all channels move, one plane at a time, when no die is waited for."""
    page_ps = config.read_command_ps + config.data_setup_ps + config.page_transfer_ps
    return config.channels * config.page_bytes / page_ps * 1000


def link_bytes_per_ns(config: DriveConfig) -> float:
    return config.page_bytes / config.pcie_page_ps * 1000


def dies_requests_per_us(config: DriveConfig) -> float:
    """Lone reads of 4 KB that the dies serve, each one at a time."""
    read_ps = config.read_command_ps + config.read_ps[0] + config.bus_ps(config.moved_bytes(4096))
    return config.dies / read_ps * 1e6


def programmed_bytes_per_ns(config: DriveConfig) -> float:
    return config.dies * config.planes * config.page_bytes / max(config.program_ps) * 1000


# ------------------------------------------------------------------------------------- every one
def test_there_are_parts_of_each_kind() -> None:
    assert {part(name).cell for name in PARTS} == {"SLC", "MLC", "TLC", "QLC"}
    assert {f"nand/{n}" for n in ("slc", "mlc", "qlc-3d", "z-nand", "xl-flash")} < set(PARTS)


@pytest.mark.parametrize("name", DRIVES)
def test_every_drive_compiles(name: str) -> None:
    spec = drive(name)
    config = config_of(spec)
    assert config.capacity_bytes == spec.drive_capacity_bytes
    assert config.logical_pages < config.physical_pages
    assert config.page_transfer_ps > 0
    assert spec.nand.name in [found.removeprefix("nand/") for found in PARTS]


@pytest.mark.parametrize("name", DRIVES)
def test_only_mqsims_drive_is_in_its_mode(name: str) -> None:
    config = config_of(drive(name))
    assert (
        config.bus == 1,
        config.interleave == 1,
        not config.has_ecc,
        not config.spare_bytes,
    ) == ((name == "ssd/mqsim-stock",) * 4)


@pytest.mark.parametrize("name", [*PARTS, *DRIVES])
def test_no_figure_is_said_to_be_fitted_to_what_it_is_compared_with(name: str) -> None:
    text = (ROOT / "arch" / "devices" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "calibrated" not in text
    assert " fit:" not in text


# ------------------------------------------------------------------------------------- parts
@pytest.mark.parametrize(
    ("name", "gib", "read_us", "most_mtps"),
    [
        ("slc", 2, 25, 166),  # Micron's data sheet
        ("mlc", 8, 75, 1000),  # MQSim
        ("tlc-3d-96l", 64, 58, 533),  # ISSCC 2018
        ("tlc-3d-128l", 64, 56, 1066),  # ISSCC 2019
        ("tlc-3d-176l", 64, 50, 1600),  # ISSCC 2021
        ("tlc-3d-232l", 128, 50, 2400),  # Micron 2022; the read is estimated
        ("samsung-v6-tlc", 64, 45, 1200),  # ISSCC 2019
        ("qlc-3d", 128, 85, 1200),  # ISSCC 2021
        ("z-nand", 8, 3, 1200),  # ISSCC 2018
        ("xl-flash", 16, 5, 1200),  # Kioxia 2019
    ],
)
def test_a_part_is_what_is_published(name: str, gib: int, read_us: float, most_mtps: int) -> None:
    spec = part(f"nand/{name}")
    assert spec.die_bytes == pytest.approx(gib * GIB, rel=0.002)
    assert spec.die_bytes >= gib * GIB
    assert spec.timing.read_ns == (read_us * US,)
    assert spec.interface.most_rate_gbps == pytest.approx(most_mtps / 1000)


@pytest.mark.parametrize(
    ("name", "mb_per_s"),
    [("tlc-3d-96l", 57), ("tlc-3d-128l", 132), ("tlc-3d-176l", 168), ("samsung-v6-tlc", 82),
     ("qlc-3d", 40)],
)  # fmt: skip
def test_a_die_programs_as_fast_as_its_paper_says(name: str, mb_per_s: float) -> None:
    spec = part(f"nand/{name}")
    bytes_per_ns = spec.planes * spec.page_bytes / max(spec.timing.program_ns)
    assert bytes_per_ns * 1000 == pytest.approx(mb_per_s, rel=0.01)


@pytest.mark.parametrize("name", PARTS)
def test_energies_are_a_dies_current_for_the_time(name: str) -> None:
    """3.3 V x 25 mA; 1 mW is 1 pJ/ns."""
    spec = part(name)
    times = (spec.timing.read_ns[0], spec.timing.program_ns[0], spec.timing.erase_ns)
    found = (spec.energy.read_pj, spec.energy.program_pj, spec.energy.erase_pj)
    assert found == pytest.approx([3.3 * 25 * time_ns for time_ns in times], rel=0.005)


# ------------------------------------------------------------------------------------- drives
@pytest.mark.parametrize(
    ("name", "gb"),
    [
        ("samsung-980-pro", 2000.4),
        ("samsung-sz985", 800.2),
        ("solidigm-d5-p5316", 15360),
        ("crucial-t700", 2000.4),
        ("ufs-4", 512),
        ("apple-ssd", 1000),
    ],
)
def test_a_drive_holds_what_it_is_sold_for(name: str, gb: float) -> None:
    assert drive(f"ssd/{name}").capacity_bytes / 1e9 == pytest.approx(gb, rel=0.002)


@pytest.mark.parametrize(
    ("name", "rated_gb_per_s", "over"),
    [
        ("samsung-980-pro", 7.0, 0.02),
        ("samsung-sz985", 3.2, 0.11),
        ("solidigm-d5-p5316", 7.0, 0.07),
        ("crucial-t700", 12.4, 0.12),
        ("ufs-4", 4.2, 0.01),
        ("apple-ssd", 7.4, 0.02),
    ],
)
def test_link_and_buses_bound_the_rated_reads(
    name: str, rated_gb_per_s: float, over: float
) -> None:
    """A bound below the rated speed would be wrong; how far above it is, is said."""
    config = config_of(drive(f"ssd/{name}"))
    bound = min(link_bytes_per_ns(config), bus_bytes_per_ns(config))
    assert 0.999 * rated_gb_per_s <= bound <= rated_gb_per_s * (1 + over)


def test_programs_bound_the_rated_writes_of_the_980_pro() -> None:
    """2.0 GB/s are published beyond its cache of SLC; 32 dies of 82 MB/s."""
    bound = programmed_bytes_per_ns(config_of(drive("ssd/samsung-980-pro")))
    assert 2.0 <= bound <= 2.0 * 1.32


def test_random_reads_of_the_980_pro_are_short_of_their_rating() -> None:
    """Rated 1 M/s of data in its cache of SLC, which is not modelled: TLC of 45 us gives 0.65 M."""
    bound = dies_requests_per_us(config_of(drive("ssd/samsung-980-pro")))
    assert 0.6 <= bound <= 0.7


def test_dies_of_the_sz985_serve_its_rated_reads() -> None:
    """Rated 750 k/s: the link allows 0.87 M, the dies far more."""
    config = config_of(drive("ssd/samsung-sz985"))
    assert dies_requests_per_us(config) > 10 * 0.75
    assert 0.75 <= 1e6 / config.pcie_ps(4096) <= 0.9


def test_dies_of_instinfers_drive_hide_the_array() -> None:
    """11.2 GB/s of eight channels, spare bytes and all; 16 dies each, no more than it takes."""
    spec = drive("ssd/instinfer-csd")
    config = config_of(spec)
    assert config.page_bytes == 4096
    assert spec.channels * spec.channel_peak_bytes_per_ns == pytest.approx(11.2)
    page_ps = config.read_command_ps + config.data_setup_ps + config.page_transfer_ps
    needed = (config.read_ps[0] + page_ps) / page_ps
    assert config.dies_per_channel / 2 < needed <= config.dies_per_channel
    assert link_bytes_per_ns(config) == pytest.approx(7.0, rel=0.02)


def test_a_quarter_of_a_page_takes_a_quarter_of_its_energy() -> None:
    ours, theirs = drive("ssd/instinfer-csd").nand, part("nand/samsung-v6-tlc")
    assert 4 * ours.page_bytes == theirs.page_bytes
    assert ours.pages_per_block * ours.page_bytes == theirs.pages_per_block * theirs.page_bytes
    assert ours.energy.read_pj == pytest.approx(theirs.energy.read_pj / 4, rel=0.01)
