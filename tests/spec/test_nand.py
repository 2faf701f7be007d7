"""What is said about a NAND part that cannot be: file, line, column, key, and what is allowed."""

from __future__ import annotations

import pytest

from bankwidth.spec import NandSpec, load_device
from bankwidth.spec.files import ROOT

from .conftest import Said, Write

PART = (ROOT / "arch" / "devices" / "nand" / "slc.yaml").read_text(encoding="utf-8")


def changed(old: str, new: str) -> tuple[str, int]:
    """The part with one text replaced, and the line of it."""
    assert PART.count(old) == 1
    return PART.replace(old, new), PART[: PART.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "column", "message"),
    [
        ("cell: SLC", "cell: SLD", 7,
         "cell: unknown cell 'SLD', allowed: SLC, MLC, TLC, QLC, did you mean 'SLC'?"),
        ('page: "4096 B"', 'page: "0 B"', 7, "page: '0 B': a size here must be above 0"),
        ('page: "4096 B"', "page: 4096", 7, "page: 4096: unit missing, write e.g. '16 KiB'"),
        ('spare: "224 B"', 'spare: "5000 B"', 8,
         "spare: 5000 bytes is more than the page itself, 4096 bytes"),
        ("planes: 2", "planes: 0", 9, "planes: must be above 0, got 0"),
        ("pages_per_block: 128", "pages_per_block: 1.5", 18,
         "pages_per_block: need a whole number, got 1.5"),
        ("multi_plane: same_page", "multi_plane: same_pge", 14,
         "multi_plane: unknown multi_plane 'same_pge', allowed: same_page, independent, "
         "did you mean 'same_page'?"),
        ('most_rate: "166 MT/s"', 'most_rate: "10 MT/s"', 14,
         "interface.most_rate: 10 MT/s is below the least, 20 MT/s"),
        ('most_rate: "166 MT/s"', 'most_rate: "166 MHz"', 14,
         "interface.most_rate: '166 MHz': MHz is a frequency, need a pin rate (Gbps, Mbps, Gb/s, "
         "Mb/s, GT/s, MT/s)"),
        ('width: "8 bit"', 'width: "4 bit"', 10,
         "interface.width: need 8 or 16 bit, got '4 bit'"),
        ('  read: "25 us"', "  read: []", 9,
         "timing.read: need a time such as '45 us', or one per type of page; got an empty list"),
        ('  read: "25 us"', '  read: ["25 us", "0 us"]', 9,
         "timing.read: '0 us': a time here must be above 0"),
        ('  erase: "700 us"', '  erase: "0 us"', 10,
         "timing.erase: '0 us': a time here must be above 0"),
        ('  erase: "700 us"', '  erse: "700 us"', 3,
         "timing.erse: unknown key 'erse', did you mean 'erase'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_once_and_in_place(
    old: str, new: str, column: int, message: str, said: Said
) -> None:
    text, line = changed(old, new)
    assert said(text) == [f"f.yaml:{line}:{column}: {message}"]


def test_times_of_pages_are_one_or_a_list(write: Write) -> None:
    one = load_device(write("one.yaml", PART))
    text, _ = changed('  read: "25 us"', '  read: {value: ["20 us", "30 us"], source: s}')
    two = load_device(write("two.yaml", text))
    assert isinstance(one, NandSpec)
    assert isinstance(two, NandSpec)
    assert (one.timing.read_ns, two.timing.read_ns) == ((25e3,), (20e3, 30e3))


def test_a_die_holds_its_pages() -> None:
    spec = load_device("nand/slc")
    assert isinstance(spec, NandSpec)
    assert spec.die_bytes == 2 * 2048 * 128 * 4096


def test_what_a_part_need_not_have(write: Write) -> None:
    lines = [line for line in PART.splitlines() if "cache_busy" not in line]
    spec = load_device(write("f.yaml", "\n".join(lines)))
    assert isinstance(spec, NandSpec)
    timing = spec.timing
    assert (timing.read_cache_busy_ns, timing.program_cache_busy_ns, timing.suspend_ns) == (
        None, None, None,
    )  # fmt: skip
