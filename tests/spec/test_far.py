"""Machines with a memory further away: what `place.far` may be, and what the shipped ones have."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import SpecError
from bankwidth.spec import DramSpec, load_machine, sources_of
from bankwidth.spec.files import ROOT

# Way to the memory further away, in GB/s, and what it holds at least, in GB.
FAR = {
    "h100-host": ("host", 55.6, 256),
    "h100-flash": ("flash", 55.6, 4000),
    "h200-cxl": ("cxl", 27.4, 256),
    "gh200-grace": ("lpddr5x", 375.0, 480),
    "rtx-4090-host": ("host", 26.5, 256),
}


@pytest.mark.parametrize("name", FAR)
def test_a_far_memory_is_slower_to_reach_and_larger(name: str) -> None:
    machine = load_machine(name)
    memory, rate, held_gb = FAR[name]
    assert machine.mapping.place["far"] == memory
    near = machine.memories[machine.mapping.place["kv"]].capacity_bytes or 0
    far = machine.memories[memory].capacity_bytes or 0
    assert far >= held_gb * 10**9 > near
    last = next(link for link in machine.links if memory in link.ends)
    assert last.bandwidth_bytes_per_ns == rate


@pytest.mark.parametrize("name", FAR)
def test_dram_further_away_is_faster_than_the_way_to_it(name: str) -> None:
    machine = load_machine(name)
    memory = machine.memories[FAR[name][0]]
    if isinstance(memory, DramSpec):
        assert memory.channels * memory.channel_peak_bytes_per_ns > FAR[name][1]


@pytest.mark.parametrize("name", FAR)
def test_every_number_of_it_has_a_source(name: str) -> None:
    assert all(sources_of(ROOT / "arch" / f"{name}.yaml").values())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{far: hots}", "unknown memory 'hots', allowed: hbm, host, did you mean 'host'"),
        ("{fra: host}", "unknown tensor role 'fra'"),
    ],
)
def test_a_wrong_place_is_told(tmp_path: Path, place: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"""
schema_version: 1
kind: machine
include: {ROOT / "arch/h100-host.yaml"}
name: mine
title: mine
mapping:
  place: {place}
"""
    )
    with pytest.raises(SpecError, match=r"mine\.yaml:8") as error:
        load_machine(str(file))
    assert message in str(error.value)
