"""Libraries of cells: the shipped one, one of a user's own, and mistakes in one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bankwidth.errors import SpecError
from bankwidth.spec import CellLibrarySpec, load_cells
from bankwidth.spec.files import ROOT

SHIPPED = ROOT / "arch/libraries/cells/nangate45-16nm.yaml"


def own(tmp_path: Path, **changed: str) -> Path:
    """A copy of the shipped file with the values of some keys changed."""
    text = SHIPPED.read_text()
    for key, value in changed.items():
        text, count = re.subn(rf"(?m)(\b{key}: ).*$", rf"\g<1>{value}", text)
        assert count == 1
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return path


def test_the_shipped_library_has_plausible_cells() -> None:
    cells = load_cells().cells
    assert cells.nand2_um2 < cells.xor2_um2 < cells.half_adder_um2 < cells.full_adder_um2
    assert cells.mux2_um2 < cells.flip_flop_um2 < cells.flip_flop_reset_um2


def test_units_of_a_float_grow_with_what_they_do() -> None:
    for units in load_cells().formats.values():
        assert units.ternary_multiplier_gates < units.flushing_multiplier_gates
        assert units.flushing_multiplier_gates < units.multiplier_gates
    formats = load_cells().formats
    assert formats["fp8"].adder_gates < formats["bf16"].adder_gates < formats["fp32"].adder_gates


def test_a_library_of_ones_own_is_read(tmp_path: Path) -> None:
    library = load_cells(own(tmp_path, xor2_um2="1.7"))
    assert isinstance(library, CellLibrarySpec)
    assert library.cells.xor2_um2 == 1.7
    assert load_cells(str(own(tmp_path, xor2_um2="1.7"))) == library


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"xor2_um2": "0.5"}, r"own.yaml:\d+:\d+: cells.xor2_um2: .*below the NAND2's 0.798"),
        ({"xor2_um2": "0"}, r"own.yaml:\d+:\d+: cells.xor2_um2"),
        ({"half_adder_um2": "wide"}, r"own.yaml:\d+:\d+: cells.half_adder_um2"),
        ({"five_in_eight_gates": "-1"}, r"own.yaml:\d+:\d+: decoders.five_in_eight_gates"),
        ({"kind": "cell"}, r"unknown kind 'cell'.*did you mean 'cells'"),
    ],
)
def test_a_mistake_is_said_with_its_place(
    changed: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        load_cells(own(tmp_path, **changed))


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"unknown cells 'nangate45'.*did you mean"):
        load_cells("nangate45")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        load_cells(tmp_path / "none.yaml")
