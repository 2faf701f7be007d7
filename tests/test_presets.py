"""Shipped files by name, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth import presets
from bankwidth.errors import SpecError
from bankwidth.spec.files import library_root


@pytest.mark.parametrize("name", ["h200", "h100", "a100", "pim-gpt"])
def test_a_machine_is_found_by_name(name: str) -> None:
    assert presets.find_machine(name).name == f"{name}.yaml"


def test_a_device_is_found_by_kind_and_name() -> None:
    path = presets.find_device("gpu/h200-sxm")
    assert path.parts[-3:] == ("devices", "gpu", "h200-sxm.yaml")


def test_a_device_is_found_without_its_kind() -> None:
    assert presets.find_device("hbm2-2000") == presets.find_device("dram/hbm2-2000")


def test_a_workload_is_found_by_name() -> None:
    assert presets.find_workload("llama-2-7b").name == "llama-2-7b.yaml"


@pytest.mark.parametrize(
    ("name", "hint"), [("h20", "h200"), ("H200", "h200"), ("pim_gpt", "pim-gpt")]
)
def test_an_unknown_machine_gets_a_suggestion_and_the_list(name: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        presets.find_machine(name)
    text = str(caught.value)
    assert text.startswith(
        f"unknown machine {name!r}, did you mean {hint!r}? (known: a100, a6000, "
    )
    assert text.endswith(", or a file)")


def test_an_unknown_workload_gets_a_suggestion() -> None:
    with pytest.raises(
        SpecError, match=r"unknown workload 'llama2-7b', did you mean 'llama-2-7b'\?"
    ):
        presets.find_workload("llama2-7b")


@pytest.mark.parametrize("name", ["x.yaml", "./x", "../x", "/a/x", "config.json", "a/b.yml"])
def test_what_looks_like_a_path_is_one(name: str) -> None:
    assert presets.find_machine(name) == Path(name)


def test_a_shipped_name_wins_over_a_folder_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("h200").mkdir()
    Path("mine").write_text("x", encoding="utf-8")
    assert presets.find_machine("h200").name == "h200.yaml"
    assert presets.find_machine("mine") == Path("mine")


def test_everything_shipped_is_listed_with_kind_and_title() -> None:
    listed = presets.list_presets()
    assert list(listed) == ["machines", "devices", "workloads"]
    machines = {entry["name"]: entry for entry in listed["machines"]}
    assert machines["h200"]["title"] == "NVIDIA H200 SXM, 141 GB"
    devices = {entry["name"]: entry for entry in listed["devices"]}
    assert devices["gpu/a100-sxm"]["kind"] == "gpu"
    assert all(entry["title"] for entries in listed.values() for entry in entries)


def test_the_library_is_beside_the_package_in_a_checkout(tmp_path: Path) -> None:
    assert library_root(tmp_path / "sim" / "bankwidth") == tmp_path


def test_the_library_is_in_the_package_in_a_wheel(tmp_path: Path) -> None:
    (tmp_path / "bankwidth" / "presets_data").mkdir(parents=True)
    assert library_root(tmp_path / "bankwidth") == tmp_path / "bankwidth" / "presets_data"
