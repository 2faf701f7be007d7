"""Fitted values written into a machine's text: everything else of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import unmarked

from bankwidth.errors import SpecError
from bankwidth.presets import find_machine
from bankwidth.spec import fit_parameters, load_machine, sources_of
from bankwidth.spec.edit import Fitted, moved, with_fitted
from bankwidth.spec.layout import Piece, layout_of
from bankwidth.spec.tree import Node, parse_yaml
from bankwidth.spec.values import value_at

from .conftest import Write

DEVICE = f"""\
schema_version: 1
kind: gpu
device: {unmarked.GPU.as_posix()}
launch: {{value: 1.26 us, fit: [200 ns, 3 us]}}
exp_per_clock: {{value: 16, fit: [8, 64]}}
energy: {{static: {{value: 140 W, fit: [1 W, 300 W]}}}}
"""
INCLUDE = f"include: {unmarked.MACHINE.as_posix()}\n"
HEAD = f"schema_version: 1\nkind: machine\n{INCLUDE}"


def edited(path: Path, source: str = "calibrated", factor: float = 1.1) -> str:
    """The text with every marked value changed."""
    fitted = [Fitted(p, p.text(factor * p.value), source) for p in fit_parameters(path)]
    return with_fitted(path.read_bytes().decode(), fitted)


def lines_kept(old: str, new: str) -> bool:
    """Whether all lines of the old text are there, in their order."""
    rest = iter(new.splitlines())
    return all(line in rest for line in old.splitlines())


def test_a_value_of_another_file_is_overridden_beside_the_device(write: Write) -> None:
    write("dev.yaml", DEVICE)
    text = HEAD + "# parts\nengines:  # all\n  gpu:\n    device: dev.yaml  # mine\n\n# end\n"
    assert edited(write("m.yaml", text)) == text.replace(
        "mine\n",
        """mine
    exp_per_clock:
      value: 17
      source: "calibrated"
      fit: [8, 64]
    launch:
      value: "1.386 us"
      source: "calibrated"
      fit: ["200 ns", "3 us"]
    energy:
      static:
        value: "154 W"
        source: "calibrated"
        fit: ["1 W", "300 W"]
