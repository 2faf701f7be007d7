"""Mistakes in descriptions of compute SRAM."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import SpecError
from bankwidth.spec import load_device, load_machine
from bankwidth.spec.files import ROOT

DEVICE = ROOT / "arch" / "devices" / "sram_lut" / "sail.yaml"
MACHINE = ROOT / "arch" / "sail.yaml"


def changed(tmp_path: Path, file: Path, old: str, new: str) -> Path:
    text = file.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / file.name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layout: transposed", "layout: words", "word: missing: the layout words needs the width"),
        (
            "layout: transposed",
            'layout: transposed\n  word: "32 bit"',
            "lanes of the layout transposed are columns",
        ),
        (
            "layout: transposed",
            'layout: words\n  word: "128 bit"',
            "128 bits: a lane has at most 64",
        ),
        ("weight_buffers: {value: 2,", "weight_buffers: {value: 3,", "weight_buffers"),
        ("  tag: {constant: 1}\n", "", "tag"),
        ("  tag: {constant: 1}", "  tag: {constnat: 1}", "did you mean 'constant'"),
        ("  move: {linear: 1}", "  move: {linear: -1}", "linear"),
        ('switch:\n  value: "256 ck"', "switch:\n  value: 256", "unit missing"),
    ],
)
def test_a_mistake_in_a_device_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, DEVICE, old, new)
    with pytest.raises(SpecError) as told:
        load_device(path)
    assert message in str(told.value)
    assert f"{path.name}:" in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("group: {value: 4,", "group: {value: 9,", "group: must be at most 8, got 9"),
        ("group: {value: 4,", "group: {value: 0,", "group: must be at least 1, got 0"),
        (
            "activation_width: {value: 8,",
            "activation_width: {value: 17,",
            "must be at most 16, got 17",
        ),
        ("value: weight_tables", "value: weight_table", "did you mean 'weight_tables'"),
        ("distribution: normal", "distribution: normall", "did you mean 'normal'"),
    ],
)
def test_a_mistake_in_the_options_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, MACHINE, old, new)
    with pytest.raises(SpecError) as told:
        load_machine(path)
    assert message in str(told.value)
    assert f"{path.name}:" in str(told.value)
