"""Cycles that repeated patterns of activation bits save: SAIL's 13.8 %, and what moves ours.

The abstract says that redundancy in the patterns of activations is exploited, not how, nor for
which activations, widths, group or batch, and not what counts as a cycle. Ours is what leaves every
result as it is (`devices/sram_lut/lookups.py`): no look-up of patterns of zeros, one per term of a
recoded run of equal patterns, no table entry that nothing looks up. The machine's defaults have all
of it. Nothing is fitted to the figure.

Two kinds of cycles are compared: those in which one array builds tables and adds entries, the same
for every array of a product; and those of all products of a decode step on the machine, waiting for
weights on the slice's bus, adding up of arrays and conversion among them.

    python -m bankwidth.validate.lut_patterns TABLE.csv      # writes the table; a minute or two
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.activations import activations
from bankwidth.devices.sram_lut.array_rows import ArrayRows, bits_of_sum
from bankwidth.devices.sram_lut.commands import Phase, Program
from bankwidth.devices.sram_lut.gemv import table_steps
from bankwidth.devices.sram_lut.lookups import Lookups, first_alike, lookups
from bankwidth.mapping.build import make_plan
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload
from bankwidth.spec.activations import ActivationsSpec
from bankwidth.spec.sram_lut_mapping import PatternSpec, SramLutMappingSpec
from bankwidth.validate.lut_laws import styles
from bankwidth.validate.verdicts import Case

PUBLISHED: Final = "SAIL, arXiv 2509.25853v1, abstract"
SAVED_PCT: Final = 13.8
POINTS: Final = 3.0  # that ours may be away, in per cent of the cycles
STYLE: Final = "neural-cache"
WIDTH: Final = 4096  # inputs of most products of Llama-2-7B
DEFAULTS: Final = SramLutMappingSpec()
MODEL: Final = "llama-2-7b"
MACHINE: Final = "sail"
CONTEXT: Final = 512  # no product with weights depends on it
BATCH: Final = 8
NOT_PUBLIC: Final = (
    "what SAIL exploits, and what it counts, is not public: ours recodes equal patterns, and "
    "leaves out zeros and entries without a use"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Whose patterns: activations and weights of a product, and how many sums share a table."""

    activations: ActivationsSpec = ActivationsSpec()  # noqa: RUF009 - frozen
    activation_bits: int = DEFAULTS.activation_width
    weight_bits: int = 4
    group: int = DEFAULTS.group
    members: int = 8
    width: int = WIDTH


# fmt: off
OPTIONS: Final[Mapping[str, PatternSpec]] = {
    "none":           PatternSpec(zeros=False, runs=False, needed_entries=False),
    "zeros":          PatternSpec(zeros=True,  runs=False, needed_entries=False),
    "runs":           PatternSpec(zeros=False, runs=True,  needed_entries=False),
    "needed_entries": PatternSpec(zeros=False, runs=False, needed_entries=True),
    "zeros_runs":     PatternSpec(zeros=True,  runs=True,  needed_entries=False),
    "all":            PatternSpec(zeros=True,  runs=True,  needed_entries=True),
}
# fmt: on


def _drawn(distribution: str, **more: int) -> ActivationsSpec:
    return ActivationsSpec.model_validate({"distribution": distribution, **more})


# What is changed, one at a time, and to what.
CHANGES: Final[Mapping[str, tuple[Any, ...]]] = {
    "group": (1, 2, 3, 5, 6, 8),
    "members": (1, 2, 4, 16, 64),
    "activation_bits": (4, 6, 10, 12, 16),
    "weight_bits": (2, 3, 5, 6, 8),
    "width": (1024, 11008),
    "activations": (
        _drawn("normal", seed=1),
        _drawn("normal", scale_block=32),
        _drawn("uniform"),
        _drawn("laplace"),
        _drawn("student_t"),
        _drawn("outliers"),
    ),
}


# Decode steps: bits of the weights and batch; the first is published.
STEPS: Final = ((4, BATCH), (2, BATCH), (8, BATCH), (4, 1), (4, 64))


def published() -> Iterator[Case]:
    """What all that is exact saves, beside the abstract's figure."""
    bits, batch = STEPS[0]
    step, setting = name_of_step(bits, batch), Setting()
    for name, ours, of in (
        (f"{MODEL}, {step}", step_saved_pct(bits, batch, "all"), "all products of a decode step"),
        (f"one array, {name_of(setting)}", saved_pct(setting, "all"), "building and looking up"),
    ):
        yield Case(
            id=name,
            quantity="cycles saved by patterns, %",
            reference=SAVED_PCT,
            ours=ours,
            tolerance_pct=100.0 * POINTS / SAVED_PCT,
            source=PUBLISHED,
            note=f"{of}; normal activations; {NOT_PUBLIC}",
        )


def name_of(setting: Setting) -> str:
    """In words."""
    widths = f"{setting.weight_bits} x {setting.activation_bits} bits"
    return f"{widths}, groups of {setting.group}, {setting.members} sums to a table"


def name_of_step(bits: int, batch: int) -> str:
    """In words."""
    return f"int{bits}, batch {batch}"


# ---- cycles of a decode step


def step_saved_pct(bits: int, batch: int, options: str) -> float:
    """Of the time of a decode step's products without any of it."""
    without = sum(step_split(bits, batch, "none").values())
    return 100.0 * (1.0 - sum(step_split(bits, batch, options).values()) / without)


