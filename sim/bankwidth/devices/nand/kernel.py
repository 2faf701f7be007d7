"""A drive, event by event: host link, controller, channel buses, dies, decoders, in-storage engine.

A page that is read passes: the command on its channel's bus, the array (tR), the bus again (data
out), the decoder of its channel, and then the drive's DRAM and the host link, or the filter of its
channel and the in-storage engine. Every one of these is a server that does one thing at a time.

Who goes first on a channel's bus. `command_first` (default): commands of some hundred ns in the
order in which their dies became ready for them, then pages, in or out, in the order in which they
became ready. `lockstep` (MQSim's): pages that wait to go out, then the chips in turn; a command
with data to program is one piece; a request's data go up the link at once; a page never written
before gets its place when it is first read.

Which operation a die takes next: reads before programs and erases, unless one of these has waited
longer than the drive's patience. Reads may suspend a program or an erase under way.

With cache read a die whose next read waits moves its data to the cache register (tRCBSY) and goes
on while they leave; without, and when nothing waits, they leave from the page register itself.

A read of a page whose program is still on its way is served from the drive's DRAM at once, also
when that program is a collection's whose data are just being read.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bankwidth.devices.nand.kernel_ftl import (
    free_blocks_of,
    held_by,
    home,
    keep,
    lookup,
    needs_block,
    place,
    plane_of,
    release,
    victim_of,
)
from bankwidth.devices.nand.kernel_heap import pop, push
from bankwidth.devices.nand.kernel_jit import inner
from bankwidth.devices.nand.kernel_rows import (
    at_channel,
    at_group,
    at_page,
    at_phase,
    at_source,
    at_unit,
)
from bankwidth.devices.nand.kernel_state import (
    AFFINE,
    B_ARRIVALS,
    B_COMMANDS,
    B_CORES,
    B_HEAP_PS,
    B_LANES,
    B_LATENCIES,
    B_MAPPED,
    B_OFFSETS,
    B_PENDING,
    B_PROGRAM_PS,
    B_READ_PS,
    B_SIZES,
    B_TOUCHED,
    B_TRACE,
    B_TRANSFERS,
    B_WRITES,
    BUS_COMMAND,
    BUS_DATA_IN,
    BUS_DATA_OUT,
    C_BUSY,
    C_COMMAND_HEAD,
    C_COMMANDS,
    C_DATA_BUSY,
    C_ECC_BUSY,
    C_ECC_FREE,
    C_FILTER_BUSY,
    C_FILTER_FREE,
    C_FREE,
    C_IS_BUSY,
    C_PAGE,
    C_TRANSFER_HEAD,
    C_TRANSFERS,
    C_TURN,
    CHECKPOINT,
    COMPUTE,
    CORE,
    DIE_ERASE,
    DIE_MOVE,
    DIE_PROGRAM,
    DIE_READ,
    DIE_SUSPEND,
    DRIVE_FULL,
    E_ARRAY,
    E_ARRIVAL,
    E_ASKED,
    E_BUS,
    E_DECODED,
    E_DISPATCH,
    E_DOORBELL,
    E_FETCHED,
    E_FILTERED,
    E_GROUP,
    E_MOVED,
    E_PHASE,
    E_SUSPENDED,
    E_THEN,
    E_WRITE_IN,
    ECC,
    ENGINE,
    ERASE,
    ERASING,
    FILL_READ,
    FILTER,
    G_AHEAD,
    G_END,
    G_INDEX,
    G_LEFT,
    G_NEXT,
    G_PHASE,
    G_SOURCE,
    G_START,
    GC_PROGRAM,
    GC_READ,
    HOLDING,
    HOST,
    IDLE,
    INSIDE,
    K_BLOCKS,
    K_BUFFER_PAGES,
    K_BUS_DEN,
    K_BUS_NUM,
    K_BY_CHIP,
    K_CACHE_PROGRAM,
    K_CACHE_PROGRAM_PS,
    K_CACHE_READ,
    K_CACHE_READ_PS,
    K_CHANNELS,
    K_CHIPS,
    K_COMMAND,
    K_COMPLETION,
    K_COMPUTE_LANES,
    K_CORE_PS,
    K_CORES,
    K_DIES,
    K_DOORBELL,
    K_DRAM_DEN,
    K_DRAM_NUM,
    K_ECC_DEN,
    K_ECC_LATENCY,
    K_ECC_NUM,
    K_ECC_PS,
    K_ERASE,
    K_ERASE_CMD,
    K_GC_BLOCKS,
    K_HAS_ECC,
    K_LATENCY,
    K_LINK_DEN,
    K_LINK_LANES,
    K_LINK_NUM,
    K_LINK_OVERHEAD,
    K_LINK_PAYLOAD,
    K_LOCKSTEP,
    K_LOOKUP,
    K_MOST_SUSPENDS,
    K_PAGE_BYTES,
    K_PAGE_IN,
    K_PAGE_OUT,
    K_PAGE_TYPES,
    K_PAGES,
    K_PAIR_PROGRAMS,
    K_PAIR_READS,
    K_PARTIAL,
    K_PATIENCE,
    K_PLANES,
    K_PROGRAM_CMD,
    K_PROGRAM_CMD_PLANE,
    K_PROGRAM_TYPES,
    K_READ_CMD,
    K_READ_CMD_PLANE,
    K_REQUEST,
    K_RETRY,
    K_RETRY_SEED,
    K_SETUP,
    K_SETUP_PLANE,
    K_SPARE_BYTES,
    K_SUSPEND,
    K_SUSPEND_CMD,
    K_THEN_LANES,
    K_UNIT_BYTES,
    K_UNITS_PER_CHANNEL,
    K_UNITS_PER_PAGE,
    K_WRITE_LATENCY,
    LOADING,
    MARGIN_TRACE,
    MOVING,
    N_BUFFER_HIT,
    N_BUS_BYTES,
    N_CACHE_MOVE,
    N_DECODED,
    N_DRAM_BYTES,
    N_ECC_BYTES,
    N_ENGINE_PAGES,
    N_ERASE,
    N_FILL_READ,
    N_GC_PROGRAM,
    N_GC_READ,
    N_HOST_READ,
    N_HOST_READS,
    N_HOST_WRITES,
    N_HOST_WRITTEN,
    N_PAGES_IN,
    N_PAGES_OUT,
    N_PAGES_PROGRAMMED,
    N_PAGES_READ,
    N_PCIE_BYTES,
    N_PROGRAM,
    N_PROGRAM_MP,
    N_READ,
    N_READ_MP,
    N_RETRY,
    N_SUSPEND,
    NOBODY,
    OPEN,
    P_COMPUTE,
    P_FILTER,
    P_FIRST,
    P_PAGES,
    P_STEP,
    P_THEN,
    PAIR_ANY,
    PAIR_DEPTH,
    PAIR_NONE,
    PAIR_SAME_PAGE,
    PCIE_DOWN,
    PCIE_UP,
    PENDING,
    POOL_FULL,
    PROGRAM,
    PROGRAMMING,
    Q_BASE,
    Q_DONE,
    Q_EAGER,
    Q_END,
    Q_GROUPS,
    Q_KIND,
    Q_LIVE,
    Q_PAGES,
    Q_PHASE,
    Q_PHASES,
    Q_PLACED,
    Q_SINK,
    Q_STARTED,
    Q_STRIDE,
    Q_WINDOW,
    Q_WRITES,
    REACHED,
    READ,
    READING,
    S_BUFFERED,
    S_BUSY,
    S_BUSY_SINCE,
    S_CHECK,
    S_CHECK_EVERY,
    S_COMPUTE_BUSY,
    S_CORE_BUSY,
    S_DOWN_BUSY,
    S_DOWN_FREE,
    S_DRAM_BUSY,
    S_DRAM_FREE,
    S_ENDED,
    S_ERROR,
    S_FREE_GROUP,
    S_FREE_GROUPS,
    S_FREE_PAGE,
    S_FREE_PAGES,
    S_HEAP,
    S_LAST,
    S_LOG,
    S_LOGGED,
    S_NEED,
    S_NOW,
    S_OUTSTANDING,
    S_PENDING,
    S_SERIAL,
    S_THEN_BUSY,
    S_TRACE,
    S_TRACED,
    S_UP_BUSY,
    S_UP_FREE,
    S_WAIT_HEAD,
    S_WAIT_TAIL,
    SOURCE_ENDED,
    SUSPENDING,
    T_BLOCK,
    T_BLOCKED,
    T_BYTES,
    T_CHANNEL,
    T_DIE,
    T_EXTRA,
    T_GROUP,
    T_KIND,
    T_LPA,
    T_MATE,
    T_NEXT,
    T_PAGE,
    T_PARTNER,
    T_PHASE,
    T_PLANE,
    T_READY,
    T_SINK,
    T_UNIT,
    THEN,
    TRACE_FULL,
    TRACE_WORDS,
    U_BUSY,
    U_CACHED,
    U_CHANNEL,
    U_END,
    U_INPUT,
    U_LATCHED,
    U_LEFT_PS,
    U_LOADED,
    U_OP,
    U_QUEUED,
    U_READ_HEAD,
    U_READ_TAIL,
    U_READS,
    U_SINCE,
    U_STATE,
    U_SUSPENDED,
    U_SUSPENDED_OP,
    U_SUSPENDS,
    U_VERSION,
    U_WRITE_HEAD,
    U_WRITE_TAIL,
    UNWATCHED,
    W_ARRAY,
    W_BUS,
    W_ECC,
    W_LINK,
    W_OUT,
    W_QUEUE,
    Z_COMMANDS,
    Z_HEAP,
    Z_LOG,
    Z_TRACE,
    Z_TRANSFERS,
    Ints,
    Words,
)


@inner
def _new_page(m: Ints, f: Words, x: Ints, kind: int, group: int, lpa: int, now: int) -> int:
    p = m[S_FREE_PAGE]
    row = at_page(m, p)
    m[S_FREE_PAGE] = m[row + T_NEXT]
    m[S_FREE_PAGES] -= 1
    m[row + T_KIND], m[row + T_GROUP], m[row + T_LPA], m[row + T_READY] = (
        kind,
        group,
        lpa,
        now,
    )
    m[row + T_NEXT] = m[row + T_MATE] = m[row + T_PARTNER] = NOBODY
    m[row + T_BYTES], m[row + T_SINK] = m[K_PAGE_BYTES], INSIDE
    m[row + T_PHASE] = m[row + T_EXTRA] = m[row + T_BLOCKED] = 0
    return int(p)


@inner
def _free_page(m: Ints, f: Words, x: Ints, p: int) -> None:
    m[at_page(m, p) + T_NEXT] = m[S_FREE_PAGE]
    m[S_FREE_PAGE] = p
    m[S_FREE_PAGES] += 1


@inner
def _locate(m: Ints, f: Words, x: Ints, p: int, ppa: int) -> None:
    """Write down where a page lies: its die, plane, block, page, and the unit that serves it."""
    row = at_page(m, p)
    plane = plane_of(m, f, x, ppa)
    rest = ppa - plane * m[K_BLOCKS] * m[K_PAGES]
    die = plane // m[K_PLANES]
    chip = die // m[K_DIES]
    m[row + T_DIE], m[row + T_PLANE] = die, plane - die * m[K_PLANES]
    m[row + T_BLOCK] = rest // m[K_PAGES]
    m[row + T_PAGE] = rest - m[row + T_BLOCK] * m[K_PAGES]
    m[row + T_UNIT] = chip if m[K_BY_CHIP] else die
    m[row + T_CHANNEL] = chip // m[K_CHIPS]


@inner
def _note(
    m: Ints, f: Words, x: Ints, start: int, end: int, kind: int, channel: int, p: int
) -> None:
    """A row of the trace: a resource was in use, for page `p` if that is one."""
    if m[S_TRACED] == 0:
        return
    at = m[B_TRACE] + TRACE_WORDS * m[S_TRACE]
    m[S_TRACE] += 1
    x[at], x[at + 1], x[at + 2], x[at + 3] = start, end, kind, channel
    for i in range(4, TRACE_WORDS):
        x[at + i] = NOBODY
    if p >= 0:
        page = at_page(m, p)
        x[at + 4], x[at + 5], x[at + 6] = (
            m[page + T_DIE],
            m[page + T_PLANE],
            m[page + T_BLOCK],
        )
        x[at + 7], x[at + 8] = m[page + T_PAGE], m[page + T_LPA]


@inner
def _note_op(m: Ints, f: Words, x: Ints, start: int, end: int, kind: int, p: int) -> None:
    """A row for each page of an array operation."""
    if m[S_TRACED] == 0:
        return
    while p != NOBODY:
        _note(m, f, x, start, end, kind, m[at_page(m, p) + T_CHANNEL], p)
        p = m[at_page(m, p) + T_MATE]


@inner
def _rounded(amount: int, numerator: int, denominator: int) -> int:
    return (2 * amount * numerator + denominator) // (2 * denominator)


@inner
def _out_ps(m: Ints, f: Words, x: Ints, data_bytes: int) -> int:
    """Of a page's data on the bus, whole codewords with their share of the spare area."""
    if m[K_PARTIAL] == 0 or data_bytes == m[K_PAGE_BYTES]:
        m[N_BUS_BYTES] += m[K_PAGE_BYTES] + m[K_SPARE_BYTES]
        return int(m[K_PAGE_OUT])
    units = -(-data_bytes // m[K_UNIT_BYTES])
    moved = units * m[K_UNIT_BYTES] + -(-m[K_SPARE_BYTES] * units // m[K_UNITS_PER_PAGE])
    m[N_BUS_BYTES] += moved
    return _rounded(moved, m[K_BUS_NUM], m[K_BUS_DEN])


@inner
def _decoded_bytes(m: Ints, f: Words, x: Ints, data_bytes: int) -> int:
    if m[K_PARTIAL] == 0:
        return int(m[K_PAGE_BYTES])
    return int(-(-data_bytes // m[K_UNIT_BYTES]) * m[K_UNIT_BYTES])


@inner
def _link_ps(m: Ints, f: Words, x: Ints, data_bytes: int) -> int:
    """Of data in packets, spread over the lanes of the host link."""
    wire = data_bytes + -(-data_bytes // m[K_LINK_PAYLOAD]) * m[K_LINK_OVERHEAD]
    m[N_PCIE_BYTES] += wire
    return _rounded(-(-wire // m[K_LINK_LANES]), m[K_LINK_NUM], m[K_LINK_DEN])


@inner
def _send(m: Ints, f: Words, x: Ints, now: int, duration: int, free: int, p: int) -> int:
    """A message on the link, up or down as `free` says (S_UP_FREE, S_DOWN_FREE): when it is there.

    Data carry their page, all else NOBODY.
    """
    start = max(now, m[free])
    m[free] = start + duration
    is_up = free == S_UP_FREE
    m[S_UP_BUSY if is_up else S_DOWN_BUSY] += duration
    if duration:
        _note(m, f, x, start, start + duration, PCIE_UP if is_up else PCIE_DOWN, 0, p)
    return int(start + duration)


@inner
def _message(m: Ints, f: Words, x: Ints, now: int, at: int, duration: int, free: int) -> int:
    """A short message that follows another one, at `at` at the earliest: when it is there.

    It takes its place on the link right away, behind what is there now: the few ns until the one
    before it has arrived would cost an event, or a gap on the link that nothing could fill.
    """
    return max(_send(m, f, x, now, duration, free, NOBODY), at + duration)


@inner
def _through_dram(m: Ints, f: Words, x: Ints, now: int, data_bytes: int) -> int:
    """Data into the drive's DRAM and out again: when the last of it has passed."""
    duration = 2 * _rounded(data_bytes, m[K_DRAM_NUM], m[K_DRAM_DEN])
    m[N_DRAM_BYTES] += 2 * data_bytes
    m[S_DRAM_FREE] = max(now, m[S_DRAM_FREE]) + duration
    m[S_DRAM_BUSY] += duration
    return int(m[S_DRAM_FREE])


@inner
def _lane(m: Ints, f: Words, x: Ints, first: int, lanes: int) -> int:
    """The lane of the in-storage engine that is free first."""
    best = first
    for lane in range(first + 1, first + lanes):
        if m[m[B_LANES] + lane] < m[m[B_LANES] + best]:
            best = lane
    return best


# ---------------------------------------------------------------------------- queues of a unit
@inner
def _append_read(m: Ints, f: Words, x: Ints, p: int) -> None:
    u = m[at_page(m, p) + T_UNIT]
    row = at_unit(m, u)
    if m[row + U_READ_TAIL] == NOBODY:
        m[row + U_READ_HEAD] = p
    else:
        m[at_page(m, m[row + U_READ_TAIL]) + T_NEXT] = p
    m[row + U_READ_TAIL] = p
    m[row + U_READS] += 1
    m[m[B_TOUCHED] + m[row + U_CHANNEL]] = 1
    _ask(m, f, x, u)


@inner
def _read_again(m: Ints, f: Words, x: Ints, p: int) -> None:
    """Before all others: data that could not be corrected."""
    row = at_unit(m, m[at_page(m, p) + T_UNIT])
    m[at_page(m, p) + T_NEXT] = m[row + U_READ_HEAD]
    m[at_page(m, p) + T_MATE] = NOBODY
    m[at_page(m, p) + T_EXTRA] = 0
    m[row + U_READ_HEAD] = p
    if m[row + U_READ_TAIL] == NOBODY:
        m[row + U_READ_TAIL] = p
    m[row + U_READS] += 1
    _ask(m, f, x, m[at_page(m, p) + T_UNIT])
    _kick(m, f, x, m[row + U_CHANNEL], m[S_NOW])


@inner
def _append_write(m: Ints, f: Words, x: Ints, p: int) -> None:
    u = m[at_page(m, p) + T_UNIT]
    row = at_unit(m, u)
    if m[row + U_WRITE_TAIL] == NOBODY:
        m[row + U_WRITE_HEAD] = p
    else:
        m[at_page(m, m[row + U_WRITE_TAIL]) + T_NEXT] = p
    m[row + U_WRITE_TAIL] = p
    m[m[B_TOUCHED] + m[row + U_CHANNEL]] = 1
    _ask(m, f, x, u)


@inner
def _fits(m: Ints, f: Words, x: Ints, p: int, first: int, taken: int, rule: int) -> bool:
    """Whether a page can go in one array operation with `first` and those on the planes `taken`."""
    a, b = at_page(m, p), at_page(m, first)
    if m[a + T_DIE] != m[b + T_DIE] or (taken >> m[a + T_PLANE]) & 1:
        return False
    if rule == PAIR_ANY:
        return True
    return bool(
        m[a + T_PAGE] == m[b + T_PAGE]
        and (rule == PAIR_SAME_PAGE or m[a + T_BLOCK] == m[b + T_BLOCK])
    )


@inner
def _take_reads(m: Ints, f: Words, x: Ints, u: int) -> int:
    """The oldest read of a unit, with those of other planes that can go with it: how many."""
    row = at_unit(m, u)
    first = m[row + U_READ_HEAD]
    m[row + U_READ_HEAD] = m[at_page(m, first) + T_NEXT]
    m[at_page(m, first) + T_NEXT] = NOBODY
    m[row + U_READS] -= 1
    m[row + U_OP] = last = first
    number = 1
    if m[row + U_READ_HEAD] == NOBODY:
        m[row + U_READ_TAIL] = NOBODY
        return number
    rule = m[K_PAIR_READS]
    if rule == PAIR_NONE:
        return number
    taken, before, p, seen = (
        1 << m[at_page(m, first) + T_PLANE],
        NOBODY,
        m[row + U_READ_HEAD],
        0,
    )
    depth = 1 << 40 if m[K_LOCKSTEP] else PAIR_DEPTH
    while p != NOBODY and number < m[K_PLANES] and seen < depth:
        after = m[at_page(m, p) + T_NEXT]
        if _fits(m, f, x, p, first, taken, rule):
            if before == NOBODY:
                m[row + U_READ_HEAD] = after
            else:
                m[at_page(m, before) + T_NEXT] = after
            if after == NOBODY:
                m[row + U_READ_TAIL] = before
            taken |= 1 << m[at_page(m, p) + T_PLANE]
            (
                m[at_page(m, last) + T_MATE],
                m[at_page(m, p) + T_EXTRA],
                m[at_page(m, p) + T_NEXT],
            ) = (
                p,
                1,
                NOBODY,
            )
            last = p
            number += 1
            m[row + U_READS] -= 1
        else:
            before = p
        p = after
        seen += 1
    return number


@inner
def _is_program(m: Ints, f: Words, x: Ints, p: int) -> bool:
    kind = m[at_page(m, p) + T_KIND]
    return bool(kind == PROGRAM or kind == GC_PROGRAM)


@inner
def _drop_write(m: Ints, f: Words, x: Ints, u: int, before: int, p: int) -> None:
    """Take a page out of a unit's queue of writes."""
    row, after = at_unit(m, u), m[at_page(m, p) + T_NEXT]
    if before == NOBODY:
        m[row + U_WRITE_HEAD] = after
    else:
        m[at_page(m, before) + T_NEXT] = after
    if after == NOBODY:
        m[row + U_WRITE_TAIL] = before
    m[at_page(m, p) + T_NEXT] = NOBODY


@inner
def _take_programs(m: Ints, f: Words, x: Ints, u: int) -> int:
    """The oldest program of a unit, with those that can go with it; their number, U_INPUT set.

    The order of a block's pages is kept: the search ends at what must not be overtaken.
    """
    row = at_unit(m, u)
    first = m[row + U_WRITE_HEAD]
    _drop_write(m, f, x, u, NOBODY, first)
    m[row + U_INPUT] = last = first
    number, rule = 1, m[K_PAIR_PROGRAMS]
    if rule == PAIR_NONE:
        return number
    taken, before, p, seen = (
        1 << m[at_page(m, first) + T_PLANE],
        NOBODY,
        m[row + U_WRITE_HEAD],
        0,
    )
    depth = 1 << 40 if m[K_LOCKSTEP] else PAIR_DEPTH
    passed = 0  # planes of which a page was passed over: its block's order must be kept
    while p != NOBODY and number < m[K_PLANES] and seen < depth:
        after = m[at_page(m, p) + T_NEXT]
        if not _is_program(m, f, x, p):
            break
        bit = 1 << m[at_page(m, p) + T_PLANE]
        free = m[at_page(m, p) + T_BLOCKED] == 0 and (passed & bit) == 0
        if free and _fits(m, f, x, p, first, taken, rule):
            _drop_write(m, f, x, u, before, p)
            taken |= bit
            m[at_page(m, last) + T_MATE], m[at_page(m, p) + T_EXTRA] = p, 1
            last = p
            number += 1
        else:
            if not m[K_LOCKSTEP]:
                passed |= bit
            before = p
        p = after
        seen += 1
    return number


# ---------------------------------------------------------------------------- who wants the bus
@inner
def _write_ready(m: Ints, f: Words, x: Ints, u: int) -> bool:
    head = m[at_unit(m, u) + U_WRITE_HEAD]
    return bool(head != NOBODY and m[at_page(m, head) + T_BLOCKED] == 0)


@inner
def _may_suspend(m: Ints, f: Words, x: Ints, u: int) -> bool:
    row = at_unit(m, u)
    return bool(
        m[K_SUSPEND] > 0
        and m[row + U_READS] > 0
        and m[row + U_SINCE] <= m[S_NOW]
        and m[row + U_SUSPENDED] == 0
        and m[row + U_INPUT] == NOBODY
        and m[row + U_SUSPENDS] < m[K_MOST_SUSPENDS]
    )


@inner
def _may_load(m: Ints, f: Words, x: Ints, u: int) -> bool:
    """Whether the next program's data may come in while the array programs."""
    row = at_unit(m, u)
    return bool(
        m[K_CACHE_PROGRAM]
        and m[row + U_STATE] == PROGRAMMING
        and m[row + U_INPUT] == NOBODY
        and m[row + U_READS] == 0
        and _write_ready(m, f, x, u)
        and _is_program(m, f, x, m[row + U_WRITE_HEAD])
    )


@inner
def _wants(m: Ints, f: Words, x: Ints, u: int) -> bool:
    """Whether a unit has something to do that begins with a command."""
    row = at_unit(m, u)
    state = m[row + U_STATE]
    if state == IDLE:
        if m[row + U_LATCHED] > 0:
            return False
        if m[row + U_READS] > 0:
            return True
        if m[row + U_CACHED] > 0:
            return False
        return bool(m[row + U_SUSPENDED] or _write_ready(m, f, x, u))
    if state == PROGRAMMING or state == ERASING:
        return _may_suspend(m, f, x, u) or _may_load(m, f, x, u)
    return False


@inner
def _ask(m: Ints, f: Words, x: Ints, u: int) -> None:
    """Put a unit in the line for its channel's bus if it wants it and is not in line."""
    row = at_unit(m, u)
    if m[K_LOCKSTEP] or m[row + U_QUEUED] or not _wants(m, f, x, u):
        return
    m[row + U_QUEUED] = 1
    _join_commands(m, f, x, m[row + U_CHANNEL], u)


@inner
def _join_commands(m: Ints, f: Words, x: Ints, c: int, u: int) -> None:
    row, length = at_channel(m, c), m[Z_COMMANDS]
    at = (m[row + C_COMMAND_HEAD] + m[row + C_COMMANDS]) % length
    m[m[B_COMMANDS] + c * length + at] = u
    m[row + C_COMMANDS] += 1


@inner
def _join_transfers(m: Ints, f: Words, x: Ints, c: int, entry: int) -> None:
    row, length = at_channel(m, c), m[Z_TRANSFERS]
    at = (m[row + C_TRANSFER_HEAD] + m[row + C_TRANSFERS]) % length
    m[m[B_TRANSFERS] + c * length + at] = entry
    m[row + C_TRANSFERS] += 1


@inner
def _kick(m: Ints, f: Words, x: Ints, c: int, now: int) -> None:
    """Give a free bus to who is next."""
    if m[K_LOCKSTEP]:
        _kick_lockstep(m, f, x, c, now)
        return
    row = at_channel(m, c)
    if m[row + C_IS_BUSY] == UNWATCHED:
        if m[row + C_FREE] <= now:
            m[row + C_IS_BUSY] = 0
        elif m[row + C_COMMANDS] + m[row + C_TRANSFERS] > 0:
            m[row + C_IS_BUSY] = 1
            push(m, m[row + C_FREE], E_BUS, c)
    while m[row + C_IS_BUSY] == 0:
        if m[row + C_COMMANDS] > 0:
            u = m[m[B_COMMANDS] + c * m[Z_COMMANDS] + m[row + C_COMMAND_HEAD]]
            m[row + C_COMMAND_HEAD] = (m[row + C_COMMAND_HEAD] + 1) % m[Z_COMMANDS]
            m[row + C_COMMANDS] -= 1
            m[at_unit(m, u) + U_QUEUED] = 0
            _grant(m, f, x, c, u, now)
        elif m[row + C_TRANSFERS] > 0:
            _next_transfer(m, f, x, c, now)
        else:
            return


@inner
def _kick_lockstep(m: Ints, f: Words, x: Ints, c: int, now: int) -> None:
    """Data that wait first, then each chip in turn."""
    row = at_channel(m, c)
    if m[row + C_IS_BUSY] == 0 and m[row + C_TRANSFERS] > 0:
        _next_transfer(m, f, x, c, now)
    number = m[K_UNITS_PER_CHANNEL]
    for _ in range(number):
        if m[row + C_IS_BUSY]:
            break
        u = c * number + m[row + C_TURN]
        m[row + C_TURN] = (m[row + C_TURN] + 1) % number
        if _wants(m, f, x, u):
            _grant(m, f, x, c, u, now)


@inner
def _use_bus(m: Ints, f: Words, x: Ints, c: int, now: int, duration: int, what: int) -> None:
    """Hold a channel's bus; `what` is known again at the end.

    For a command alone there is an event only once somebody waits for its end.
    """
    row = at_channel(m, c)
    m[row + C_IS_BUSY], m[row + C_FREE], m[row + C_PAGE] = 1, now + duration, what
    m[row + C_BUSY] += duration
    if what == NOBODY and m[row + C_COMMANDS] + m[row + C_TRANSFERS] == 0 and not m[K_LOCKSTEP]:
        m[row + C_IS_BUSY] = UNWATCHED
    else:
        push(m, now + duration, E_BUS, c)


@inner
def _grant(m: Ints, f: Words, x: Ints, c: int, u: int, now: int) -> None:
    """A unit gives its command or joins those with data, if it still wants to."""
    row = at_unit(m, u)
    if not _wants(m, f, x, u):
        return
    if m[row + U_STATE] != IDLE:
        if _may_suspend(m, f, x, u):
            _suspend(m, f, x, c, u, now)
        else:
            _offer_data(m, f, x, c, u)
    elif _writes_next(m, f, x, u, now):
        _grant_write(m, f, x, c, u, now)
    elif m[row + U_READS] > 0:
        _command_read(m, f, x, c, u, _take_reads(m, f, x, u), now)
    elif m[row + U_SUSPENDED]:
        _resume(m, f, x, c, u, now)


@inner
def _writes_next(m: Ints, f: Words, x: Ints, u: int, now: int) -> bool:
    row = at_unit(m, u)
    if m[row + U_SUSPENDED] or m[row + U_CACHED] > 0 or not _write_ready(m, f, x, u):
        return False
    if m[row + U_READS] == 0:
        return True
    since = m[at_page(m, m[row + U_WRITE_HEAD]) + T_READY]
    # not before an older read: its block may be what is to be erased
    is_older = m[at_page(m, m[row + U_READ_HEAD]) + T_READY] > since
    return bool(is_older and now - since > m[K_PATIENCE])


@inner
def _grant_write(m: Ints, f: Words, x: Ints, c: int, u: int, now: int) -> None:
    p = m[at_unit(m, u) + U_WRITE_HEAD]
    kind = m[at_page(m, p) + T_KIND]
    if kind == PROGRAM or kind == GC_PROGRAM:
        if m[K_LOCKSTEP]:
            _load(m, f, x, c, u, now)
        else:
            _offer_data(m, f, x, c, u)
        return
    _drop_write(m, f, x, u, NOBODY, p)
    m[at_unit(m, u) + U_OP] = p
    if kind == ERASE:
        _command_erase(m, f, x, c, u, now)
    else:
        _command_read(m, f, x, c, u, 1, now)


@inner
def _offer_data(m: Ints, f: Words, x: Ints, c: int, u: int) -> None:
    """Join those that wait to move data; a unit is -2 - u there."""
    m[at_unit(m, u) + U_QUEUED] = 1
    _join_transfers(m, f, x, c, -2 - u)


# ---------------------------------------------------------------------------- commands
@inner
def _run_array(m: Ints, f: Words, x: Ints, u: int, state: int, start: int, duration: int) -> None:
    """The array of a unit works until an event says that it is over."""
    row = at_unit(m, u)
    m[row + U_STATE], m[row + U_SINCE], m[row + U_END] = state, start, start + duration
    m[row + U_BUSY] += duration
    m[row + U_VERSION] += 1
    push(m, start + duration, E_ARRAY, u + (m[row + U_VERSION] << 20))


@inner
def _command_read(m: Ints, f: Words, x: Ints, c: int, u: int, number: int, now: int) -> None:
    op = m[at_unit(m, u) + U_OP]
    duration = m[K_READ_CMD] + (number - 1) * m[K_READ_CMD_PLANE]
    array, p = 0, op
    while p != NOBODY:
        array = max(array, m[m[B_READ_PS] + m[at_page(m, p) + T_PAGE] % m[K_PAGE_TYPES]])
        m[W_QUEUE] += now - m[at_page(m, p) + T_READY]
        p = m[at_page(m, p) + T_MATE]
    m[N_READ if number == 1 else N_READ_MP] += 1
    m[N_PAGES_READ] += number
    m[W_ARRAY] += number * (duration + array)
    _note(m, f, x, now, now + duration, BUS_COMMAND, c, op)
    _note_op(m, f, x, now + duration, now + duration + array, DIE_READ, op)
    _use_bus(m, f, x, c, now, duration, NOBODY)
    _run_array(m, f, x, u, READING, now + duration, array)


@inner
def _command_erase(m: Ints, f: Words, x: Ints, c: int, u: int, now: int) -> None:
    op = m[at_unit(m, u) + U_OP]
    duration = m[K_ERASE_CMD]
    m[N_ERASE] += 1
    _note(m, f, x, now, now + duration, BUS_COMMAND, c, op)
    _use_bus(m, f, x, c, now, duration, NOBODY)
    m[at_unit(m, u) + U_SUSPENDS] = 0
    _run_array(m, f, x, u, ERASING, now + duration, m[K_ERASE])


@inner
def _suspend(m: Ints, f: Words, x: Ints, c: int, u: int, now: int) -> None:
    """Stop what the array does so that reads can go first."""
    row = at_unit(m, u)
    stopped = now + m[K_SUSPEND_CMD]
    left = m[row + U_END] - stopped
    if left <= 0:
        return
    m[row + U_VERSION] += 1
    kind = DIE_ERASE if m[row + U_STATE] == ERASING else DIE_PROGRAM
    _note_op(m, f, x, m[row + U_SINCE], stopped, kind, m[row + U_OP])
    m[row + U_SUSPENDED], m[row + U_SUSPENDED_OP], m[row + U_LEFT_PS] = (
        m[row + U_STATE],
        m[row + U_OP],
        left,
    )
    m[row + U_STATE] = SUSPENDING
    m[row + U_SUSPENDS] += 1
    m[row + U_BUSY] += m[K_SUSPEND] - left
    m[N_SUSPEND] += 1
    _note(m, f, x, now, stopped, BUS_COMMAND, c, m[row + U_OP])
    _note_op(m, f, x, stopped, stopped + m[K_SUSPEND], DIE_SUSPEND, m[row + U_OP])
    _use_bus(m, f, x, c, now, m[K_SUSPEND_CMD], NOBODY)
    push(m, stopped + m[K_SUSPEND], E_SUSPENDED, u)


@inner
def _resume(m: Ints, f: Words, x: Ints, c: int, u: int, now: int) -> None:
    row = at_unit(m, u)
    state, duration = m[row + U_SUSPENDED], m[K_SUSPEND_CMD]
    m[row + U_OP], m[row + U_SUSPENDED], m[row + U_SUSPENDED_OP] = (
        m[row + U_SUSPENDED_OP],
        0,
        NOBODY,
    )
    start = now + duration
    _note(m, f, x, now, start, BUS_COMMAND, c, m[row + U_OP])
    _use_bus(m, f, x, c, now, duration, NOBODY)
    _run_array(m, f, x, u, state, start, m[row + U_LEFT_PS])


# ---------------------------------------------------------------------------- data on the bus
@inner
def _next_transfer(m: Ints, f: Words, x: Ints, c: int, now: int) -> None:
    row = at_channel(m, c)
    entry = m[m[B_TRANSFERS] + c * m[Z_TRANSFERS] + m[row + C_TRANSFER_HEAD]]
    m[row + C_TRANSFER_HEAD] = (m[row + C_TRANSFER_HEAD] + 1) % m[Z_TRANSFERS]
    m[row + C_TRANSFERS] -= 1
    if entry >= 0:
        _data_out(m, f, x, c, entry, now)
        return
    u = -2 - entry
    m[at_unit(m, u) + U_QUEUED] = 0
    idle = m[at_unit(m, u) + U_STATE] == IDLE and m[at_unit(m, u) + U_LATCHED] == 0
    if (idle and _writes_next(m, f, x, u, now)) or _may_load(m, f, x, u):
        head = m[at_unit(m, u) + U_WRITE_HEAD]
        if _is_program(m, f, x, head):
            _load(m, f, x, c, u, now)
            return
    _ask(m, f, x, u)


@inner
def _data_out(m: Ints, f: Words, x: Ints, c: int, p: int, now: int) -> None:
    page = at_page(m, p)
    setup = m[K_SETUP_PLANE] if m[page + T_EXTRA] else m[K_SETUP]
    duration = setup + _out_ps(m, f, x, m[page + T_BYTES])
    m[W_BUS] += now - m[page + T_READY]
    m[W_OUT] += duration
    m[N_PAGES_OUT] += 1
    m[at_channel(m, c) + C_DATA_BUSY] += duration - setup
    _note(m, f, x, now, now + duration, BUS_DATA_OUT, c, p)
    _use_bus(m, f, x, c, now, duration, p)


@inner
def _load(m: Ints, f: Words, x: Ints, c: int, u: int, now: int) -> None:
    """Command and data of a program; the array starts behind them, or behind what it does."""
    row = at_unit(m, u)
    number = _take_programs(m, f, x, u)
    command = m[K_PROGRAM_CMD] + (number - 1) * m[K_PROGRAM_CMD_PLANE]
    duration = command + number * m[K_PAGE_IN]
    m[N_PROGRAM if number == 1 else N_PROGRAM_MP] += 1
    m[N_PAGES_PROGRAMMED] += number
    m[N_PAGES_IN] += number
    m[N_BUS_BYTES] += number * (m[K_PAGE_BYTES] + m[K_SPARE_BYTES])
    m[at_channel(m, c) + C_DATA_BUSY] += number * m[K_PAGE_IN]
    p = m[row + U_INPUT]
    while p != NOBODY:
        if m[at_page(m, p) + T_KIND] == GC_PROGRAM:
            m[N_GC_PROGRAM] += 1
        p = m[at_page(m, p) + T_MATE]
    _note_op(m, f, x, now, now + duration, BUS_DATA_IN, m[row + U_INPUT])
    m[row + U_LOADED] = 0
    if m[row + U_STATE] == IDLE:
        m[row + U_STATE] = LOADING
    _use_bus(m, f, x, c, now, duration, -2 - u)


@inner
def _loaded(m: Ints, f: Words, x: Ints, u: int, now: int) -> None:
    row = at_unit(m, u)
    m[row + U_LOADED] = 1
    if m[row + U_STATE] == LOADING:
        _start_program(m, f, x, u, now)
    _ask(m, f, x, u)


@inner
def _start_program(m: Ints, f: Words, x: Ints, u: int, now: int) -> None:
    row = at_unit(m, u)
    m[row + U_OP], m[row + U_INPUT], m[row + U_LOADED], m[row + U_SUSPENDS] = (
        m[row + U_INPUT],
        NOBODY,
        0,
        0,
    )
    longest, p = 0, m[row + U_OP]
    while p != NOBODY:
        longest = max(longest, m[m[B_PROGRAM_PS] + m[at_page(m, p) + T_PAGE] % m[K_PROGRAM_TYPES]])
        p = m[at_page(m, p) + T_MATE]
    _run_array(m, f, x, u, PROGRAMMING, now, longest)


@inner
def _bus_free(m: Ints, f: Words, x: Ints, c: int, now: int) -> None:
    """A use of the bus is over."""
    row = at_channel(m, c)
    what = m[row + C_PAGE]
    m[row + C_IS_BUSY], m[row + C_PAGE] = 0, NOBODY
    if what >= 0:
        _page_out(m, f, x, what, now)
    elif what < NOBODY:
        _loaded(m, f, x, -2 - what, now)
    _kick(m, f, x, c, now)


@inner
def _page_out(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """A page has left its die: the register is free for the next, the page goes to the decoder."""
    u = m[at_page(m, p) + T_UNIT]
    row = at_unit(m, u)
    if m[K_LOCKSTEP]:
        _decode(
            m, f, x, p, now
        )  # what it brings is in the queues before the chip is seen to be free
    if m[row + U_CACHED] > 0:
        m[row + U_CACHED] -= 1
        if m[row + U_CACHED] == 0 and m[row + U_STATE] == HOLDING:
            _data_ready(m, f, x, u, now)
    else:
        m[row + U_LATCHED] -= 1
    _ask(m, f, x, u)
    if not m[K_LOCKSTEP]:
        _decode(m, f, x, p, now)


# ---------------------------------------------------------------------------- arrays
@inner
def _array_done(m: Ints, f: Words, x: Ints, argument: int, now: int) -> None:
    u = argument & 0xFFFFF
    row = at_unit(m, u)
    if argument >> 20 != m[row + U_VERSION]:
        return  # was suspended meanwhile
    state = m[row + U_STATE]
    if state == READING:
        p = m[row + U_OP]
        while p != NOBODY:
            m[at_page(m, p) + T_READY] = now
            p = m[at_page(m, p) + T_MATE]
        _data_ready(m, f, x, u, now)
    elif state == PROGRAMMING:
        _programmed(m, f, x, u, now)
    else:
        m[row + U_STATE] = IDLE
        _note_op(m, f, x, m[row + U_SINCE], now, DIE_ERASE, m[row + U_OP])
        _free_page(m, f, x, m[row + U_OP])
        m[row + U_OP] = NOBODY
    _ask(m, f, x, u)
    _kick(m, f, x, m[row + U_CHANNEL], now)


@inner
def _data_ready(m: Ints, f: Words, x: Ints, u: int, now: int) -> None:
    """Data are in the page register: on to the cache register if more is to be read, or out."""
    row = at_unit(m, u)
    if m[row + U_CACHED] > 0:
        m[row + U_STATE] = HOLDING
        return
    if m[K_CACHE_READ] and m[row + U_READS] > 0:
        duration = m[K_CACHE_READ_PS]
        m[row + U_STATE] = MOVING
        m[row + U_BUSY] += duration
        m[N_CACHE_MOVE] += 1
        _note_op(m, f, x, now, now + duration, DIE_MOVE, m[row + U_OP])
        push(m, now + duration, E_MOVED, u)
        return
    m[row + U_STATE] = IDLE
    m[row + U_LATCHED] = _offer_pages(m, f, x, u)


@inner
def _moved(m: Ints, f: Words, x: Ints, u: int, now: int) -> None:
    row = at_unit(m, u)
    m[row + U_STATE] = IDLE
    m[row + U_CACHED] = _offer_pages(m, f, x, u)
    _ask(m, f, x, u)
    _kick(m, f, x, m[row + U_CHANNEL], now)


@inner
def _offer_pages(m: Ints, f: Words, x: Ints, u: int) -> int:
    """Let the pages of a read operation wait for the bus: how many."""
    p, number = m[at_unit(m, u) + U_OP], 0
    m[at_unit(m, u) + U_OP] = NOBODY
    while p != NOBODY:
        after = m[at_page(m, p) + T_MATE]
        m[at_page(m, p) + T_MATE] = NOBODY
        _join_transfers(m, f, x, m[at_unit(m, u) + U_CHANNEL], p)
        p = after
        number += 1
    return number


@inner
def _programmed(m: Ints, f: Words, x: Ints, u: int, now: int) -> None:
    """The array starts on what is loaded, before those that waited for the old pages go on."""
    row = at_unit(m, u)
    p = m[row + U_OP]
    _note_op(m, f, x, m[row + U_SINCE], now, DIE_PROGRAM, p)
    m[row + U_STATE], m[row + U_OP] = IDLE, NOBODY
    if m[row + U_INPUT] != NOBODY:
        if m[row + U_LOADED]:
            _start_program(m, f, x, u, now + m[K_CACHE_PROGRAM_PS])
        else:
            m[row + U_STATE] = LOADING
    while p != NOBODY:
        after = m[at_page(m, p) + T_MATE]
        _page_written(m, f, x, p, now)
        p = after


@inner
def _page_written(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """A page is in flash: whoever waited for that goes on."""
    lpa, group, kind = (
        m[at_page(m, p) + T_LPA],
        m[at_page(m, p) + T_GROUP],
        m[at_page(m, p) + T_KIND],
    )
    keep(m, f, x, PENDING, lpa, f[m[B_PENDING] + lpa])
    f[m[B_PENDING] + lpa] -= 1
    m[S_PENDING] -= 1
    _free_page(m, f, x, p)
    if kind == GC_PROGRAM:
        return
    if group != NOBODY:
        _part_done(m, f, x, group, now)
        return
    m[S_BUFFERED] -= 1
    waiting = m[S_WAIT_HEAD]
    if waiting != NOBODY:
        m[S_WAIT_HEAD] = m[at_page(m, waiting) + T_NEXT]
        if m[S_WAIT_HEAD] == NOBODY:
            m[S_WAIT_TAIL] = NOBODY
        m[at_page(m, waiting) + T_NEXT] = NOBODY
        _into_buffer(m, f, x, waiting, now)
        _kick(m, f, x, m[at_page(m, waiting) + T_CHANNEL], now)


# ---------------------------------------------------------------------------- behind the bus
@inner
def _decode(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """Through the channel's decoder, a pipeline."""
    page = at_page(m, p)
    if m[K_HAS_ECC] == 0:
        _corrected(m, f, x, p, now)
        return
    row = at_channel(m, m[page + T_CHANNEL])
    size = _decoded_bytes(m, f, x, m[page + T_BYTES])
    full = size == m[K_PAGE_BYTES]
    duration = m[K_ECC_PS] if full else _rounded(size, m[K_ECC_NUM], m[K_ECC_DEN])
    start = max(now, m[row + C_ECC_FREE])
    m[row + C_ECC_FREE] = start + duration
    m[row + C_ECC_BUSY] += duration
    m[N_DECODED] += 1
    m[N_ECC_BYTES] += size
    m[W_ECC] += start + duration + m[K_ECC_LATENCY] - now
    _note(m, f, x, start, start + duration, ECC, m[page + T_CHANNEL], p)
    push(m, start + duration + m[K_ECC_LATENCY], E_DECODED, p)


@inner
def _fails(m: Ints, f: Words, x: Ints) -> bool:
    """Whether a decode wants the page read again: seeded, by how many were decoded before it."""
    if m[K_RETRY] == 0:
        return False
    m[S_SERIAL] += 1
    h = np.uint64(m[S_SERIAL]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(m[K_RETRY_SEED])
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    return bool(np.int64(h >> np.uint64(32)) < m[K_RETRY])


@inner
def _corrected(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """A page's data are good, or it is read again."""
    if _fails(m, f, x):
        m[N_RETRY] += 1
        m[at_page(m, p) + T_READY] = now
        _read_again(m, f, x, p)
        return
    kind = m[at_page(m, p) + T_KIND]
    if kind == READ:
        _deliver(m, f, x, p, now)
        return
    m[N_GC_READ if kind == GC_READ else N_FILL_READ] += 1
    partner = m[at_page(m, p) + T_PARTNER]
    m[at_page(m, partner) + T_BLOCKED] = 0
    _free_page(m, f, x, p)
    _ask(m, f, x, m[at_page(m, partner) + T_UNIT])
    _kick(m, f, x, m[at_page(m, partner) + T_CHANNEL], now)


@inner
def _deliver(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """To the host over the drive's DRAM and link, or to the engine over the channel's filter."""
    page = at_page(m, p)
    if m[page + T_SINK] == ENGINE:
        _filter(m, f, x, p, now)
        return
    group, size = m[page + T_GROUP], m[page + T_BYTES]
    m[N_HOST_READ] += 1
    if m[K_LOCKSTEP] == 0:
        buffered = _through_dram(m, f, x, now, size)
        sent = _send(m, f, x, now, _link_ps(m, f, x, size), S_UP_FREE, p)
        m[at_group(m, group) + G_END] = max(m[at_group(m, group) + G_END], max(buffered, sent))
        m[W_LINK] += max(buffered, sent) - now
    _free_page(m, f, x, p)
    m[at_group(m, group) + G_LEFT] -= 1
    if m[at_group(m, group) + G_LEFT] == 0:
        if m[K_LOCKSTEP]:
            m[at_group(m, group) + G_END] = _send(
                m, f, x, now, _link_ps(m, f, x, _request_bytes(m, f, x, group)), S_UP_FREE, NOBODY
            )
        _complete(m, f, x, group, m[at_group(m, group) + G_END])


@inner
def _filter(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    page = at_page(m, p)
    source = m[at_group(m, m[page + T_GROUP]) + G_SOURCE]
    duration = m[at_phase(m, m[at_source(m, source) + Q_PHASE] + m[page + T_PHASE]) + P_FILTER]
    if duration == 0:
        _filtered(m, f, x, p, now)
        return
    row = at_channel(m, m[page + T_CHANNEL])
    start = max(now, m[row + C_FILTER_FREE])
    m[row + C_FILTER_FREE] = start + duration
    m[row + C_FILTER_BUSY] += duration
    _note(m, f, x, start, start + duration, FILTER, m[page + T_CHANNEL], p)
    push(m, start + duration, E_FILTERED, p)


@inner
def _filtered(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """Compute with a page, or keep it until its phase begins."""
    group, phase = m[at_page(m, p) + T_GROUP], m[at_page(m, p) + T_PHASE]
    m[N_ENGINE_PAGES] += 1
    _free_page(m, f, x, p)
    if phase != m[at_group(m, group) + G_PHASE]:
        m[at_group(m, group) + G_AHEAD] += 1
    else:
        _compute(m, f, x, group, 1, now)


@inner
def _compute(m: Ints, f: Words, x: Ints, group: int, number: int, now: int) -> None:
    row = at_group(m, group)
    phase = at_phase(m, m[at_source(m, m[row + G_SOURCE]) + Q_PHASE] + m[row + G_PHASE])
    duration = number * m[phase + P_COMPUTE]
    lane = _lane(m, f, x, 0, m[K_COMPUTE_LANES])
    start = max(now, m[m[B_LANES] + lane])
    m[m[B_LANES] + lane] = start + duration
    m[S_COMPUTE_BUSY] += duration
    if duration:
        _note(m, f, x, start, start + duration, COMPUTE, lane, NOBODY)
    m[row + G_END] = max(m[row + G_END], start + duration)
    m[row + G_LEFT] -= number
    if m[row + G_LEFT] == 0:
        push(m, m[row + G_END], E_PHASE, group)


@inner
def _phase_done(m: Ints, f: Words, x: Ints, group: int, now: int) -> None:
    """All pages of a phase are through: what follows them, for the group as a whole."""
    row = at_group(m, group)
    phase = at_phase(m, m[at_source(m, m[row + G_SOURCE]) + Q_PHASE] + m[row + G_PHASE])
    duration = m[phase + P_THEN]
    if duration == 0:
        _next_phase(m, f, x, group, now)
        return
    lane = _lane(m, f, x, m[K_COMPUTE_LANES], m[K_THEN_LANES])
    start = max(now, m[m[B_LANES] + lane])
    m[m[B_LANES] + lane] = start + duration
    m[S_THEN_BUSY] += duration
    _note(m, f, x, start, start + duration, THEN, lane, NOBODY)
    push(m, start + duration, E_THEN, group)


@inner
def _next_phase(m: Ints, f: Words, x: Ints, group: int, now: int) -> None:
    row = at_group(m, group)
    source = at_source(m, m[row + G_SOURCE])
    m[row + G_PHASE] += 1
    if m[row + G_PHASE] == m[source + Q_PHASES]:
        _group_done(m, f, x, group, now)
        return
    ahead = m[row + G_AHEAD]
    m[row + G_LEFT] = m[at_phase(m, m[source + Q_PHASE] + m[row + G_PHASE]) + P_PAGES]
    m[row + G_END], m[row + G_AHEAD] = now, 0
    if m[row + G_LEFT] == 0:
        push(m, now, E_PHASE, group)
    elif m[source + Q_EAGER] == 0:
        _release(m, f, x, group, m[row + G_PHASE], now)
    elif ahead > 0:
        _compute(m, f, x, group, ahead, now)


# ---------------------------------------------------------------------------- the host's requests
@inner
def _start_group(m: Ints, f: Words, x: Ints, source: int, now: int) -> None:
    """The next request or head of a source sets out."""
    g = m[S_FREE_GROUP]
    row, q = at_group(m, g), at_source(m, source)
    m[S_FREE_GROUP] = m[row + G_NEXT]
    m[S_FREE_GROUPS] -= 1
    m[row + G_SOURCE], m[row + G_INDEX], m[row + G_START] = (
        source,
        m[q + Q_STARTED],
        now,
    )
    m[row + G_PHASE] = m[row + G_AHEAD] = 0
    m[q + Q_STARTED] += 1
    if m[S_OUTSTANDING] == 0:
        m[S_BUSY_SINCE] = now
    m[S_OUTSTANDING] += 1
    if m[q + Q_SINK] != HOST:
        _dispatch(m, f, x, g, now)
    elif m[K_LOCKSTEP]:
        push(m, _send(m, f, x, now, m[K_DOORBELL], S_DOWN_FREE, NOBODY), E_DOORBELL, g)
    else:
        at = _send(m, f, x, now, m[K_DOORBELL], S_DOWN_FREE, NOBODY)
        at = _message(m, f, x, now, at, m[K_REQUEST], S_UP_FREE)
        at = _message(m, f, x, now, at, m[K_COMMAND], S_DOWN_FREE)
        _command(m, f, x, g, at)


@njit(cache=True)
def start_source(m: Ints, f: Words, x: Ints, source: int, now: int) -> None:
    """Begin a source: as many groups as may be under way, or the first arrival."""
    q = at_source(m, source)
    if m[q + Q_KIND] == OPEN:
        push(m, now + x[m[B_ARRIVALS] + 0], E_ARRIVAL, source)
        return
    while m[q + Q_STARTED] < m[q + Q_GROUPS] and m[q + Q_STARTED] - m[q + Q_DONE] < m[q + Q_WINDOW]:
        _start_group(m, f, x, source, now)


@inner
def _arrive(m: Ints, f: Words, x: Ints, source: int, now: int) -> None:
    q = at_source(m, source)
    _start_group(m, f, x, source, now)
    if m[q + Q_STARTED] < m[q + Q_GROUPS]:
        later = x[m[B_ARRIVALS] + m[q + Q_STARTED]] - x[m[B_ARRIVALS] + m[q + Q_STARTED] - 1]
        push(m, now + later, E_ARRIVAL, source)


@inner
def _command(m: Ints, f: Words, x: Ints, g: int, now: int) -> None:
    """A command reaches the drive at `now`: a core works on it, its place is looked up.

    The link keeps the order of commands, so that cores can be given out when they are sent.
    """
    writes = m[at_source(m, m[at_group(m, g) + G_SOURCE]) + Q_WRITES]
    is_write = _is_write(m, f, x, g, writes)
    at = now + m[K_LATENCY] + (m[K_WRITE_LATENCY] if is_write else 0)
    if m[K_CORE_PS]:
        core = 0
        for i in range(1, m[K_CORES]):
            if m[m[B_CORES] + i] < m[m[B_CORES] + core]:
                core = i
        start = max(at, m[m[B_CORES] + core])
        at = start + m[K_CORE_PS]
        m[m[B_CORES] + core] = at
        m[S_CORE_BUSY] += m[K_CORE_PS]
        _note(m, f, x, start, at, CORE, core, NOBODY)
    push(m, at + m[K_LOOKUP], E_DISPATCH, g)


@inner
def _is_write(m: Ints, f: Words, x: Ints, g: int, writes: int) -> bool:
    source = at_source(m, m[at_group(m, g) + G_SOURCE])
    if m[source + Q_KIND] == AFFINE:
        return bool(writes)
    return bool(x[m[B_WRITES] + m[at_group(m, g) + G_INDEX]])


@inner
def _request_bytes(m: Ints, f: Words, x: Ints, g: int) -> int:
    row = at_group(m, g)
    source = at_source(m, m[row + G_SOURCE])
    if m[source + Q_KIND] == AFFINE:
        return int(_stream_pages(m, f, x, g) * m[K_PAGE_BYTES])
    return int(x[m[B_SIZES] + m[row + G_INDEX]])


@inner
def _stream_pages(m: Ints, f: Words, x: Ints, g: int) -> int:
    """Pages of a group's first phase; the last group of a stream may be shorter."""
    row = at_group(m, g)
    source = at_source(m, m[row + G_SOURCE])
    pages = m[at_phase(m, m[source + Q_PHASE]) + P_PAGES]
    if m[source + Q_PAGES] == 0:
        return int(pages)
    return int(min(pages, m[source + Q_PAGES] - m[row + G_INDEX] * pages))


@inner
def _dispatch(m: Ints, f: Words, x: Ints, g: int, now: int) -> None:
    """A command becomes pages: reads set out, data to write are asked for."""
    row = at_group(m, g)
    source = at_source(m, m[row + G_SOURCE])
    m[row + G_END] = now
    is_host = m[source + Q_SINK] == HOST
    if _is_write(m, f, x, g, m[source + Q_WRITES]):
        if is_host:
            m[N_HOST_WRITES] += 1
            push(m, _send(m, f, x, now, m[K_REQUEST], S_UP_FREE, NOBODY), E_ASKED, g)
        else:
            _write_in(m, f, x, _pages_to_write(m, f, x, g, now), now)
        return
    if is_host:
        m[N_HOST_READS] += 1
    if m[source + Q_EAGER]:
        for phase in range(1, m[source + Q_PHASES]):
            m[row + G_LEFT] = m[at_phase(m, m[source + Q_PHASE] + phase) + P_PAGES]
    _set_left(m, f, x, g)
    if m[row + G_LEFT] == 0:
        push(m, now, E_PHASE, g)
    _release(m, f, x, g, 0, now)
    if m[source + Q_EAGER]:
        for phase in range(1, m[source + Q_PHASES]):
            _release(m, f, x, g, phase, now)


@inner
def _set_left(m: Ints, f: Words, x: Ints, g: int) -> None:
    """Pages that the group waits for."""
    row = at_group(m, g)
    if m[at_source(m, m[row + G_SOURCE]) + Q_KIND] == AFFINE:
        m[row + G_LEFT] = _stream_pages(m, f, x, g)
        return
    first, last = _span(m, f, x, m[row + G_INDEX])
    m[row + G_LEFT] = last - first + 1


@inner
def _span(m: Ints, f: Words, x: Ints, index: int) -> tuple[int, int]:
    """First and last page of a request of the list."""
    size = m[K_PAGE_BYTES]
    offset = x[m[B_OFFSETS] + index]
    return offset // size, (offset + x[m[B_SIZES] + index] - 1) // size


@inner
def _bytes_in(m: Ints, f: Words, x: Ints, index: int, lpa: int) -> int:
    """Bytes of a page that a request of the list asks for."""
    size = m[K_PAGE_BYTES]
    start = max(x[m[B_OFFSETS] + index], lpa * size)
    return int(min(x[m[B_OFFSETS] + index] + x[m[B_SIZES] + index], (lpa + 1) * size) - start)


@inner
def _release(m: Ints, f: Words, x: Ints, g: int, phase: int, now: int) -> None:
    """The pages of a group's phase join their units' queues; then the buses are looked at."""
    row = at_group(m, g)
    source = at_source(m, m[row + G_SOURCE])
    if m[source + Q_KIND] == AFFINE:
        words = at_phase(m, m[source + Q_PHASE] + phase)
        number = _stream_pages(m, f, x, g) if phase == 0 else m[words + P_PAGES]
        lpa = m[source + Q_BASE] + m[row + G_INDEX] * m[source + Q_STRIDE] + m[words + P_FIRST]
        for _ in range(number):
            _read_page(m, f, x, g, lpa, m[K_PAGE_BYTES], m[source + Q_SINK], phase, now)
            lpa += m[words + P_STEP]
    else:
        first, last = _span(m, f, x, m[row + G_INDEX])
        for lpa in range(first, last + 1):
            _read_page(m, f, x, g, lpa, _bytes_in(m, f, x, m[row + G_INDEX], lpa), HOST, 0, now)
    _kick_touched(m, f, x, now)


@inner
def _kick_touched(m: Ints, f: Words, x: Ints, now: int) -> None:
    for c in range(m[K_CHANNELS]):
        if m[m[B_TOUCHED] + c]:
            m[m[B_TOUCHED] + c] = 0
            _kick(m, f, x, c, now)


@inner
def _read_page(
    m: Ints,
    f: Words,
    x: Ints,
    g: int,
    lpa: int,
    size: int,
    sink: int,
    phase: int,
    now: int,
) -> None:
    p = _new_page(m, f, x, READ, g, lpa, now)
    page = at_page(m, p)
    m[page + T_BYTES], m[page + T_SINK], m[page + T_PHASE] = size, sink, phase
    if m[K_LOCKSTEP] and f[m[B_MAPPED] + lpa] == 0:
        place(m, f, x, lpa, plane_of(m, f, x, home(m, f, x, lpa)))
    _locate(m, f, x, p, lookup(m, f, x, lpa))
    if m[S_PENDING] > 0 and f[m[B_PENDING] + lpa] > 0 and m[K_LOCKSTEP] == 0:
        m[N_BUFFER_HIT] += 1  # its data are still in the drive's DRAM
        _deliver(m, f, x, p, now)
    else:
        _append_read(m, f, x, p)


# ---------------------------------------------------------------------------- writes
@inner
def _pages_to_write(m: Ints, f: Words, x: Ints, g: int, now: int) -> int:
    """A chain of pages that a write brings; G_LEFT is their number."""
    row = at_group(m, g)
    source = at_source(m, m[row + G_SOURCE])
    _set_left(m, f, x, g)
    first = last = NOBODY
    for i in range(m[row + G_LEFT]):
        size = m[K_PAGE_BYTES]
        if m[source + Q_KIND] == AFFINE:
            words = at_phase(m, m[source + Q_PHASE])
            lpa = m[source + Q_BASE] + m[row + G_INDEX] * m[source + Q_STRIDE] + m[words + P_FIRST]
            lpa += i * m[words + P_STEP]
        else:
            lpa = x[m[B_OFFSETS] + m[row + G_INDEX]] // size + i
            size = _bytes_in(m, f, x, m[row + G_INDEX], lpa)
        p = _new_page(m, f, x, PROGRAM, g, lpa, now)
        m[at_page(m, p) + T_BYTES] = size
        if last == NOBODY:
            first = p
        else:
            m[at_page(m, last) + T_NEXT] = p
        last = p
    return first


@inner
def _asked(m: Ints, f: Words, x: Ints, g: int, now: int) -> None:
    """The host sends the data of a write: page by page, in lockstep mode all at once."""
    chain = _pages_to_write(m, f, x, g, now)
    if m[K_LOCKSTEP]:
        push(
            m,
            _send(m, f, x, now, _link_ps(m, f, x, _request_bytes(m, f, x, g)), S_DOWN_FREE, NOBODY),
            E_WRITE_IN,
            chain,
        )
        return
    p = chain
    while p != NOBODY:
        after, size = m[at_page(m, p) + T_NEXT], m[at_page(m, p) + T_BYTES]
        m[at_page(m, p) + T_NEXT] = NOBODY
        sent = _send(m, f, x, now, _link_ps(m, f, x, size), S_DOWN_FREE, p)
        push(m, max(sent, _through_dram(m, f, x, now, size)), E_WRITE_IN, p)
        p = after


@inner
def _write_in(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """Pages have arrived in the drive: into its buffer, or straight to the dies."""
    while p != NOBODY:
        after = m[at_page(m, p) + T_NEXT]
        m[at_page(m, p) + T_NEXT] = NOBODY
        is_host = (
            m[at_source(m, m[at_group(m, m[at_page(m, p) + T_GROUP]) + G_SOURCE]) + Q_SINK] == HOST
        )
        if is_host:
            m[N_HOST_WRITTEN] += 1
        if not is_host or m[K_BUFFER_PAGES] == 0:
            _to_die(m, f, x, p, now)
        elif m[S_BUFFERED] < m[K_BUFFER_PAGES]:
            _into_buffer(m, f, x, p, now)
        elif m[S_WAIT_TAIL] == NOBODY:
            m[S_WAIT_HEAD] = m[S_WAIT_TAIL] = p
        else:
            m[at_page(m, m[S_WAIT_TAIL]) + T_NEXT] = p
            m[S_WAIT_TAIL] = p
        p = after
    _kick_touched(m, f, x, now)


@inner
def _into_buffer(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """A page has a place in the drive's DRAM: its request need not wait for the flash."""
    group = m[at_page(m, p) + T_GROUP]
    m[S_BUFFERED] += 1
    _to_die(m, f, x, p, now)
    m[at_page(m, p) + T_GROUP] = NOBODY
    m[at_group(m, group) + G_LEFT] -= 1
    if m[at_group(m, group) + G_LEFT] == 0:
        _complete(m, f, x, group, now)  # only a host's writes are buffered


@inner
def _part_done(m: Ints, f: Words, x: Ints, group: int, now: int) -> None:
    """One page of a write is done."""
    m[at_group(m, group) + G_LEFT] -= 1
    if m[at_group(m, group) + G_LEFT] == 0:
        if m[at_source(m, m[at_group(m, group) + G_SOURCE]) + Q_SINK] == HOST:
            _complete(m, f, x, group, now)
        else:
            _group_done(m, f, x, group, now)


@inner
def _to_die(m: Ints, f: Words, x: Ints, p: int, now: int) -> None:
    """Find a page its place and queue its program there, behind what that takes."""
    lpa, placed = m[at_page(m, p) + T_LPA], False
    group = m[at_page(m, p) + T_GROUP]
    placed = m[at_source(m, m[at_group(m, group) + G_SOURCE]) + Q_PLACED] != 0
    before = lookup(m, f, x, lpa)
    fills = m[at_page(m, p) + T_BYTES] < m[K_PAGE_BYTES] and m[K_LOCKSTEP] == 0
    if fills and f[m[B_PENDING] + lpa] == 0:
        _fill(m, f, x, p, before, now)
    plane = plane_of(m, f, x, home(m, f, x, lpa))
    opens = not placed and needs_block(m, f, x, plane)
    ppa = home(m, f, x, lpa) if placed else place(m, f, x, lpa, plane)
    if ppa == NOBODY:
        return
    _locate(m, f, x, p, ppa)
    m[at_page(m, p) + T_READY] = now
    _queue_program(m, f, x, p)
    if opens and free_blocks_of(m, f, x, plane) < m[K_GC_BLOCKS]:
        _collect(m, f, x, plane, now)


@inner
def _queue_program(m: Ints, f: Words, x: Ints, p: int) -> None:
    lpa = m[at_page(m, p) + T_LPA]
    keep(m, f, x, PENDING, lpa, f[m[B_PENDING] + lpa])
    f[m[B_PENDING] + lpa] += 1
    m[S_PENDING] += 1
    _append_write(m, f, x, p)


@inner
def _fill(m: Ints, f: Words, x: Ints, p: int, ppa: int, now: int) -> None:
    """Part of a page is written: the rest is read first, from where it lies."""
    r = _new_page(m, f, x, FILL_READ, NOBODY, m[at_page(m, p) + T_LPA], now)
    _locate(m, f, x, r, ppa)
    m[at_page(m, r) + T_PARTNER], m[at_page(m, p) + T_BLOCKED] = p, 1
    _append_write(m, f, x, r)


@inner
def _collect(m: Ints, f: Words, x: Ints, plane: int, now: int) -> None:
    """Move the valid pages of the block with the fewest, and erase it."""
    victim, pages = victim_of(m, f, x, plane), m[K_PAGES]
    if victim == NOBODY:
        return
    first = (plane * m[K_BLOCKS] + victim) * pages
    for ppa in range(first, first + pages):
        lpa = held_by(m, f, x, ppa)
        if lpa == NOBODY:
            continue
        r = _new_page(m, f, x, GC_READ, NOBODY, lpa, now)
        _locate(m, f, x, r, ppa)
        w = _new_page(m, f, x, GC_PROGRAM, NOBODY, lpa, now)
        _locate(m, f, x, w, place(m, f, x, lpa, plane))
        m[at_page(m, r) + T_PARTNER], m[at_page(m, w) + T_BLOCKED] = w, 1
        _append_write(m, f, x, r)
        _queue_program(m, f, x, w)
    e = _new_page(m, f, x, ERASE, NOBODY, NOBODY, now)
    _locate(m, f, x, e, first)
    _append_write(m, f, x, e)
    release(m, f, x, plane, victim)


# ---------------------------------------------------------------------------- the end of a request
@inner
def _complete(m: Ints, f: Words, x: Ints, g: int, now: int) -> None:
    """Tell the host."""
    push(m, _send(m, f, x, now, m[K_COMPLETION], S_UP_FREE, NOBODY), E_GROUP, g)


@inner
def _group_done(m: Ints, f: Words, x: Ints, g: int, now: int) -> None:
    row = at_group(m, g)
    source = m[row + G_SOURCE]
    q = at_source(m, source)
    if m[q + Q_KIND] != AFFINE:
        x[m[B_LATENCIES] + m[row + G_INDEX]] = now - m[row + G_START]
    m[q + Q_DONE] += 1
    m[row + G_NEXT] = m[S_FREE_GROUP]
    m[S_FREE_GROUP] = g
    m[S_FREE_GROUPS] += 1
    m[S_OUTSTANDING] -= 1
    if m[S_OUTSTANDING] == 0:
        m[S_BUSY] += now - m[S_BUSY_SINCE]
    if m[q + Q_SINK] == HOST:
        _send(m, f, x, now, m[K_DOORBELL], S_DOWN_FREE, NOBODY)  # the queue entry is free again
    if m[q + Q_DONE] == m[q + Q_GROUPS]:
        m[q + Q_LIVE], m[q + Q_END] = 0, now
        m[S_ENDED] = 1
    elif m[q + Q_KIND] != OPEN and m[q + Q_STARTED] < m[q + Q_GROUPS]:
        _start_group(m, f, x, source, now)
    if m[S_CHECK_EVERY] and m[q + Q_DONE] % m[S_CHECK_EVERY] == 0:
        m[S_CHECK] = 1


# ---------------------------------------------------------------------------- the loop
@inner
def _lacks_room(m: Ints, f: Words, x: Ints) -> bool:
    """Whether a pool could run out in the next event."""
    events = m[S_HEAP] + m[S_NEED] + 16 > m[Z_HEAP]
    log = m[S_LOGGED] and m[S_LOG] + 8 * m[S_NEED] > m[Z_LOG]
    return bool(m[S_FREE_PAGES] < m[S_NEED] or m[S_FREE_GROUPS] < 2 or events or log)


@inner
def _happen(m: Ints, f: Words, x: Ints, kind: int, argument: int, now: int) -> None:
    if kind == E_BUS:
        _bus_free(m, f, x, argument, now)
    elif kind == E_ARRAY:
        _array_done(m, f, x, argument, now)
    elif kind == E_DECODED:
        _corrected(m, f, x, argument, now)
    elif kind == E_MOVED:
        _moved(m, f, x, argument, now)
    elif kind == E_FILTERED:
        _filtered(m, f, x, argument, now)
    elif kind == E_PHASE:
        _phase_done(m, f, x, argument, now)
    elif kind == E_THEN:
        _next_phase(m, f, x, argument, now)
    elif kind == E_GROUP:
        _group_done(m, f, x, argument, now)
    elif kind == E_DOORBELL:
        push(m, _send(m, f, x, now, m[K_REQUEST], S_UP_FREE, NOBODY), E_FETCHED, argument)
    elif kind == E_FETCHED:
        _command(m, f, x, argument, _send(m, f, x, now, m[K_COMMAND], S_DOWN_FREE, NOBODY))
    elif kind == E_DISPATCH:
        _dispatch(m, f, x, argument, now)
    elif kind == E_ASKED:
        _asked(m, f, x, argument, now)
    elif kind == E_WRITE_IN:
        _write_in(m, f, x, argument, now)
    elif kind == E_ARRIVAL:
        _arrive(m, f, x, argument, now)
    else:
        m[at_unit(m, argument) + U_STATE] = IDLE  # suspended
        _ask(m, f, x, argument)
        _kick(m, f, x, m[at_unit(m, argument) + U_CHANNEL], now)


@njit(cache=True)
def advance(m: Ints, f: Words, x: Ints, until: int) -> int:
    """Let time go on to `until`, or to what a caller has to see to: one of kernel_state's words."""
    while m[S_HEAP] > 0 and m[m[B_HEAP_PS]] <= until:
        if _lacks_room(m, f, x):
            return POOL_FULL
        if m[S_TRACED] and m[S_TRACE] + MARGIN_TRACE > m[Z_TRACE]:
            return TRACE_FULL
        now = m[m[B_HEAP_PS]]
        m[S_NOW] = m[S_LAST] = now
        event = pop(m)
        _happen(m, f, x, event & 15, event >> 4, now)
        if m[S_ERROR]:
            return DRIVE_FULL
        if m[S_ENDED]:
            m[S_ENDED] = 0
            return SOURCE_ENDED
        if m[S_CHECK]:
            m[S_CHECK] = 0
            return CHECKPOINT
    m[S_NOW] = max(m[S_NOW], until)
    return REACHED
