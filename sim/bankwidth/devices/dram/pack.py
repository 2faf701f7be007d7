"""Lays a configuration and the controller's policies out as the engine's array of integers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram import kernel as k
from bankwidth.devices.dram.commands import ALL_BANK, Command, Level
from bankwidth.devices.dram.config import (
    CAP,
    HIGH_WATERMARK,
    LOW_WATERMARK,
    QUEUE_SLOTS,
    DramConfig,
)
from bankwidth.devices.dram.mapping import field_layout
from bankwidth.devices.dram.policies import Controls, Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.devices.dram.table import Constraint, Controller
from bankwidth.errors import SpecError

KINDS: Final = {
    Controller.ONE_BUS: k.ONE_BUS,
    Controller.TWO_BUSES: k.TWO_BUSES,
    Controller.HALF_CLOCK: k.HALF_CLOCK,
    Controller.SPLIT_ACTIVATE: k.SPLIT_ACTIVATE,
}
REFRESHES: Final = {
    Refresh.NONE: k.NO_REFRESH,
    Refresh.ALL_BANK: k.ALL_BANK,
    Refresh.PER_BANK: k.PER_BANK,
    Refresh.PER_BANK_PAIRS: k.PER_BANK_PAIRS,
}


def log2(count: int) -> int:
    """Exponent of a power of two."""
    return count.bit_length() - 1


def pack(
    config: DramConfig, controls: Controls, *, channel: int = 0, log_max: int = 0
) -> NDArray[np.int64]:
    """A channel at tick 0: its settings and its empty state."""
    m = np.zeros(k.STATE_END + log_max * k.LOG_WORDS, dtype=np.int64)
    m[k.CHANNEL], m[k.LOG_MAX], m[k.RATE], m[k.OFFER_GAP] = channel, log_max, 1, 1
    _pack_organisation(m, config)
    _pack_policies(m, config, controls)
    _pack_fields(m, config, controls.mapper)
    _pack_rows(m, config, controls)
    _reset(m)
    return m


def _pack_organisation(m: NDArray[np.int64], config: DramConfig) -> None:
    banks, scopes = config.num_banks, config.num_refresh_scopes
    per_group = config.level_counts[-1]
    for what, count, most in (
        ("banks", banks, k.BANKS),
        ("bank groups", banks // per_group, k.GROUPS),
        ("ranks or pseudo-channels", scopes, k.SCOPES),
    ):
        if count > most:
            raise SpecError(f"{config.name}: {count} {what} in a channel, at most {most}")
    m[k.KIND] = KINDS[config.controller]
    m[k.NUM_BANKS], m[k.GROUP_SHIFT] = banks, log2(per_group)
    m[k.NUM_SCOPES], m[k.SCOPE_BANK_SHIFT] = scopes, log2(banks // scopes)
    m[k.SCOPE_GROUP_SHIFT] = log2(banks // scopes // per_group)
    m[k.NUM_GROUPS] = banks // per_group
    m[k.REFRESH_DEPTH] = config.levels.index(config.refresh_level) + 1
    m[k.READ_LATENCY], m[k.BURST] = config.read_latency_ticks, config.burst_ticks
    m[k.NUM_LEVELS] = len(config.levels)
    m[k.READ_SLOTS], m[k.WRITE_SLOTS] = QUEUE_SLOTS, QUEUE_SLOTS
    m[k.HIGH], m[k.LOW] = HIGH_WATERMARK, LOW_WATERMARK
    pseudo = config.level_counts[1] if Level.PSEUDO_CHANNEL in config.levels else 1
    sets = config.level_counts[2] if Level.STACK_ID in config.levels else 1
    m[k.NUM_PSEUDO], m[k.PSEUDO_SHIFT] = pseudo, log2(banks // pseudo)
    m[k.NUM_SETS], m[k.SET_SHIFT] = sets, log2(banks // pseudo // sets)
    for command in config.commands:
        if command < k.COMMANDS:
            m[k.COMMAND_ID_AT + command] = config.commands.index(command)
    if config.controller is Controller.SPLIT_ACTIVATE:
        times = config.times
        tail = times["bl_min"] + times["wckpst"]
        m[k.AAD] = times["aad"]
        m[k.WCK_READ], m[k.WCK_WRITE] = times["cl"] + tail, times["cwl"] + tail


def _pack_policies(m: NDArray[np.int64], config: DramConfig, controls: Controls) -> None:
    m[k.ROW_HIT_FIRST] = int(controls.scheduler is Scheduler.FRFCFS_ROW_HIT)
    m[k.CAP] = CAP if controls.row_policy is RowPolicy.CLOSED_CAP else 0
    m[k.REFRESH] = REFRESHES[controls.refresh]
    m[k.REFI] = refresh_interval_ticks(config, controls.refresh)
    m[k.REFRESH_BANK_GAP] = config.times.get("rfcpb", 0)
    m[k.REFRESH_TO_ACT] = config.times["rfc"]


def refresh_interval_ticks(config: DramConfig, refresh: Refresh) -> int:
    """Ticks between refresh commands. Raises SpecError when the standard has no such refresh."""
    if refresh is Refresh.NONE:
        return 0
    if refresh is Refresh.ALL_BANK:
        return config.times["refi"]
    is_paired = refresh is Refresh.PER_BANK_PAIRS
    needs_pairs = config.controller is Controller.HALF_CLOCK
    if "refipb" not in config.times or (is_paired and not needs_pairs):
        raise SpecError(f"{config.name}: {config.standard} has no refresh {refresh.value!r}")
    return config.times["refipb"]


def _pack_fields(m: NDArray[np.int64], config: DramConfig, mapper: Mapper) -> None:
    layout = field_layout(config, mapper)
    m[k.OFFSET_BITS] = log2(config.burst_bytes)
    m[k.COLUMN_LOW_SHIFT], m[k.COLUMN_LOW_MASK] = layout.column_low.shift, layout.column_low.mask
    m[k.COLUMN_HIGH_SHIFT], m[k.COLUMN_HIGH_MASK] = (
        layout.column_high.shift,
        layout.column_high.mask,
    )
    m[k.COLUMN_HIGH_AT] = layout.column_low.width
    m[k.ROW_SHIFT], m[k.ROW_MASK] = layout.row.shift, layout.row.mask
    m[k.ROW_XOR_SHIFT], m[k.ROW_XOR_MASK] = layout.row.xor_shift, layout.row.xor_mask
    m[k.STRIDE_SHIFT], m[k.TOP_SHIFT] = layout.stride_bits, layout.top_bits
    place = log2(config.num_banks)
    for level, field in enumerate(layout.levels, start=1):
        place -= log2(config.level_counts[level])
        at = k.LEVEL_AT + level * k.LEVEL_WORDS
        m[at : at + 5] = field.shift, field.mask, place, field.xor_shift, field.xor_mask


# ---------------------------------------------------------------------------- the constraint table
def issued_commands(config: DramConfig, controls: Controls) -> frozenset[Command]:
    """What a controller with these policies ever issues."""
    issued = {Command.ACT, Command.PREPB, Command.RD, Command.WR}
    if config.controller is Controller.SPLIT_ACTIVATE:
        issued |= {Command.ACT2, Command.CAS_RD, Command.CAS_WR}
    if controls.row_policy is RowPolicy.CLOSED_CAP:
        issued |= {Command.RDA, Command.WRA}
    if controls.refresh is Refresh.ALL_BANK:
        issued |= {Command.PREAB, Command.REFAB}
    elif controls.refresh is not Refresh.NONE:
        issued |= {Command.REFPB}
    return frozenset(issued)


def binding_rows(config: DramConfig, controls: Controls) -> list[Constraint]:
    """The rows that can bind: between issued commands, and not implied by a wider level's row."""
    issued = issued_commands(config, controls)
    rows = [r for r in config.constraints if r.before in issued and r.after in issued]
    plain = [r for r in rows if r.window == 1 and not r.sibling]
    depth = {level: i for i, level in enumerate(config.levels)}

    def is_implied(row: Constraint) -> bool:
        return row in plain and any(
            (r.before, r.after) == (row.before, row.after)
            and (
                (depth[r.level] < depth[row.level] and r.gap_ticks >= row.gap_ticks)
                or (r.level == row.level and r.gap_ticks > row.gap_ticks)
            )
            for r in plain
        )

    return list(dict.fromkeys(row for row in rows if not is_implied(row)))


