"""What is said about a DRAM device that cannot be: file, line, column, key, and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bankwidth.errors import SpecError, UserError
from bankwidth.spec import check_file, load_device
from bankwidth.spec.dram import DramSpec, Gddr6TimingCk
from bankwidth.spec.files import ROOT

from .conftest import Said, Write

SHIPPED = ROOT / "arch" / "devices" / "dram"
GOLDEN = ROOT / "validation" / "dram" / "devices"
DDR4, LPDDR5 = SHIPPED / "ddr4-3200.yaml", SHIPPED / "lpddr5-6400.yaml"
# One of each standard with times in clocks, and three with times in ns.
EACH = (
    *(GOLDEN / f"{name}.yaml" for name in ("DDR4", "DDR5", "LPDDR5", "GDDR6", "HBM2", "HBM3")),
    *(SHIPPED / f"{name}.yaml" for name in ("gddr6-16", "hbm3e-8000", "lpddr5x-8533")),
)


def changed(path: Path, old: str, new: str) -> str:
    """A device file with one text replaced."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    return text.replace(old, new)


def timing_keys(text: str) -> list[str]:
    section = text.partition("\ntiming:\n")[2].partition("\n\n")[0]
    return re.findall(r"^  (\w+):", section, flags=re.MULTILINE)


