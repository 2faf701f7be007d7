"""Drives: what is said about those that cannot be, and how they stand in files and machines."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.spec import (
    AccessSpec,
    SsdSpec,
    check_file,
    json_schema,
    load_device,
    load_machine,
    sources_of,
)

from .conftest import Said, Write

DRIVE = """\
schema_version: 1
kind: ssd
name: d
title: a drive
source: s
channels: 4
chips_per_channel: 2
dies_per_chip: 1
nand: {device: nand/slc}
channel_rate: "166 MT/s"
host: {lanes: 4, rate_per_lane: "1 GB/s", max_payload: "128 B", packet_overhead: "28 B", command_latency: "0 ns", queue_depth: 64}
controller: {cores: 1, command_time: "1 us"}
ecc: {codeword: "1 KiB", latency: "1 us", rate_per_decoder: "1 GB/s"}
ftl: {striping: [channel, chip, die, plane], over_provisioning: 0.1, gc_threshold_blocks: 2, lookup_time: "100 ns"}
dram: {capacity: "64 MiB", bandwidth: "1 GB/s"}
policy: {cache_read: true}
energy: {controller: "1 W", ecc: "1 pJ/bit", pcie: "1 pJ/bit", dram: "1 pJ/bit"}
"""  # noqa: E501
MACHINE = """\
schema_version: 1
kind: machine
name: m
title: a machine
source: s
engines: {gpu: {device: gpu/h200-sxm}}
memories:
  hbm: {device: dram/hbm3e-6250, channels: 96}
  flash:
    device: ./d.yaml
    drives: 2
    access: {block: "64 KiB", queue_depth: 4, software_time: "10 us"}
links:
  - {name: bus, ends: [gpu, hbm], bandwidth: "4.8 TB/s", latency: "0 ns", energy: "0 pJ/bit"}
  - {name: pcie, ends: [gpu, flash], bandwidth: "7 GB/s", latency: "1 us", energy: "6 pJ/bit"}
mapping:
  place: {weights: hbm, kv: hbm, activations: hbm}
  run: {default: gpu}
