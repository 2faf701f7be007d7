"""Engines in drives: what is said about wrong descriptions, and InstInfer's figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bankwidth.spec import CsdMappingSpec, CsdSpec, SsdSpec, load_device, load_machine

Said = Callable[[str], list[str]]

MACHINE = """
schema_version: 1
kind: machine
name: m
title: m
source: s
engines:
  gpu: {{device: gpu/rtx-a6000}}
  csd: {{device: csd/instinfer, memory: {memory}}}
memories:
  gddr6: {{device: dram/gddr6-16x8, channels: 24, capacity: "48 GB"}}
  flash: {{device: ssd/instinfer-csd}}
links:
  - {{name: phy, ends: [gpu, gddr6], bandwidth: "768 GB/s", latency: "0 ns", energy: "0 pJ/bit"}}
  - {{name: pcie, ends: [gpu, flash], bandwidth: "7 GB/s", latency: "0 ns", energy: "0 pJ/bit"}}
mapping:
  place: {{weights: gddr6, kv: flash, activations: gddr6}}
  run: {{default: gpu, attention: csd}}
  csd: {csd}
"""


def test_the_engine_has_the_figures_of_the_paper() -> None:
    """Table I, virtual drive; 285 MHz."""
    engine = load_device("csd/instinfer")
    assert isinstance(engine, CsdSpec)
    assert engine.clock_ghz == 0.285
    assert engine.filter.bandwidth_bytes_per_ns == 1.79
    assert engine.gemv.rate_tflops == pytest.approx(13.3e-3)
    assert engine.softmax.rate_tflops == pytest.approx(15.1e-6)


def test_units_are_those_that_the_slices_of_table_2_make() -> None:
    """768 slices, 4 per multiply-add of half precision, at 285 MHz, in units of 13.3 GFLOP/s."""
    engine = load_device("csd/instinfer")
    assert isinstance(engine, CsdSpec)
    gflops = 768 // 4 * 2 * engine.clock_ghz
    assert engine.gemv.units == int(gflops / 13.3) == engine.softmax.units


@pytest.mark.parametrize(("name", "drives"), [("", 1), ("-2", 2), ("-20", 20), ("-2gpu", 1)])
@pytest.mark.parametrize("sparse", [False, True])
def test_machines_differ_in_drives_and_attention(name: str, drives: int, sparse: bool) -> None:
    machine = load_machine(f"instinfer{name}{'-sparf' if sparse else ''}")
    flash = machine.memories["flash"]
    assert isinstance(flash, SsdSpec)
    assert flash.drives == drives
    assert machine.mapping.csd.attention == ("sparf" if sparse else "dense")
    link = next(link for link in machine.links if link.name == "pcie-csd")
    assert link.bandwidth_bytes_per_ns == 7.0 * drives


def test_two_gpus_in_turn_have_the_speed_of_one() -> None:
    one, two = load_machine("instinfer"), load_machine("instinfer-2gpu")
    assert two.engines == one.engines
    assert two.memories["gddr6"].capacity_bytes == 2 * (one.memories["gddr6"].capacity_bytes or 0)
    assert [link.bandwidth_bytes_per_ns for link in two.links] == [
        link.bandwidth_bytes_per_ns for link in one.links
    ]


def test_a_machine_in_order_has_nothing_said_about_it(said: Said) -> None:
    assert said(MACHINE.format(memory="flash", csd="{}")) == []


def test_an_unknown_memory_is_named_where_it_stands(said: Said) -> None:
    (problem,) = said(MACHINE.format(memory="flsh", csd="{}"))
    assert "f.yaml:9" in problem
    assert "unknown memory 'flsh'" in problem
    assert "did you mean 'flash'?" in problem


def test_choices_of_sparf_need_sparf(said: Said) -> None:
    (problem,) = said(MACHINE.format(memory="flash", csd="{compression: 4}"))
    assert "only sparf selects" in problem
    assert said(MACHINE.format(memory="flash", csd="{attention: sparf, compression: 4}")) == []


def test_an_attention_that_does_not_exist_is_refused(said: Said) -> None:
    (problem,) = said(MACHINE.format(memory="flash", csd="{attention: sparse}"))
    assert "mapping.csd.attention" in problem


def test_defaults_are_the_published_choices() -> None:
    options = CsdMappingSpec()
    assert (options.compression, options.page_level) == (8.0, 0.5)
