"""The only conversions: quantities with units in, plain numbers in one canonical unit out.

| dimension      | canonical unit, the suffix of names | written in YAML as        |
| -------------- | ----------------------------------- | ------------------------- |
| time           | `_ns`                               | "350 ns", "2.4 us", "18 ps" |
| size           | `_bytes` (an integer)               | "141 GB", "2 KiB"         |
| width          | `_bits` (an integer)                | "64 bit"                  |
| bandwidth      | `_bytes_per_ns` (1 is 1 GB/s)       | "32 GB/s", "4.8 TB/s"     |
| pin rate       | `_gbps` (gigabit per second and pin)| "6.4 Gbps", "6.4 GT/s"    |
| frequency      | `_ghz`                              | "1.98 GHz", "700 MHz"     |
| compute rate   | `_tflops`                           | "989.4 TFLOPS"            |
| energy         | `_pj`                               | "0.72 pJ", "1.1 nJ"       |
| energy per bit | `_pj_per_bit`                       | "3.5 pJ/bit"              |
| power          | `_mw` (1 mW is 1 pJ/ns)             | "350 W", "52 mW"          |
| voltage        | `_v`                                | "1.35 V"                  |
| current        | `_ma`                               | "71 mA"                   |
| cycles         | `_ck` (an integer)                  | "36 ck"                   |
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from bankwidth.errors import SpecError

_DECIMAL: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _scaled(unit: str, prefixes: dict[str, float], canonical: float) -> dict[str, float]:
    return {prefix + unit: factor / canonical for prefix, factor in prefixes.items()}


# dimension -> {unit: factor to the canonical unit}; the first unit is the one shown in messages.
UNITS: Final[dict[str, dict[str, float]]] = {
    "time": {"ns": 1.0, "ps": 1e-3, "us": 1e3, "ms": 1e6, "s": 1e9},
    "size": _scaled("B", _DECIMAL | _BINARY, 1.0),
    "width": {"bit": 1.0, "bits": 1.0, "b": 1.0, "B": 8.0},
    "bandwidth": _scaled("B/s", _DECIMAL | _BINARY, 1e9) | {"B/ns": 1.0},
    "pin rate": {"Gbps": 1.0, "Mbps": 1e-3, "Gb/s": 1.0, "Mb/s": 1e-3, "GT/s": 1.0, "MT/s": 1e-3},
    "frequency": {"GHz": 1.0, "MHz": 1e-3, "kHz": 1e-6, "Hz": 1e-9},
    "compute rate": {"TFLOPS": 1.0, "GFLOPS": 1e-3, "PFLOPS": 1e3, "TOPS": 1.0, "GOPS": 1e-3},
    "energy": {"pJ": 1.0, "fJ": 1e-3, "nJ": 1e3, "uJ": 1e6, "mJ": 1e9, "J": 1e12},
    "energy per bit": {"pJ/bit": 1.0, "fJ/bit": 1e-3, "pJ/B": 0.125, "nJ/B": 125.0},
    "power": {"mW": 1.0, "uW": 1e-3, "W": 1e3, "kW": 1e6},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "current": {"mA": 1.0, "uA": 1e-3, "A": 1e3},
    "cycles": {"ck": 1.0},
}
EXAMPLES: Final[dict[str, str]] = {
    "time": "350 ns",
    "size": "16 KiB",
    "width": "64 bit",
    "bandwidth": "32 GB/s",
    "pin rate": "6.4 Gbps",
    "frequency": "1.98 GHz",
    "compute rate": "989.4 TFLOPS",
    "energy": "0.72 pJ",
    "energy per bit": "3.5 pJ/bit",
    "power": "350 W",
    "voltage": "1.1 V",
    "current": "71 mA",
    "cycles": "36 ck",
}
INTEGER_DIMENSIONS: Final = frozenset({"size", "width", "cycles"})
_ARTICLES: Final = {"energy": "an", "energy per bit": "an"}
# At most three digits of exponent: 1e999999999 must not become an integer of a billion digits.
_NUMBER: Final = r"[+-]?[0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]{1,3})?"
_QUANTITY: Final = re.compile(rf"\s*({_NUMBER})\s*([^\W\d].*?)?\s*")  # a unit starts with a letter
_MAX_LENGTH: Final = 100


def article(dimension: str) -> str:
    """`a time`, `an energy`."""
    return f"{_ARTICLES.get(dimension, 'a')} {dimension}"


def unit_pattern(dimension: str) -> str:
    """Regular expression of the quantities of a dimension, for editors."""
    return rf"^\s*{_NUMBER}\s*({'|'.join(map(re.escape, UNITS[dimension]))})\s*$"


def is_quantity(text: str) -> bool:
    """Whether a text is a number with a unit of any dimension."""
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    return match is not None and bool(_dimensions_of(_ascii(match.group(2) or "")))


def _ascii(unit: str) -> str:
    """Both Unicode letters for micro mean u."""
    return unit.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")


def _dimensions_of(unit: str) -> list[str]:
    return [name for name, units in UNITS.items() if unit in units]


def _unit_error(text: str, unit: str, dimension: str) -> SpecError:
    allowed = ", ".join(UNITS[dimension])
    other = _dimensions_of(unit)
    if other:
        need = f"{unit} is {article(other[0])}, need {article(dimension)}"
        return SpecError(f"{text!r}: {need} ({allowed})")
    close = [known for known in UNITS[dimension] if known.lower() == unit.lower()]
    hint = f", did you mean {close[0]!r}?" if close else ""
    return SpecError(
        f"{text!r}: unknown unit {unit!r}, {article(dimension)} is written in {allowed}{hint}"
    )


def parse_quantity(text: object, dimension: str) -> float:
    """Value of a quantity like `"6.4 Gbps"` in the dimension's canonical unit.

    Raises SpecError when the unit is missing, unknown or of another dimension, or the number is
    not a number.
    """
    need = f"write e.g. {EXAMPLES[dimension]!r}"
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise SpecError(f"{_shown(text)} is not {article(dimension)}, {need}")
    match = _QUANTITY.fullmatch(str(text)) if len(str(text)) <= _MAX_LENGTH else None
    if match is None:
        raise SpecError(f"{_shown(text)} is not {article(dimension)}, {need}")
    number, unit = match.groups()
    if unit is None:
        raise SpecError(f"{text!r}: unit missing, {need}")
    unit = _ascii(unit)
    if unit not in UNITS[dimension]:
        raise _unit_error(str(text), unit, dimension)
    return _canonical(number, UNITS[dimension][unit], text)


def _canonical(number: str, factor: float, text: object) -> float:
    """The product, rounded once: a float product would make "0.067 GB" no whole size."""
    try:
        return float(Fraction(number.replace("_", "")) * Fraction(repr(factor)))
    except OverflowError:
        raise SpecError(f"{text!r}: the number is too large") from None


def _shown(value: object) -> str:
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case None:
            return "nothing"
    shown = repr(value)
    return shown if len(shown) <= _MAX_LENGTH else shown[:_MAX_LENGTH] + "..."


def ns_to_ps(time_ns: float) -> int:
    """Time in whole picoseconds, rounded to nearest: the clock of the system."""
    return round(time_ns * 1000.0)


def ps_to_ns(time_ps: int) -> float:
    """Time in ns from whole picoseconds."""
    return time_ps / 1000.0


def ns_to_ck(time_ns: float, tck_ps: int) -> int:
    """Cycles of a clock of period `tck_ps` that cover `time_ns`, rounded up (JEDEC's rule).

    A part in ten thousand of a cycle is forgiven, so that 14.0 ns at 1.0 ns is 14 and not 15.
    """
    exact = time_ns * 1000.0 / tck_ps
    floor = int(exact)
    return floor if exact - floor < 1e-4 else floor + 1


def format_bytes(size_bytes: float) -> str:
    """`13.5 GB` and the like: three digits, decimal prefixes."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes:.0f} B"
