"""Patterns of activation bits: what they save, beside closed forms and SAIL's figure."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bankwidth.devices.sram_lut.commands import Phase
from bankwidth.mapping.build import make_plan
from bankwidth.spec import load_machine
from bankwidth.spec.activations import ActivationsSpec
from bankwidth.spec.files import ROOT
from bankwidth.validate import lut_patterns as patterns
from bankwidth.validate.lut_patterns import CHANGES, OPTIONS, Setting

SMALL = Setting(width=512)


def drawn(distribution: str) -> Setting:
    return replace(
        SMALL, activations=ActivationsSpec.model_validate({"distribution": distribution})
    )


@pytest.mark.slow
def test_ours_is_within_three_points_of_sail_s_figure() -> None:
    for case in patterns.published():
        assert case.ok
        assert isinstance(case.ours, float)
        assert abs(case.ours - 13.8) < 3.0
        assert case.note


def test_what_is_published_has_the_defaults_of_machines() -> None:
    options = load_machine("sail").mapping.sram_lut
    assert options.pattern == OPTIONS["all"]
    assert (options.group, options.activation_width) == (Setting().group, Setting().activation_bits)
    assert options.activations.distribution == Setting().activations.distribution


@pytest.mark.slow
def test_a_step_s_cycles_are_those_of_its_products() -> None:
    """The split of their tasks adds up to what they compute."""
    machine = patterns.with_pattern(load_machine("sail"), OPTIONS["zeros"])
    assert machine.mapping.sram_lut.pattern == OPTIONS["zeros"]
    tasks = make_plan(machine, patterns._trace(4, 1)).tasks
    products = sum(task.compute_ps for task in tasks if task.engine == "lut")
    split = patterns.step_split(4, 1, "zeros")
    assert sum(split.values()) == pytest.approx(products, rel=1e-6)
    assert split["build"] > 0


@pytest.mark.parametrize("group", [2, 4, 5])
def test_without_patterns_cycles_are_those_of_the_closed_form(group: int) -> None:
    setting = replace(SMALL, group=group, members=3, weight_bits=5)
    groups, accumulator = -(-512 // group), 5 + 8 + 9
    sizes = [bin(entry).count("1") for entry in range(1 << group)]
    entry_cycles = [5 + (n - 1).bit_length() + 1 for n in sizes if n > 1]
    lookup_cycles = [accumulator - shift + 1 for shift in range(8)]
    assert patterns.by_phase(setting, "none") == {
        Phase.BUILD: groups * sum(entry_cycles),
        Phase.LOOKUP: groups * 3 * sum(lookup_cycles),
    }


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize("group", [1, 4])
def test_more_options_never_save_less(members: int, group: int) -> None:
    setting = replace(SMALL, members=members, group=group)
    saved = {name: patterns.saved_pct(setting, name) for name in OPTIONS}
    assert saved["none"] == 0.0
    assert saved["zeros_runs"] >= max(saved["zeros"], saved["runs"]) > 0.0
    assert saved["all"] >= max(saved["zeros_runs"], saved["needed_entries"])


def test_heavier_tails_leave_smaller_integers_and_save_more() -> None:
    names = ("uniform", "normal", "laplace", "outliers")
    saved = [patterns.saved_pct(drawn(name), "runs") for name in names]
    assert saved == sorted(saved)


def test_zeros_are_as_frequent_as_bits_at_random() -> None:
    """A pattern of `group` bits is 0 once in 2^group where each bit is as often 0 as 1."""
    setting = replace(drawn("uniform"), activation_bits=16, group=2)
    share = patterns.saved_pct(setting, "zeros")
    assert share == pytest.approx(25.0, abs=1.0)


def test_entries_without_a_use_matter_to_few_members_only() -> None:
    few, many = (replace(SMALL, members=members) for members in (1, 64))
    assert patterns.saved_pct(few, "needed_entries") > 10.0
    assert patterns.saved_pct(many, "needed_entries") == 0.0


def test_repeated_look_ups_are_those_beyond_the_entries_of_a_table() -> None:
    """64 members and 8 bits are 512 look-ups of 16 entries, all of which occur."""
    assert patterns.repeated_pct(replace(SMALL, members=64)) == pytest.approx(100 * (1 - 16 / 512))


def test_sums_are_alike_where_integers_are() -> None:
    setting = replace(SMALL, members=4, group=1, activation_bits=2)
    values = patterns.values(setting)
    alike = [len(set(column.tolist())) for column in values.T]
    assert patterns.alike_pct(setting) == pytest.approx(100 * (1 - np.mean(alike) / 4))


def test_the_table_changes_one_thing_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    few: dict[str, tuple[Any, ...]] = {name: changes[:1] for name, changes in CHANGES.items()}
    monkeypatch.setattr(patterns, "CHANGES", few)
    monkeypatch.setattr(patterns, "STEPS", ())
    rows = list(patterns.table())
    assert [row["changed"] for row in rows] == ["", *CHANGES]
    assert rows[0]["saved_by_all_pct"] == f"{patterns.saved_pct(Setting(), 'all'):.1f}"
    assert {row["to"] for row in rows[1:]} == {
        str(change) if name != "activations" else "normal seed=1" for name, (change,) in few.items()
    }


def test_the_shipped_table_is_what_the_module_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its first rows; the others take longer."""
    monkeypatch.setattr(patterns, "CHANGES", {"group": CHANGES["group"]})
    num_steps = len(patterns.STEPS)
    monkeypatch.setattr(patterns, "STEPS", ())
    monkeypatch.setattr("sys.argv", ["lut_patterns", str(tmp_path / "table.csv")])
    patterns.main()
    written = rows_of(tmp_path / "table.csv")
    shipped = rows_of(ROOT / "validation" / "sram-lut" / "patterns.csv")
    arrays = [row for row in shipped if row["cycles_of"] == "one array"]
    assert len(arrays) == 1 + sum(len(changes) for changes in CHANGES.values())
    assert len(shipped) == len(arrays) + num_steps
    for ours, theirs in zip(written, shipped, strict=False):
        assert ours["to"] == theirs["to"]
        shares = {
            name: float(share) for name, share in ours.items() if name.endswith("_pct") and share
        }
        # a draw may differ in its last bit from platform to platform
        assert shares == pytest.approx({name: float(theirs[name]) for name in shares}, abs=0.11)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))
