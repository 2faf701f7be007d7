"""Single values of a description by their path."""

from __future__ import annotations

import pytest

from bankwidth.spec import GpuSpec, load_machine
from bankwidth.spec.fit import KeyPath
from bankwidth.spec.values import broken_rules, value_at, with_values

LAUNCH: KeyPath = ("engines", "gpu", "launch")
LATENCY: KeyPath = ("links", 0, "latency")
BF16: KeyPath = ("engines", "gpu", "tensor", "bf16")
EXP: KeyPath = ("engines", "gpu", "exp_per_clock")


def test_values_are_read_and_changed_by_their_yaml_keys() -> None:
    machine = load_machine("h200")
    new = with_values(machine, {LAUNCH: 900.0, LATENCY: 1.5, BF16: 7.0, EXP: 33.0})
    assert [value_at(new, path) for path in (LAUNCH, LATENCY, BF16, EXP)] == [900.0, 1.5, 7.0, 33]
    gpu = new.engines["gpu"]
    assert isinstance(gpu, GpuSpec)
    assert (gpu.launch_ns, gpu.tensor_tflops["bf16"], new.links[0].latency_ns) == (900.0, 7.0, 1.5)
    assert isinstance(gpu.exp_per_clock, int)


def test_all_else_is_shared_and_the_original_stays() -> None:
    machine = load_machine("h200")
    before = machine.model_dump()
    new = with_values(machine, {LAUNCH: 900.0})
    assert machine.model_dump() == before
    assert new.memories is machine.memories
    assert value_at(with_values(new, {LAUNCH: value_at(machine, LAUNCH)}), ()) == machine


def test_a_whole_number_stays_one() -> None:
    new = with_values(load_machine("h200"), {EXP: 16.6})
    assert value_at(new, EXP) == 17


def test_rules_between_fields_are_checked_on_the_way() -> None:
    machine = load_machine("h200")
    registers: KeyPath = ("engines", "gpu", "registers")
    assert broken_rules(machine, [registers, LAUNCH]) == []
    found = broken_rules(with_values(machine, {registers: 1024.0}), [registers])
    assert found
    assert "registers" in found[0]


def test_an_unknown_path_is_an_error() -> None:
    with pytest.raises(StopIteration):
        value_at(load_machine("h200"), ("engines", "gpu", "lunch"))