def _pack_rows(m: NDArray[np.int64], config: DramConfig, controls: Controls) -> None:
    rows = sorted(binding_rows(config, controls), key=lambda row: row.before)
    history = k.HISTORY_AT
    start = 0
    for command in range(k.COMMANDS):
        m[k.ROW_START_AT + command] = start
        for row in (r for r in rows if r.before == command):
            if start == k.ROWS_MAX:
                raise SpecError(f"{config.name}: more than {k.ROWS_MAX} timing rules")
            at = k.ROWS_AT + start * k.ROW_WORDS
            m[at : at + k.ROW_WORDS], used = _packed_row(config, row, history)
            history += used
            start += 1
    m[k.ROW_START_AT + k.COMMANDS] = start
    if history > k.HISTORY_AT + k.HISTORY_WORDS:
        raise SpecError(f"{config.name}: windows of the timing rules are too long")


COLUMNS: Final = {Command.RD: 0, Command.RDA: 0, Command.WR: 1, Command.WRA: 1}  # -> direction
REFRESH_COMMANDS: Final = frozenset({Command.REFAB, Command.REFPB})


def cause_of(row: Constraint) -> int:
    """What an idle data bus waits for when this row is the last that binds."""
    if row.before in REFRESH_COMMANDS:
        return k.REFRESHING
    if row.after is Command.ACT and row.before is Command.ACT:
        return k.ROW_MISS if row.level is Level.BANK else k.WINDOW
    if row.after in COLUMNS and row.before in COLUMNS:
        is_switch = COLUMNS[row.before] != COLUMNS[row.after] or row.sibling
        return k.TURNAROUND if is_switch else k.GROUP_GAP
    return k.ROW_MISS