def with_value(text: str, key: str, value: str | None) -> tuple[str, int, int]:
    """The text with another value of a timing key, or without it, and the place to point to."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"  {key}: "))
    if value is None:
        del lines[at]
        return "\n".join(lines), lines.index("timing:") + 1, 1
    lines[at] = f"  {key}: {value}"
    return "\n".join(lines), at + 1, len(f"  {key}: ") + 1


def problems_with(text: str, key: str, value: str | None, said: Said) -> tuple[str, list[str]]:
    """Where the mistake is, and what is said there."""
    broken, line, column = with_value(text, key, value)
    here = f"f.yaml:{line}:{column}: timing.{key}: "
    return here, [found.removeprefix(here) for found in said(broken) if found.startswith(here)]


# ---------------------------------------------------------------------------- every time of a table
@pytest.mark.parametrize("path", EACH, ids=lambda path: path.stem)
def test_every_time_of_a_standard_is_needed(path: Path, said: Said) -> None:
    text = path.read_text(encoding="utf-8")
    for key in timing_keys(text):
        here, found = problems_with(text, key, None, said)
        need = "a time such as '350 ns'" if key == "tck" else "a number of cycles or time such as"
        assert len(found) == 1, here
        assert found[0].startswith(f"missing, need {need}")


@pytest.mark.parametrize("path", EACH, ids=lambda path: path.stem)
def test_no_time_is_negative(path: Path, said: Said) -> None:
    text = path.read_text(encoding="utf-8")
    for key in timing_keys(text):
        least = "above" if key == "tck" else "at least"
        here, found = problems_with(text, key, '"-1 ns"', said)
        assert found == [f"'-1 ns': a time here must be {least} 0"], here
        if key != "tck":
            here, found = problems_with(text, key, '"-1 ck"', said)
            assert found == ["'-1 ck': cycles must be whole and at least 0"], here


@pytest.mark.parametrize("path", EACH, ids=lambda path: path.stem)
def test_every_time_has_a_unit_of_time(path: Path, said: Said) -> None:
    text = path.read_text(encoding="utf-8")
    for key in timing_keys(text):
        other = "" if key == "tck" else ", or cycles such as '36 ck'"
        for value, message in (
            ('"22 mA"', "'22 mA': mA is a current, need a time (ns, ps, us, ms, s)"),
            ('"22"', "'22': unit missing, write e.g. '350 ns'"),
            ("22", "22: unit missing, write e.g. '350 ns'"),
            ("-22", "-22: unit missing, write e.g. '350 ns'"),
            ("[22]", "a list is not a time, write e.g. '350 ns'"),
            ("~", "nothing is not a time, write e.g. '350 ns'"),
        ):
            here, found = problems_with(text, key, value, said)
            assert found == [message + other], here


# ---------------------------------------------------------------------------- one by one
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # times
        ('rcd: "22 ck"', 'rcd: "22 CK"', "26:8: timing.rcd: '22 CK': unknown unit 'CK', a time is "
         "written in ns, ps, us, ms, s, or cycles such as '36 ck'"),
        ('rcd: "22 ck"', 'rcd: "2.5 ck"', "26:8: timing.rcd: '2.5 ck': cycles must be whole and "
         "at least 0"),
        ('rcd: "22 ck"', 'rdc: "22 ck"', "26:3: timing.rdc: unknown key 'rdc', did you mean 'rc'"),
        ('rcd: "22 ck"', 'rcdrd: "22 ck"', "26:3: timing.rcdrd: unknown key 'rcdrd', did you"),
        ('bl: "4 ck"', 'bl: "0 ck"', "23:7: timing.bl: '0 ck': must be at least 1 ck"),
        ('tck: "625 ps"', 'tck: "1.6 GHz"', "22:8: timing.tck: '1.6 GHz': GHz is a frequency, "
         "need a time (ns, ps, us, ms, s)"),
        ('tck: "625 ps"', 'tck: "0 ps"', "22:8: timing.tck: '0 ps': a time here must be above 0"),
        ('tck: "625 ps"', 'tck: "0.4 ps"', "22:8: timing.tck: '0.4 ps': a clock period must be "
         "whole picoseconds, at least 1"),
        ('tck: "625 ps"', 'tck: "0.3125 ns"', "22:8: timing.tck: '312.5 ps': a clock period must "
         "be whole picoseconds, at least 1"),
        # between times
        ('faw: "34 ck"', 'faw: "3 ck"', "36:8: timing.faw: 3 ck is below the 4 ck of rrds: four "
         "activates do not fit into less than the gap between two"),
        ('faw: "34 ck"', 'faw: "1.8 ns"', "36:8: timing.faw: 3 ck is below the 4 ck of rrds"),
        ('rc: "74 ck"', 'rc: "51 ck"', "29:7: timing.rc: 51 ck is below the 52 ck of ras: a row "
         "is open for tRAS before it can be opened again"),
        ('refi: "12480 ck"', 'refi: "576 ck"', "41:9: timing.refi: 576 ck is not above the 576 ck "
         "of rfc: the refresh never ends"),
        ('refi: "12480 ck"', 'refi: "350 ns"', "41:9: timing.refi: 560 ck is not above the 576 ck "
         "of rfc: the refresh never ends"),
        ('rfc: "576 ck"', 'rfc: "8 us"', "41:9: timing.refi: 12480 ck is not above the 12800 ck"),
        # organisation
        ("rows: 65536", "rows: 65000", "18:9: organisation.rows: 65000 is no power of two; "
         "addresses are cut into bit fields"),
        ("rows: 65536", "rows: 0", "18:9: organisation.rows: must be above 0, got 0"),
        ("rows: 65536", "rows: -4", "18:9: organisation.rows: must be above 0, got -4"),
        ("rows: 65536", "rows: 1.5", "18:9: organisation.rows: need a whole number, got 1.5"),
        ("rows: 65536", "row: 65536", "18:3: organisation.row: unknown key 'row', did you mean"),
        ("banks_per_group: 4", "banks_per_group: 3", "17:20: organisation.banks_per_group: 3 is "
         "no power of two; addresses are cut into bit fields"),
        ("bank_groups: 4", "bank_groups: 0", "16:16: organisation.bank_groups: must be above 0"),
        ("columns: 1024", "columns: 1000", "19:12: organisation.columns: 1000 is no power of two"),
        ("columns: 1024", "columns: 4", "19:12: organisation.columns: a row of 4 holds no burst, "
         "which is 8 columns"),
        ("columns: 1024", "columns: 0", "19:12: organisation.columns: must be above 0, got 0"),
        ("prefetch: 8", "prefetch: 6", "15:13: organisation.prefetch: 6 is no power of two"),
        ("prefetch: 8", "prefetch: 0", "15:13: organisation.prefetch: must be above 0, got 0"),
        ("rows: 65536", "rows: 65536\n  ranks: 3", "19:10: organisation.ranks: 3 is no power of"),
        ("rows: 65536", "rows: 65536\n  ranks: 0", "19:10: organisation.ranks: must be above 0"),
        ("rows: 65536", "rows: 65536\n  ranks: 16", "12:1: organisation: 256 banks in a channel, "
         "at most 128"),
        ("rows: 65536", "rows: 65536\n  stack_ids: 2", "19:14: organisation.stack_ids: "
         "a DDR4 channel has no stack_ids"),
        ('\n  width: "64 bit"', '\n  width: "72 bit"', "13:10: organisation.width: 72 bit is no "
         "power of two; addresses are cut into bit fields"),
        ('\n  width: "64 bit"', '\n  width: "12.5 bit"', "13:10: organisation.width: '12.5 bit': a "
         "width here must be whole"),
        ('\n  width: "64 bit"', '\n  width: "0 bit"', "13:10: organisation.width: '0 bit': a width "
         "here must be above 0"),
        ('device_width: "8 bit"', 'device_width: "24 bit"', "14:17: organisation.device_width: "
         "devices of 24 bit do not make up the 64 bit of width"),
        ('device_width: "8 bit"', 'device_width: "128 bit"', "14:17: organisation.device_width: "
         "devices of 128 bit do not make up the 64 bit of width"),
        ('device_width: "8 bit"', 'device_width: "8 ns"', "14:17: organisation.device_width: "
         "'8 ns': ns is a time, need a width (bit, bits, b, B)"),
        # the rest
        ("standard: DDR4", "standard: DDR3", "10:11: standard: unknown standard 'DDR3', allowed: "
         "DDR4, DDR5, LPDDR5, GDDR6, HBM2, HBM3, did you mean 'DDR5'?"),
        ("kind: dram", "kind: dram\nchannels: 0", "7:11: channels: must be above 0, got 0"),
        ("kind: dram", 'kind: dram\ncapacity: "9 GB"', "5:1: capacity: 9000000000 B is more than 1 "
         "channels of 8589934592 B hold"),
        ('idd4r: "168 mA"', 'idd4r: "20 mA"', "50:10: energy.idd4r: is below idd3n, which it"),
        ('idd2n: "37 mA"', 'idd2n: "-1 mA"', "48:10: energy.idd2n: '-1 mA': a current here must"),
        ('idd4r: "168 mA"', 'idd4r: "168 mV"', "50:10: energy.idd4r: '168 mV': mV is a voltage, "
         "need a current (mA, uA, A)"),
        ('  idd4r: "168 mA"\n', "", "43:1: energy.idd4r: missing, need a current such as '71 mA'"),
        ("method: idd", "method: measured", "44:11: energy.method: unknown method 'measured', "
         "allowed: per command, idd"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(
    old: str, new: str, message: str, said: Said, write: Write
) -> None:
    text = changed(DDR4, old, new)
    lines = said(text)
    assert len(lines) == 1
    assert lines[0].startswith(f"f.yaml:{message}")
    with pytest.raises(SpecError) as caught:
        load_device(write("f.yaml", text))
    assert isinstance(caught.value, UserError)
    assert str(caught.value).splitlines() == lines


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        (LPDDR5, 'bl_min: "2 ck"', 'bl_min: "8 ck"', "24:11: timing.bl_max: 4 ck is below the 8 ck "
         "of bl_min"),
        (LPDDR5, 'bl_min: "2 ck"', 'bl_min: "0 ck"', "23:11: timing.bl_min: '0 ck': must be at"),
        (LPDDR5, 'refipb: "391 ck"', 'refipb: "0 ck"', "53:11: timing.refipb: '0 ck': must be at"),
        (LPDDR5, "rows: 65536", "rows: 65536\n  pseudo_channels: 2", "19:20: "
         "organisation.pseudo_channels: a LPDDR5 channel has no pseudo_channels"),
    ],
)  # fmt: skip
def test_a_standard_has_its_own_rules(
    path: Path, old: str, new: str, message: str, said: Said
) -> None:
    (line,) = said(changed(path, old, new))
    assert line.startswith(f"f.yaml:{message}")


def test_a_burst_is_whole_bytes(said: Said) -> None:
    pins = '\n  width: "64 bit"\n  device_width: "8 bit"\n  prefetch: 8'
    narrow = '\n  width: "1 bit"\n  device_width: "1 bit"\n  prefetch: 4'
    (line,) = said(changed(DDR4, pins, narrow))
    assert line == "f.yaml:13:10: organisation.width: a burst of 4 bit is less than a byte"


def test_all_mistakes_come_at_once(said: Said) -> None:
    text = changed(DDR4, "columns: 1024", "columns: 4").replace('faw: "34 ck"', 'faw: "3 ck"')
    text = text.replace('rcd: "22 ck"', 'rcd: "22 mA"').replace("12480 ck", "500 ck")
    assert [line.split(": ")[1] for line in said(text)] == [
        "organisation.columns", "timing.rcd", "timing.faw", "timing.refi",
    ]  # fmt: skip


def test_a_time_in_ns_needs_a_clock_and_says_so(said: Said) -> None:
    lines = said(changed(SHIPPED / "hbm3e-8000.yaml", '{value: "500 ps"', '{value: "fast"'))
    assert any("timing.tck: 'fast' is not a time, write e.g. '350 ns'" in line for line in lines)
    assert any("timing.cl: '12.5 ns': cannot be turned into cycles without" in line
               for line in lines)  # fmt: skip
    assert not any("timing.faw: " in line and "below" in line for line in lines)


def test_the_least_that_is_allowed_is_allowed(said: Said) -> None:
    text = DDR4.read_text(encoding="utf-8")
    for old, new in (
        ("12480 ck", "577 ck"), ("34 ck", "4 ck"), ("74 ck", "52 ck"), ("625 ps", "0.001 ns"),
        ('cs: "2 ck"', 'cs: "0 ck"'), ("columns: 1024", "columns: 8"),
    ):  # fmt: skip
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert said(text) == []


def test_ras_and_rp_may_come_to_more_than_rc(said: Said) -> None:
    """Each is rounded up by itself, and both gaps are kept: nothing is wrong for certain."""
    assert said(changed(DDR4, 'rc: "74 ck"', 'rc: "73 ck"')) == []


def test_an_optional_time_may_be_left_out() -> None:
    assert check_file(SHIPPED / "gddr6-16.yaml") == []
    spec = load_device(SHIPPED / "gddr6-16.yaml")
    assert isinstance(spec, DramSpec)
    assert isinstance(spec.timing, Gddr6TimingCk)
    assert spec.timing.refpb_interval_ck is None