@cache
def step_split(bits: int, batch: int, options: str) -> Mapping[str, int]:
    """Picoseconds of all products with weights, one after the other, by what they go into.

    What the arrays take by themselves: weights are in their slice when a product begins.
    """
    machine = with_pattern(load_machine(MACHINE), OPTIONS[options])
    engine = machine.mapping.run["matmul"]
    split: Counter[str] = Counter()
    for task in make_plan(machine, _trace(bits, batch)).tasks:
        if task.engine == engine:
            split.update(task.split_ps)
    return split


def with_pattern(machine: MachineSpec, pattern: PatternSpec) -> MachineSpec:
    """The machine with other choices of what patterns save."""
    options = machine.mapping.sram_lut.model_copy(update={"pattern": pattern})
    mapping = machine.mapping.model_copy(update={"sram_lut": options})
    return machine.model_copy(update={"mapping": mapping})


@cache
def _trace(bits: int, batch: int) -> Trace:
    return make_trace(
        load_workload(MODEL),
        batch=batch,
        context=CONTEXT,
        weight_dtype=f"int{bits}",
        activation_dtype="fp16",
        kv_dtype="fp16",
    )


# ---- cycles of one array


def saved_pct(setting: Setting, options: str) -> float:
    """Of the cycles without any of it."""
    return 100.0 * (1.0 - cycles(setting, options) / cycles(setting, "none"))


def cycles(setting: Setting, options: str) -> int:
    """In which one array builds the tables of a product's inputs, and looks up in them."""
    return sum(by_phase(setting, options).values())


@cache
def by_phase(setting: Setting, options: str) -> Mapping[Phase, int]:
    """The same, of building and of looking up."""
    pattern = OPTIONS[options]
    found = looked_up(setting, zeros=pattern.zeros, runs=pattern.runs)
    steps = table_steps(_rows(setting), found, all_entries=not pattern.needed_entries)
    return styles()[STYLE].by_phase(Program(steps.commands))


def looked_up(setting: Setting, *, zeros: bool, runs: bool) -> Lookups:
    """In the tables of all inputs."""
    return lookups(values(setting), setting.activation_bits, setting.group, zeros=zeros, runs=runs)


def values(setting: Setting) -> NDArray[np.int16]:
    """[members, width]: the activations."""
    return activations(setting.activations, setting.members, setting.width, setting.activation_bits)


def _rows(setting: Setting) -> ArrayRows:
    product_bits = setting.weight_bits + setting.activation_bits
    return ArrayRows(
        layout="transposed",
        value_bits=setting.weight_bits,
        group=setting.group,
        round_inputs=setting.group,
        buffers=2,
        members=setting.members,
        accumulator_bits=bits_of_sum(product_bits, setting.width),
    )


# ---- what is there to exploit in other ways


def repeated_pct(setting: Setting) -> float:
    """Share of look-ups, all bits of all members, of an entry looked up before in its table.

    Hardware that reads an entry before it adds it could keep what it read; ours reads and adds in
    one command, and saves nothing by it.
    """
    found = looked_up(setting, zeros=False, runs=False)
    entries = found.group.astype(np.int64) << setting.group | found.pattern
    return 100.0 * (1.0 - len(np.unique(entries)) / len(found))


def alike_pct(setting: Setting) -> float:
    """Share of sums of a group that another member has as well: equal integers."""
    first = first_alike(values(setting), setting.group)
    return 100.0 * float(np.mean(first != np.arange(setting.members)))


# ---- the table


def table() -> Iterator[dict[str, str]]:
    """Of one array a row for the setting that is published and for each change; decode steps."""
    yield _array_row("", "", Setting())
    for parameter, changes in CHANGES.items():
        for value in changes:
            yield _array_row(parameter, _shown(value), replace(Setting(), **{parameter: value}))
    for bits, batch in STEPS:
        split = step_split(bits, batch, "none")
        build_pct = 100.0 * split["build"] / sum(split.values())
        saved = {name: step_saved_pct(bits, batch, name) for name in OPTIONS}
        yield _row("decode step", "", name_of_step(bits, batch), build_pct, saved)


def _array_row(parameter: str, value: str, setting: Setting) -> dict[str, str]:
    build_pct = 100.0 * by_phase(setting, "none").get(Phase.BUILD, 0) / cycles(setting, "none")
    saved = {name: saved_pct(setting, name) for name in OPTIONS}
    others = {
        "repeated_lookups_pct": f"{repeated_pct(setting):.1f}",
        "sums_alike_pct": f"{alike_pct(setting):.1f}",
    }
    return _row("one array", parameter, value, build_pct, saved) | others


def _row(
    of: str, parameter: str, value: str, build_pct: float, saved: Mapping[str, float]
) -> dict[str, str]:
    """The columns that all rows have; `saved` by the name of options."""
    shares = {f"saved_by_{name}_pct": f"{saved[name]:.1f}" for name in OPTIONS if name != "none"}
    given = {"cycles_of": of, "changed": parameter, "to": value}
    return given | {"build_share_pct": f"{build_pct:.1f}"} | shares


def _shown(value: Any) -> str:
    if not isinstance(value, ActivationsSpec):
        return str(value)
    said = value.model_dump(exclude_unset=True)
    return " ".join([said.pop("distribution"), *(f"{name}={more}" for name, more in said.items())])


def main() -> None:
    """Writes the table to the file that is named."""
    (path,) = sys.argv[1:]
    rows = list(table())
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
