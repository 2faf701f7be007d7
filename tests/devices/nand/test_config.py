"""Descriptions compiled to integers: sums of bus times, transfers at any rate, packets."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.nand.config import GRADES, DriveConfig, config_of, ps_per_byte, rounded
from bankwidth.devices.nand.policies import Bus, Interleave, MultiPlane, Stripe
from bankwidth.spec import SsdSpec, load_device
from bankwidth.spec.nand import NandInterfaceSpec
from bankwidth.spec.ssd import EccSpec

NS = 1000


def spec_of(name: str, **nand: Any) -> SsdSpec:
    """A shipped drive with other values of its part."""
    spec = load_device(name)
    assert isinstance(spec, SsdSpec)
    return spec.model_copy(update={"nand": spec.nand.model_copy(update=nand)})


def stock(rate_gbps: float = 1 / 3, **nand: Any) -> DriveConfig:
    """MQSim's drive with a channel of another rate."""
    spec = spec_of("ssd/mqsim-stock", **nand)
    return config_of(spec.model_copy(update={"channel_rate_gbps": rate_gbps}))


def with_host(spec: SsdSpec, **host: Any) -> DriveConfig:
    return config_of(spec.model_copy(update={"host": spec.host.model_copy(update=host)}))


# ---------------------------------------------------------------------------------- commands
@pytest.mark.parametrize(
    ("name", "time_ns"),
    [
        ("read_command_ps", 20 + 6 * 25 + 100 + 20),
        ("multi_plane_read_ps", 500 + 6 * 25),
        ("data_setup_ps", 15 + 15),
        ("multi_plane_data_ps", 100 + 6 * 25 + 300 + 30),
        ("program_command_ps", 20 + 6 * 25 + 70 + 6 + 15 + 100),
        ("multi_plane_program_ps", 5 * 25 + 70 + 6 + 15 + 100 + 500),
        ("erase_command_ps", 20 + 4 * 25 + 100),
        ("suspend_command_ps", 20 + 3 * 25),
    ],
)
def test_commands_are_sums_of_bus_times(name: str, time_ns: int) -> None:
    assert getattr(stock(), name) == time_ns * NS


def test_the_sums_are_mqsims() -> None:
    config = stock()
    assert (config.read_command_ps, config.program_command_ps) == (290 * NS, 361 * NS)
    assert (config.multi_plane_read_ps, config.multi_plane_data_ps) == (650 * NS, 580 * NS)
    assert config.multi_plane_program_ps == 816 * NS


# ---------------------------------------------------------------------------- bytes on the bus
@pytest.mark.parametrize(
    ("rate_gbps", "page_ps"),
    [
        (0.2, 16384 * 5000),
        (0.333, 16384 * 3000),  # the grade of 6 ns cycles
        (0.5, 16384 * 2000),
        (1.0, 16384 * 1000),
        (1.2, 13_653_333),
        (2.4, 6_826_667),
        (3.6, 4_551_111),
    ],
)
def test_a_page_takes_its_bytes_at_the_rate(rate_gbps: float, page_ps: int) -> None:
    config = stock(rate_gbps, page_bytes=16384, spare_bytes=0)
    assert (config.page_transfer_ps, config.page_in_ps) == (page_ps, page_ps)
    assert config.bus_ps(16384) == page_ps


def test_spare_bytes_are_moved_with_the_page() -> None:
    config = stock(1.0, page_bytes=16384, spare_bytes=1872)
    assert config.page_transfer_ps == (16384 + 1872) * NS


@given(mega=st.integers(10, 3600), size_bytes=st.integers(1, 1 << 20))
def test_transfers_are_exact_to_half_a_picosecond(mega: int, size_bytes: int) -> None:
    per_byte = ps_per_byte(mega / 1000, NandInterfaceSpec.model_validate(BUS))
    exact = Fraction(size_bytes * 10**6) / GRADES.get(mega, Fraction(mega))
    found = rounded(size_bytes * per_byte.numerator, per_byte.denominator)
    assert abs(found - exact) <= Fraction(1, 2)


