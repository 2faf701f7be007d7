"""Work dealt out to channels, cut into pieces; equal work is one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

from bankwidth.devices.pim.program import ChannelProgram, MacroList

Work = TypeVar("Work")  # what a channel has to do; equal work, equal commands


def programs_of_works(
    works: Sequence[Work], of_channel: Callable[[Work], MacroList], repeat: int = 1
) -> tuple[ChannelProgram, ...]:
    """Programs for the work of each channel, in the order of the channels.

    Neighbours with equal work share a program. Idle channels keep their place with an empty one,
    except behind the last that has work: the memory gives programs to channels in order.
    """
    programs = [
        ChannelProgram(macros=of_channel(work).build(), channels=len(list(alike)), repeat=repeat)
        for work, alike in groupby(works)
    ]
    while programs and len(programs[-1].macros) == 0:
        programs.pop()
    return tuple(programs)


def shares_of(items: int, channels: int) -> list[int]:
    """`items` dealt out evenly, the first channels with one more."""
    return [len(range(channel, items, channels)) for channel in range(channels)]


def pieces_of(total: int, most: int) -> list[int]:
    """`total` cut into pieces of `most`, the last one shorter."""
    return [min(most, total - start) for start in range(0, total, most)]


def ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
