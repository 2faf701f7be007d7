"""Nodes of a machine that links may end at."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import UserError
from bankwidth.spec import load_machine

MACHINE = """
schema_version: 1
kind: machine
name: m
title: t
source: test
engines: {{gpu: {{device: gpu/rtx-a6000}}}}
memories: {{gddr6: {{device: dram/gddr6-16x8, channels: 24, capacity: 48 GB}}}}
switches: [{switches}]
links:
{links}
mapping:
  place: {{weights: gddr6, kv: gddr6, activations: gddr6}}
  run: {{default: gpu}}
"""
LINK = "bandwidth: 16 GB/s, latency: 1 us, energy: 5 pJ/bit"


def write(folder: Path, switches: str, *ends: str) -> Path:
    """An A6000 whose memory is reached over these links."""
    links = "\n".join(f"  - {{name: l{i}, ends: [{pair}], {LINK}}}" for i, pair in enumerate(ends))
    path = folder / "m.yaml"
    path.write_text(MACHINE.format(switches=switches, links=links))
    return path


def test_a_switch_joins_links(tmp_path: Path) -> None:
    machine = load_machine(str(write(tmp_path, "hub", "gpu, hub", "hub, gddr6")))
    assert machine.switches == ["hub"]


def test_most_machines_have_none() -> None:
    assert load_machine("a6000").switches == []


@pytest.mark.parametrize(
    ("switches", "ends", "message"),
    [
        ("gpu", ("gpu, gddr6",), "'gpu' names an engine or a memory already"),
        ("hub, hub", ("gpu, hub", "hub, gddr6"), "'hub' names another switch already"),
        ("hub", ("gpu, gddr6",), "'hub' joins nothing: at least two links must end at it"),
        ("hub", ("gpu, hub", "gddr6, gpu"), "'hub' joins nothing"),
        ("hub", ("gpu, hubb", "hub, gddr6"), "unknown engine, memory or switch 'hubb'"),
    ],
)
def test_wrong_switches_are_said(
    tmp_path: Path, switches: str, ends: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_machine(str(write(tmp_path, switches, *ends)))
