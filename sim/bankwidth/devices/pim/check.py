"""An independent look at a command log: every gap kept, every row open that must be.

It reads the gap rows of the description, not the engine's tables, and compares every pair of
commands that is close enough to matter. Slow, and meant to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bankwidth.devices.pim.channel import LogEntry
from bankwidth.spec.pim import EVERY, PimSpec


def violations(log: Sequence[LogEntry], spec: PimSpec) -> list[str]:
    """What is wrong with a log, one line per finding; empty when it is legal."""
    return [*_gap_violations(log, spec), *_state_violations(log, spec)]


def _gap_violations(log: Sequence[LogEntry], spec: PimSpec) -> Iterator[str]:
    tick_ps = round(1000.0 / spec.clock_ghz)
    horizon = max(gap.gap.ticks(tick_ps) for gap in spec.gaps)
    for i, after in enumerate(log):
        for before in reversed(log[:i]):
            distance = after.tick - before.tick
            if distance >= horizon:
                break
            gap = max(1, _required_ck(before, after, spec, tick_ps))
            if distance < gap:
                yield f"{after} is {distance} ck after {before}, legal from {gap} ck"


def _required_ck(before: LogEntry, after: LogEntry, spec: PimSpec, tick_ps: int) -> int:
    return max(
        (
            row.gap.ticks(tick_ps)
            for row in spec.gaps
            if _names(before.command, row.before)
            and _names(after.command, row.after)
            and (row.scope == "channel" or _banks(before, spec) & _banks(after, spec))
        ),
        default=0,
    )


def _names(command: str, listed: Sequence[str]) -> bool:
    return EVERY in listed or command in listed


def _banks(entry: LogEntry, spec: PimSpec) -> set[int]:
    match spec.commands[entry.command].banks:
        case "all":
            return set(range(spec.banks))
        case "one":
            return {entry.bank}
        case _:
            return set()


def _state_violations(log: Sequence[LogEntry], spec: PimSpec) -> Iterator[str]:
    open_rows: dict[int, int] = {}  # bank -> row
    access = "array"
    for entry in log:
        command = spec.commands[entry.command]
        banks = _banks(entry, spec)
        if command.access not in ("any", access):
            yield f"{entry} in {access} access"
        if command.role == "mode":
            access = "register" if access == "array" else "array"
        if command.role == "column" and any(open_rows.get(b) != entry.row for b in banks):
            yield f"{entry} without its row open"
        if command.role in ("activate", "refresh") and banks & open_rows.keys():
            yield f"{entry} with a row open"
        if command.role == "activate":
            open_rows |= dict.fromkeys(banks, entry.row)
        if command.role == "precharge" or command.closes:
            open_rows = {b: row for b, row in open_rows.items() if b not in banks}
