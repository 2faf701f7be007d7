"""AttAcc's attention against its Ramulator: cycles within 2 %, commands of the programs equal.

Two tables are recognised: runs of the published code (a generator per level, at c600051), and the
figures that were published with it (its cache, `ramulator.out`). The cache was not made with that
code. Its counts tell an earlier generator, which repeats the softmax of a last head without a
partner; its cycles tell earlier controllers, two of them: rows of units per bank with more than one
head per channel are met by one that opens no row before a barrier is reached, all others by one
that does, and none sends two commands in a tick. Some rows were published from both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from bankwidth.devices.pim.attacc import (
    CHANNELS,
    AttentionWork,
    attacc_config,
    earlier_controller,
    work_ck,
)
from bankwidth.devices.pim.attacc_program import program_counts
from bankwidth.errors import SpecError, TraceError
from bankwidth.system.run import Progress
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

COUNTS: Final[Mapping[str, str]] = {
    "mac": "MAC", "softmax": "SFM", "mvgb": "MV_GB", "mvsb": "MV_SB", "wrgb": "WR_GB",
}  # fmt: skip
WORK: Final = ("nhead", "dhead", "L", "dbyte")
COLUMNS_MICRO: Final = ("level", "power_limited", *WORK, "cycles", *COUNTS)
COLUMNS_CACHED: Final = (
    "L", "nhead", "dhead", "dbyte", "pim_type", "power_constraint", "cycle", *COUNTS,
)  # fmt: skip
LEVELS: Final[Mapping[str, str]] = {"BA": "bank", "BG": "bg", "BUFFER": "buffer"}
TOLERANCE_PCT: Final = 2.0
SOURCE: Final = "scale-snu/attacc_simulator c600051, run on ramulator2 b7c7027"
SOURCE_CACHED: Final = "scale-snu/attacc_simulator, ramulator.out"
RESERVED_BYTES: Final = 64  # of a bank per dimension of a head: its generators' room for 4096
# tokens of one byte over 64 banks, whatever the element

PUBLISHED, EARLIER, FIRST = "published", "earlier", "first"  # controllers of the reference
NOTES: Final[Mapping[str, str]] = {
    PUBLISHED: "",
    EARLIER: "earlier controller: one command a tick",
    FIRST: "first controller: one command a tick, no row opened before a barrier is reached",
}


def compare_micro(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Runs of the published code. Raises TraceError for a row that is wrong."""
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        level = row.text("level", tuple(LEVELS.values()))
        limited = row.text("power_limited", ("0", "1")) == "1"
        yield from _cases(row, level, limited, PUBLISHED, "cycles")


def compare_cached(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """Figures published with the code. Raises TraceError for a row that is wrong."""
    published = _published_cycles(rows)
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        level = LEVELS[row.text("pim_type", tuple(LEVELS))]
        limited = row.text("power_constraint", ("True", "False")) == "True"
        is_first = level == "bank" and row.count("nhead") > CHANNELS
        twice = published[_key(row)]
        others = sorted(set(twice) - {row.count("cycle")})
        also = f"; also published as {', '.join(map(str, others))}" if others else ""
        yield from _cases(row, level, limited, FIRST if is_first else EARLIER, "cycle", also)


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.text(column) for column in (*WORK, "pim_type", "power_constraint"))


def _published_cycles(rows: Sequence[Row]) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        found.setdefault(_key(row), []).append(row.count("cycle"))
    return found


def _cases(
    row: Row, level: str, limited: bool, controller: str, cycles: str, also: str = ""
) -> Iterator[Case]:
    work = _work(row, is_cached=controller != PUBLISHED)
    name = _name(work, level, limited)
    try:
        ours = _ticks(level, limited and level != "buffer", controller, work)
        counts = program_counts(attacc_config(level, limited=limited), level, work)
    except SpecError as error:
        raise TraceError(f"{row.where}: {name}: {error}") from error
    source = SOURCE if controller == PUBLISHED else SOURCE_CACHED
    if controller == FIRST and _ticks(level, limited, EARLIER, work) == row.count(cycles) != ours:
        also = f"; equal under the one after it{also}"
    yield Case(
        id=name,
        quantity="cycles",
        reference=row.count(cycles, least=1),
        ours=ours,
        tolerance_pct=TOLERANCE_PCT,
        source=source,
        note=NOTES[controller] + also,
    )
    yield Case(
        id=name,
        quantity="commands",
        reference={column: row.count(column) for column in COUNTS},
        ours={column: counts[command] for column, command in COUNTS.items()},
        source=source,
    )


def _work(row: Row, *, is_cached: bool) -> AttentionWork:
    head_dim = row.count("dhead", least=1)
    row_bytes = 1024
    return AttentionWork(
        heads=row.count("nhead", least=1),
        head_dim=head_dim,
        kv_len=row.count("L", least=1),
        element_bytes=row.count("dbyte", least=1),
        head_rows=-(-head_dim * RESERVED_BYTES // row_bytes),
        repeats_softmax=is_cached,
    )


def _name(work: AttentionWork, level: str, limited: bool) -> str:
    power = "limited" if limited else "unlimited"
    heads = f"{work.heads} heads of {work.head_dim} x {work.element_bytes} B"
    return f"{level} {power} {heads}, {work.kv_len} tokens"


@cache
def _ticks(level: str, limited: bool, controller: str, work: AttentionWork) -> int:
    config = attacc_config(level, limited=limited)
    if controller != PUBLISHED:
        config = earlier_controller(config, opens_ahead=controller == EARLIER)
    return work_ck(config, level, work)


REFERENCES: Final = ((COLUMNS_MICRO, compare_micro), (COLUMNS_CACHED, compare_cached))