@given(rate_gbps=st.floats(0.01, 3.6), size_bytes=st.integers(1, 1 << 24))
def test_products_of_a_transfer_fit_64_bits(rate_gbps: float, size_bytes: int) -> None:
    per_byte = ps_per_byte(rate_gbps, NandInterfaceSpec.model_validate(BUS))
    assert 2 * size_bytes * per_byte.numerator + per_byte.denominator < 2**63
    assert float(per_byte) == pytest.approx(1000 / rate_gbps, rel=1e-3)


@pytest.mark.parametrize("mega", GRADES)
def test_cut_names_are_their_grades(mega: int) -> None:
    """The name is the rate without what follows its point, or rounded."""
    assert abs(GRADES[mega] - mega) < 1
    assert (GRADES[mega] * 3).denominator == 1


def test_sixteen_pins_move_twice_as_much() -> None:
    wide = NandInterfaceSpec.model_validate(BUS | {"width": "16 bit"})
    narrow = NandInterfaceSpec.model_validate(BUS)
    assert ps_per_byte(0.8, narrow) == 2 * ps_per_byte(0.8, wide) == 1250


BUS = {"least_rate": "10 MT/s", "most_rate": "3600 MT/s"}


@given(data_bytes=st.integers(1, 16384))
def test_a_part_of_a_page_moves_whole_units_with_their_spare(data_bytes: int) -> None:
    config = config_of(spec_of("ssd/samsung-980-pro"))
    moved = config.moved_bytes(data_bytes)
    units = -(-data_bytes // 4096)
    assert moved == units * (4096 + 1952 // 4)
    assert config.moved_bytes(16384) == 16384 + 1952


def test_without_partial_reads_the_page_moves_whole() -> None:
    spec = spec_of("ssd/samsung-980-pro")
    policy = spec.policy.model_copy(update={"partial_read": False})
    config = config_of(spec.model_copy(update={"policy": policy}))
    assert config.moved_bytes(1) == 16384 + 1952


# ---------------------------------------------------------------------------- link and commands
@pytest.mark.parametrize(
    ("size_bytes", "time_ns"),
    [(4096, 1248), (16384, 4992), (2048, 624), (128, 39), (129, 47), (64, 23), (16, 11), (4, 8)],
)
def test_packets_take_their_overhead_over_all_lanes(size_bytes: int, time_ns: int) -> None:
    """4 lanes of 1 GB/s, packets of 128 bytes and 28: 16 KB are 128 x 156 / 4 ns."""
    assert stock().pcie_ps(size_bytes) == time_ns * NS


def test_a_page_and_the_messages_of_a_command_are_counted_once() -> None:
    config = stock(page_bytes=4096)
    assert config.pcie_page_ps == 1248 * NS
    assert (config.nvme_doorbell_ps, config.nvme_request_ps) == (8 * NS, 8 * NS)
    assert (config.nvme_command_ps, config.nvme_completion_ps) == (23 * NS, 11 * NS)
    assert config.nvme_fetch_ps == (8 + 8 + 23) * NS
    slow = with_host(spec_of("ssd/mqsim-stock"), command_latency_ns=2000.0)
    assert slow.nvme_fetch_ps == (8 + 8 + 23 + 2000) * NS


@given(
    size_bytes=st.integers(1, 1 << 20),
    lanes=st.sampled_from([1, 2, 4, 8, 16]),
    rate=st.sampled_from([0.985, 1.0, 1.969, 3.938, 16.0]),
)
def test_more_lanes_and_less_overhead_are_never_slower(
    size_bytes: int, lanes: int, rate: float
) -> None:
    spec = spec_of("ssd/mqsim-stock")
    one = with_host(spec, lanes=lanes, rate_per_lane_bytes_per_ns=rate)
    two = with_host(spec, lanes=2 * lanes, rate_per_lane_bytes_per_ns=rate)
    bare = with_host(spec, lanes=lanes, rate_per_lane_bytes_per_ns=rate, packet_overhead_bytes=0)
    time_ps = one.pcie_ps(size_bytes)
    assert two.pcie_ps(size_bytes) <= time_ps
    assert bare.pcie_ps(size_bytes) <= time_ps
    assert time_ps >= int(size_bytes * 1000 / (rate * lanes))


def test_mqsims_lone_requests_add_up() -> None:
    """Its runs at queue depth 1: see SPEC of the runs; sums of what the configuration holds."""
    config = stock(0.333, page_bytes=16384)
    read_ns = 50_000 + (
        config.read_command_ps + config.data_setup_ps + config.page_transfer_ps
        + config.pcie_page_ps + config.nvme_fetch_ps + config.nvme_completion_ps
    ) // NS  # fmt: skip
    assert read_ns == 104_514
    config = stock(0.5, page_bytes=16384)
    write_ns = 600_000 + (
        config.program_command_ps + config.page_in_ps + config.pcie_page_ps
        + config.nvme_fetch_ps + config.nvme_completion_ps + config.nvme_request_ps
        + config.nvme_write_ps
    ) // NS  # fmt: skip
    assert write_ns == 638_189


# ------------------------------------------------------------------------------------ the rest
def test_times_of_pages_stand_in_turn() -> None:
    spec = spec_of("ssd/mqsim-stock")
    timing = spec.nand.timing.model_copy(update={"read_ns": (20e3, 30e3, 40.5e3)})
    nand = spec.nand.model_copy(update={"timing": timing})
    config = config_of(spec.model_copy(update={"nand": nand}))
    assert config.read_ps == (20_000_000, 30_000_000, 40_500_000)
    assert config.program_ps == (750_000_000,)


def test_a_drive_without_code_has_no_decoder() -> None:
    config = stock()
    assert not config.has_ecc
    assert (config.ecc_latency_ps, config.ecc_page_ps, config.ecc_ps(4096)) == (0, 0, 0)
    assert (config.retry_mean, config.unit_bytes) == (0.0, 512)


def test_a_page_passes_the_decoder_at_its_rate() -> None:
    ecc = EccSpec.model_validate(
        {"codeword": "1 KiB", "latency": "1.5 us", "rate_per_decoder": "1.2 GB/s",
         "mean_retries_per_page": 0.5, "seed": 7}
    )  # fmt: skip
    spec = spec_of("ssd/mqsim-stock").model_copy(update={"ecc": ecc})
    config = config_of(spec)
    assert (config.ecc_latency_ps, config.ecc_page_ps) == (1_500_000, 6_826_667)
    assert config.ecc_ps(1024) == 853_333
    assert (config.unit_bytes, config.units_per_page) == (1024, 8)
    assert (config.has_ecc, config.retry_mean, config.retry_seed) == (True, 0.5, 7)


def test_dram_of_no_bandwidth_takes_no_time() -> None:
    assert (stock().dram_ps_per_page, stock().dram_ps(1 << 20)) == (0, 0)
    config = config_of(spec_of("ssd/solidigm-d5-p5316"))
    assert config.dram_ps_per_page == config.dram_ps(16384) == 853_333


def test_policies_are_their_numbers() -> None:
    config = stock()
    assert (config.bus, config.interleave) == (Bus.DATA_FIRST_LOCKSTEP, Interleave.CHIP)
    assert config.striping == (Stripe.CHANNEL, Stripe.CHIP, Stripe.DIE, Stripe.PLANE)
    fast = config_of(spec_of("ssd/crucial-t700"))
    assert (fast.bus, fast.interleave) == (Bus.COMMAND_FIRST, Interleave.DIE)
    assert (config.multi_plane, fast.multi_plane) == (MultiPlane.SAME_PAGE, MultiPlane.INDEPENDENT)


def test_counts_multiply() -> None:
    config = stock()
    assert (config.dies, config.dies_per_channel) == (8 * 4 * 2, 4 * 2)
    assert config.physical_pages == 64 * 2 * 2048 * 256
    assert config.capacity_bytes == config.logical_pages * 8192


def test_a_configuration_is_a_key_of_plain_values() -> None:
    assert hash(stock()) == hash(stock())
    assert {stock(): 1}[stock()] == 1
    assert stock() != stock(0.5)
    for field in fields(DriveConfig):
        value = getattr(stock(), field.name)
        assert type(value) in (int, float, bool, str, tuple), field.name