def _packed_row(config: DramConfig, row: Constraint, history: int) -> tuple[list[int], int]:
    """Words of one row, and the words of history it needs."""
    depth = config.levels.index(row.level)
    scope_depth = config.levels.index(config.refresh_level)
    groups = _nodes(config, len(config.levels) - 2)
    nodes = _nodes(config, depth)
    shift = log2(groups // nodes) if nodes <= groups else 0
    gap = (row.gap_ticks << k.CAUSE_BITS) + cause_of(row)
    if row.after in ALL_BANK:
        if row.window > 1 or row.sibling:
            raise SpecError(f"{config.standard}: no windows or siblings before all-bank commands")
        table = k.READY_SCOPE_AT + (k.SCOPES if row.after is Command.REFAB else 0)
        scopes = _nodes(config, scope_depth)
        return [k.ROW_SCOPES, table, gap, log2(max(1, scopes // nodes)), 0, 0], 0
    group_table = k.READY_GROUP_AT + row.after * k.GROUPS
    if row.sibling:
        above = log2(groups // _nodes(config, depth - 1))
        return [k.ROW_SIBLINGS, group_table, gap, shift, above, 0], 0
    if row.window > 1:
        if row.before in ALL_BANK or row.level is Level.BANK:
            raise SpecError(f"{config.standard}: no windows per bank or of all-bank commands")
        words = nodes * row.window
        return [k.ROW_WINDOW, group_table, gap, shift, row.window, history], words
    if row.level is Level.BANK:
        table = k.READY_BANK_AT + row.after * k.BANKS
        return [k.ROW_BANK, table, gap, 0, 0, 0], 0
    return [k.ROW_GROUPS, group_table, gap, shift, 0, 0], 0


def _nodes(config: DramConfig, depth: int) -> int:
    """Nodes of a level in the whole channel."""
    total = 1
    for count in config.level_counts[: depth + 1]:
        total *= count
    return total


# ---------------------------------------------------------------------------- empty state
def _reset(m: NDArray[np.int64]) -> None:
    for at, length in (
        (k.OPEN_ROW_AT, k.BANKS),
        (k.HEAD_AT, 8 * k.BANKS),
        (k.CANDIDATE_AT, 2 * k.CLASSES * k.BANKS),
    ):
        m[at : at + length] = -1
    m[k.HISTORY_AT : k.HISTORY_AT + k.HISTORY_WORDS] = k.LONG_AGO
    m[k.BOUND_AT : k.BOUND_AT + 2 * k.CLASSES] = k.FOREVER
    m[k.FREE_AT : k.FREE_AT + k.SLOTS] = np.arange(k.SLOTS - 1, -1, -1)
    m[k.NUM_FREE] = k.SLOTS
    m[[k.ACTIVE_BOUND, k.CAP_BOUND, k.FIRST_END]] = k.FOREVER
    m[[k.OWNER, k.CAS_SLOT, k.PAIR_PSEUDO, k.SENT_AT, k.RISE_EDGE, k.RISE_PSEUDO]] = -1
    m[k.REFRESH_NEXT] = m[k.REFI] if m[k.REFRESH] != k.NO_REFRESH else k.FOREVER
    m[k.HASH] = np.uint64(k.FNV_OFFSET).astype(np.int64)
