"""The engine of a DRAM channel: queues, scheduling, timing, refresh, and what feeds it.

One file, and longer than others, because numba's cache does not see edits in other kernel files.

A channel is one `int64` array `m`: settings first, then state. Its layout are the names below; the
settings are filled in by `pack.py`. Between events nothing changes, so the engine jumps to the next
tick at which anything can. What makes that exact and cheap:

* A ready clock is kept per command and bank (rules of the bank) and per command and bank group
  (rules of all levels above); it only ever grows, when a command is issued.
* Requests of a queue that can win are, per bank, the oldest that hits the open row, the oldest that
  conflicts, or the oldest of a closed bank: the candidates of three classes (column, activate,
  precharge). Per queue and class a lower bound of the ticks at which a candidate is ready tells
  whether a scan is needed at all.
* Sends happen after the tick they follow, before the next one (`clk` of a send is the tick before).
* A ready clock carries, in its low bits, which kind of rule set it. So every tick in which a data
  bus is idle is put down to what it waited for, at the moment it is used again.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar
from typing import overload as either

import numpy as np
from numba import njit, types
from numba.core.types import unliteral
from numba.extending import intrinsic, overload


class Int64s(Protocol):
    """A row of 64-bit integers: an array, or compiled a bare pointer into one."""

    @either
    def __getitem__(self, at: int) -> int: ...
    @either
    def __getitem__(self, at: slice) -> Int64s: ...
    def __setitem__(self, at: int, value: int) -> None: ...


F = TypeVar("F")


def kernel(function: F) -> F:
    """A compiled function. It is compiled once for all values of its arguments.

    Numba would compile it anew for each constant that it is called with, which takes longer to
    compile and makes more code, that runs slower.
    """
    compiled: Any = njit(cache=True)(function)
    if compiled is function:  # compilation is switched off
        return function
    template_of = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: template_of(tuple(map(unliteral, args)), kws)
    result: F = compiled
    return result


# ---------------------------------------------------------------------------- plain pointers
def pointer_to(array: Int64s, start: int) -> Int64s:
    """The array from `start` on. Compiled: a bare pointer, which costs no reference counting."""
    return array[start:]


@intrinsic
def _pointer(context: Any, array: Any, start: Any) -> Any:
    is_array = isinstance(array, types.Array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = args[0]
        if is_array:
            data = context.make_array(signature.args[0])(context, builder, data).data
        return builder.gep(data, [args[1]])

    pointer: Any = types.CPointer
    return pointer(types.int64)(array, types.int64), codegen


_compiled_pointer: Any = _pointer  # its first parameter is the compiler's


@overload(pointer_to, strict=False)
def _pointer_to(array: Any, start: Any) -> Any:
    return lambda array, start: _compiled_pointer(array, start)


# ---------------------------------------------------------------------------- commands and classes
ACT, ACT2, PREPB, PREAB, CAS_RD, CAS_WR, RD, WR, RDA, WRA, REFAB, REFPB = range(12)
COMMANDS = 12
COLUMN, ACTIVATE, PRECHARGE = range(3)  # classes of candidates
CLASSES = 3
EVERY_CLASS = 7  # bit mask
ONE_BUS, TWO_BUSES, HALF_CLOCK, SPLIT_ACTIVATE = range(4)
NO_REFRESH, ALL_BANK, PER_BANK, PER_BANK_PAIRS = range(4)
CLOSED, ACTIVATING = -1, -2  # in place of an open row
READ, WRITE, MAINTENANCE = 0, 1, -1
# what an idle data bus waits for; also the kind of a rule, in the low bits of a ready clock
ROW_MISS, REFRESHING, WINDOW, TURNAROUND, GROUP_GAP, STARVED = range(6)
LOSSES = 6
CAUSE_BITS = 3
CAUSE_MASK = (1 << CAUSE_BITS) - 1
FOREVER = 1 << 60
LONG_AGO = -(1 << 40)
FNV_OFFSET = np.uint64(14695981039346656037)
FNV_PRIME = np.uint64(1099511628211)

# ---------------------------------------------------------------------------- sizes
BANKS = 128
GROUPS = 64
SCOPES = 8
QUEUE_SLOTS = 64
SLOTS = 2 * QUEUE_SLOTS + BANKS
PRIORITY_SLOTS = 1024
BUSES = 8  # data buses of a channel: one per pseudo-channel
LEVELS = 5  # channel to bank
LEVEL_WORDS = 5
ROW_WORDS = 6
ROWS_MAX = 192
HISTORY_WORDS = 512
STREAMS = 32
STREAM_WORDS = 24
DONE_MAX = 64
LOG_WORDS = 12

# ---------------------------------------------------------------------------- layout: settings
(
    KIND, NUM_BANKS, GROUP_SHIFT, NUM_SCOPES, SCOPE_BANK_SHIFT, SCOPE_GROUP_SHIFT, READ_LATENCY,
    ROW_HIT_FIRST, CAP, REFRESH, REFI, REFRESH_BANK_GAP, SET_SHIFT, NUM_PSEUDO, NUM_SETS,
    READ_SLOTS, WRITE_SLOTS, HIGH, LOW, AAD, WCK_READ, WCK_WRITE, PSEUDO_SHIFT, HASHING, LOG_MAX,
    OFFSET_BITS, COLUMN_LOW_MASK, COLUMN_HIGH_SHIFT, COLUMN_HIGH_MASK, COLUMN_HIGH_AT,
    ROW_SHIFT, ROW_MASK, ROW_XOR_SHIFT, ROW_XOR_MASK, NUM_LEVELS, CHANNEL, REFRESH_TO_ACT,
    COLUMN_LOW_SHIFT, RATE, REFRESH_DEPTH, NUM_GROUPS, SKIPPING, STRIDE_SHIFT, TOP_SHIFT,
    BURST, OFFER_GAP, SEEN_FROM, SEEN_TO,
) = range(48)  # fmt: skip
LEVEL_AT = 48  # per level: address shift, mask, place in the bank number, xor shift, xor mask
COMMAND_ID_AT = LEVEL_AT + LEVELS * LEVEL_WORDS  # the standard's number of each command
ROW_START_AT = COMMAND_ID_AT + COMMANDS  # first row of each preceding command, and the end
ROWS_AT = ROW_START_AT + COMMANDS + 1
SETTINGS = ROWS_AT + ROWS_MAX * ROW_WORDS
# kinds of rows: what is raised
ROW_BANK, ROW_GROUPS, ROW_SCOPES, ROW_SIBLINGS, ROW_WINDOW = range(5)

# ---------------------------------------------------------------------------- layout: state
# scalars
S0 = SETTINGS
(
    CLK, WRITE_MODE, NEXT_SEQ, NUM_FREE, NUM_ACTIVE, NUM_PRIORITY, REFRESH_NEXT, REFRESH_BANK,
    REFRESH_SET, PAIR_PSEUDO, CAP_BOUND, ACTIVE_BOUND, RISE_PSEUDO, RISE_BANK, RISE_EDGE,
    OWNER, DEADLINE, CAS_SLOT, CAS_FROM, WCK_UNTIL, LAST_READ_DONE, REFRESH_HOLD,
    PICK_FROM, PICK_SLOT, PICK_COMMAND, DECODED_BANK, DECODED_ROW, DECODED_COLUMN,
    NUM_DONE, NUM_LOG, NUM_STREAMS, TURN, SENT_AT, SENT_NOW, PAIR_DUE, NOTED_TARGET, ROUNDS,
    ROUND_SEEN, NUM_ENTRIES, LEAD_SENT, ANCHOR_AGE, ANCHOR_TERM, IS_STUCK,
    REFRESHES_DUE, HOLD_FROM, HOLD_TO, BACKLOG, FIRST_END,
) = range(S0, S0 + 48)  # fmt: skip
# counters: what a run adds up; nothing of the future depends on them
N0 = S0 + 48
(
    HITS, MISSES, CONFLICTS, FORWARDED, COALESCED, READ_LATENCY_SUM, NUM_COMMANDS, LAST_COMMAND,
    HASH, BUSY, REFRESH_BLOCKED, SKIPPED, READS_IN, WRITES_IN, LAST_SENT, UNFED,
) = range(N0, N0 + 16)  # fmt: skip
LOST_AT = N0 + 16  # [loss] ticks in which a data bus was idle, by what it waited for
DATA_TICKS = LOST_AT + LOSSES  # ticks with data, of all data buses
SEEN_LOST_AT = DATA_TICKS + 1  # the same, inside a window
SEEN_DATA_TICKS = SEEN_LOST_AT + LOSSES
COUNT_AT = SEEN_DATA_TICKS + 2
COUNTERS_END = COUNT_AT + COMMANDS
# arrays
QUEUE_LEN_AT = COUNTERS_END  # [queue]
BOUND_AT = QUEUE_LEN_AT + 2  # [queue, class]
READY_BANK_AT = BOUND_AT + 2 * CLASSES  # [command, bank]
READY_GROUP_AT = READY_BANK_AT + COMMANDS * BANKS  # [command, group]
READY_SCOPE_AT = READY_GROUP_AT + COMMANDS * GROUPS  # [PREAB or REFAB, scope]
HISTORY_AT = READY_SCOPE_AT + 2 * SCOPES
OPEN_ROW_AT = HISTORY_AT + HISTORY_WORDS  # [bank]
OPENER_AT = OPEN_ROW_AT + BANKS  # [bank] tag of the request that opened the row
NUM_ACTIVE_AT = OPENER_AT + BANKS  # [bank] requests in the active buffer
SCOPE_OPEN_AT = NUM_ACTIVE_AT + BANKS  # [scope] banks that are not closed
SCOPE_ACTIVE_AT = SCOPE_OPEN_AT + SCOPES  # [scope] requests in the active buffer
CAP_COUNT_AT = SCOPE_ACTIVE_AT + SCOPES  # [bank]
CAP_SENT_AT = CAP_COUNT_AT + BANKS  # [bank] a precharge waits in the priority queue
SET_COUNT_AT = CAP_SENT_AT + BANKS  # [pseudo-channel, stack id] of paired refreshes
SET_ALLOWED_AT = SET_COUNT_AT + 16
HEAD_AT = SET_ALLOWED_AT + 16  # [queue, bank] oldest request
TAIL_AT = HEAD_AT + 2 * BANKS
HIT_AT = TAIL_AT + 2 * BANKS  # [queue, bank] oldest request of the open row
CONFLICT_AT = HIT_AT + 2 * BANKS  # [queue, bank] oldest request of another row
CANDIDATE_AT = CONFLICT_AT + 2 * BANKS  # [queue, class, bank] slot or -1
KEY_AT = CANDIDATE_AT + 2 * CLASSES * BANKS  # [queue, class, bank] sequence number
PLACE_AT = KEY_AT + 2 * CLASSES * BANKS  # [queue, class, bank] place in the list
LIST_AT = PLACE_AT + 2 * CLASSES * BANKS  # [queue, class, place] bank
LIST_LEN_AT = LIST_AT + 2 * CLASSES * BANKS  # [queue, class]
SLOT_BANK_AT = LIST_LEN_AT + 2 * CLASSES  # requests, [slot]
SLOT_ROW_AT = SLOT_BANK_AT + SLOTS
SLOT_COLUMN_AT = SLOT_ROW_AT + SLOTS
SLOT_ADDRESS_AT = SLOT_COLUMN_AT + SLOTS
SLOT_ARRIVAL_AT = SLOT_ADDRESS_AT + SLOTS
SLOT_SEQ_AT = SLOT_ARRIVAL_AT + SLOTS
SLOT_TAG_AT = SLOT_SEQ_AT + SLOTS
SLOT_WRITE_AT = SLOT_TAG_AT + SLOTS
SLOT_BEGUN_AT = SLOT_WRITE_AT + SLOTS  # hit, miss or conflict has been counted
SLOT_NEXT_AT = SLOT_BEGUN_AT + SLOTS
SLOT_BEFORE_AT = SLOT_NEXT_AT + SLOTS
BUS_LAST_AT = SLOT_BEFORE_AT + SLOTS  # [bus] tick of the last column command
BUS_UNFED_AT = BUS_LAST_AT + BUSES  # [bus] UNFED at that command
BUS_INSIDE_AT = BUS_UNFED_AT + BUSES  # [bus] requests queued or activated
BUS_SINCE_AT = BUS_INSIDE_AT + BUSES  # [bus] since when without a break
ACT_FROM_AT = BUS_SINCE_AT + BUSES  # [bank] what kept its last activate waiting, from when
ACT_TO_AT = ACT_FROM_AT + BANKS  # [bank] ... until when
ACT_CAUSE_AT = ACT_TO_AT + BANKS  # [bank] ... and why
FREE_AT = ACT_CAUSE_AT + BANKS
ACTIVE_AT = FREE_AT + SLOTS  # [place] slots in the order of their activates
PRIORITY_COMMAND_AT = ACTIVE_AT + SLOTS  # [place]
PRIORITY_TARGET_AT = PRIORITY_COMMAND_AT + PRIORITY_SLOTS  # [place] bank, or scope of an all-bank
STREAM_AT = PRIORITY_TARGET_AT + PRIORITY_SLOTS  # [stream, word]
DONE_AT = STREAM_AT + STREAMS * STREAM_WORDS  # [place] tag, tick: completions not yet fetched
LOG_AT = DONE_AT + 2 * DONE_MAX
STATE_END = LOG_AT  # the log itself, LOG_MAX * LOG_WORDS long, comes last

# words of a stream
(
    ST_STATE, ST_ADDRESS, ST_WRITE, ST_INTERVAL, ST_DUE, ST_SENT, ST_TOTAL, ST_DONE, ST_DONE_AT,
    ST_BLOCKED, ST_BASE, ST_C0, ST_C1, ST_C2, ST_S0, ST_S1, ST_S2, ST_I0, ST_I1, ST_I2,
    ST_DIM, ST_UNIT,
) = range(22)  # fmt: skip
ST_RUNNING = 1  # the state of a stream; 0 is a free slot
DUE_ONE = 65536  # one tick in the fixed-point clock of arrivals


# ---------------------------------------------------------------------------- ready clocks
@kernel
def ready_at(m: Int64s, command: int, bank: int) -> int:
    """First tick at which `command` to `bank` satisfies every rule."""
    own = m[READY_BANK_AT + command * BANKS + bank]
    above = m[READY_GROUP_AT + command * GROUPS + (bank >> m[GROUP_SHIFT])]
    return max(own, above) >> CAUSE_BITS


@kernel
def push_history(m: Int64s, at: int, window: int, t: int) -> int:
    """Adds an issue, and returns the `window`-th most recent one, this one included."""
    for i in range(window - 1, 0, -1):
        m[at + i] = m[at + i - 1]
    m[at] = t
    return m[at + window - 1]


@kernel
def raise_range(m: Int64s, first: int, count: int, ready: int) -> None:
    """Ready clocks of neighbours: no earlier than `ready`."""
    for i in range(first, first + count):
        m[i] = max(m[i], ready)


@kernel
def raise_some(m: Int64s, first: int, shift: int, ready: int) -> None:
    """Ready clocks of 2^shift neighbours; a few without a loop, whose end is hard to guess."""
    if shift == 0:
        m[first] = max(m[first], ready)
    elif shift == 1:
        m[first] = max(m[first], ready)
        m[first + 1] = max(m[first + 1], ready)
    elif shift == 2:
        m[first] = max(m[first], ready)
        m[first + 1] = max(m[first + 1], ready)
        m[first + 2] = max(m[first + 2], ready)
        m[first + 3] = max(m[first + 3], ready)
    else:
        raise_range(m, first, 1 << shift, ready)


@kernel
def note_issue(m: Int64s, command: int, bank: int, t: int) -> None:
    """Raises what a command to one bank makes wait."""
    group = bank >> m[GROUP_SHIFT]
    now = t << CAUSE_BITS
    for i in range(m[ROW_START_AT + command], m[ROW_START_AT + command + 1]):
        row = ROWS_AT + i * ROW_WORDS
        kind, at, shift = m[row], m[row + 1], m[row + 3]
        ready = now + m[row + 2]
        if kind == ROW_BANK:
            m[at + bank] = max(m[at + bank], ready)
        elif kind == ROW_GROUPS:
            raise_some(m, at + ((group >> shift) << shift), shift, ready)
        elif kind == ROW_SCOPES:
            scope = bank >> m[SCOPE_BANK_SHIFT]
            raise_some(m, at + ((scope >> shift) << shift), shift, ready)
        elif kind == ROW_SIBLINGS:
            above = m[row + 4]
            own, first = (group >> shift) << shift, (group >> above) << above
            raise_range(m, at + first, own - first, ready)
            after = own + (1 << shift)
            raise_range(m, at + after, first + (1 << above) - after, ready)
        else:
            window = m[row + 4]
            oldest = push_history(m, m[row + 5] + (group >> shift) * window, window, t)
            first = at + ((group >> shift) << shift)
            raise_some(m, first, shift, (oldest << CAUSE_BITS) + m[row + 2])


@kernel
def note_issue_all(m: Int64s, command: int, scope: int, t: int) -> None:
    """Raises what a command to all banks of a scope makes wait (such commands have no windows)."""
    for i in range(m[ROW_START_AT + command], m[ROW_START_AT + command + 1]):
        row = ROWS_AT + i * ROW_WORDS
        kind, at = m[row], m[row + 1]
        ready = (t << CAUSE_BITS) + m[row + 2]
        if kind == ROW_BANK:
            banks = m[SCOPE_BANK_SHIFT]
            raise_range(m, at + (scope << banks), 1 << banks, ready)
        elif kind == ROW_SCOPES:
            shift = m[row + 3]
            raise_range(m, at + ((scope >> shift) << shift), 1 << shift, ready)
        elif kind == ROW_GROUPS:
            groups = m[SCOPE_GROUP_SHIFT]
            first, shift = scope << groups, max(m[row + 3], groups)
            raise_range(m, at + ((first >> shift) << shift), 1 << shift, ready)


# ---------------------------------------------------------------------------- candidates of a queue
@kernel
def class_command(queue: int, kind: int) -> int:
    """The command that candidates of a class wait for."""
    if kind == COLUMN:
        return RD + queue
    return ACT if kind == ACTIVATE else PREPB


@kernel
def set_candidate(m: Int64s, queue: int, kind: int, bank: int, slot: int) -> None:
    """Makes `slot` (or none, -1) the candidate of a bank in one class."""
    table = (queue * CLASSES + kind) * BANKS
    old = m[CANDIDATE_AT + table + bank]
    length = LIST_LEN_AT + queue * CLASSES + kind
    if slot < 0:
        if old >= 0:
            place, last = m[PLACE_AT + table + bank], m[length] - 1
            moved = m[LIST_AT + table + last]
            m[LIST_AT + table + place] = moved
            m[PLACE_AT + table + moved] = place
            m[length] = last
            m[CANDIDATE_AT + table + bank] = -1
        return
    if old < 0:
        m[LIST_AT + table + m[length]] = bank
        m[PLACE_AT + table + bank] = m[length]
        m[length] += 1
    m[CANDIDATE_AT + table + bank] = slot
    m[KEY_AT + table + bank] = m[SLOT_SEQ_AT + slot]
    bound = BOUND_AT + queue * CLASSES + kind
    m[bound] = min(m[bound], ready_at(m, class_command(queue, kind), bank))


@kernel
def set_precharge(m: Int64s, queue: int, bank: int) -> None:
    """The oldest conflict may close the bank, unless an activated request still needs the row."""
    slot = m[CONFLICT_AT + queue * BANKS + bank]
    if slot >= 0 and m[NUM_ACTIVE_AT + bank] > 0:
        slot = -1
    hit = m[HIT_AT + queue * BANKS + bank]
    if slot >= 0 and m[ROW_HIT_FIRST] == 1 and hit >= 0:
        if m[SLOT_ARRIVAL_AT + hit] <= m[SLOT_ARRIVAL_AT + slot]:
            slot = -1
    set_candidate(m, queue, PRECHARGE, bank, slot)


@kernel
def sort_bank(m: Int64s, queue: int, bank: int) -> None:
    """Finds a bank's candidates anew after its row was opened or closed."""
    place = queue * BANKS + bank
    head = m[HEAD_AT + place]
    if head < 0:  # it has no candidates, and had none before
        return
    row = m[OPEN_ROW_AT + bank]
    hit, conflict = -1, -1
    if row >= 0:
        slot = head
        while slot >= 0 and (hit < 0 or conflict < 0):
            if m[SLOT_ROW_AT + slot] == row:
                if hit < 0:
                    hit = slot
            elif conflict < 0:
                conflict = slot
            slot = m[SLOT_NEXT_AT + slot]
    m[HIT_AT + place] = hit
    m[CONFLICT_AT + place] = conflict
    set_candidate(m, queue, ACTIVATE, bank, head if row == CLOSED else -1)
    set_candidate(m, queue, COLUMN, bank, hit)
    set_precharge(m, queue, bank)


