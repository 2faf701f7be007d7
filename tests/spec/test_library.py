"""Kernel libraries of a GPU: the shipped ones, mistakes in one, and one of a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.spec import (
    AttentionSpec,
    GpuSpec,
    check_file,
    fit_parameters,
    load_device,
    load_machine,
    shipped_names,
    sources_of,
)
from bankwidth.spec.files import ROOT
from bankwidth.spec.fit import MOST_PER_DEVICE

from .conftest import Said, Write

LIBRARIES = sorted(
    path
    for path in (ROOT / "arch/libraries").glob("*.yaml")
    if "\nkind: attention\n" in path.read_text(encoding="utf-8")
)
GPUS = [name for name in shipped_names("device") if name.startswith("gpu/")]

# A library with two kernels, of which the one for decode splits.
MINE = """\
schema_version: 1
kind: attention
name: mine
source: my own capture
kernels:
  long:
    name: long
    tiles: [{max_head_dim: 128, rows: 128, keys: 128}]
    tensor_share: {value: 0.7, fit: [0.3, 1]}
    exposed_exps: 1
    block_cycles: 3000
    row_bytes_per_cycle: 30
    feed_bytes_per_cycle: 30
    overlap: 0.5
  split:
    name: split
    tiles: [{max_head_dim: 64, rows: 64, keys: 128}, {max_head_dim: 128, rows: 64, keys: 64}]
    section: 8 MiB
    split_rule: even
    max_splits: 32
    tensor_share: 0.7
    exposed_exps: 1
    block_cycles: 3000
    row_bytes_per_cycle: 30
    feed_bytes_per_cycle: 30
    overlap: 0.5
    combine: {cycles: 2000, bytes_per_cycle: 20}
captures:
  all: {launch: 5 us, regroup: 2 us}
prefill: {kernel: long, capture: all}
decode: {kernel: split, capture: all}
"""
DEVICE = """\
schema_version: 1
kind: gpu
device: gpu/h200-sxm
libraries:
  mine: {attention: {include: mine.yaml}}
library: mine
"""


def gpu_of(name: str | Path) -> GpuSpec:
    gpu = load_device(name)
    assert isinstance(gpu, GpuSpec)
    return gpu


def test_each_backend_is_a_file_of_its_name() -> None:
    names = [path.stem for path in LIBRARIES]
    assert {"vllm-hopper", "vllm-ampere", "sglang-ampere", "tensorrt-llm-hopper"} <= {*names}
    used = {lib.attention.name for gpu in GPUS for lib in gpu_of(gpu).libraries.values()}
    assert used == {*names}


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: path.stem)
def test_every_number_of_a_library_has_a_source(path: Path) -> None:
    sources = sources_of(path)
    assert len(sources) > 20
    assert [key for key, source in sources.items() if not source] == []


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: path.stem)
def test_a_few_values_of_a_library_can_be_fitted(path: Path) -> None:
    assert 3 <= len(fit_parameters(path)) <= 6


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_has_at_most_twenty_parameters_with_any_library(name: str, write: Write) -> None:
    for library in gpu_of(name).libraries:
        text = f"schema_version: 1\nkind: gpu\ndevice: {name}\nlibrary: {library}\n"
        parameters = fit_parameters(write("g.yaml", text))
        ran = [p.path[1] for p in parameters if p.path[0] == "libraries"]
        assert {*ran} == {library}
        assert len(parameters) <= MOST_PER_DEVICE


def test_a_library_of_ones_own_runs_and_is_fitted(write: Write) -> None:
    write("mine.yaml", MINE)
    write("gpu.yaml", DEVICE)
    attention = gpu_of(Path("gpu.yaml")).kernels.attention
    assert isinstance(attention, AttentionSpec)
    assert attention.captures["all"].launch_ns == 5000
    assert attention.captures["all"].regroup_ns == 2000
    assert attention.kernels["split"].section_bytes == 8 * 2**20
    text = "schema_version: 1\nkind: machine\n"
    text += (
        f"include: {(ROOT / 'arch/h200.yaml').as_posix()}\nengines: {{gpu: {{device: gpu.yaml}}}}\n"
    )
    path = write("m.yaml", text)
    assert load_machine(path).engines["gpu"].name == "h200-sxm"
    marked = {p.name: (p.low, p.high) for p in fit_parameters(path)}
    assert marked.pop("engines.gpu.libraries.mine.attention.kernels.long.tensor_share") == (0.3, 1)
    assert not any("libraries" in name for name in marked)


def test_bounds_in_a_library_that_does_not_run_are_checked_too(write: Write) -> None:
    write("mine.yaml", MINE.replace("fit: [0.3, 1]", "fit: [1, 0.3]"))
    path = write("gpu.yaml", DEVICE.replace("library: mine", "library: vllm"))
    (problem,) = check_file(path)
    assert "the lower bound comes first, and 1 is not below 0.3" in str(problem)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "prefill: {kernel: long",
            "prefill: {kernel: lon",
            "30:19: prefill.kernel: unknown kernel 'lon', allowed: long, split, did you mean",
        ),
        ("capture: all}\nd", "capture: al}\nd", "unknown capture 'al', allowed: all"),
        ("  all: {launch: 5 us", "  all: {launch: 5", "unit missing"),
        ("max_head_dim: 128, rows: 64", "max_head_dim: 64, rows: 64", "max_head_dim must rise"),
        ("    combine: {cycles: 2000, bytes_per_cycle: 20}\n", "", "a kernel that splits keys"),
        ("split_rule: even", "split_rule: evn", "'even'"),
        ("tensor_share: 0.7", "tensor_share: 1.7", "tensor_share"),
        ("overlap: 0.5\n  split", "overlp: 0.5\n  split", "did you mean 'overlap'"),
    ],
)
def test_a_mistake_in_a_library_is_said(said: Said, old: str, new: str, message: str) -> None:
    assert said(MINE) == []
    assert old in MINE
    assert any(message in line for line in said(MINE.replace(old, new))), said(
        MINE.replace(old, new)
    )
