"""A description's text with fitted values written in: comments and all other text stay.

A value that the text has itself is changed in its place. One that comes from another file is
overridden by a key beside its `device:` or `include:`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from bankwidth.errors import SpecError
from bankwidth.spec.compose import DEVICE, INCLUDE
from bankwidth.spec.files import SUFFIXES
from bankwidth.spec.fit import FitParameter
from bankwidth.spec.layout import Key, Piece, layout_of
from bankwidth.spec.provenance import FIT, SOURCE, VALUE

_STEP: Final = 2  # columns that a block is indented by

Added = dict[Key, Any]  # keys to add to a mapping; below them further ones, or a Fitted


class Fitted(NamedTuple):
    """A parameter's new value as text with its unit, and where it comes from."""

    parameter: FitParameter
    text: str
    source: str


class _Edit(NamedTuple):
    """Characters `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def with_fitted(text: str, fitted: Sequence[Fitted]) -> str:
    """The text of a file with new values in it.

    Raises SpecError for a parameter in a list of another file: a list is overridden as a whole.
    """
    root = layout_of(text)
    homes: dict[int, _Home] = {}
    edits: list[_Edit] = []
    for one in fitted:
        own = _own(root, one)
        if own is not None:
            edits += _changed(text, own, one)
        else:
            home = _home(text, root, one)
            homes.setdefault(home.mapping.start, home).add(one)
    # Where two end at one place the inner one comes first.
    for home in sorted(homes.values(), key=lambda home: -home.depth):
        edits.append(home.edit(text, edits))
    return _edited(text, edits)


def moved(text: str, old: Path, new: Path) -> str:
    """The text of a file of folder `old`, as it refers to its files from folder `new`."""
    old, new = Path(os.path.realpath(old)), Path(os.path.realpath(new))
    if old == new:
        return text
    edits = [
        _Edit(piece.start, piece.end, json.dumps(_relative(old / str(piece.scalar), new)))
        for piece in _files_in(layout_of(text))
        if not os.path.isabs(str(piece.scalar))
    ]
    return _edited(text, edits)


def _edited(text: str, edits: Sequence[_Edit]) -> str:
    """The text with changes that do not overlap; those at one place in the order given."""
    parts, done = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*parts, text[done:]])


def _files_in(piece: Piece) -> Iterator[Piece]:
    """References to files; a shipped device is called by its name."""
    for key, child in piece.children.items():
        if piece.is_mapping and key == INCLUDE:
            yield from child.children.values() if child.children else [child]
        elif piece.is_mapping and key == DEVICE:
            yield from [child] if str(child.scalar).endswith(SUFFIXES) else []
        else:
            yield from _files_in(child)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(os.path.realpath(path), folder)).as_posix()
    except ValueError:  # on another drive
        return str(path)


def _own(root: Piece, one: Fitted) -> Piece | None:
    """The `{value:, source:, fit:}` of a parameter, where the text has it itself."""
    piece: Piece | None = root
    for key in one.parameter.path:
        piece = piece.below(key) if piece else None
    return piece if piece and VALUE in piece.children else None


def _changed(text: str, own: Piece, one: Fitted) -> list[_Edit]:
    value, source = own.children[VALUE], own.children.get(SOURCE)
    new = _Edit(value.start, value.end, _written(one.text, one))
    quoted = _quoted(one.source)
    if source is not None:
        return [new, _Edit(source.start, source.end, quoted)]
    if own.is_flow:
        return [new, _Edit(value.end, value.end, f", {SOURCE}: {quoted}")]
    end = _line_end(text, value.end)
    indent = " " * _column(text, own.keys[VALUE])
    return [new, _Edit(end, end, f"{_newline(text)}{indent}{SOURCE}: {quoted}")]


@dataclass(slots=True)
class _Home:
    """A mapping of the text that gets further keys. `column` is that of the nearest block key."""

    mapping: Piece
    parent: Piece | None
    column: int
    depth: int
    added: Added = field(default_factory=dict)

    def add(self, one: Fitted) -> None:
        """Take a parameter in, below the keys that are not in the text yet."""
        *groups, last = one.parameter.path[self.depth :]
        added = self.added
        for key in groups:
            added = added.setdefault(key, {})
        added[last] = one

    def edit(self, text: str, others: Sequence[_Edit]) -> _Edit:
        """The change of the text, beside other ones."""
        if not self.mapping.is_flow:
            end = _line_end(text, self.mapping.end)
            first = min(self.mapping.keys.values())
            return _Edit(end, end, _block(self.added, _column(text, first), _newline(text)))
        is_changed = any(self.mapping.start <= edit.start < self.mapping.end for edit in others)
        if self._is_short(text) and not is_changed:
            return self._as_block(text)
        comma = f",{_newline(text)}{' ' * (self.column + 2 * _STEP)}"
        end = max((x.end for x in self.mapping.children.values()), default=self.mapping.end - 1)
        new = comma.join(_flow(self.added))
        return _Edit(end, end, (comma if self.mapping.children else "") + new)

    def _is_short(self, text: str) -> bool:
        """Braces on one line of their own, which read better as a block with more keys in it."""
        after = text[self.mapping.end : _line_end(text, self.mapping.end)].strip()
        is_one_line = "\n" not in text[self.mapping.start : self.mapping.end]
        is_in_block = self.parent is not None and self.parent.is_mapping and not self.parent.is_flow
        is_last = not after or after.startswith("#")
        return is_one_line and is_in_block and is_last and bool(self.mapping.children)

    def _as_block(self, text: str) -> _Edit:
        end, newline = _line_end(text, self.mapping.end), _newline(text)
        start = len(text[: self.mapping.start].rstrip())
        indent = self.column + _STEP
        kept = [
            f"{newline}{' ' * indent}{text[self.mapping.keys[key] : child.end]}"
            for key, child in self.mapping.children.items()
        ]
        comment = text[self.mapping.end : end].rstrip()
        return _Edit(start, end, comment + "".join(kept) + _block(self.added, indent, newline))


def _home(text: str, root: Piece, one: Fitted) -> _Home:
    """The deepest mapping of the text on the way to a parameter of another file."""
    home = _Home(root, None, 0, 0)
    for depth, key in enumerate(one.parameter.path[:-1]):
        child = home.mapping.children.get(key)
        if child is None or not child.is_mapping or VALUE in child.children:
            break
        is_flow = home.mapping.is_flow
        column = home.column if is_flow else _column(text, home.mapping.keys[key])
        home = _Home(child, home.mapping, column, depth + 1)
    rest = one.parameter.path[home.depth :]
    if any(isinstance(key, int) for key in rest):
        raise SpecError(
            f"{one.parameter.where}: {one.parameter.name}: an entry of a list cannot be overridden "
            f"from another file; calibrate the file that has it, or take '{FIT}' out"
        )
    return home


def _block(added: Added, indent: int, newline: str) -> str:
    """Lines of a block, each with the line end before it."""
    lines = ""
    for key, child in added.items():
        lines += f"{newline}{' ' * indent}{key}:"
        if isinstance(child, Fitted):
            below = f"{newline}{' ' * (indent + _STEP)}"
            lines += "".join(f"{below}{entry}" for entry in _entries(child))
        else:
            lines += _block(child, indent + _STEP, newline)
    return lines


def _flow(added: Added) -> list[str]:
    return [
        f"{key}: {{{', '.join(_entries(child) if isinstance(child, Fitted) else _flow(child))}}}"
        for key, child in added.items()
    ]


def _entries(one: Fitted) -> list[str]:
    bounds = ", ".join(_written(bound, one) for bound in one.parameter.bounds)
    value = _written(one.text, one)
    return [f"{VALUE}: {value}", f"{SOURCE}: {_quoted(one.source)}", f"{FIT}: [{bounds}]"]


def _written(text: str, one: Fitted) -> str:
    """A quantity in quotes, a plain number without."""
    return _quoted(text) if one.parameter.unit else text


def _quoted(text: str) -> str:
    """As YAML and JSON quote a text."""
    return json.dumps(text, ensure_ascii=False)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_end(text: str, index: int) -> int:
    """Place of the line end that follows a character."""
    end = text.find(_newline(text), index)
    return len(text) if end < 0 else end


def _column(text: str, index: int) -> int:
    return index - text.rfind("\n", 0, index) - 1