@kernel
def enqueue(m: Int64s, queue: int, address: int, tag: int, clk: int) -> None:
    """Puts the request whose address was just decoded into a queue."""
    m[NUM_FREE] -= 1
    slot = m[FREE_AT + m[NUM_FREE]]
    bank, row = m[DECODED_BANK], m[DECODED_ROW]
    m[SLOT_BANK_AT + slot] = bank
    m[SLOT_ROW_AT + slot] = row
    m[SLOT_COLUMN_AT + slot] = m[DECODED_COLUMN]
    m[SLOT_ADDRESS_AT + slot] = address
    m[SLOT_ARRIVAL_AT + slot] = clk
    m[SLOT_SEQ_AT + slot] = m[NEXT_SEQ]
    m[NEXT_SEQ] += 1
    m[SLOT_TAG_AT + slot] = tag
    m[SLOT_WRITE_AT + slot] = queue
    m[SLOT_BEGUN_AT + slot] = 0
    bus = bank >> m[PSEUDO_SHIFT]
    if m[BUS_INSIDE_AT + bus] == 0:
        m[BUS_SINCE_AT + bus] = clk
    m[BUS_INSIDE_AT + bus] += 1
    m[QUEUE_LEN_AT + queue] += 1
    place = queue * BANKS + bank
    tail = m[TAIL_AT + place]
    m[SLOT_NEXT_AT + slot] = -1
    m[SLOT_BEFORE_AT + slot] = tail
    m[TAIL_AT + place] = slot
    if tail >= 0:
        m[SLOT_NEXT_AT + tail] = slot
    else:
        m[HEAD_AT + place] = slot
    open_row = m[OPEN_ROW_AT + bank]
    if open_row == CLOSED:
        if tail < 0:
            set_candidate(m, queue, ACTIVATE, bank, slot)
    elif open_row == row:
        if m[HIT_AT + place] < 0:
            m[HIT_AT + place] = slot
            set_candidate(m, queue, COLUMN, bank, slot)
            if m[ROW_HIT_FIRST] == 1:
                set_precharge(m, queue, bank)
    elif open_row >= 0 and m[CONFLICT_AT + place] < 0:
        m[CONFLICT_AT + place] = slot
        set_precharge(m, queue, bank)


@kernel
def unlink(m: Int64s, slot: int) -> None:
    """Takes a request out of its queue; its bank's hit moves on to the next of the open row."""
    queue, bank = m[SLOT_WRITE_AT + slot], m[SLOT_BANK_AT + slot]
    place = queue * BANKS + bank
    before, after = m[SLOT_BEFORE_AT + slot], m[SLOT_NEXT_AT + slot]
    if before >= 0:
        m[SLOT_NEXT_AT + before] = after
    else:
        m[HEAD_AT + place] = after
    if after >= 0:
        m[SLOT_BEFORE_AT + after] = before
    else:
        m[TAIL_AT + place] = before
    m[QUEUE_LEN_AT + queue] -= 1
    if m[HIT_AT + place] == slot:
        row = m[SLOT_ROW_AT + slot]
        while after >= 0 and m[SLOT_ROW_AT + after] != row:
            after = m[SLOT_NEXT_AT + after]
        m[HIT_AT + place] = after
    if m[HEAD_AT + place] < 0:
        m[HIT_AT + place] = -1
        m[CONFLICT_AT + place] = -1
        for kind in range(CLASSES):
            set_candidate(m, queue, kind, bank, -1)


