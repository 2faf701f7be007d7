"""Events in the order of their times; those of one instant in the order they were made."""

from __future__ import annotations

from bankwidth.devices.nand.kernel_jit import inner
from bankwidth.devices.nand.kernel_state import (
    B_HEAP_EVENT,
    B_HEAP_ORDER,
    B_HEAP_PS,
    S_HEAP,
    S_ORDER,
    Ints,
)


@inner
def push(m: Ints, time_ps: int, kind: int, argument: int) -> None:
    """Let something happen at `time_ps`."""
    times, orders, events = m[B_HEAP_PS], m[B_HEAP_ORDER], m[B_HEAP_EVENT]
    order = m[S_ORDER]
    m[S_ORDER] = order + 1
    at = m[S_HEAP]
    m[S_HEAP] = at + 1
    while at > 0:
        above = (at - 1) >> 1
        if m[times + above] <= time_ps:
            break
        m[times + at], m[orders + at], m[events + at] = (
            m[times + above],
            m[orders + above],
            m[events + above],
        )
        at = above
    m[times + at], m[orders + at], m[events + at] = time_ps, order, kind + 16 * argument


@inner
def pop(m: Ints) -> int:
    """Take out the next event."""
    times, orders, events = m[B_HEAP_PS], m[B_HEAP_ORDER], m[B_HEAP_EVENT]
    event = m[events + 0]
    last = m[S_HEAP] - 1
    m[S_HEAP] = last
    time_ps, order, moved = m[times + last], m[orders + last], m[events + last]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        other = below + 1
        if other < last and (
            m[times + other] < m[times + below]
            or (m[times + other] == m[times + below] and m[orders + other] < m[orders + below])
        ):
            below = other
        if m[times + below] > time_ps or (
            m[times + below] == time_ps and m[orders + below] > order
        ):
            break
        m[times + at], m[orders + at], m[events + at] = (
            m[times + below],
            m[orders + below],
            m[events + below],
        )
        at = below
    m[times + at], m[orders + at], m[events + at] = time_ps, order, moved
    return int(event)
