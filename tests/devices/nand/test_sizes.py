"""Sizes as they are typed for drives."""

from __future__ import annotations

import pytest

from bankwidth.devices.nand.sizes import parse_size
from bankwidth.errors import SpecError


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4096", 4096),
        ("4_096", 4096),
        ("0x1000", 4096),
        ("0XfF", 255),
        ("4k", 4096),
        ("4K", 4096),
        ("4 k", 4096),
        ("2m", 2 << 20),
        ("1g", 1 << 30),
        ("3T", 3 << 40),
        ("4 KiB", 4096),
        ("4KiB", 4096),
        ("4 kB", 4000),
        ("1.5 KiB", 1536),
        ("1e3 B", 1000),
        (" 7 ", 7),
        ("9007199254740993", 9007199254740993),  # more than a float holds
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no size, write 4096, 0x1000, 4k or '4 KiB'"),
        ("-4k", "'-4k' is no size"),
        ("k", "'k' is no size"),
        ("4 lb", "unknown unit 'lb'"),
        ("4 ns", "ns is a time, need a size"),
        ("4kib", "did you mean 'KiB'?"),
        ("0.3 B", "'0.3 B' is no whole number of bytes"),
        ("1.5k", "unknown unit 'k'"),
        ("0x", "unknown unit 'x'"),
        ("x" * 500, "..."),
    ],
)
def test_what_is_no_size(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_size(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