# ---------------------------------------------------------------------------- addresses
@kernel
def decode(m: Int64s, address: int) -> None:
    """Byte address to bank number, row and column (in bursts)."""
    a = address >> m[OFFSET_BITS]
    column = (a >> m[COLUMN_LOW_SHIFT]) & m[COLUMN_LOW_MASK]
    column |= ((a >> m[COLUMN_HIGH_SHIFT]) & m[COLUMN_HIGH_MASK]) << m[COLUMN_HIGH_AT]
    bank = 0
    for level in range(1, m[NUM_LEVELS]):
        at = LEVEL_AT + level * LEVEL_WORDS
        field = ((a >> m[at]) & m[at + 1]) ^ ((column >> m[at + 3]) & m[at + 4])
        bank |= field << m[at + 2]
    m[DECODED_BANK] = bank
    m[DECODED_COLUMN] = column
    row = (a >> m[ROW_SHIFT]) & m[ROW_MASK]
    m[DECODED_ROW] = row ^ ((column >> m[ROW_XOR_SHIFT]) & m[ROW_XOR_MASK])


@kernel
def is_write_queued(m: Int64s, address: int) -> bool:
    """Whether the write queue holds a write to exactly the decoded address."""
    slot = m[HEAD_AT + BANKS + m[DECODED_BANK]]
    while slot >= 0:
        if m[SLOT_ADDRESS_AT + slot] == address:
            return True
        slot = m[SLOT_NEXT_AT + slot]
    return False


@kernel
def complete(m: Int64s, tag: int, t: int) -> None:
    """Notes that a request is done at tick `t`, which may lie ahead."""
    if m[NUM_STREAMS] >= 0:
        at = STREAM_AT + tag * STREAM_WORDS
        m[at + ST_DONE] += 1
        m[at + ST_DONE_AT] = max(m[at + ST_DONE_AT], t)
        if m[at + ST_DONE] == m[at + ST_TOTAL]:
            m[FIRST_END] = min(m[FIRST_END], m[at + ST_DONE_AT])
        return
    at = DONE_AT + 2 * m[NUM_DONE]
    m[at] = tag
    m[at + 1] = t
    m[NUM_DONE] += 1


@kernel
def finish_read(m: Int64s, tag: int, depart: int) -> None:
    """Data returns in the order of the commands: not before that of an older read."""
    done = max(depart, m[LAST_READ_DONE])
    m[LAST_READ_DONE] = done
    complete(m, tag, done)


@kernel
def send(m: Int64s, address: int, is_write: int, tag: int, clk: int) -> bool:
    """Offers a request; False when its queue is full."""
    has_room = m[QUEUE_LEN_AT + is_write] < m[READ_SLOTS + is_write]
    has_writes = m[QUEUE_LEN_AT + WRITE] > 0
    if not has_room and not has_writes:
        return False
    decode(m, address)
    if has_writes and is_write_queued(m, address):
        if is_write == 1:
            m[COALESCED] += 1
            complete(m, tag, clk)
        else:
            m[FORWARDED] += 1
            m[READ_LATENCY_SUM] += 1
            finish_read(m, tag, clk + 1)
    elif not has_room:
        return False
    else:
        enqueue(m, is_write, address, tag, clk)
    m[READS_IN + is_write] += 1
    return True


# ---------------------------------------------------------------------------- log and hash
@kernel
def vector_word(m: Int64s, level: int, bank: int, depth: int) -> int:
    """Index at one level of a bank number; -1 below `depth` levels."""
    if level == 0:
        return m[CHANNEL]
    if level >= depth:
        return -1
    at = LEVEL_AT + level * LEVEL_WORDS
    return (bank >> m[at + 2]) & m[at + 1]


@kernel
def mix(hashed: np.uint64, word: int) -> np.uint64:
    """One step of the FNV-1a hash, over words."""
    return (hashed ^ np.uint64(word)) * FNV_PRIME


@kernel
def note_command(
    m: Int64s, command: int, bank: int, row: int, column: int, depth: int, slot: int, t: int
) -> None:
    """Counts a command; hashes and logs it if asked to."""
    m[COUNT_AT + command] += 1
    m[NUM_COMMANDS] += 1
    m[LAST_COMMAND] = t
    levels = m[NUM_LEVELS]
    if m[HASHING] == 1:
        hashed = mix(mix(np.uint64(m[HASH]), t), m[COMMAND_ID_AT + command])
        for level in range(levels):
            hashed = mix(hashed, vector_word(m, level, bank, depth))
        m[HASH] = int(np.int64(mix(mix(hashed, row), column)))
    if m[NUM_LOG] < m[LOG_MAX]:
        at = LOG_AT + m[NUM_LOG] * LOG_WORDS
        m[at] = t
        m[at + 1] = m[COMMAND_ID_AT + command]
        for level in range(levels):
            m[at + 2 + level] = vector_word(m, level, bank, depth)
        m[at + 2 + levels] = row
        m[at + 3 + levels] = column
        m[at + 4 + levels] = m[SLOT_WRITE_AT + slot] if slot >= 0 else MAINTENANCE
        m[at + 5 + levels] = m[SLOT_ARRIVAL_AT + slot] if slot >= 0 else -1
        m[NUM_LOG] += 1


# ---------------------------------------------------------------------------- idle data buses
@kernel
def seen(m: Int64s, start: int, end: int) -> int:
    """Ticks of an interval inside the window; a burst's own count as those before its command."""
    return max(0, min(end - m[BURST], m[SEEN_TO]) - max(start - m[BURST], m[SEEN_FROM]))


@kernel
def lose(m: Int64s, cause: int, start: int, end: int) -> None:
    """Puts an interval down to a cause."""
    m[LOST_AT + cause] += end - start
    if m[SEEN_TO] > 0:
        m[SEEN_LOST_AT + cause] += seen(m, start, end)


@kernel
def move_loss(m: Int64s, old: int, cause: int, start: int, end: int) -> None:
    """Puts an interval down to another cause."""
    m[LOST_AT + cause] += end - start
    m[LOST_AT + old] -= end - start
    if m[SEEN_TO] > 0:
        inside = seen(m, start, end)
        m[SEEN_LOST_AT + cause] += inside
        m[SEEN_LOST_AT + old] -= inside


@kernel
def note_activate(m: Int64s, bank: int) -> None:
    """Notes what an activate about to be issued waited for, beyond its own bank's row cycle."""
    own = m[READY_BANK_AT + ACT * BANKS + bank]
    above = m[READY_GROUP_AT + ACT * GROUPS + (bank >> m[GROUP_SHIFT])]
    binding = max(own, above)
    m[ACT_TO_AT + bank] = binding >> CAUSE_BITS
    m[ACT_CAUSE_AT + bank] = binding & CAUSE_MASK
    m[ACT_FROM_AT + bank] = own >> CAUSE_BITS if above > own else LONG_AGO


@kernel
def explain_gap(m: Int64s, slot: int, command: int, free: int, t: int) -> None:
    """Puts the ticks [free, t) in which a data bus was idle down to what it waited for.

    First for requests (as long as nobody sent any, or none was for this bus); then for refreshes
    waiting to be issued; then for what held the activate of the bank that is used next; the rest
    for the rule that bound its column command last.
    """
    bank = m[SLOT_BANK_AT + slot]
    bus = bank >> m[PSEUDO_SHIFT]
    start = max(free + m[UNFED] - m[BUS_UNFED_AT + bus], m[BUS_SINCE_AT + bus] + 1)
    start = min(t, max(free, start))
    own = m[READY_BANK_AT + command * BANKS + bank]
    binding = max(own, m[READY_GROUP_AT + command * GROUPS + (bank >> m[GROUP_SHIFT])])
    cause = binding & CAUSE_MASK
    if binding >> CAUSE_BITS <= start:  # no rule: it came late, or others had the command bus
        start = min(t, max(start, m[SLOT_ARRIVAL_AT + slot] + 1))
        cause = TURNAROUND if m[CAS_SLOT] >= 0 else ROW_MISS  # data clock, or row commands
    hold_from = max(start, m[HOLD_FROM])
    hold_to = max(hold_from, t if m[REFRESHES_DUE] > 0 else min(t, m[HOLD_TO]))
    wait_from = max(start, m[ACT_FROM_AT + bank], hold_to if hold_to > hold_from else start)
    wait_to = max(wait_from, min(t, m[ACT_TO_AT + bank]))
    lose(m, STARVED, free, start)
    lose(m, cause, start, t)
    move_loss(m, cause, REFRESHING, hold_from, hold_to)
    move_loss(m, cause, m[ACT_CAUSE_AT + bank], wait_from, wait_to)


@kernel
def note_burst(m: Int64s, slot: int, command: int, t: int) -> None:
    """Counts the burst of a column command about to be issued, and the idle time before it."""
    bus = m[SLOT_BANK_AT + slot] >> m[PSEUDO_SHIFT]
    free = m[BUS_LAST_AT + bus] + m[BURST]
    if t > free:
        explain_gap(m, slot, command, free, t)
    last = max(t, free)
    m[BUS_LAST_AT + bus] = last
    m[BUS_UNFED_AT + bus] = m[UNFED]
    m[DATA_TICKS] += m[BURST]
    if m[SEEN_TO] > 0:
        m[SEEN_DATA_TICKS] += seen(m, last, last + m[BURST])


# ---------------------------------------------------------------------------- issuing
@kernel
def set_row(m: Int64s, bank: int, row: int) -> None:
    """Opens, half-opens or closes a bank."""
    was_closed = m[OPEN_ROW_AT + bank] == CLOSED
    m[OPEN_ROW_AT + bank] = row
    m[SCOPE_OPEN_AT + (bank >> m[SCOPE_BANK_SHIFT])] += int(was_closed) - int(row == CLOSED)
    if row == CLOSED:
        m[CAP_COUNT_AT + bank] = 0
        m[CAP_SENT_AT + bank] = 0
    sort_bank(m, READ, bank)
    sort_bank(m, WRITE, bank)


@kernel
def count_column(m: Int64s, bank: int) -> None:
    """Row policy: column commands since the bank was opened."""
    m[CAP_COUNT_AT + bank] += 1
    if m[CAP_COUNT_AT + bank] >= m[CAP] and m[CAP_SENT_AT + bank] == 0:
        m[CAP_BOUND] = min(m[CAP_BOUND], ready_at(m, PREPB, bank))


@kernel
def begin_request(m: Int64s, slot: int) -> None:
    """Counts hit, miss or conflict at the first command of a request."""
    if m[SLOT_BEGUN_AT + slot] == 1:
        return
    m[SLOT_BEGUN_AT + slot] = 1
    row = m[OPEN_ROW_AT + m[SLOT_BANK_AT + slot]]
    outcome = HITS if row == m[SLOT_ROW_AT + slot] else CONFLICTS
    outcome = MISSES if row < 0 else outcome
    m[outcome] += 1


@kernel
def leave_active(m: Int64s, slot: int) -> None:
    """Takes a request out of the active buffer."""
    last = m[NUM_ACTIVE] - 1
    place = 0
    while m[ACTIVE_AT + place] != slot:
        place += 1
    for i in range(place, last):
        m[ACTIVE_AT + i] = m[ACTIVE_AT + i + 1]
    m[NUM_ACTIVE] = last


@kernel
def count_active(m: Int64s, bank: int, change: int) -> None:
    """Requests of a bank in the active buffer: while there are, nothing may close it."""
    m[NUM_ACTIVE_AT + bank] += change
    m[SCOPE_ACTIVE_AT + (bank >> m[SCOPE_BANK_SHIFT])] += change


@kernel
def enter_active(m: Int64s, slot: int) -> None:
    """Puts a request whose row was just opened into the active buffer."""
    m[ACTIVE_AT + m[NUM_ACTIVE]] = slot
    m[NUM_ACTIVE] += 1
    bank = m[SLOT_BANK_AT + slot]
    count_active(m, bank, 1)
    ready = ready_at(m, RD + m[SLOT_WRITE_AT + slot], bank)
    m[ACTIVE_BOUND] = min(m[ACTIVE_BOUND], ready)


