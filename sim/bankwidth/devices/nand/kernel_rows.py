"""Where the row of a unit, a page, ... begins in a drive's state."""

from __future__ import annotations

from bankwidth.devices.nand.kernel_jit import inner
from bankwidth.devices.nand.kernel_state import (
    B_CHANNELS,
    B_GROUPS,
    B_PAGES,
    B_PHASES,
    B_PLANES,
    B_SOURCES,
    B_UNITS,
    NUM_C,
    NUM_G,
    NUM_L,
    NUM_P,
    NUM_Q,
    NUM_T,
    NUM_U,
    Ints,
)


@inner
def at_unit(m: Ints, unit: int) -> int:
    """A unit's row."""
    return int(m[B_UNITS] + unit * NUM_U)


@inner
def at_channel(m: Ints, channel: int) -> int:
    """A channel's row."""
    return int(m[B_CHANNELS] + channel * NUM_C)


@inner
def at_page(m: Ints, page: int) -> int:
    """A page's row in the pool."""
    return int(m[B_PAGES] + page * NUM_T)


@inner
def at_group(m: Ints, group: int) -> int:
    """A group's row in the pool."""
    return int(m[B_GROUPS] + group * NUM_G)


@inner
def at_source(m: Ints, source: int) -> int:
    """A source's row."""
    return int(m[B_SOURCES] + source * NUM_Q)


@inner
def at_phase(m: Ints, phase: int) -> int:
    """A phase's row."""
    return int(m[B_PHASES] + phase * NUM_P)


@inner
def at_plane(m: Ints, plane: int) -> int:
    """The row of a plane, counted over the whole drive."""
    return int(m[B_PLANES] + plane * NUM_L)
