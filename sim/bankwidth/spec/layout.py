"""Where each part of a YAML text stands, so that single values can be changed around comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Key = str | int  # of an entry of a mapping, or the place of an item of a list


@dataclass(slots=True)
class Piece:
    """A scalar, mapping or list: characters `start` to `end` of the text.

    A block ends with its last value; comments after that are not part of it. `keys` are the places
    of a mapping's keys, `scalar` is the text that a scalar stands for.
    """

    start: int
    end: int
    is_mapping: bool = False
    is_flow: bool = False  # written in braces or brackets
    scalar: str | None = None
    children: dict[Key, Piece] = field(default_factory=dict)
    keys: dict[Key, int] = field(default_factory=dict)

    def below(self, key: Key) -> Piece | None:
        """An entry, be it of the value that a `{value:, source:}` wraps."""
        if key not in self.children and "value" in self.children:
            return self.children["value"].below(key)
        return self.children.get(key)


def layout_of(text: str) -> Piece:
    """The layout of a text that `tree.parse_yaml` has read without a problem."""
    # The parser in Python: its marks count characters, whatever these are.
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    opening = (yaml.StreamStartEvent, yaml.DocumentStartEvent)
    first = next(event for event in events if not isinstance(event, opening))
    return _piece(text, events, first)


def _piece(text: str, events: Iterator[Any], event: Any) -> Piece:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, yaml.ScalarEvent):
        end = start + len(text[start:end].rstrip())  # a block scalar ends with its line
        return Piece(start, end, scalar=str(event.value))
    is_mapping = isinstance(event, yaml.MappingStartEvent)
    piece = Piece(start, end, is_mapping=is_mapping, is_flow=bool(event.flow_style))
    closing = (_fill_mapping if is_mapping else _fill_list)(piece, text, events)
    last = max((child.end for child in piece.children.values()), default=end)
    piece.end = closing.end_mark.index if piece.is_flow else last
    return piece


def _fill_mapping(piece: Piece, text: str, events: Iterator[Any]) -> Any:
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        piece.keys[str(event.value)] = event.start_mark.index
        piece.children[str(event.value)] = _piece(text, events, next(events))
    return event


def _fill_list(piece: Piece, text: str, events: Iterator[Any]) -> Any:
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        piece.children[len(piece.children)] = _piece(text, events, event)
    return event
