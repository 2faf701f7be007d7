"""Strict scalars: what an unquoted YAML word means.

PyYAML follows YAML 1.1, where `off` and `no` are false, `16:30` is 990, `010` is 8 and `1e-9` is a
text. Here only `true` and `false` are booleans, only decimal digits make integers, and every
decimal or exponent form is a float. Anything else is text.
"""

from __future__ import annotations

import math
import re
from typing import Final

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    "true": True, "false": False, "null": None, "~": None, "": None,
}  # fmt: skip
_INTEGER: Final = re.compile(r"[+-]?(0|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[+-]?([0-9][0-9_]*\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
_MAX_DIGITS: Final = 300  # Python itself refuses to convert integers of thousands of digits


def plain_scalar(text: str) -> Scalar:
    """Meaning of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _MAX_DIGITS and _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
