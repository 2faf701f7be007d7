"""What a user types at `replay`: the source of requests, numbers, sizes, a window of time."""

from __future__ import annotations

import math
from typing import Final

from bankwidth.devices.dram.patterns import Pattern
from bankwidth.devices.nand.patterns import DrivePattern
from bankwidth.devices.nand.sizes import parse_size
from bankwidth.errors import SpecError
from bankwidth.replaying.dram import Source
from bankwidth.replaying.drive import DriveSource
from bankwidth.units import parse_quantity

# What a report looks closer at unless told.
WINDOW_NS: Final = 2000.0
DRIVE_WINDOW_NS: Final = 500_000.0


def source_of(
    requests: str | None,
    pattern: str | None,
    *,
    count: str,
    write_share: float,
    stride: str | None,
    seed: str,
) -> Source:
    """The source that a command line names. Raises SpecError unless it names exactly one."""
    if pattern is None or requests is not None:
        return _only_file(requests, pattern)
    return Pattern(
        kind=pattern,
        count=whole("--count", count),
        write_share=write_share,
        stride_bytes=None if stride is None else size("--stride", stride),
        seed=whole("--seed", seed),
    )


def drive_source_of(
    requests: str | None,
    pattern: str | None,
    *,
    block: str,
    count: str,
    write_share: float,
    stride: str | None,
    seed: str,
) -> DriveSource:
    """The same for a drive. Raises SpecError unless it names exactly one source."""
    if pattern is None or requests is not None:
        return _only_file(requests, pattern)
    return DrivePattern(
        kind=pattern,
        count=whole("--count", count),
        block_bytes=size("--block", block),
        write_share=write_share,
        stride_bytes=None if stride is None else size("--stride", stride),
        seed=whole("--seed", seed),
    )


def _only_file(requests: str | None, pattern: str | None) -> str:
    if requests is None or pattern is not None:
        found = "neither is given" if requests is None else "both are given"
        raise SpecError(f"replay takes a file of requests or --pattern: {found}")
    return requests


def whole(option: str, text: str) -> int:
    """`100000`, `1e9`, `1_000` or `0xC0FFEE`."""
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise SpecError(f"{option}: {text!r} is no whole number, write 100000 or 1e9")
    return int(number)


def size(option: str, text: str) -> int:
    """Bytes: `4096`, `4k` or `4 KiB`."""
    try:
        return parse_size(text)
    except SpecError as error:
        raise SpecError(f"{option}: {error}") from None


def window_of(text: str | None, default_ns: float | None) -> tuple[float, float] | None:
    """`FROM:TO` in ns, or each with its unit; by default 0 to `default_ns`, if that is given."""
    if text is None:
        return None if default_ns is None else (0.0, default_ns)
    start, colon, end = text.partition(":")
    if not colon:
        raise SpecError(f"--window: {text!r} is not FROM:TO, as 0:2us or 100:300 (ns)")
    return _time_ns(start), _time_ns(end)


def _time_ns(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parse_quantity(text, "time")
    except SpecError as error:
        raise SpecError(f"--window: {error}") from None
