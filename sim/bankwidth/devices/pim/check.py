"""An independent look at a command log: every gap kept, every row open that must be.

It reads the gap rows of the description, not the engine's tables, and compares every pair of
commands that is close enough to matter. Slow, and meant to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bankwidth.devices.pim.channel import LogEntry
from bankwidth.spec.pim import ANY, CHANNEL, EVERY, PimCommandSpec, PimSpec


def violations(log: Sequence[LogEntry], spec: PimSpec) -> list[str]:
    """What is wrong with a log, one line per finding; empty when it is legal."""
    return [
        *_gap_violations(log, spec),
        *_window_violations(log, spec),
        *_state_violations(log, spec),
    ]


def _tick_ps(spec: PimSpec) -> int:
    return round(1000.0 / spec.clock_ghz)


def _gap_violations(log: Sequence[LogEntry], spec: PimSpec) -> Iterator[str]:
    tick_ps = _tick_ps(spec)
    horizon = max(gap.gap.ticks(tick_ps) for gap in spec.gaps)
    for i, after in enumerate(log):
        for before in reversed(log[:i]):
            distance = after.tick - before.tick
            if distance >= horizon:
                break
            gap = _required_ck(before, after, spec, tick_ps)
            if distance < gap:
                yield f"{after} is {distance} ck after {before}, legal from {gap} ck"


def _required_ck(before: LogEntry, after: LogEntry, spec: PimSpec, tick_ps: int) -> int:
    gaps = (
        row.gap.ticks(tick_ps)
        for row in spec.gaps
        if _names(before.command, row.before)
        and _names(after.command, row.after)
        and (row.scope == CHANNEL or _meet(before, after, row.scope, spec))
    )
    return max(int(_share_a_bus(before, after, spec)), max(gaps, default=0))


def _share_a_bus(before: LogEntry, after: LogEntry, spec: PimSpec) -> bool:
    """Whether the two are sent over the same command bus, which takes one a tick."""
    columns = [spec.commands[e.command].role in ("column", "register") for e in (before, after)]
    return not spec.controller.row_and_column or columns[0] == columns[1]


def _names(command: str, listed: Sequence[str]) -> bool:
    return EVERY in listed or command in listed


def _meet(before: LogEntry, after: LogEntry, level: str, spec: PimSpec) -> bool:
    """Whether two commands touch an instance of a level in common."""
    return bool(_instances(before, level, spec) & _instances(after, level, spec))


def _instances(entry: LogEntry, level: str, spec: PimSpec) -> set[tuple[int, ...]]:
    if level == CHANNEL:
        return {()}
    depth = list(spec.bank_levels).index(level) + 1
    return {_place(bank, spec)[:depth] for bank in _banks(entry, spec)}


def _place(bank: int, spec: PimSpec) -> tuple[int, ...]:
    """Index of a bank at every level, outermost first."""
    place = []
    for count in reversed(spec.bank_levels.values()):
        bank, index = divmod(bank, count)
        place.append(index)
    return tuple(reversed(place))


def _banks(entry: LogEntry, spec: PimSpec) -> set[int]:
    match spec.commands[entry.command].banks:
        case "all":
            return set(range(spec.banks))
        case "one":
            return {entry.bank}
        case "none":
            return set()
        case picked:
            levels = [list(spec.bank_levels).index(level) for level in picked]
            own = _place(entry.bank, spec)
            places = {bank: _place(bank, spec) for bank in range(spec.banks)}
            return {b for b, place in places.items() if all(place[i] == own[i] for i in levels)}


def _window_violations(log: Sequence[LogEntry], spec: PimSpec) -> Iterator[str]:
    tick_ps = _tick_ps(spec)
    for window in spec.windows:
        ticks = window.window.ticks(tick_ps)
        seen: dict[tuple[int, ...], list[LogEntry]] = {}
        for entry in log:
            if entry.command not in window.commands:
                continue
            for instance in _instances(entry, window.scope, spec):
                before = seen.setdefault(instance, [])
                if len(before) >= window.count:
                    distance = entry.tick - before[-window.count].tick
                    if distance < ticks:
                        first = before[-window.count]
                        yield (
                            f"{entry} is the {window.count + 1}th within {ticks} ck, {distance} ck "
                            f"after {first}"
                        )
                before.append(entry)


def _state_violations(log: Sequence[LogEntry], spec: PimSpec) -> Iterator[str]:
    open_rows: dict[int, int] = {}  # bank -> row
    access = spec.accesses[0]
    for entry in log:
        command = spec.commands[entry.command]
        banks = _banks(entry, spec)
        if command.access not in (ANY, access):
            yield f"{entry} in {access} access"
        access = _access_after(command, access, spec)
        if command.role == "column" and any(open_rows.get(b) != entry.row for b in banks):
            yield f"{entry} without its row open"
        if command.role in ("activate", "refresh") and banks & open_rows.keys():
            yield f"{entry} with a row open"
        if command.role == "activate":
            open_rows |= dict.fromkeys(banks, entry.row)
        if command.role == "precharge" or command.closes:
            open_rows = {b: row for b, row in open_rows.items() if b not in banks}


def _access_after(command: PimCommandSpec, access: str, spec: PimSpec) -> str:
    if command.enters:
        return command.enters
    if command.role == "mode":  # between the two that there are
        return next(other for other in spec.accesses if other != access)
    return access
