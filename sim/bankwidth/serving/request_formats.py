"""Formats of request files, by the names of their columns, and their fields as numbers.

| format   | from                                           | columns                            |
| -------- | ---------------------------------------------- | ---------------------------------- |
| azure    | Azure LLM inference traces 2023 and 2024       | TIMESTAMP, ContextTokens,          |
|          |                                                | GeneratedTokens                    |
| burstgpt | BurstGPT, Wang et al. 2024                     | Timestamp (s), Request tokens,     |
|          |                                                | Response tokens                    |
| vidur    | Vidur, Agrawal et al. 2024                     | num_prefill_tokens,                |
|          |                                                | num_decode_tokens, arrived_at (s)? |
| lengths  | any other, as ShareGPT's                       | input_tokens, output_tokens,       |
|          |                                                | arrival_s?                         |
| mooncake | Mooncake, Qin et al. 2025: a JSON object a line | timestamp (ms), input_length,      |
|          |                                                | output_length, hash_ids?           |

A column with a question mark may be absent, other columns are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from bankwidth.errors import did_you_mean

PS_PER_S: Final = 10**12
PS_PER_MS: Final = 10**9
MAX_PS: Final = 4 * 10**18  # 46 days: sums of times stay within 64 bits
MAX_TOKENS: Final = 10**8  # of a request
HASH_TOKENS: Final = 512  # Mooncake: tokens that one of its hash_ids stands for
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?")
_STAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:?\d\d)?"
)
_EPOCH: Final = datetime(1970, 1, 1)


class Wrong(Exception):
    """A field is wrong; says what was found and what is allowed."""


def seconds_ps(text: str) -> int:
    """Picoseconds of a number of seconds, exactly where it has no more than twelve decimals."""
    return _scaled(text, PS_PER_S, "seconds")


def milliseconds_ps(text: str) -> int:
    """Picoseconds of a number of milliseconds."""
    return _scaled(text, PS_PER_MS, "milliseconds")


def _scaled(text: str, factor: int, unit: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Wrong(f"{_short(text)!r} is not a number of {unit}")
    scaled = Fraction(text) * factor
    if not 0 <= scaled <= MAX_PS:
        raise Wrong(f"{_short(text)!r}: a time is from 0 to {MAX_PS // PS_PER_S} s")
    return round(scaled)


def stamp_ps(text: str) -> int:
    """Picoseconds of a date and time since 1970, as `2023-11-16 18:15:46.6805900`."""
    match = _STAMP.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        whole = _second(match[1]) - _offset_s(match[3])
    except ValueError:
        raise Wrong(
            f"{_short(text)!r} is not a date and time as '2023-11-16 18:15:46.6805900'"
        ) from None
    return whole * PS_PER_S + int((match[2] or "0").ljust(12, "0"))


@lru_cache(1 << 12)
def _second(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return since.days * 86400 + since.seconds


def _offset_s(text: str | None) -> int:
    """Seconds east of Greenwich."""
    if text is None or text == "Z":
        return 0
    sign = -1 if text[0] == "-" else 1
    hours, minutes = int(text[1:3]), int(text[-2:])
    return sign * (3600 * hours + 60 * minutes)


def tokens(text: str) -> int:
    """A number of tokens of a request: whole, from 1."""
    if not (text.isascii() and text.isdigit()):
        raise Wrong(_not_tokens(text))
    return checked_tokens(int(text[:20]))


def _not_tokens(text: str) -> str:
    negative = text.startswith("-") and text[1:].isdigit()
    what = "is negative" if negative else "is not a whole number"
    return f"{_short(text)!r} {what}: need tokens, at least 1"


def checked_tokens(number: int) -> int:
    """The same, where it is a length that a request may have."""
    if number < 1:
        raise Wrong(f"{number} tokens, need at least 1 (leave out requests that failed)")
    if number > MAX_TOKENS:
        raise Wrong(f"{number} tokens, at most {MAX_TOKENS}")
    return number


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """Names of the columns that matter, and how an arrival is written."""

    name: str
    prompt: str
    output: str
    arrival: str
    arrival_ps: Callable[[str], int]
    needs_arrival: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that must be there."""
        return (*((self.arrival,) if self.needs_arrival else ()), self.prompt, self.output)


# fmt: off
CSV_FORMATS: Final = (
    #         name        prompt                output               arrival       its value
    CsvFormat("azure",    "ContextTokens",      "GeneratedTokens",   "TIMESTAMP",  stamp_ps),
    CsvFormat("burstgpt", "Request tokens",     "Response tokens",   "Timestamp",  seconds_ps),
    CsvFormat("vidur",    "num_prefill_tokens", "num_decode_tokens", "arrived_at", seconds_ps,
              needs_arrival=False),
    CsvFormat("lengths",  "input_tokens",       "output_tokens",     "arrival_s",  seconds_ps,
              needs_arrival=False),
)
# fmt: on
MOONCAKE_FIELDS: Final = ("timestamp", "input_length", "output_length")


def csv_format(header: list[str]) -> CsvFormat:
    """The format with these columns. Raises Wrong that names what is missing of the nearest."""
    nearest = max(CSV_FORMATS, key=lambda found: _shared(found, header))
    missing = [name for name in nearest.columns if name not in header]
    if not missing:
        return nearest
    if _shared(nearest, header) == 0:
        raise Wrong(_unknown(header))
    others = [name for name in header if name not in nearest.columns]
    hints = [
        name + did_you_mean(name, others).replace(", did you mean", ": is it") for name in missing
    ]
    raise Wrong(f"no column {', '.join(hints)}; format {nearest.name!r} needs {_list(nearest)}")


def _shared(found: CsvFormat, header: list[str]) -> int:
    return sum(name in header for name in (found.prompt, found.output, found.arrival))


def _unknown(header: list[str]) -> str:
    known = "; ".join(f"{each.name}: {_list(each)}" for each in CSV_FORMATS)
    shown = _short(",".join(header))
    return f"unknown columns {shown!r}; {known}; mooncake: a JSON object a line"


def _list(found: CsvFormat) -> str:
    return ", ".join(found.columns)


def json_tokens(record: dict[str, Any], name: str) -> int:
    """A number of tokens of a JSON object."""
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong(f"{name}: {_short(repr(value))} is not a whole number of tokens")
    return checked_tokens(value)


def json_hashes(record: dict[str, Any], prompt: int) -> tuple[int, ...]:
    """The ids of a prompt's blocks; empty where there are none."""
    found = record.get("hash_ids")
    if found is None:
        return ()
    if not isinstance(found, list) or not all(type(each) is int for each in found):
        raise Wrong("hash_ids is not a list of whole numbers")
    need = -(-prompt // HASH_TOKENS)
    if len(found) != need:
        raise Wrong(
            f"hash_ids: {len(found)} of them, but a prompt of {prompt} tokens has {need} blocks "
            f"of {HASH_TOKENS}"
        )
    return tuple(found)
