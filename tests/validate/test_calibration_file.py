"""The file that a calibration writes: refused early, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import OutputError
from bankwidth.presets import find_machine
from bankwidth.spec import fit_parameters, load_machine
from bankwidth.spec.edit import Fitted
from bankwidth.spec.values import with_values
from bankwidth.validate.calibration_file import check_out, text_with, write_machine

LAUNCH = ("engines", "gpu", "launch")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "m.yaml"
    there.write_text("")
    check_out(tmp_path / "new.yaml")
    check_out(there, force=True)
    for out, message in [
        (there, "exists; --force overwrites it"),
        (tmp_path / "m.txt", "need a file name that ends in .yaml"),
        (tmp_path / "gone" / "m.yaml", "no such folder"),
        (there / "m.yaml", "no such folder"),
    ]:
        with pytest.raises(OutputError, match=message):
            check_out(out)
    (tmp_path / "f.yaml").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_out(tmp_path / "f.yaml", force=True)


def mine(folder: Path) -> Path:
    """A machine whose device lies in a folder of its own."""
    (folder / "parts").mkdir(parents=True)
    device = "schema_version: 1\nkind: gpu\ndevice: gpu/h200-sxm\n"
    (folder / "parts" / "dev.yaml").write_text(
        device + "launch: {value: 1 us, fit: [200 ns, 3 us]}\n"
    )
    path = folder / "mine.yaml"
    path.write_text(
        f"schema_version: 1\nkind: machine\ninclude: {find_machine('h200').as_posix()}\n"
        "engines: {gpu: {device: parts/dev.yaml}}\n"
    )
    return path


def test_the_text_describes_the_machine_from_another_folder_too(tmp_path: Path) -> None:
    path, out = mine(tmp_path / "one"), tmp_path / "two" / "out.yaml"
    out.parent.mkdir()
    parameter = next(p for p in fit_parameters(path) if p.path == LAUNCH)
    text = text_with(path, out, [Fitted(parameter, "900 ns", "s")])
    machine = with_values(load_machine(path), {LAUNCH: 900.0})
    write_machine(text, machine, out)
    assert out.read_text() == text
    assert load_machine(out) == machine
    assert [file.name for file in out.parent.iterdir()] == ["out.yaml"]


def test_a_text_of_another_machine_is_not_written(tmp_path: Path) -> None:
    path, out = mine(tmp_path / "one"), tmp_path / "one" / "out.yaml"
    with pytest.raises(OutputError, match="would not describe"):
        write_machine(path.read_text(), with_values(load_machine(path), {LAUNCH: 901.0}), out)
    assert sorted(file.name for file in out.parent.iterdir()) == ["mine.yaml", "parts"]


def test_an_existing_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = mine(tmp_path)
    before = path.read_text()
    with pytest.raises(OutputError, match="would not describe"):
        write_machine(before, with_values(load_machine(path), {LAUNCH: 901.0}), path, force=True)
    with pytest.raises(OutputError, match="--force"):
        write_machine(before, load_machine(path), path)
    assert path.read_text() == before