"""


def drive(text: str, write: Write) -> SsdSpec:
    spec = load_device(write("d.yaml", text))
    assert isinstance(spec, SsdSpec)
    return spec


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('rate: "166 MT/s"', 'rate: "200 MT/s"',
         "10:15: channel_rate: 200 MT/s, the part runs at 20 to 166 MT/s"),
        ('rate: "166 MT/s"', 'rate: "19 MT/s"',
         "10:15: channel_rate: 19 MT/s, the part runs at 20 to 166 MT/s"),
        ('codeword: "1 KiB"', 'codeword: "1000 B"',
         "13:17: ecc.codeword: a page of 4096 bytes is no multiple of 1000 bytes"),
        ("[channel, chip, die, plane]", "[channel, chip, die, chip]",
         "14:7: ftl.striping: [channel, chip, die, chip] must name each of channel, chip, die, "
         "plane once"),
        ("[channel, chip, die, plane]", "[channel, chip, die]",
         "14:7: ftl.striping: [channel, chip, die] must name each of channel, chip, die, plane "
         "once"),
        ("[channel, chip, die, plane]", "[channel, chip, die, plain]",
         "14:38: ftl.striping.3: unknown striping 'plain', allowed: channel, chip, die, plane, "
         "did you mean 'plane'?"),
        ("over_provisioning: 0.1", "over_provisioning: 1",
         "14:65: ftl.over_provisioning: must be below 1.0, got 1"),
        ("over_provisioning: 0.1", "over_provisioning: 0.9999999",
         "14:65: ftl.over_provisioning: 0.9999999 of 4194304 pages leaves none"),
        ("gc_threshold_blocks: 2", "gc_threshold_blocks: 2048",
         "14:91: ftl.gc_threshold_blocks: 2048 free blocks of a plane that has 2048"),
        ("gc_threshold_blocks: 2", "gc_threshold_blocks: 0",
         "14:91: ftl.gc_threshold_blocks: must be at least 1, got 0"),
        ("channels: 4", "channels: 2048",
         "9:1: nand: a drive of 2147483648 pages, at most 2147483646"),
        ("channels: 4", "channels: 0", "6:11: channels: must be above 0, got 0"),
        ("queue_depth: 64", "queue_depth: 0", "11:128: host.queue_depth: must be above 0, got 0"),
        ("cache_read: true", "suspend: true",
         "16:19: policy.suspend: the part has no suspend: its timing gives no suspend"),
        ("cache_read: true", "bus: data_first",
         "16:15: policy.bus: unknown bus 'data_first', allowed: command_first, "
         "data_first_lockstep, did you mean 'data_first_lockstep'?"),
        ("cache_read: true", "cache_reed: true",
         "16:10: policy.cache_reed: unknown key 'cache_reed', did you mean 'cache_read'?"),
        ('capacity: "64 MiB"', 'write_buffer: "65 MiB", capacity: "64 MiB"',
         "15:22: dram.write_buffer: 68157440 bytes do not fit into the 67108864 of the DRAM"),
        ("device: nand/slc", "device: nand/slk",
         "9:16: nand.device: unknown device 'nand/slk', did you mean 'nand/slc'?"),
        ("device: nand/slc", "device: dram/ddr4-3200",
         "9:16: nand.kind: unknown kind 'dram', allowed: nand"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_once_and_in_place(
    old: str, new: str, message: str, said: Said
) -> None:
    assert DRIVE.count(old) == 1
    found = said(DRIVE.replace(old, new))
    assert len(found) == 1
    assert found[0].startswith(f"f.yaml:{message}")


def test_cache_reads_need_a_part_that_has_them(said: Said) -> None:
    """`~` takes from the part what its file gives."""
    text = DRIVE.replace("{device: nand/slc}", "{device: nand/slc, timing: {read_cache_busy: ~}}")
    assert said(text) == [
        "f.yaml:16:22: policy.cache_read: the part has no cache read: its timing gives no "
        "read_cache_busy"
    ]


def test_a_page_may_have_any_number_of_codewords(said: Said) -> None:
    assert said(DRIVE.replace("device: nand/slc", 'device: nand/slc, page: "3 KiB"')) == []


def test_the_rates_at_the_ends_of_the_range_are_in_it(said: Said) -> None:
    assert said(DRIVE) == []
    assert said(DRIVE.replace("166 MT/s", "20 MT/s")) == []


def test_a_part_comes_from_its_file_and_keys_beside_it_win(write: Write) -> None:
    energy = '{source: own, read: "1 uJ"}'
    nand = f'{{device: nand/slc, planes: 4, timing: {{read: "20 us"}}, energy: {energy}}}'
    spec = drive(DRIVE.replace("{device: nand/slc}", nand), write)
    assert (spec.nand.name, spec.nand.planes, spec.nand.blocks_per_plane) == ("slc", 4, 2048)
    assert (spec.nand.timing.read_ns, spec.nand.timing.program_ns) == ((20e3,), (230e3,))
    assert spec.nand.energy.read_pj == 1e6
    found = sources_of("d.yaml")
    assert (found["nand.timing.read"], found["nand.timing.program"]) == ("s", "data sheet")
    assert found["nand.energy.read"] == "own"
    assert found["nand.timing.t_wc"] == "MQSim"


def test_the_host_sees_what_is_not_over_provisioned(write: Write) -> None:
    spec = drive(DRIVE, write)
    pages = 4 * 2 * 1 * 2 * 2048 * 128
    assert spec.physical_pages == pages
    assert spec.logical_pages == int(pages * 0.9)
    assert spec.capacity_bytes == spec.drive_capacity_bytes == spec.logical_pages * 4096
    assert spec.model_copy(update={"drives": 3}).capacity_bytes == 3 * spec.drive_capacity_bytes
    assert spec.channel_peak_bytes_per_ns == pytest.approx(0.166)


def test_a_drive_is_a_memory_of_a_machine(write: Write) -> None:
    write("d.yaml", DRIVE)
    flash = load_machine(write("m.yaml", MACHINE)).memories["flash"]
    assert isinstance(flash, SsdSpec)
    assert flash.drives == 2
    assert flash.access.model_dump(exclude_none=True) == {
        "block_bytes": 65536, "queue_depth": 4, "software_time_ns": 10e3,
    }  # fmt: skip


def test_access_has_defaults(write: Write) -> None:
    assert drive(DRIVE, write).access == AccessSpec()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("drives: 2", "drives: 0", "11:13: memories.flash.drives: must be above 0, got 0"),
        ("drives: 2", "drivs: 2",
         "11:5: memories.flash.drivs: unknown key 'drivs', did you mean 'drives'?"),
        ("queue_depth: 4", "queue_dpth: 4",
         "12:31: memories.flash.access.queue_dpth: unknown key 'queue_dpth', "
         "did you mean 'queue_depth'?"),
        ("./d.yaml", "gpu/h200-sxm", "10:13: memories.flash.kind: unknown kind 'gpu', allowed: "
         "dram, ssd"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_memory_is_said(
    old: str, new: str, message: str, write: Write
) -> None:
    write("d.yaml", DRIVE)
    text = MACHINE.replace(old, new)
    assert text != MACHINE
    found = [str(problem) for problem in check_file(write("m.yaml", text))]
    assert found == [f"m.yaml:{message}"]


@pytest.mark.parametrize(
    ("engine", "memory", "message"),
    [
        ("pim/gddr6-aim", "flash", "a pim needs a memory of kind dram, 'flash' is ssd"),
        ("csd/instinfer", "hbm", "a csd needs a memory of kind ssd, 'hbm' is dram"),
        ("csd/instinfer", "flush", "unknown memory 'flush', allowed: hbm, flash, did you mean"),
        ("csd/instinfer", "flash", None),
    ],
)
def test_engines_in_a_memory_need_one_of_their_kind(
    engine: str, memory: str, message: str | None, write: Write
) -> None:
    write("d.yaml", DRIVE)
    own = f"{{device: gpu/h200-sxm}}, own: {{device: {engine}, memory: {memory}}}"
    text = MACHINE.replace("{device: gpu/h200-sxm}", own)
    found = [str(problem) for problem in check_file(write("m.yaml", text))]
    assert len(found) == (message is not None)
    assert message is None or f": engines.own.memory: {message}" in found[0]


def test_dram_is_told_from_drives(write: Write) -> None:
    write("d.yaml", DRIVE)
    machine = load_machine(write("m.yaml", MACHINE))
    assert machine.dram("hbm").kind == "dram"
    with pytest.raises(Exception, match="memory 'flash' must be DRAM, it is ssd"):
        machine.dram("flash")


@pytest.mark.parametrize(
    ("kind", "key", "texts"),
    [
        ("ssd", "channel_rate", ["pin rate", "MT/s"]),
        ("nand", "page", ["size", "KiB"]),
        ("machine", "memories", ["SsdSpec", "DramSpec"]),
    ],
)
def test_the_schema_knows_drives(kind: str, key: str, texts: list[str]) -> None:
    schema: dict[str, Any] = json_schema(kind)
    shown = str(schema["properties"][key])
    for text in texts:
        assert text in shown
