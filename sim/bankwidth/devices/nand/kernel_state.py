"""The words of a drive's state: what each place of its three arrays means.

`m` holds all that a drive is at a time: constants, scalars, counts, and rows of units, channels,
pages and so on, each kind from a base on that is itself a word of `m`. `f` holds the tables of the
FTL, `x` the list of requests, the log of changes to `f`, and the trace. (One array where a class
would have forty members: numba copies each member at every call.)

All times are integer picoseconds. A *unit* takes one array operation at a time: a die, or a whole
chip where dies do not interleave. A *page* is one page on its way; a *group* is what belongs
together: a request of the host, or one head of an in-storage attention.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.int32]
NOBODY = -1


# ---- the first words of m: constants, scalars, counts, sums of waiting, where the rest begins
# constants
(
    K_CHANNELS, K_UNITS, K_UNITS_PER_CHANNEL, K_CHIPS, K_DIES, K_PLANES, K_BLOCKS, K_PAGES,
    K_PAGE_BYTES, K_PAGE_TYPES, K_PROGRAM_TYPES,
    K_READ_CMD, K_READ_CMD_PLANE, K_SETUP, K_SETUP_PLANE, K_PAGE_OUT, K_PAGE_IN,
    K_PROGRAM_CMD, K_PROGRAM_CMD_PLANE, K_ERASE_CMD, K_ERASE,
    K_CACHE_READ, K_CACHE_READ_PS, K_CACHE_PROGRAM, K_CACHE_PROGRAM_PS,
    K_SUSPEND_CMD, K_SUSPEND, K_MOST_SUSPENDS,
    K_PARTIAL, K_UNIT_BYTES, K_UNITS_PER_PAGE, K_SPARE_BYTES, K_BUS_NUM, K_BUS_DEN,
    K_HAS_ECC, K_ECC_PS, K_ECC_LATENCY, K_ECC_NUM, K_ECC_DEN, K_CORES, K_CORE_PS, K_LOOKUP,
    K_DOORBELL, K_REQUEST, K_COMMAND, K_COMPLETION, K_LATENCY, K_WRITE_LATENCY,
    K_LINK_PAYLOAD, K_LINK_OVERHEAD, K_LINK_LANES, K_LINK_NUM, K_LINK_DEN, K_DRAM_NUM, K_DRAM_DEN,
    K_LOCKSTEP, K_BY_CHIP, K_PAIR_READS, K_PAIR_PROGRAMS, K_BUFFER_PAGES, K_GC_BLOCKS,
    K_HOME_BLOCKS, K_LOGICAL_PAGES, K_PATIENCE, K_COMPUTE_LANES, K_THEN_LANES, K_RETRY,
    K_RETRY_SEED, K_STRIPE,
) = range(69)  # fmt: skip
NUM_K = K_STRIPE + 8  # the striping order, fastest first, then how many there are of each
(BY_CHANNEL, BY_CHIP, BY_DIE, BY_PLANE) = range(4)

# scalars
(
    S_NOW, S_ORDER, S_HEAP, S_FREE_PAGE, S_FREE_PAGES, S_FREE_GROUP, S_FREE_GROUPS,
    S_UP_FREE, S_UP_BUSY, S_DOWN_FREE, S_DOWN_BUSY, S_DRAM_FREE, S_DRAM_BUSY, S_CORE_BUSY,
    S_COMPUTE_BUSY, S_THEN_BUSY, S_PENDING, S_BUFFERED, S_WAIT_HEAD, S_WAIT_TAIL, S_LOG, S_LOGGED,
    S_TRACE, S_TRACED, S_ENDED, S_CHECK_EVERY, S_CHECK, S_SERIAL, S_MAPPED, S_ERROR,
    S_OUTSTANDING, S_BUSY_SINCE, S_BUSY, S_NEED, S_LAST,
) = range(NUM_K, NUM_K + 35)  # fmt: skip
END_S = NUM_K + 35

# counts
COUNTS = (
    "read", "read_multi_plane", "program", "program_multi_plane", "erase", "gc_read", "gc_program",
    "retry", "suspend", "buffer_hit", "fill_read", "pages_read", "pages_programmed", "pages_out",
    "pages_in", "pages_decoded", "host_pages_read", "host_pages_written", "cache_move",
    "engine_pages", "host_reads", "host_writes", "bus_bytes", "ecc_bytes", "pcie_bytes",
    "dram_bytes",
)  # fmt: skip
(
    N_READ, N_READ_MP, N_PROGRAM, N_PROGRAM_MP, N_ERASE, N_GC_READ, N_GC_PROGRAM, N_RETRY,
    N_SUSPEND, N_BUFFER_HIT, N_FILL_READ, N_PAGES_READ, N_PAGES_PROGRAMMED, N_PAGES_OUT, N_PAGES_IN,
    N_DECODED, N_HOST_READ, N_HOST_WRITTEN, N_CACHE_MOVE, N_ENGINE_PAGES, N_HOST_READS,
    N_HOST_WRITES, N_BUS_BYTES, N_ECC_BYTES, N_PCIE_BYTES, N_DRAM_BYTES,
) = range(END_S, END_S + len(COUNTS))  # fmt: skip
END_N = END_S + len(COUNTS)

# sums of waiting, of all pages read for the host or the engine, by stage
WAITS = ("queue", "array", "bus", "data_out", "ecc", "link")
W_QUEUE, W_ARRAY, W_BUS, W_OUT, W_ECC, W_LINK = range(END_N, END_N + len(WAITS))
END_W = END_N + len(WAITS)

# where each part begins (B_), how much of it there is (Z_); in m, then in f, then in x
(
    B_UNITS, B_CHANNELS, B_PAGES, B_GROUPS, B_SOURCES, B_PHASES, B_HEAP_PS, B_HEAP_ORDER,
    B_HEAP_EVENT, B_COMMANDS, B_TRANSFERS, B_CORES, B_TOUCHED, B_LANES, B_READ_PS, B_PROGRAM_PS,
    B_PLANES, Z_COMMANDS, Z_TRANSFERS, Z_HEAP,
    B_MAPPED, B_HOLDER, B_PENDING, B_STALE, B_ERASES, B_WRITTEN, B_FREE_BLOCKS,
    B_OFFSETS, B_SIZES, B_WRITES, B_ARRIVALS, B_LATENCIES, B_LOG, B_TRACE, Z_LOG, Z_TRACE,
) = range(END_W, END_W + 36)  # fmt: skip
FIXED_WORDS = END_W + 36

# ---- units[unit, ...]
(
    U_CHANNEL, U_READ_HEAD, U_READ_TAIL, U_READS, U_WRITE_HEAD, U_WRITE_TAIL, U_STATE, U_OP,
    U_LATCHED, U_CACHED, U_QUEUED, U_BUSY, U_SINCE, U_VERSION, U_END, U_SUSPENDED, U_SUSPENDED_OP,
    U_LEFT_PS, U_SUSPENDS, U_INPUT, U_LOADED,
) = range(21)  # fmt: skip
NUM_U = 21
(IDLE, READING, MOVING, HOLDING, PROGRAMMING, ERASING, LOADING, SUSPENDING) = range(8)

# ---- channels[channel, ...]; C_IS_BUSY is UNWATCHED while no event tells of its end
UNWATCHED = 2
(
    C_FREE, C_BUSY, C_PAGE, C_COMMAND_HEAD, C_COMMANDS, C_TRANSFER_HEAD, C_TRANSFERS, C_ECC_FREE,
    C_ECC_BUSY, C_FILTER_FREE, C_FILTER_BUSY, C_IS_BUSY, C_DATA_BUSY, C_TURN,
) = range(14)  # fmt: skip
NUM_C = 14

# ---- pages[page, ...]
(
    T_KIND, T_GROUP, T_UNIT, T_DIE, T_PLANE, T_BLOCK, T_PAGE, T_LPA, T_NEXT, T_MATE, T_BYTES,
    T_SINK, T_PHASE, T_READY, T_EXTRA, T_BLOCKED, T_PARTNER, T_CHANNEL,
) = range(18)  # fmt: skip
NUM_T = 18
(READ, PROGRAM, ERASE, GC_READ, GC_PROGRAM, FILL_READ) = range(6)
(HOST, ENGINE, INSIDE) = range(3)  # where a page that was read goes

# ---- groups[group, ...]
(
    G_SOURCE, G_INDEX, G_LEFT, G_PHASE, G_START, G_END, G_AHEAD, G_NEXT,
) = range(8)  # fmt: skip
NUM_G = 8

# ---- sources[source, ...]
(
    Q_KIND, Q_GROUPS, Q_STARTED, Q_DONE, Q_WINDOW, Q_BASE, Q_STRIDE, Q_PHASE, Q_PHASES, Q_WRITES,
    Q_SINK, Q_PLACED, Q_EAGER, Q_PAGES, Q_END, Q_LIVE,
) = range(16)  # fmt: skip
NUM_Q = 16
(LISTED, OPEN, AFFINE) = range(3)

# ---- phases[phase, ...]
P_FIRST, P_PAGES, P_STEP, P_FILTER, P_COMPUTE, P_THEN = range(6)
NUM_P = 6

# ---- planes[plane, ...]
L_OPEN, L_NEXT, L_FREE_HEAD, L_FREE, L_UNUSED = range(5)
NUM_L = 5
# ---- words of the FTL, by the number they have in the log
MAPPED, HOLDER, PENDING, STALE, ERASES, WRITTEN, FREE_BLOCKS = range(7)
HOME, IN_USE, FREE = range(3)  # written[block]

# ---- events: kind + 16 * argument
(
    E_BUS, E_ARRAY, E_MOVED, E_DECODED, E_FILTERED, E_PHASE, E_THEN, E_GROUP, E_DOORBELL, E_FETCHED,
    E_DISPATCH, E_ASKED, E_WRITE_IN, E_ARRIVAL, E_SUSPENDED,
) = range(15)  # fmt: skip

# ---- trace[row, ...]
TRACE = (
    "start_ps", "end_ps", "kind", "channel", "die", "plane", "block", "page", "lpa",
)  # fmt: skip
(
    BUS_COMMAND, BUS_DATA_OUT, BUS_DATA_IN, DIE_READ, DIE_PROGRAM, DIE_ERASE, DIE_MOVE, DIE_SUSPEND,
    ECC, FILTER, COMPUTE, PCIE_UP, PCIE_DOWN, CORE, THEN,
) = range(15)  # fmt: skip
TRACE_WORDS = len(TRACE)
TRACE_KINDS = (
    "BUS_COMMAND", "BUS_DATA_OUT", "BUS_DATA_IN", "DIE_READ", "DIE_PROGRAM", "DIE_ERASE",
    "DIE_MOVE", "DIE_SUSPEND", "ECC", "FILTER", "COMPUTE", "PCIE_UP", "PCIE_DOWN", "CORE", "THEN",
)  # fmt: skip

# ---- what `advance` returns
REACHED, SOURCE_ENDED, TRACE_FULL, CHECKPOINT, POOL_FULL, DRIVE_FULL = range(6)
# ---- which pages go in one array operation
PAIR_NONE, PAIR_SAME_PAGE, PAIR_SAME_OFFSET, PAIR_ANY = range(4)
PAIR_DEPTH = 64  # pages of a queue that are looked at for company
MARGIN_TRACE = 64