@kernel
def retire(m: Int64s, slot: int, is_active: bool, t: int) -> None:
    """The column command of a request was issued at `t`."""
    bank = m[SLOT_BANK_AT + slot]
    if is_active:
        leave_active(m, slot)
        count_active(m, bank, -1)
    else:
        unlink(m, slot)
    m[FREE_AT + m[NUM_FREE]] = slot
    m[NUM_FREE] += 1
    m[BUS_INSIDE_AT + (bank >> m[PSEUDO_SHIFT])] -= 1
    if m[SLOT_WRITE_AT + slot] == READ:
        depart = t + m[READ_LATENCY]
        m[READ_LATENCY_SUM] += depart - m[SLOT_ARRIVAL_AT + slot]
        finish_read(m, m[SLOT_TAG_AT + slot], depart)
    else:
        complete(m, m[SLOT_TAG_AT + slot], t)


@kernel
def issue_column(m: Int64s, slot: int, command: int, is_active: bool, t: int) -> None:
    """Issues the read or write of a request, upgraded to auto-precharge by the caller or not."""
    bank, queue = m[SLOT_BANK_AT + slot], m[SLOT_WRITE_AT + slot]
    row, column = m[SLOT_ROW_AT + slot], m[SLOT_COLUMN_AT + slot]
    begin_request(m, slot)
    note_burst(m, slot, command, t)
    note_issue(m, command, bank, t)
    note_command(m, command, bank, row, column, LEVELS, slot, t)
    retire(m, slot, is_active, t)
    if command >= RDA:
        set_row(m, bank, CLOSED)
        return
    if m[CAP] > 0:
        count_column(m, bank)
    if is_active:
        set_precharge(m, READ, bank)
        set_precharge(m, WRITE, bank)
    elif m[HEAD_AT + queue * BANKS + bank] >= 0:
        set_candidate(m, queue, COLUMN, bank, m[HIT_AT + queue * BANKS + bank])
        if m[ROW_HIT_FIRST] == 1:
            set_precharge(m, queue, bank)


@kernel
def issue_row(m: Int64s, slot: int, command: int, t: int) -> None:
    """Issues the activate or precharge that a queued request needs first."""
    bank, row = m[SLOT_BANK_AT + slot], m[SLOT_ROW_AT + slot]
    begin_request(m, slot)
    if command == ACT:
        note_activate(m, bank)
    note_issue(m, command, bank, t)
    note_command(m, command, bank, row, m[SLOT_COLUMN_AT + slot], LEVELS, slot, t)
    if command == PREPB:
        set_row(m, bank, CLOSED)
        return
    unlink(m, slot)
    if m[KIND] == SPLIT_ACTIVATE:
        m[OWNER] = slot
        m[DEADLINE] = t + m[AAD]
        set_row(m, bank, ACTIVATING)
        return
    open_bank(m, slot)


@kernel
def open_bank(m: Int64s, slot: int) -> None:
    """The row of a request is open now: it waits for its column command in the active buffer."""
    bank = m[SLOT_BANK_AT + slot]
    enter_active(m, slot)
    m[OPENER_AT + bank] = m[SLOT_TAG_AT + slot]
    set_row(m, bank, m[SLOT_ROW_AT + slot])


@kernel
def upgraded(m: Int64s, slot: int, command: int, is_active: bool, t: int) -> int:
    """The column command, with auto-precharge when the cap is reached and it is legal.

    Never while another activated request needs the row: Ramulator 2.1 closes it then, the request
    must activate again, and on HBM, whose row slot does not look at activated ones, never can.
    """
    bank = m[SLOT_BANK_AT + slot]
    if m[CAP] > 0 and m[CAP_COUNT_AT + bank] >= m[CAP]:
        is_needed = m[NUM_ACTIVE_AT + bank] > int(is_active)
        if not is_needed and ready_at(m, command + 2, bank) <= t:
            return command + 2
    return command


@kernel
def issue_priority(m: Int64s, command: int, t: int) -> None:
    """Issues the head of the priority queue, or what it needs first."""
    target, wanted = m[PRIORITY_TARGET_AT], m[PRIORITY_COMMAND_AT]
    if command == PREAB or command == REFAB:
        first = target << m[SCOPE_BANK_SHIFT]
        note_issue_all(m, command, target, t)
        note_command(m, command, first, -1, -1, m[REFRESH_DEPTH], -1, t)
        if command == PREAB:
            for bank in range(first, first + (1 << m[SCOPE_BANK_SHIFT])):
                set_row(m, bank, CLOSED)
        else:
            m[REFRESH_HOLD] = max(m[REFRESH_HOLD], t + m[REFRESH_TO_ACT])
    else:
        note_issue(m, command, target, t)
        note_command(m, command, target, -1, -1, LEVELS, -1, t)
        if command == PREPB:
            set_row(m, target, CLOSED)
    if command == wanted:
        if command >= REFAB:
            m[REFRESHES_DUE] -= 1
            m[HOLD_TO] = t
        last = m[NUM_PRIORITY] - 1
        for i in range(last):
            m[PRIORITY_COMMAND_AT + i] = m[PRIORITY_COMMAND_AT + i + 1]
            m[PRIORITY_TARGET_AT + i] = m[PRIORITY_TARGET_AT + i + 1]
        m[NUM_PRIORITY] = last


# ---------------------------------------------------------------------------- choosing
@kernel
def push_refresh(m: Int64s, command: int, target: int, t: int) -> None:
    """Appends a refresh to the priority queue."""
    if m[REFRESHES_DUE] == 0:
        m[HOLD_FROM] = t
    m[REFRESHES_DUE] += 1
    push_priority(m, command, target)


@kernel
def push_priority(m: Int64s, command: int, target: int) -> None:
    """Appends to the priority queue. Full: the channel is stuck, and says so."""
    if m[NUM_PRIORITY] == PRIORITY_SLOTS:
        m[IS_STUCK] = 1
        return
    m[PRIORITY_COMMAND_AT + m[NUM_PRIORITY]] = command
    m[PRIORITY_TARGET_AT + m[NUM_PRIORITY]] = target
    m[NUM_PRIORITY] += 1


@kernel
def priority_command(m: Int64s) -> int:
    """What the head of the priority queue needs next; -1 while activated requests forbid it."""
    wanted, target = m[PRIORITY_COMMAND_AT], m[PRIORITY_TARGET_AT]
    if wanted == REFAB:
        if m[SCOPE_OPEN_AT + target] == 0:
            return REFAB
        return -1 if m[SCOPE_ACTIVE_AT + target] > 0 else PREAB
    if wanted == REFPB and m[OPEN_ROW_AT + target] == CLOSED:
        return REFPB
    return -1 if m[NUM_ACTIVE_AT + target] > 0 else PREPB


@kernel
def priority_ready_at(m: Int64s, command: int) -> int:
    """First tick at which the head's command satisfies every rule."""
    target = m[PRIORITY_TARGET_AT]
    if command == PREAB:
        return m[READY_SCOPE_AT + target] >> CAUSE_BITS
    if command == REFAB:
        return m[READY_SCOPE_AT + SCOPES + target] >> CAUSE_BITS
    return ready_at(m, command, target)


@kernel
def is_paired(m: Int64s, command: int, bank: int, t: int) -> bool:
    """Whether a precharge on a falling edge collides with the row command of the rising one."""
    if t != m[RISE_EDGE] or bank >> m[PSEUDO_SHIFT] != m[RISE_PSEUDO]:
        return False
    return m[RISE_BANK] < 0 or command == PREAB or bank == m[RISE_BANK]


@kernel
def pick_priority(m: Int64s, classes: int, t: int, is_falling: bool) -> bool:
    """Whether the head of the priority queue can go now; leaves its command in PICK_COMMAND."""
    command = priority_command(m)
    if command < 0 or priority_ready_at(m, command) > t:
        return False
    is_precharge = command == PREAB or command == PREPB
    if (classes >> (PRECHARGE if is_precharge else ACTIVATE)) & 1 == 0:
        return False
    target = m[PRIORITY_TARGET_AT]
    is_all = command == PREAB or command == REFAB
    first = target << m[SCOPE_BANK_SHIFT] if is_all else target
    if is_falling and is_paired(m, command, first, t):
        return False
    if m[OWNER] >= 0:  # a half-activated bank may not be closed or refreshed
        owned = m[SLOT_BANK_AT + m[OWNER]]
        if owned == first or (is_all and owned >> m[SCOPE_BANK_SHIFT] == target):
            return False
    m[PICK_FROM] = 2
    m[PICK_COMMAND] = command
    return True


@kernel
def pick_active(m: Int64s, t: int) -> bool:
    """The oldest ready request of the active buffer, if any; bounds the next if none."""
    best, best_arrival, soon, num_ready = -1, FOREVER, FOREVER, 0
    for i in range(m[NUM_ACTIVE]):
        slot = m[ACTIVE_AT + i]
        ready = ready_at(m, RD + m[SLOT_WRITE_AT + slot], m[SLOT_BANK_AT + slot])
        arrival = m[SLOT_ARRIVAL_AT + slot]
        num_ready += ready <= t
        soon = min(soon, ready if ready > t else FOREVER)
        is_better = (ready <= t) & (arrival < best_arrival)
        best = slot if is_better else best
        best_arrival = arrival if is_better else best_arrival
    m[ACTIVE_BOUND] = soon if num_ready < 2 else t + 1
    if best < 0:
        return False
    m[PICK_FROM] = 1
    m[PICK_SLOT] = best
    m[PICK_COMMAND] = RD + m[SLOT_WRITE_AT + best]
    return True


@kernel
def first_ready(m: Int64s, queue: int, kind: int) -> int:
    """First tick at which a candidate of a class is ready."""
    table = (queue * CLASSES + kind) * BANKS
    own = READY_BANK_AT + class_command(queue, kind) * BANKS
    above = READY_GROUP_AT + class_command(queue, kind) * GROUPS
    shift = m[GROUP_SHIFT]
    soon = FOREVER
    for i in range(m[LIST_LEN_AT + queue * CLASSES + kind]):
        bank = m[LIST_AT + table + i]
        soon = min(soon, max(m[own + bank], m[above + (bank >> shift)]) >> CAUSE_BITS)
    return soon


@kernel
def pick_class(m: Int64s, queue: int, kind: int, t: int, key: int, is_falling: bool) -> int:
    """Bank of the oldest ready candidate older than `key`, or -1; bounds the next if none is."""
    table = (queue * CLASSES + kind) * BANKS
    command = class_command(queue, kind)
    own, above = READY_BANK_AT + command * BANKS, READY_GROUP_AT + command * GROUPS
    shift = m[GROUP_SHIFT]
    best, soon = -1, FOREVER
    for i in range(m[LIST_LEN_AT + queue * CLASSES + kind]):
        bank = m[LIST_AT + table + i]
        ready = max(m[own + bank], m[above + (bank >> shift)]) >> CAUSE_BITS
        soon = min(soon, ready)
        own_key = m[KEY_AT + table + bank]
        is_better = (ready <= t) & (own_key < key)  # no branch: it would be a coin toss
        if is_falling and is_better and is_paired(m, command, bank, t):
            continue
        best = bank if is_better else best
        key = own_key if is_better else key
    m[BOUND_AT + queue * CLASSES + kind] = max(soon, t)
    return best


@kernel
def pick_queue(m: Int64s, queue: int, classes: int, t: int, is_falling: bool) -> bool:
    """The oldest ready candidate of a queue in the allowed classes; tightens their bounds."""
    best, best_kind, key = -1, -1, FOREVER
    for kind in range(CLASSES):
        if (classes >> kind) & 1 == 0 or m[BOUND_AT + queue * CLASSES + kind] > t:
            continue
        bank = pick_class(m, queue, kind, t, key, is_falling)
        if bank >= 0:
            best, best_kind = bank, kind
            key = m[KEY_AT + (queue * CLASSES + kind) * BANKS + bank]
    if best < 0:
        return False
    m[PICK_FROM] = 0
    m[PICK_COMMAND] = class_command(queue, best_kind)
    m[PICK_SLOT] = m[CANDIDATE_AT + (queue * CLASSES + best_kind) * BANKS + best]
    return True


@kernel
def bound_of(m: Int64s, queue: int, kind: int, t: int) -> int:
    """A tick after `t` before which no candidate of a class is ready; exact if it was past."""
    at = BOUND_AT + queue * CLASSES + kind
    if m[at] <= t:
        m[at] = first_ready(m, queue, kind)
    return max(m[at], t + 1)


