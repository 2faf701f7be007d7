"""Sizes as they are written for drives: 4096, 0x1000, 4k, 4 KiB."""

from __future__ import annotations

import re
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.units import parse_quantity

# A bare letter is binary, as in fio: 4k is 4096 bytes. `4 kB` are 4000, as everywhere else.
LETTERS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_WHOLE: Final = re.compile(r"0[xX][0-9a-fA-F]+|[0-9][0-9_]*")
_LETTERED: Final = re.compile(r"([0-9]{1,15})\s*([kKmMgGtT])")
_EXAMPLES: Final = "4096, 0x1000, 4k or '4 KiB'"
_MOST_DIGITS: Final = 100


def parse_size(text: str) -> int:
    """Bytes of a whole number, or of one with a unit. Raises SpecError for what is no size."""
    text = text.strip()
    if len(text) <= _MOST_DIGITS:
        if _WHOLE.fullmatch(text):
            return int(text, 16 if text[1:2] in ("x", "X") else 10)
        if match := _LETTERED.fullmatch(text):
            return int(match[1]) * LETTERS[match[2].lower()]
    if not text[:1].isdigit():
        raise SpecError(f"{_short(text)!r} is no size, write {_EXAMPLES}")
    return _with_unit(text)


def _with_unit(text: str) -> int:
    size_bytes = parse_quantity(text, "size")
    if not size_bytes.is_integer():
        raise SpecError(f"{text!r} is no whole number of bytes")
    return int(size_bytes)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
