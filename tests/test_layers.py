"""The floors of the house: a room imports only from floors below its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sim" / "bankwidth"
# Top to bottom; rooms on one floor do not import each other.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("validate", "serving"),
    ("simulation", "replaying"),
    ("provenance",),
    ("system",),
    ("mapping",),
    ("devices", "operators", "report", "energy", "presets"),
    ("kernel_cache",),
    ("spec", "results"),
    ("units",),
    ("errors",),
)
# Floor of each room; the report room is looked up by name from results (for figures and reprs).
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {
    "yaml": {"spec"},
    "pydantic": {"spec"},
    "simpy": {"system"},
    "networkx": {"system"},
    "typer": {"cli"},
}
KERNEL_IMPORTS = {"numpy", "numba", "math", "typing", "__future__"}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path, *, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_from_floors_below(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        pytest.skip("the public API names every room, lazily")
    wrong = [
        name
        for name in imports_of(path)
        if name.startswith("bankwidth.")
        and (other := name.split(".")[1]) in LEVEL
        and other != room
        and LEVEL[other] <= LEVEL[room]
    ]
    assert not wrong, f"{room} imports {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_third_party_imports_stay_in_their_rooms(path: Path) -> None:
    names = {name.split(".")[0] for name in imports_of(path)}
    for module, rooms in OUTSIDE.items():
        assert module not in names or room_of(path) in rooms, f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_numba_only_in_kernels_and_plotly_only_inside_functions(path: Path) -> None:
    names = {name.split(".")[0] for name in imports_of(path)}
    top = {name.split(".")[0] for name in imports_of(path, top_only=True)}
    if path.name.startswith("kernel") and room_of(path) == "devices":
        beside = f"bankwidth.devices.{path.parent.name}.kernel"
        ours = [name for name in imports_of(path) if name.startswith("bankwidth")]
        assert all(name.startswith(beside) for name in ours), "a kernel may use those beside it"
        assert names - {"bankwidth"} <= KERNEL_IMPORTS
    else:
        assert "numba" not in names
    assert "plotly" not in top


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms == set(LEVEL)