@kernel
def write_mode(m: Int64s) -> int:
    """The queue that is served next: 1 while writes are drained."""
    reads, writes = m[QUEUE_LEN_AT], m[QUEUE_LEN_AT + 1]
    if m[WRITE_MODE] == 0:
        return 1 if writes >= m[HIGH] or reads == 0 else 0
    return 0 if writes <= m[LOW] and reads > 0 else 1


@kernel
def pick(m: Int64s, uses_active: bool, classes: int, t: int, is_falling: bool) -> bool:
    """Chooses what to issue: active buffer, then priority queue, then the queue of the mode."""
    if uses_active and m[NUM_ACTIVE] > 0 and m[ACTIVE_BOUND] <= t:
        if pick_active(m, t):
            return True
    if m[NUM_PRIORITY] > 0:
        return pick_priority(m, classes, t, is_falling)
    m[WRITE_MODE] = write_mode(m)
    return pick_queue(m, m[WRITE_MODE], classes, t, is_falling)


@kernel
def issue_picked(m: Int64s, t: int) -> None:
    """Issues what `pick` chose."""
    command = m[PICK_COMMAND]
    if m[PICK_FROM] == 2:
        issue_priority(m, command, t)
        return
    slot, is_active = m[PICK_SLOT], m[PICK_FROM] == 1
    if command >= RD:
        issue_column(m, slot, upgraded(m, slot, command, is_active, t), is_active, t)
    else:
        issue_row(m, slot, command, t)


# ---------------------------------------------------------------------------- one tick
@kernel
def refresh_pairs(m: Int64s, t: int) -> None:
    """The same bank of every pseudo-channel, one of them per tick, every REFI ticks."""
    sets = m[NUM_SETS]
    per_set = 1 << m[SET_SHIFT]
    if m[PAIR_PSEUDO] < 0:
        allowed = t
        for pseudo in range(m[NUM_PSEUDO]):
            allowed = max(allowed, m[SET_ALLOWED_AT + pseudo * sets + m[REFRESH_SET]])
        if allowed > t:
            m[REFRESH_NEXT] = allowed
            return
        m[PAIR_PSEUDO] = 0
    pseudo = m[PAIR_PSEUDO]
    bank = (pseudo << m[PSEUDO_SHIFT]) + (m[REFRESH_SET] << m[SET_SHIFT]) + m[REFRESH_BANK]
    push_refresh(m, REFPB, bank, t)
    own = pseudo * sets + m[REFRESH_SET]
    m[SET_COUNT_AT + own] += 1
    if m[SET_COUNT_AT + own] == per_set:
        m[SET_COUNT_AT + own] = 0
        m[SET_ALLOWED_AT + own] = t + m[REFRESH_BANK_GAP]
    if pseudo == 0:
        m[PAIR_DUE] = m[REFRESH_NEXT]
    m[PAIR_PSEUDO] = pseudo + 1
    m[REFRESH_NEXT] = t + 1
    if pseudo + 1 == m[NUM_PSEUDO]:
        m[PAIR_PSEUDO] = -1
        m[REFRESH_NEXT] = max(m[PAIR_DUE] + m[REFI], t + 1)
        m[REFRESH_BANK] += 1
        if m[REFRESH_BANK] == per_set:
            m[REFRESH_BANK] = 0
            m[REFRESH_SET] = (m[REFRESH_SET] + 1) % sets
            m[ROUNDS] += int(m[REFRESH_SET] == 0)


@kernel
def refresh(m: Int64s, t: int) -> None:
    """Puts due refreshes into the priority queue."""
    if m[REFRESH] == PER_BANK_PAIRS:
        refresh_pairs(m, t)
        return
    if m[REFRESH] == ALL_BANK:
        for scope in range(m[NUM_SCOPES]):
            push_refresh(m, REFAB, scope, t)
        m[ROUNDS] += 1
    else:
        push_refresh(m, REFPB, m[REFRESH_BANK], t)
        m[REFRESH_BANK] = (m[REFRESH_BANK] + 1) % m[NUM_BANKS]
        m[ROUNDS] += int(m[REFRESH_BANK] == 0)
    m[REFRESH_NEXT] += m[REFI]


@kernel
def close_capped(m: Int64s, t: int) -> None:
    """Row policy: a precharge for every bank that reached the cap and may be closed now."""
    bound = FOREVER
    for bank in range(m[NUM_BANKS]):
        if m[CAP_COUNT_AT + bank] < m[CAP] or m[CAP_SENT_AT + bank] == 1:
            continue
        ready = ready_at(m, PREPB, bank)
        if ready <= t:
            push_priority(m, PREPB, bank)
            m[CAP_SENT_AT + bank] = 1
        else:
            bound = min(bound, ready)
    m[CAP_BOUND] = bound


@kernel
def note_rising(m: Int64s, t: int) -> None:
    """Remembers the row command of a rising edge: it restricts a later falling one."""
    command = m[PICK_COMMAND]
    if m[PICK_FROM] == 2:
        target = m[NOTED_TARGET]
        is_all = command == PREAB or command == REFAB
        bank = target << m[SCOPE_BANK_SHIFT] if is_all else target
        m[RISE_BANK] = -1 if is_all else bank
    else:
        bank = m[SLOT_BANK_AT + m[PICK_SLOT]]
        m[RISE_BANK] = bank
    m[RISE_PSEUDO] = bank >> m[PSEUDO_SHIFT]
    m[RISE_EDGE] = t + (3 if command == ACT else 1)


@kernel
def tick_two_buses(m: Int64s, t: int) -> None:
    """Column slot, then row slot; at half clocks, falling edges have precharges only."""
    row_classes = (1 << ACTIVATE) | (1 << PRECHARGE)
    is_half = m[KIND] == HALF_CLOCK
    if is_half and t & 1 == 0:
        if pick(m, False, 1 << PRECHARGE, t, True):
            issue_picked(m, t)
        return
    if pick(m, True, 1 << COLUMN, t, False):
        issue_picked(m, t)
    if pick(m, False, row_classes, t, False):
        m[NOTED_TARGET] = m[PRIORITY_TARGET_AT]
        issue_picked(m, t)
        if is_half:
            note_rising(m, t)


@kernel
def second_activate(m: Int64s, t: int) -> None:
    """Completes the half-done activate."""
    slot = m[OWNER]
    bank, row = m[SLOT_BANK_AT + slot], m[SLOT_ROW_AT + slot]
    m[OWNER] = -1
    note_issue(m, ACT2, bank, t)
    note_command(m, ACT2, bank, row, m[SLOT_COLUMN_AT + slot], LEVELS, slot, t)
    open_bank(m, slot)


@kernel
def keep_awake(m: Int64s, command: int, t: int) -> None:
    """The data clock runs on after a column command."""
    is_read = command == RD or command == RDA
    until = t + (m[WCK_READ] if is_read else m[WCK_WRITE])
    m[WCK_UNTIL] = max(m[WCK_UNTIL], until)


@kernel
def owed_column(m: Int64s, t: int) -> None:
    """The column command that a data clock synchronisation was issued for."""
    slot = m[CAS_SLOT]
    command = RD + m[SLOT_WRITE_AT + slot]
    if ready_at(m, command, m[SLOT_BANK_AT + slot]) <= t:
        keep_awake(m, command, t)
        issue_column(m, slot, command, m[CAS_FROM] == 1, t)
        m[CAS_SLOT] = -1


@kernel
def synchronise(m: Int64s, t: int) -> None:
    """The picked column command needs the data clock first."""
    m[ACTIVE_BOUND] = t + 1  # it stays where it is
    m[BOUND_AT + m[WRITE_MODE] * CLASSES + COLUMN] = t + 1
    if m[OWNER] >= 0 and m[DEADLINE] <= t + 1:
        second_activate(m, t)
        return
    slot = m[PICK_SLOT]
    bank = m[SLOT_BANK_AT + slot]
    command = CAS_RD + m[SLOT_WRITE_AT + slot]
    if ready_at(m, command, bank) <= t:
        note_issue(m, command, bank, t)
        row, column = m[SLOT_ROW_AT + slot], m[SLOT_COLUMN_AT + slot]
        note_command(m, command, bank, row, column, LEVELS, slot, t)
        m[CAS_SLOT] = slot
        m[CAS_FROM] = m[PICK_FROM]


@kernel
def tick_split_activate(m: Int64s, t: int) -> None:
    """Urgent second activates first, then an owed column command, then the normal order."""
    if m[CAS_SLOT] >= 0:
        owed_column(m, t)
        return
    if m[OWNER] >= 0 and m[DEADLINE] <= t:
        second_activate(m, t)
        return
    classes = EVERY_CLASS if m[OWNER] < 0 else (1 << COLUMN) | (1 << PRECHARGE)
    if m[OWNER] >= 0 and m[NUM_PRIORITY] > 0:
        classes |= 1 << ACTIVATE  # refreshes of other banks may go
    if not pick(m, True, classes, t, False):
        if m[OWNER] >= 0:
            second_activate(m, t)
        return
    command = m[PICK_COMMAND]
    if command >= RD and m[PICK_FROM] != 2:
        if t >= m[WCK_UNTIL]:
            synchronise(m, t)
            return
        command = upgraded(m, m[PICK_SLOT], command, m[PICK_FROM] == 1, t)
        keep_awake(m, command, t)
    issue_picked(m, t)


@kernel
def tick(m: Int64s, t: int) -> None:
    """Everything that happens at tick `t`."""
    if m[REFRESH_NEXT] <= t:
        refresh(m, t)
    if m[CAP_BOUND] <= t:
        close_capped(m, t)
    kind = m[KIND]
    if kind == ONE_BUS:
        if pick(m, True, EVERY_CLASS, t, False):
            issue_picked(m, t)
    elif kind == SPLIT_ACTIVATE:
        tick_split_activate(m, t)
    else:
        tick_two_buses(m, t)


@kernel
def next_tick(m: Int64s, t: int) -> int:
    """A tick after `t` before which nothing is issued if nothing is sent (a lower bound)."""
    if m[OWNER] >= 0 or m[CAS_SLOT] >= 0:
        return t + 1
    soon = min(m[REFRESH_NEXT], m[CAP_BOUND])
    aligned = m[ACTIVE_BOUND] if m[NUM_ACTIVE] > 0 else FOREVER  # rising edges only
    if m[NUM_PRIORITY] > 0:
        command = priority_command(m)
        if command >= 0:
            ready = priority_ready_at(m, command)
            if command == PREAB or command == PREPB:
                soon = min(soon, ready)
            else:
                aligned = min(aligned, ready)
    else:
        queue = write_mode(m)
        aligned = min(aligned, bound_of(m, queue, COLUMN, t), bound_of(m, queue, ACTIVATE, t))
        soon = min(soon, bound_of(m, queue, PRECHARGE, t))
    if m[KIND] == HALF_CLOCK:
        aligned = max(aligned, t + 1) | 1
    return max(t + 1, min(soon, aligned))


@kernel
def pass_time(m: Int64s, t: int, until: int) -> None:
    """Nothing happens after `t` and before `until`: settles the mode and adds up waiting time.

    BACKLOG says what the frontend has: 0 nothing to send, 1 sent just now, 2 a request that waits.
    """
    has_room = m[QUEUE_LEN_AT] < m[READ_SLOTS] and m[QUEUE_LEN_AT + 1] < m[WRITE_SLOTS]
    if has_room and m[BACKLOG] < 2:
        m[UNFED] += until - t - m[BACKLOG]
    if until > t + 1 and m[NUM_PRIORITY] == 0:
        m[WRITE_MODE] = write_mode(m)
    if m[QUEUE_LEN_AT] + m[QUEUE_LEN_AT + 1] + m[NUM_ACTIVE] > 0:
        m[BUSY] += until - t
        is_waiting = m[NUM_PRIORITY] > 0 and m[PRIORITY_COMMAND_AT] >= REFAB
        held = until if is_waiting else min(m[REFRESH_HOLD], until)
        m[REFRESH_BLOCKED] += max(0, held - t)
    else:
        m[BUSY] += max(0, min(m[LAST_READ_DONE], until) - t)
    m[CLK] = until


