"""Descriptions of CPUs and of their kernels."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.spec import CpuLibrarySpec, CpuSpec, MachineSpec, load_machine, shipped_names
from bankwidth.spec.cpu_library import FUNCTIONS, LookupSpec, ProductSpec

from .conftest import Said

CHIP = """
schema_version: 1
kind: cpu
device: cpu/neoverse-n1
"""
LIBRARY = """
schema_version: 1
kind: cpu_library
include: {root}/arch/libraries/t-mac.yaml
"""


def cpu_of(name: str) -> CpuSpec:
    cpu = load_machine(name).engines["cpu"]
    assert isinstance(cpu, CpuSpec)
    return cpu


def machines() -> list[str]:
    def has_cpu(machine: MachineSpec) -> bool:
        return any(spec.kind == "cpu" for spec in machine.engines.values())

    return [name for name in shipped_names("machine") if has_cpu(load_machine(name))]


def test_what_one_core_draws_is_lines_over_latency() -> None:
    access = cpu_of("neoverse-n1").memory_access
    assert access.bandwidth_bytes_per_ns == pytest.approx(20.9, rel=0.02)  # ASCT, one core


@pytest.mark.parametrize("name", machines())
def test_every_library_of_a_cpu_runs_on_its_instructions(name: str) -> None:
    for engine in load_machine(name).engines.values():
        if not isinstance(engine, CpuSpec):
            continue
        for library in engine.libraries.values():
            assert used_classes(library) <= set(engine.rates)


def used_classes(library: CpuLibrarySpec) -> set[str]:
    used: set[str] = set()
    for kernel in (*library.products.values(), *library.lookups.values()):
        parts = ("unpack", "multiply", "lookup", "aggregate", "fold", "output")
        for counts in (getattr(kernel, part, {}) for part in parts):
            used |= {name for name, count in counts.items() if count}
    return used


def test_a_format_has_its_own_kernel_or_a_stand_in() -> None:
    t_mac = cpu_of("m2-ultra-tmac").kernels
    assert isinstance(t_mac.kernel("int2"), LookupSpec)
    assert t_mac.kernel("ternary") == t_mac.kernel("int2")
    assert isinstance(t_mac.kernel("q4_0"), ProductSpec)
    assert t_mac.kernel("fp64") is None
    assert {"int1", "q4_0", "ternary"} <= set(t_mac.known_formats)
    assert "fp64" not in t_mac.known_formats


def test_libraries_differ_in_what_they_override() -> None:
    libraries = cpu_of("m2-ultra-tmac").libraries
    plain, generic = libraries["llama.cpp"], libraries["llama.cpp-without-dot"]
    assert plain.products["q4_0"].unpack == generic.products["q4_0"].unpack
    assert plain.products["q4_0"].multiply["dot"] == 2
    assert generic.products["q4_0"].multiply["dot"] == 0
    fast, exact = libraries["t-mac-fast"].lookups["int2"], libraries["t-mac"].lookups["int2"]
    assert fast.aggregate["alu"] == exact.aggregate["alu"] / 2
    assert set(plain.functions) == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("lines", "said_parts"),
    [
        ("threads: 65", ["f.yaml:5", "65 threads on 64 cores"]),
        ("library: llama.ccp", ["unknown library 'llama.ccp'", "did you mean 'llama.cpp'"]),
        ("rates: {dots: 2}", ["unknown instruction class 'dots'", "did you mean 'dot'"]),
        ("clock: 2.5", ["clock", "unit"]),
    ],
)
def test_mistakes_of_a_chip_are_named(lines: str, said_parts: list[str], said: Said) -> None:
    (problem,) = said(CHIP + lines + "\n")
    for part in said_parts:
        assert part in problem


@pytest.mark.parametrize(
    ("lines", "said_part"),
    [
        ("products: {q4_0: {activation: q8_1}}", "unknown activation format 'q8_1'"),
        ("products: {q4_9: {activation: q8_0}}", "unknown dtype 'q4_9'"),
        ("stand_ins: {int4: fp64}", "unknown format with a kernel 'fp64'"),
        ("functions: {softmex: {element: {alu: 1}}}", "did you mean 'softmax'"),
    ],
)
def test_mistakes_of_a_library_are_named(lines: str, said_part: str, said: Said) -> None:
    from bankwidth.spec.files import ROOT

    problems = said(LIBRARY.format(root=ROOT) + lines + "\n")
    assert any(said_part in problem for problem in problems), problems


def test_a_library_says_what_is_missing(said: Said) -> None:
    bare: dict[str, Any] = {"functions": "{add: {element: {alu: 1}}}", "regions": "{norm: 1}"}
    text = "schema_version: 1\nkind: cpu_library\nname: x\nsource: x\n"
    problems = said(text + "".join(f"{key}: {value}\n" for key, value in bare.items()))
    assert any("no instructions for softmax" in problem for problem in problems)
    assert any("'default' is missing" in problem for problem in problems)
