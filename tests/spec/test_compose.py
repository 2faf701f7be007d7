"""`include:` and `device:`: what wins, what is said when a file is missing, and cycles."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.presets import find_machine
from bankwidth.spec import check_file, load_device, load_machine
from bankwidth.spec.asic import AsicSpec
from bankwidth.spec.compose import Composer
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.tree import plain

from .conftest import Write

HEAD = "schema_version: 1\n"


def composed(path: Path) -> object:
    return plain(Composer().read(path))


def lines(path: Path) -> list[str]:
    return [str(problem) for problem in check_file(path)]


def test_own_keys_win_mapping_by_mapping(write: Write) -> None:
    write("below.yaml", "{a: 1, m: {x: 1, y: {z: 1}}, l: [1, 2]}")
    path = write("f.yaml", HEAD + "include: below.yaml\nm: {y: {w: 2}, x: 3}\nl: [9]\n")
    assert composed(path) == {"a": 1, "m": {"x": 3, "y": {"z": 1, "w": 2}}, "l": [9]}


def test_of_several_included_files_the_last_wins(write: Write) -> None:
    write("one.yaml", "{a: 1, b: 1, c: 1}")
    write("two.yaml", "{b: 2, c: 2}")
    path = write("f.yaml", HEAD + "include: [one.yaml, two.yaml]\nc: 3\n")
    assert composed(path) == {"a": 1, "b": 2, "c": 3}


def test_an_included_file_is_found_from_the_file_that_includes_it(write: Write) -> None:
    write("parts/deep/x.yaml", "a: 1\n")
    write("parts/y.yaml", "m: {include: deep/x.yaml}\n")
    assert composed(write("f.yaml", HEAD + "include: parts/y.yaml\n")) == {"m": {"a": 1}}


def test_a_device_is_overridden_by_the_keys_beside_it(write: Write) -> None:
    text = (
        HEAD + "kind: gpu\ndevice: gpu/h200-sxm\nname: slow\nclock: 1 GHz\nenergy: {static: 1 W}\n"
    )
    gpu = load_device(write("slow.yaml", text))
    shipped = load_device("gpu/h200-sxm")
    assert isinstance(gpu, GpuSpec)
    assert isinstance(shipped, GpuSpec)
    assert (gpu.name, gpu.clock_ghz, gpu.energy.static_mw) == ("slow", 1.0, 1000.0)
    assert gpu.sms == shipped.sms
    assert gpu.energy.flop_pj == shipped.energy.flop_pj


def test_a_device_may_be_a_file_of_the_users(write: Write) -> None:
    write("parts/mine.yaml", HEAD + "kind: asic\ndevice: asic/pim-gpt-asic\nadders: 7\n")
    text = HEAD + "kind: asic\ndevice: parts/mine.yaml\nmultipliers: 5\n"
    asic = load_device(write("f.yaml", text))
    assert isinstance(asic, AsicSpec)
    assert (asic.adders, asic.multipliers) == (7, 5)


def test_mistakes_are_reported_in_the_file_they_are_in(write: Write) -> None:
    write("mine.yaml", HEAD + "kind: gpu\ndevice: gpu/h200-sxm\nclock: 1 ns\n")
    path = write("f.yaml", HEAD + "kind: gpu\ndevice: mine.yaml\nsms: -1\n")
    assert lines(path) == [
        "f.yaml:4:6: sms: must be above 0, got -1",
        "mine.yaml:4:8: clock: '1 ns': ns is a time, need a frequency (GHz, MHz, kHz, Hz)",
    ]


def test_an_overridden_mistake_is_none(write: Write) -> None:
    write("mine.yaml", HEAD + "kind: gpu\ndevice: gpu/h200-sxm\nclock: 1 ns\n")
    assert lines(write("f.yaml", HEAD + "kind: gpu\ndevice: mine.yaml\nclock: 1 GHz\n")) == []


def test_an_unknown_device_is_one_message_with_a_suggestion(write: Write) -> None:
    path = write("f.yaml", HEAD + "kind: gpu\ndevice: gpu/h20-sxm\nsms: 3\n")
    (line,) = lines(path)
    assert line.startswith(
        "f.yaml:3:9: device: unknown device 'gpu/h20-sxm', did you mean 'gpu/h200-sxm'? (known: "
    )


def test_a_missing_include_is_one_message(write: Write) -> None:
    path = write("f.yaml", HEAD + "kind: gpu\ninclude: [gone.yaml]\n")
    assert lines(path) == ["f.yaml:3:11: include: no such file: gone.yaml"]


def test_a_broken_include_does_not_hide_other_mistakes(write: Write) -> None:
    write("half.yaml", "a: [1\n")
    path = write("f.yaml", HEAD + "kind: gpu\nsms: many\ninclude: half.yaml\n")
    first, second = lines(path)
    assert first == "f.yaml:3:6: sms: need a whole number, got 'many'"
    assert second.startswith("half.yaml:2:1: not YAML: ")


@pytest.mark.parametrize("value", ["3", "{a: b}", "true"])
def test_a_reference_must_be_a_name(write: Write, value: str) -> None:
    path = write("f.yaml", HEAD + f"kind: gpu\ndevice: {value}\n")
    assert lines(path) == ["f.yaml:3:9: device: need a name or a file, such as 'gpu/h200-sxm'"]


def test_a_cycle_is_named_and_reported_once(write: Write) -> None:
    write("b.yaml", "x: {include: a.yaml}\n")
    path = write("a.yaml", HEAD + "kind: gpu\ninclude: b.yaml\n")
    cycles = [line for line in lines(path) if "include each other" in line]
    assert cycles == [
        "b.yaml:1:14: x.include: files include each other: a.yaml -> b.yaml -> a.yaml"
    ]


def test_a_file_that_includes_itself_is_a_cycle(write: Write) -> None:
    path = write("a.yaml", HEAD + "kind: gpu\ninclude: ./a.yaml\n")
    (line,) = lines(path)
    assert "files include each other: a.yaml -> a.yaml" in line


def test_the_same_file_twice_is_no_cycle(write: Write) -> None:
    write("x.yaml", "v: 1\n")
    path = write("f.yaml", HEAD + "a: {include: x.yaml}\nb: {include: x.yaml}\n")
    assert composed(path) == {"a": {"v": 1}, "b": {"v": 1}}


def test_an_included_file_of_a_newer_version_is_refused(write: Write) -> None:
    write("new.yaml", "schema_version: 2\nsms: 3\n")
    path = write("f.yaml", HEAD + "kind: gpu\ndevice: gpu/h200-sxm\ninclude: new.yaml\n")
    (line,) = lines(path)
    assert line.startswith("new.yaml:1:17: schema_version: the file is of version 2")


def test_a_device_file_needs_a_version_an_included_part_does_not(write: Write) -> None:
    write("part.yaml", "clock: 1 GHz\n")
    write("dev.yaml", "kind: gpu\ndevice: gpu/h200-sxm\n")
    path = write("f.yaml", HEAD + "kind: gpu\ndevice: dev.yaml\ninclude: part.yaml\n")
    assert lines(path) == ["dev.yaml:1:1: schema_version: missing, write 'schema_version: 1'"]


def test_a_machine_is_derived_from_a_shipped_one(write: Write) -> None:
    shipped = load_machine("h200")
    text = HEAD + f"include: {find_machine('h200')}\nname: mine\nengines: {{gpu: {{sms: 66}}}}\n"
    gpu = load_machine(write("mine.yaml", text)).engines["gpu"]
    assert gpu == shipped.engines["gpu"].model_copy(update={"sms": 66})