# ---------------------------------------------------------------------------- frontend: requests
# words of the progress of a replay
(
    AT_REQUEST, AT_CLK, IS_BLOCKED, SUM_ACCEPT, SUM_DONE, LAST_ACCEPT, LAST_DONE, DONE_COUNT,
    REPLAY_HASH, NUM_REQUESTS, SENDS, SEND_GAP, CHANNEL_BITS, CHANNEL_SHIFT, STATE_WORDS,
    HAS_RECORD, HAS_MORE, HAS_DUE, NUM_ACCEPTED,
) = range(19)  # fmt: skip
PROGRESS_WORDS = 20
LOG_MARGIN = 8  # commands that one tick may add to a log, and more


@kernel
def fetch_done(m: Int64s, progress: Int64s, record: Int64s) -> None:
    """Takes the completions out of a channel."""
    for i in range(m[NUM_DONE]):
        tag, t = m[DONE_AT + 2 * i], m[DONE_AT + 2 * i + 1]
        progress[DONE_COUNT] += 1
        progress[SUM_DONE] += t
        progress[LAST_DONE] = max(progress[LAST_DONE], t)
        if progress[HAS_RECORD] == 1:
            record[2 * tag + 1] = t
    m[NUM_DONE] = 0


@kernel
def state_of(states: Int64s, address: int, progress: Int64s) -> Int64s:
    """The channel that an address goes to: channel bits of the byte address pick it."""
    mask = (1 << progress[CHANNEL_BITS]) - 1
    channel = (address >> progress[CHANNEL_SHIFT]) & mask
    return pointer_to(states, channel * progress[STATE_WORDS])


@kernel
def without_channel(address: int, progress: Int64s) -> int:
    """The byte address with the channel bits taken out."""
    shift = progress[CHANNEL_SHIFT]
    above = (address >> (shift + progress[CHANNEL_BITS])) << shift
    return above | (address & ((1 << shift) - 1))


@kernel
def offer_requests(
    states: Int64s, words: Int64s, due: Int64s, progress: Int64s, record: Int64s
) -> None:
    """Up to RATE sends; the first refusal ends them (the head of the line waits)."""
    clk = progress[AT_CLK]
    for _ in range(progress[SENDS]):
        i = progress[AT_REQUEST]
        if i >= progress[NUM_REQUESTS] or (progress[HAS_DUE] == 1 and due[i] > clk):
            return
        address, is_write = words[i] >> 1, words[i] & 1
        m = state_of(states, address, progress)
        if progress[IS_BLOCKED] == 1 and m[QUEUE_LEN_AT + is_write] >= m[READ_SLOTS + is_write]:
            return
        if not send(m, without_channel(address, progress), is_write, i, clk):
            progress[IS_BLOCKED] = 1
            return
        progress[IS_BLOCKED] = 0
        progress[SUM_ACCEPT] += clk
        progress[LAST_ACCEPT] = clk
        progress[NUM_ACCEPTED] += 1
        progress[AT_REQUEST] = i + 1
        if progress[HAS_RECORD] == 1:
            record[2 * i] = clk


@kernel
def next_offer(states: Int64s, words: Int64s, due: Int64s, progress: Int64s) -> int:
    """Next tick at which a send can succeed, if the queues stay as they are."""
    i, gap, soon = progress[AT_REQUEST], progress[SEND_GAP], progress[AT_CLK] + 1
    if i >= progress[NUM_REQUESTS]:
        return (soon + gap - 1) // gap * gap if progress[HAS_MORE] == 1 else FOREVER
    if progress[IS_BLOCKED] == 1:
        address, is_write = words[i] >> 1, words[i] & 1
        m = state_of(states, address, progress)
        if m[QUEUE_LEN_AT + is_write] >= m[READ_SLOTS + is_write]:
            return FOREVER
    if progress[HAS_DUE] == 1:
        soon = max(soon, due[i])
    return (soon + gap - 1) // gap * gap


@kernel
def step_replay(
    states: Int64s, words: Int64s, due: Int64s, progress: Int64s, record: Int64s
) -> int:
    """Sends, then the next tick of interest; the status is that of `replay`, 0: go on."""
    clk = progress[AT_CLK]
    num_channels, state_words = 1 << progress[CHANNEL_BITS], progress[STATE_WORDS]
    if progress[HAS_MORE] == 1:
        if progress[NUM_REQUESTS] - progress[AT_REQUEST] < progress[SENDS]:
            return 4
    if clk % progress[SEND_GAP] == 0:
        offer_requests(states, words, due, progress, record)
    soon = next_offer(states, words, due, progress)
    for channel in range(num_channels):
        m = pointer_to(states, channel * state_words)
        fetch_done(m, progress, record)
        soon = min(soon, next_tick(m, clk))
    if progress[AT_REQUEST] == progress[NUM_REQUESTS] and progress[HAS_MORE] == 0:
        if progress[DONE_COUNT] == progress[NUM_ACCEPTED]:
            if clk >= progress[LAST_DONE]:
                return 1
            soon = min(soon, progress[LAST_DONE])
    progress[AT_CLK] = soon
    if soon == FOREVER:
        return 3
    status = 0
    for channel in range(num_channels):
        m = pointer_to(states, channel * state_words)
        m[BACKLOG] = 2 if progress[IS_BLOCKED] == 1 else int(progress[LAST_ACCEPT] == clk)
        pass_time(m, clk, soon)
        m[HASH] = progress[REPLAY_HASH]
        tick(m, soon)
        progress[REPLAY_HASH] = m[HASH]
        if m[LOG_MAX] > 0 and m[NUM_LOG] > m[LOG_MAX] - LOG_MARGIN:
            status = max(status, 2)
        if m[IS_STUCK] == 1:
            status = 3
    return status


@kernel
def replay(
    states: Int64s,  # [channel * word of m]
    words: Int64s,  # byte address << 1 | is_write
    due: Int64s,  # first tick at which a request may be sent, or empty
    progress: Int64s,
    record: Int64s,  # [request * (accepted, done)], or empty
) -> int:
    """Feeds requests in order until all are done (1), a log is full (2), nothing moves (3) or the
    requests at hand run out while there are more (4)."""
    status = 0
    while status == 0:
        status = step_replay(
            pointer_to(states, 0),
            pointer_to(words, 0),
            pointer_to(due, 0),
            pointer_to(progress, 0),
            pointer_to(record, 0),
        )
    return status


# ---------------------------------------------------------------------------- frontend: streams
@kernel
def is_stream_sendable(m: Int64s, stream: int) -> bool:
    """Whether a stream has a request left that is not known to wait for room."""
    at = STREAM_AT + stream * STREAM_WORDS
    if m[at + ST_STATE] != ST_RUNNING or m[at + ST_SENT] == m[at + ST_TOTAL]:
        return False
    queue = m[at + ST_WRITE]
    return m[at + ST_BLOCKED] == 0 or m[QUEUE_LEN_AT + queue] < m[READ_SLOTS + queue]


@kernel
def step_stream(m: Int64s, at: int, clk: int) -> None:
    """Moves a stream on to its next address and arrival."""
    m[at + ST_SENT] += 1
    m[at + ST_BLOCKED] = 0
    if m[at + ST_INTERVAL] > 0:  # late requests do not pile up beyond a fraction of a tick
        base = max(m[at + ST_DUE], (clk - 1) * DUE_ONE + 1)
        m[at + ST_DUE] = base + m[at + ST_INTERVAL]
    m[at + ST_I0] += 1
    m[at + ST_ADDRESS] += m[at + ST_S0]
    if m[at + ST_I0] < m[at + ST_C0]:
        return
    m[at + ST_I0] = 0
    m[at + ST_I1] += 1
    if m[at + ST_I1] == m[at + ST_C1]:
        m[at + ST_I1] = 0
        m[at + ST_I2] += 1
    m[at + ST_ADDRESS] = (
        m[at + ST_BASE] + m[at + ST_I1] * m[at + ST_S1] + m[at + ST_I2] * m[at + ST_S2]
    )


@kernel
def offer_streams(m: Int64s, clk: int) -> None:
    """Up to RATE sends at `clk`, the streams taking turns; a refused one waits for room."""
    if clk % m[OFFER_GAP] != 0:
        return
    if m[SENT_AT] != clk:
        m[SENT_AT] = clk
        m[SENT_NOW] = 0
    num_streams = m[NUM_STREAMS]
    passed = 0
    while m[SENT_NOW] < m[RATE] and passed < num_streams:
        stream = m[TURN]
        m[TURN] = stream + 1 if stream + 1 < num_streams else 0
        at = STREAM_AT + stream * STREAM_WORDS
        passed += 1
        if not is_stream_sendable(m, stream) or m[at + ST_DUE] > clk * DUE_ONE:
            continue
        address = m[at + ST_ADDRESS] << m[OFFSET_BITS]
        if send(m, address, m[at + ST_WRITE], stream, clk):
            step_stream(m, at, clk)
            m[LAST_SENT] = clk
            m[SENT_NOW] += 1
            passed = 0
        else:
            m[at + ST_BLOCKED] = 1


