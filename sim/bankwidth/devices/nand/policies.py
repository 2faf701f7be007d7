"""What a drive's controller may choose, as the numbers that the kernel reads."""

from __future__ import annotations

from enum import IntEnum


class Bus(IntEnum):
    """Who gets a channel's bus when commands and data wait for it."""

    COMMAND_FIRST = 0
    DATA_FIRST_LOCKSTEP = 1


class Interleave(IntEnum):
    """What takes one command at a time."""

    DIE = 0
    CHIP = 1


class MultiPlane(IntEnum):
    """Which pages the planes of a die may read together."""

    SAME_PAGE = 0
    INDEPENDENT = 1


class Stripe(IntEnum):
    """Levels that consecutive logical pages are spread over."""

    CHANNEL = 0
    CHIP = 1
    DIE = 2
    PLANE = 3