""",
    )


def test_braces_on_one_line_become_a_block(write: Write) -> None:
    write("dev.yaml", DEVICE)
    text = HEAD + "engines:\n  # a\n  gpu: {device: dev.yaml, name: x} # b\n  # c\n"
    new = edited(write("m.yaml", text))
    assert "  # a\n  gpu: # b\n    device: dev.yaml\n    name: x\n    exp_per_clock:\n" in new
    assert new.endswith("\n  # c\n")


@pytest.mark.parametrize(
    "engines",
    [
        "engines: {gpu: {device: dev.yaml}}",
        "engines: {gpu: {device: dev.yaml, energy: {l2: 2 pJ/bit}}}",
        "engines:\n  gpu: {device: dev.yaml, energy: {l2: 2 pJ/bit}}",
        "engines:\n  gpu: {device: dev.yaml,  # one\n    name: x,  # two\n  }",
        "engines:\n  gpu:\n    energy: {l2: 2 pJ/bit}\n    device: dev.yaml",
        "engines:\n  gpu:\n    energy:\n      l2: 2 pJ/bit  # own\n    device: dev.yaml",
        "engines:\n  gpu:\n    device: dev.yaml\n    energy:\n      l2:\n        value: 2 pJ/bit",
        "engines:\n  gpu:\n    device: dev.yaml\n    launch:\n      fit: [0.1 us, 3 us]\n"
        "      value: 1 us  # why\n      # more",
        "engines: {gpu: {device: dev.yaml, launch: {fit: [0.1 us, 3 us], value: 1 us}}}",
        "engines:\n  gpu: {device: dev.yaml, launch: {fit: [0.1 us, 3 us], value: 1 us}} # a",
        "engines:\n  gpu: {device: dev.yaml, launch: {value: 1 us, source: 'it''s', "
        "fit: [0.1 us, 3 us]}}",
        "include: other.yaml",
        "engines:\n    gpu:\n        device: dev.yaml",
    ],
)
@pytest.mark.parametrize(
    ("end", "newline"),
    [("", "\n"), ("\n\n# the end\n", "\n"), ("\nname: mine\n", "\r\n")],
)
def test_any_layout_gives_the_new_values_and_keeps_comments(
    write: Write, engines: str, end: str, newline: str
) -> None:
    write("dev.yaml", DEVICE)
    write("other.yaml", INCLUDE + "engines: {gpu: {device: dev.yaml}}\n")
    text = HEAD.replace(INCLUDE, "" if "other.yaml" in engines else INCLUDE) + engines + end
    path = write("m.yaml", "")
    path.write_bytes(text.replace("\n", newline).encode())
    parameters = fit_parameters(path)
    new = edited(path, source='"quoted": \N{EURO SIGN} #')
    assert new.count("\n") == new.count(newline)
    assert [c for c in text.split() if c.startswith("#")] == [
        c for c in new.replace("\N{EURO SIGN} #", "").split() if c.startswith("#")
    ]
    Path("new.yaml").write_bytes(new.encode())
    machine, sources = load_machine(Path("new.yaml")), sources_of("new.yaml")
    for p in parameters:
        assert value_at(machine, p.path) == p.parsed(p.text(1.1 * p.value))
        assert sources[p.name] == '"quoted": \N{EURO SIGN} #'
    again = {p.name: (p.low, p.high, p.unit) for p in fit_parameters("new.yaml")}
    assert again == {p.name: (p.low, p.high, p.unit) for p in parameters}
    old = load_machine(path)
    assert old.memories == machine.memories
    assert old.links == machine.links


def test_an_own_value_and_its_source_are_replaced_in_place(write: Write) -> None:
    text = HEAD + (
        "links:\n  - name: hbm-phy\n    ends: [gpu, hbm]\n    bandwidth: 4.8 TB/s\n"
        "    latency:\n      # why\n      value: 300 ns  # about\n      fit: [200 ns, 400 ns]\n"
        "      source: >-\n        a long text,\n        two lines\n\n    energy: 1 pJ/bit  # e\n"
    )
    long_source = ">-\n        a long text,\n        two lines\n"
    expected = text.replace("300 ns", '"330 ns"').replace(long_source, '"calibrated"\n')
    assert edited(write("m.yaml", text)) == expected


def test_calibrating_twice_changes_values_and_sources_only(write: Write) -> None:
    write("dev.yaml", DEVICE)
    path = write("m.yaml", HEAD + "engines: {gpu: {device: dev.yaml}}\n")
    first = edited(path, source="one")
    path.write_text(first)
    second = edited(path, source="two", factor=1.0)
    assert second == first.replace('"one"', '"two"')


def test_a_list_of_another_file_cannot_be_overridden(write: Write) -> None:
    links = (
        "links: [{name: hbm-phy, ends: [gpu, hbm], bandwidth: 4 TB/s, energy: 1 pJ/bit, "
        "latency: {value: 300 ns, fit: [200 ns, 400 ns]}}]\n"
    )
    write("base.yaml", INCLUDE + links)
    path = write("m.yaml", "schema_version: 1\nkind: machine\ninclude: base.yaml\n")
    with pytest.raises(SpecError, match=r"base\.yaml:2:\d+: links\.0\.latency: an entry of a list"):
        edited(path)


def test_references_are_those_of_the_new_folder(write: Write) -> None:
    text = (
        "include: [a.yaml, 'sub/b.yaml']  # x\n"
        "engines: {gpu: {device: ../c.yml}}\nm: {device: gpu/h200-sxm}\n"
    )
    new = moved(text, Path("one"), Path("two/three"))
    assert new == (
        'include: ["../../one/a.yaml", "../../one/sub/b.yaml"]  # x\n'
        'engines: {gpu: {device: "../../c.yml"}}\nm: {device: gpu/h200-sxm}\n'
    )
    assert moved(text, Path("one"), Path("two/../one")) == text
    assert moved("include: /x/a.yaml\n", Path("one"), Path("two")) == "include: /x/a.yaml\n"


def scalars(node: Node, piece: Piece, text: str) -> None:
    """Every node has a piece, and each piece's text alone reads as its value."""
    if node.children:
        keys = [int(k) if not piece.is_mapping else k for k in node.children]
        assert list(piece.children) == keys
        for key, child in zip(keys, node.children.values(), strict=True):
            scalars(child, piece.children[key], text)
    elif isinstance(node.value, str | int | float):
        root, _ = parse_yaml(text[piece.start : piece.end], "f")
        assert root is not None
        assert str(root.value).strip() == str(node.value).strip()


@pytest.mark.parametrize("name", ["h200", "h100", "a100", "pim-gpt"])
def test_pieces_are_the_text_of_their_values(name: str) -> None:
    text = find_machine(name).read_text(encoding="utf-8")
    root, _ = parse_yaml(text, name)
    assert root is not None
    scalars(root, layout_of(text), text)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.text("#\N{EURO SIGN}\N{GRINNING FACE}a: ", max_size=20),
    after=st.text("#\N{EURO SIGN}\N{GRINNING FACE}a: ", max_size=20),
)
def test_characters_beyond_ascii_shift_nothing(write: Write, before: str, after: str) -> None:
    write("dev.yaml", DEVICE)
    text = f"# {before}\n{HEAD}engines:\n  gpu: {{device: dev.yaml}}  # {after}\n"
    path = write("m.yaml", "")
    path.write_text(text, encoding="utf-8")
    new = edited(path)
    Path("new.yaml").write_text(new, encoding="utf-8")
    assert value_at(load_machine(Path("new.yaml")), ("engines", "gpu", "launch")) == 1386.0
    assert new.startswith(f"# {before}\n")
    assert f"# {after}".rstrip() in new