@kernel
def next_stream_offer(m: Int64s, clk: int) -> int:
    """Next tick at which a stream can send, if the queues stay as they are; notes the BACKLOG."""
    soon, backlog = FOREVER, int(m[SENT_AT] == clk and m[SENT_NOW] > 0)
    for stream in range(m[NUM_STREAMS]):
        at = STREAM_AT + stream * STREAM_WORDS
        if is_stream_sendable(m, stream):
            soon = min(soon, max(clk + 1, (m[at + ST_DUE] + DUE_ONE - 1) // DUE_ONE))
        backlog = max(backlog, 2 * m[at + ST_BLOCKED])
    m[BACKLOG] = backlog
    gap = m[OFFER_GAP]
    return soon if gap == 1 else (soon + gap - 1) // gap * gap


# ---------------------------------------------------------------------------- skipping periods
# A memo holds states seen at boundaries (rounds of refreshes; sweeps of rows without refresh) in a
# normal form: times relative to now, addresses relative to where their stream is, rows relative to
# the row of it. When a normal form comes again, everything between repeats, moved by whole rows.
ENTRY_HASH, ENTRY_CLK, ENTRY_LEN = range(3)
ENTRY_STREAMS_AT = 3  # per stream: index of its skippable dimension, sent, done, burst address
ENTRY_COUNTERS_AT = ENTRY_STREAMS_AT + 4 * STREAMS
ENTRY_BUSES_AT = ENTRY_COUNTERS_AT + COUNTERS_END - N0  # last use of each data bus, UNFED then
ENTRY_FORM_AT = ENTRY_BUSES_AT + 2 * BUSES
ENTRIES = 128
FORM_PRIORITY_MAX = 32


def form_max(banks: int, groups: int) -> int:
    """Longest normal form of a channel with so many banks and bank groups."""
    requests = 5 * (SLOTS + 2) + 8
    clocks = COMMANDS * (banks + groups) + 2 * SCOPES + HISTORY_WORDS
    scalars = 52 + BUSES + 2 * FORM_PRIORITY_MAX
    return 10 * STREAMS + scalars + 6 * banks + clocks + requests


@kernel
def ahead(m: Int64s, t: int, floor: int) -> int:
    """A tick relative to now; what lies further back than `floor` no longer matters."""
    return max(t - m[CLK], floor)


@kernel
def open_gap(m: Int64s, bus: int) -> int:
    """Since when, relative to now, a data bus is idle for a reason that its next use will tell."""
    if m[BUS_INSIDE_AT + bus] == 0:
        return 0
    free = m[BUS_LAST_AT + bus] + m[BURST]
    return min(0, max(free, m[BUS_SINCE_AT + bus] + 1) - m[CLK])


@kernel
def earliest_gap(m: Int64s) -> int:
    """The earliest open gap of all data buses."""
    earliest = 0
    for bus in range(m[NUM_PSEUDO]):
        earliest = min(earliest, open_gap(m, bus))
    return earliest


@kernel
def clock_ahead(m: Int64s, clock: int, floor: int) -> int:
    """A ready clock relative to now, and its cause."""
    return max(clock - (m[CLK] << CAUSE_BITS), floor << CAUSE_BITS)


@kernel
def form_request(m: Int64s, slot: int, out: Int64s, n: int) -> int:
    """Normal form of one request."""
    stream = STREAM_AT + m[SLOT_TAG_AT + slot] * STREAM_WORDS
    burst = m[SLOT_ADDRESS_AT + slot] >> m[OFFSET_BITS]
    out[n] = m[SLOT_TAG_AT + slot]
    out[n + 1] = burst - m[stream + ST_ADDRESS]
    out[n + 2] = m[SLOT_ARRIVAL_AT + slot] - m[CLK]
    out[n + 3] = m[NEXT_SEQ] - m[SLOT_SEQ_AT + slot]
    out[n + 4] = m[SLOT_BEGUN_AT + slot]
    return n + 5


@kernel
def form_requests(m: Int64s, out: Int64s, n: int) -> int:
    """Normal form of queues and active buffer; where they are stored does not matter."""
    banks = m[NUM_BANKS]
    for queue in range(2):
        out[n] = m[QUEUE_LEN_AT + queue]
        n += 1
        for bank in range(banks):
            slot = m[HEAD_AT + queue * BANKS + bank]
            while slot >= 0:
                n = form_request(m, slot, out, n)
                slot = m[SLOT_NEXT_AT + slot]
    out[n] = m[NUM_ACTIVE]
    n += 1
    for i in range(m[NUM_ACTIVE]):
        n = form_request(m, m[ACTIVE_AT + i], out, n)
    for word in (OWNER, CAS_SLOT):
        out[n] = -1
        if m[word] >= 0:
            n = form_request(m, m[word], out, n)
        n += 1
    return n


@kernel
def form_clocks(m: Int64s, out: Int64s, n: int) -> int:
    """Normal form of ready clocks and histories."""
    floor = earliest_gap(m)
    for command in range(COMMANDS):
        for bank in range(m[NUM_BANKS]):
            out[n] = clock_ahead(m, m[READY_BANK_AT + command * BANKS + bank], floor)
            n += 1
        for group in range(m[NUM_GROUPS]):
            out[n] = clock_ahead(m, m[READY_GROUP_AT + command * GROUPS + group], floor)
            n += 1
    for i in range(2 * SCOPES):
        out[n] = clock_ahead(m, m[READY_SCOPE_AT + i], 0)
        n += 1
    for i in range(m[ROW_START_AT + COMMANDS]):
        row = ROWS_AT + i * ROW_WORDS
        if m[row] == ROW_WINDOW:
            words = (m[NUM_GROUPS] >> m[row + 3]) * m[row + 4]
            for j in range(m[row + 5], m[row + 5] + words):
                out[n] = ahead(m, m[j], floor - (m[row + 2] >> CAUSE_BITS))
                n += 1
    return n


@kernel
def form_banks(m: Int64s, out: Int64s, n: int) -> int:
    """Normal form of open rows (relative to the stream that opened them) and row policy."""
    floor = earliest_gap(m)
    for bank in range(m[NUM_BANKS]):
        row = m[OPEN_ROW_AT + bank]
        opener = m[OPENER_AT + bank]
        out[n + 1] = opener if row >= 0 else -1
        if row >= 0 and opener >= 0:
            row -= m[STREAM_AT + opener * STREAM_WORDS + ST_ADDRESS] >> m[ROW_SHIFT]
        out[n] = row
        out[n + 2] = 2 * m[CAP_COUNT_AT + bank] + m[CAP_SENT_AT + bank]
        out[n + 3] = ahead(m, m[ACT_FROM_AT + bank], floor)
        out[n + 4] = ahead(m, m[ACT_TO_AT + bank], floor)
        out[n + 5] = m[ACT_CAUSE_AT + bank] if out[n + 4] > floor else 0
        n += 6
    return n


@kernel
def form_scalars(m: Int64s, out: Int64s, n: int) -> int:
    """Normal form of the controller's modes, refreshes and priority queue."""
    for word in (WRITE_MODE, REFRESH_BANK, REFRESH_SET, PAIR_PSEUDO, TURN, CAS_FROM, NUM_PRIORITY):
        out[n] = m[word]
        n += 1
    out[n] = m[SENT_NOW] if m[SENT_AT] == m[CLK] else 0
    out[n + 1] = ahead(m, m[REFRESH_NEXT], 0) if m[REFRESH] != NO_REFRESH else 0
    out[n + 2] = ahead(m, m[PAIR_DUE], 0) if m[PAIR_PSEUDO] >= 0 else 0
    out[n + 3] = ahead(m, m[DEADLINE], 0) if m[OWNER] >= 0 else 0
    out[n + 4] = ahead(m, m[WCK_UNTIL], 0)
    out[n + 5] = ahead(m, m[LAST_READ_DONE], 0)
    out[n + 6] = ahead(m, m[REFRESH_HOLD], 0)
    is_restricted = m[RISE_EDGE] > m[CLK]
    out[n + 7] = m[RISE_EDGE] - m[CLK] if is_restricted else 0
    out[n + 8] = m[RISE_PSEUDO] if is_restricted else 0
    out[n + 9] = m[RISE_BANK] if is_restricted else 0
    n += 10
    floor = earliest_gap(m)
    out[n] = ahead(m, m[HOLD_FROM], floor)
    out[n + 1] = ahead(m, m[HOLD_TO], floor)
    out[n + 2] = m[CLK] % m[OFFER_GAP]
    n += 3
    for bus in range(m[NUM_PSEUDO]):
        out[n] = open_gap(m, bus)
        n += 1
    for i in range(16):
        out[n] = m[SET_COUNT_AT + i]
        out[n + 1] = ahead(m, m[SET_ALLOWED_AT + i], 0)
        n += 2
    for i in range(m[NUM_PRIORITY]):
        out[n] = m[PRIORITY_COMMAND_AT + i]
        out[n + 1] = m[PRIORITY_TARGET_AT + i]
        n += 2
    return n


@kernel
def form_streams(m: Int64s, out: Int64s, n: int) -> int:
    """Normal form of the streams: where in its pattern each is, but not in which repetition."""
    for stream in range(m[NUM_STREAMS]):
        at = STREAM_AT + stream * STREAM_WORDS
        out[n] = m[at + ST_STATE]
        out[n + 1] = m[at + ST_BLOCKED]
        out[n + 2] = m[at + ST_SENT] - m[at + ST_DONE]
        out[n + 3] = int(m[at + ST_SENT] == m[at + ST_TOTAL])
        out[n + 4] = max(m[at + ST_DUE] - m[CLK] * DUE_ONE, 1 - DUE_ONE)
        out[n + 5] = m[at + ST_ADDRESS] & ((1 << m[STRIDE_SHIFT]) - 1)
        out[n + 6] = m[at + ST_ADDRESS] >> m[TOP_SHIFT]
        for dim in range(3):
            out[n + 7 + dim] = m[at + ST_I0 + dim] if dim != m[at + ST_DIM] else -1
        n += 10
    return n


@kernel
def form_state(m: Int64s, out: Int64s) -> int:
    """Writes the normal form of a channel and returns its length."""
    n = form_streams(m, out, 0)
    n = form_scalars(m, out, n)
    n = form_banks(m, out, n)
    n = form_clocks(m, out, n)
    return form_requests(m, out, n)


@kernel
def hash_words(words: Int64s, length: int) -> int:
    """A hash of a normal form; equal hashes are compared word by word."""
    hashed = 0
    for i in range(length):
        hashed = ((hashed * 1000003) ^ words[i]) & 0xFFFFFFFFFF
    return hashed


@kernel
def note_entry(m: Int64s, entry: Int64s, length: int, hashed: int) -> None:
    """Completes an entry whose normal form has been written."""
    entry[ENTRY_HASH], entry[ENTRY_CLK], entry[ENTRY_LEN] = hashed, m[CLK], length
    for stream in range(m[NUM_STREAMS]):
        at = STREAM_AT + stream * STREAM_WORDS
        to = ENTRY_STREAMS_AT + 4 * stream
        entry[to] = m[at + ST_I0 + max(0, m[at + ST_DIM])]
        entry[to + 1] = m[at + ST_SENT]
        entry[to + 2] = m[at + ST_DONE]
        entry[to + 3] = m[at + ST_ADDRESS]
    for i in range(COUNTERS_END - N0):
        entry[ENTRY_COUNTERS_AT + i] = m[N0 + i]
    for i in range(2 * BUSES):
        entry[ENTRY_BUSES_AT + i] = m[BUS_LAST_AT + i]


@kernel
def is_same_form(a: Int64s, b: Int64s) -> bool:
    """Whether two entries have the same normal form."""
    if a[ENTRY_HASH] != b[ENTRY_HASH] or a[ENTRY_LEN] != b[ENTRY_LEN]:
        return False
    for i in range(ENTRY_FORM_AT, ENTRY_FORM_AT + a[ENTRY_LEN]):
        if a[i] != b[i]:
            return False
    return True


@kernel
def are_buses_alike(a: Int64s, b: Int64s) -> bool:
    """Whether each data bus was last used as long before one entry as the other, or is idle."""
    apart = b[ENTRY_CLK] - a[ENTRY_CLK]
    unfed = b[ENTRY_COUNTERS_AT + UNFED - N0] - a[ENTRY_COUNTERS_AT + UNFED - N0]
    for i in range(ENTRY_BUSES_AT, ENTRY_BUSES_AT + BUSES):
        moved = b[i] - a[i]
        if moved != 0 and (moved != apart or b[i + BUSES] - a[i + BUSES] != unfed):
            return False
    return True


@kernel
def reach(m: Int64s, at: int) -> int:
    """Bursts that the dimensions inside the skippable one of a stream span."""
    span = 0
    for dim in range(m[at + ST_DIM]):
        span += abs(m[at + ST_S0 + dim]) * (m[at + ST_C0 + dim] - 1)
    return span


@kernel
def step_of(m: Int64s, old: Int64s, stream: int) -> int:
    """Bursts that a stream moved since an entry."""
    address = m[STREAM_AT + stream * STREAM_WORDS + ST_ADDRESS]
    return address - old[ENTRY_STREAMS_AT + 4 * stream + 3]


@kernel
def lowest(m: Int64s, old: Int64s, stream: int, periods: int) -> int:
    """Lowest burst that a stream touches while it moves by whole periods, its last one included."""
    at, step = STREAM_AT + stream * STREAM_WORDS, step_of(m, old, stream)
    return m[at + ST_ADDRESS] + min(-step, step * periods) - reach(m, at)


@kernel
def highest(m: Int64s, old: Int64s, stream: int, periods: int) -> int:
    """Highest burst that a stream touches, as `lowest`."""
    at, step = STREAM_AT + stream * STREAM_WORDS, step_of(m, old, stream)
    return m[at + ST_ADDRESS] + max(-step, step * periods) + reach(m, at)


@kernel
def meets_foreign_row(m: Int64s, low: int, high: int) -> bool:
    """Whether a row that a finished stream left open lies between two bursts."""
    shift = m[STRIDE_SHIFT]
    mask, row_shift = m[ROW_MASK] >> (shift - m[ROW_SHIFT]), shift - m[ROW_SHIFT]
    for bank in range(m[NUM_BANKS]):
        if m[OPEN_ROW_AT + bank] >= 0 and m[OPENER_AT + bank] < 0:
            row = m[OPEN_ROW_AT + bank] >> row_shift
            if (low >> shift) & mask <= row <= (high >> shift) & mask:
                return True
    return False


@kernel
def can_move(m: Int64s, old: Int64s, periods: int) -> bool:
    """Whether moving every stream by whole periods keeps equal rows equal and others different."""
    shift, top = m[STRIDE_SHIFT], m[TOP_SHIFT]
    for a in range(m[NUM_STREAMS]):
        if m[STREAM_AT + a * STREAM_WORDS + ST_STATE] != ST_RUNNING:
            continue
        step = step_of(m, old, a)
        low, high = lowest(m, old, a, periods), highest(m, old, a, periods)
        if low < 0 or low >> top != high >> top:
            return False
        if step != 0 and meets_foreign_row(m, low, high):
            return False
        for b in range(a):
            is_running = m[STREAM_AT + b * STREAM_WORDS + ST_STATE] == ST_RUNNING
            if is_running and step_of(m, old, b) != step:
                below, above = lowest(m, old, b, periods), highest(m, old, b, periods)
                if low >> shift <= above >> shift and below >> shift <= high >> shift:
                    return False
    return True


@kernel
def periods_that_fit(m: Int64s, old: Int64s, limit: int) -> int:
    """Whole periods until `limit`, and before any stream ends or turns into its next dimension."""
    if m[CLK] == old[ENTRY_CLK]:
        return 0  # looked at twice: it was interrupted at this tick
    periods = (limit - m[CLK]) // (m[CLK] - old[ENTRY_CLK])
    for stream in range(m[NUM_STREAMS]):
        at = STREAM_AT + stream * STREAM_WORDS
        if m[at + ST_STATE] != ST_RUNNING:
            continue
        if m[at + ST_DIM] < 0:
            return 0
        index = m[at + ST_I0 + m[at + ST_DIM]]
        count = m[at + ST_C0 + m[at + ST_DIM]]
        step = index - old[ENTRY_STREAMS_AT + 4 * stream]
        sent = m[at + ST_SENT] - old[ENTRY_STREAMS_AT + 4 * stream + 1]
        if step < 0 or sent < m[at + ST_SENT] - m[at + ST_DONE]:
            return 0  # turned into its next dimension; or requests of an earlier period are inside
        if step > 0:
            periods = min(periods, (count - 1 - index) // step)
    return periods


@kernel
def move_slot(m: Int64s, slot: int, old: Int64s, periods: int, later: int) -> None:
    """Moves one request."""
    tag = m[SLOT_TAG_AT + slot]
    step = m[STREAM_AT + tag * STREAM_WORDS + ST_ADDRESS] - old[ENTRY_STREAMS_AT + 4 * tag + 3]
    m[SLOT_ADDRESS_AT + slot] += (step * periods) << m[OFFSET_BITS]
    m[SLOT_ROW_AT + slot] += (step * periods) >> m[ROW_SHIFT]
    m[SLOT_ARRIVAL_AT + slot] += later


@kernel
def move_requests(m: Int64s, old: Int64s, periods: int, later: int) -> None:
    """Moves requests and open rows by whole periods of their streams."""
    for queue in range(2):
        for bank in range(m[NUM_BANKS]):
            slot = m[HEAD_AT + queue * BANKS + bank]
            while slot >= 0:
                move_slot(m, slot, old, periods, later)
                slot = m[SLOT_NEXT_AT + slot]
    for i in range(m[NUM_ACTIVE]):
        move_slot(m, m[ACTIVE_AT + i], old, periods, later)
    if m[OWNER] >= 0:
        move_slot(m, m[OWNER], old, periods, later)
    for bank in range(m[NUM_BANKS]):
        opener = m[OPENER_AT + bank]
        if m[OPEN_ROW_AT + bank] >= 0 and opener >= 0:
            address = m[STREAM_AT + opener * STREAM_WORDS + ST_ADDRESS]
            step = address - old[ENTRY_STREAMS_AT + 4 * opener + 3]
            m[OPEN_ROW_AT + bank] += (step * periods) >> m[ROW_SHIFT]


@kernel
def move_clocks(m: Int64s, later: int) -> None:
    """Moves every tick that the state holds."""
    for i in range(READY_BANK_AT, HISTORY_AT):
        m[i] += later << CAUSE_BITS
    for i in range(HISTORY_AT, HISTORY_AT + HISTORY_WORDS):
        m[i] += later
    for i in range(BUS_SINCE_AT, BUS_SINCE_AT + BUSES):
        m[i] += later
    for i in range(ACT_FROM_AT, ACT_FROM_AT + 2 * BANKS):
        m[i] += later
    for i in range(BOUND_AT, BOUND_AT + 2 * CLASSES):
        m[i] = min(m[i] + later, FOREVER)
    for i in range(SET_ALLOWED_AT, SET_ALLOWED_AT + 16):
        m[i] += later
    for word in (CLK, PAIR_DUE, RISE_EDGE, DEADLINE, WCK_UNTIL, LAST_READ_DONE):
        m[word] += later
    for word in (REFRESH_HOLD, SENT_AT, HOLD_FROM, HOLD_TO):
        m[word] += later
    for word in (REFRESH_NEXT, CAP_BOUND, ACTIVE_BOUND):
        m[word] = min(m[word] + later, FOREVER)


@kernel
def move_streams(m: Int64s, old: Int64s, periods: int, later: int) -> int:
    """Moves the streams on; returns the requests that were not sent one by one."""
    skipped = 0
    for stream in range(m[NUM_STREAMS]):
        at, seen = STREAM_AT + stream * STREAM_WORDS, ENTRY_STREAMS_AT + 4 * stream
        if m[at + ST_STATE] != ST_RUNNING:
            continue
        sent = (m[at + ST_SENT] - old[seen + 1]) * periods
        skipped += sent
        m[at + ST_I0 + m[at + ST_DIM]] += (m[at + ST_I0 + m[at + ST_DIM]] - old[seen]) * periods
        m[at + ST_SENT] += sent
        m[at + ST_DONE] += (m[at + ST_DONE] - old[seen + 2]) * periods
        m[at + ST_ADDRESS] += (m[at + ST_ADDRESS] - old[seen + 3]) * periods
        m[at + ST_DUE] += later * DUE_ONE
        m[at + ST_DONE_AT] += later
    return skipped


@kernel
def skip_periods(m: Int64s, old: Int64s, periods: int) -> None:
    """Adds whole periods, each like the one from entry `old` to now."""
    later = (m[CLK] - old[ENTRY_CLK]) * periods
    move_requests(m, old, periods, later)
    for i in range(COUNTERS_END - N0):
        counter, seen_at_old = m[N0 + i], old[ENTRY_COUNTERS_AT + i]
        if N0 + i == LAST_COMMAND or N0 + i == LAST_SENT:
            m[N0 + i] += later if counter != seen_at_old else 0
        elif N0 + i != HASH and N0 + i != SKIPPED:
            m[N0 + i] += (counter - seen_at_old) * periods
    for bus in range(BUSES):
        if m[BUS_LAST_AT + bus] != old[ENTRY_BUSES_AT + bus]:
            m[BUS_LAST_AT + bus] += later
            unfed = m[BUS_UNFED_AT + bus] - old[ENTRY_BUSES_AT + BUSES + bus]
            m[BUS_UNFED_AT + bus] += unfed * periods
    m[SKIPPED] += move_streams(m, old, periods, later)
    move_clocks(m, later)


@kernel
def move_entries(m: Int64s, memo: Int64s, words: int, first: int, periods: int) -> None:
    """Later entries of the cycle are as if seen in its last round; the matching one is seen now."""
    count = m[NUM_ENTRIES]
    now, old = pointer_to(memo, count * words), pointer_to(memo, first * words)
    for i in range(first + 1, count):
        entry = pointer_to(memo, i * words)
        entry[ENTRY_CLK] += (now[ENTRY_CLK] - old[ENTRY_CLK]) * periods
        for j in range(ENTRY_STREAMS_AT, ENTRY_BUSES_AT):
            entry[j] += (now[j] - old[j]) * periods
        for j in range(ENTRY_BUSES_AT, ENTRY_BUSES_AT + BUSES):
            if now[j] != old[j]:
                entry[j] += (now[ENTRY_CLK] - old[ENTRY_CLK]) * periods
                entry[j + BUSES] += (now[j + BUSES] - old[j + BUSES]) * periods
    note_entry(m, old, old[ENTRY_LEN], old[ENTRY_HASH])


@kernel
def keep_anchor(m: Int64s, memo: Int64s, words: int) -> None:
    """Makes room in a full memo: of all, one entry stays, an ever younger one (Brent's method).

    A cycle of any length is found when its anchor lies in it and comes again.
    """
    m[ANCHOR_AGE] += 1
    if m[ANCHOR_AGE] >= m[ANCHOR_TERM]:
        m[ANCHOR_AGE] = 0
        m[ANCHOR_TERM] *= 2
        last = pointer_to(memo, (ENTRIES - 1) * words)
        for j in range(ENTRY_FORM_AT + last[ENTRY_LEN]):
            memo[j] = last[j]
    m[NUM_ENTRIES] = 1


@kernel
def is_boundary(m: Int64s) -> bool:
    """Whether a round of refreshes began, or without refresh the first stream swept its rows."""
    if m[REFRESH] != NO_REFRESH:
        is_new = m[ROUNDS] != m[ROUND_SEEN]
        m[ROUND_SEEN] = m[ROUNDS]
        return is_new
    for stream in range(m[NUM_STREAMS]):
        at = STREAM_AT + stream * STREAM_WORDS
        if m[at + ST_STATE] == ST_RUNNING:
            sent = m[at + ST_SENT]
            is_new = sent != m[LEAD_SENT] and sent % m[at + ST_UNIT] == 0
            m[LEAD_SENT] = sent
            return is_new
    return False


@kernel
def try_skip(m: Int64s, memo: Int64s, words: int, limit: int) -> None:
    """At a boundary: looks the state up in the memo, skips if it is known, notes it if not."""
    if m[NUM_PRIORITY] > FORM_PRIORITY_MAX:
        return
    for stream in range(m[NUM_STREAMS]):
        at = STREAM_AT + stream * STREAM_WORDS
        if m[at + ST_STATE] == ST_RUNNING and m[at + ST_SENT] == m[at + ST_TOTAL]:
            return  # about to end
    if m[NUM_ENTRIES] == ENTRIES:
        keep_anchor(m, memo, words)
    count = m[NUM_ENTRIES]
    entry = pointer_to(memo, count * words)
    length = form_state(m, pointer_to(entry, ENTRY_FORM_AT))
    note_entry(m, entry, length, hash_words(pointer_to(entry, ENTRY_FORM_AT), length))
    for i in range(count - 1, -1, -1):
        old = pointer_to(memo, i * words)
        if is_same_form(old, entry) and are_buses_alike(old, entry):
            periods = periods_that_fit(m, old, limit)
            if periods > 0 and can_move(m, old, periods):
                skip_periods(m, old, periods)
            else:
                periods = 0
            move_entries(m, memo, words, i, periods)
            return
    m[NUM_ENTRIES] = count + 1


@kernel
def step_streams(m: Int64s, memo: Int64s, words: int, limit: int) -> int:
    """Sends, then the next tick of interest. 0: go on, 1: a stream is done, 2: stop, 3: stuck."""
    if m[SKIPPING] == 1 and is_boundary(m):
        try_skip(m, memo, words, limit)
    clk = m[CLK]
    offer_streams(m, clk)
    done_at = m[FIRST_END]  # of the streams whose last data is on its way
    if done_at <= clk:
        return 1
    stop = min(limit, done_at)
    if clk >= stop or (m[LOG_MAX] > 0 and m[NUM_LOG] > m[LOG_MAX] - LOG_MARGIN):
        return 2
    if m[IS_STUCK] == 1:
        return 3
    soon = min(stop, next_tick(m, clk), next_stream_offer(m, clk))
    pass_time(m, clk, soon)
    tick(m, soon)
    return 0


@kernel
def advance(state: Int64s, memo: Int64s, words: int, limit: int) -> int:
    """Runs to the first completion of a stream (1) or to `limit` (2); CLK is the tick reached.

    `memo` has room for ENTRIES + 1 entries of `words` each if skipping is on. 2 with CLK below
    `limit` means that the log must be emptied first; 3 that the channel is stuck.
    """
    status = 0
    while status == 0:
        status = step_streams(pointer_to(state, 0), pointer_to(memo, 0), words, limit)
    return status


# ---------------------------------------------------------------------------- for rounds of refresh
# On arrays; inside, as above, all is compiled for pointers only, and so only once.
@kernel
def form_of(state: Int64s, out: Int64s) -> int:
    """Writes the normal form of a channel and returns its length."""
    return form_state(pointer_to(state, 0), pointer_to(out, 0))


@kernel
def progress_of(state: Int64s, entry: Int64s) -> None:
    """Writes tick, counters and how far each stream is, as an entry of a memo has them."""
    note_entry(pointer_to(state, 0), pointer_to(entry, 0), 0, 0)


@kernel
def skip_period(state: Int64s, entry: Int64s) -> None:
    """Adds one period, like the one from an entry to now."""
    skip_periods(pointer_to(state, 0), pointer_to(entry, 0), 1)
