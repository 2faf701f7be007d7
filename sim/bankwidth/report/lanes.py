"""Slices of one track, spread over lanes in which any two are apart or one inside the other."""

from __future__ import annotations

from collections.abc import Iterable

from bankwidth.results import Slice


def nest(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Lanes of properly nesting slices, sorted by start, the outer before the inner.

    Viewers draw a lane as a stack; two slices that cross would be torn apart, so the later one goes
    to the first lane where it fits.
    """
    lanes: list[list[Slice]] = []
    open_ends_ps: list[list[int]] = []  # per lane: ends of the slices that are open, outer first
    for piece in sorted(slices, key=lambda piece: (piece.start_ps, -piece.dur_ps)):
        lane = _first_fit(piece, open_ends_ps)
        if lane == len(lanes):
            lanes.append([])
            open_ends_ps.append([])
        lanes[lane].append(piece)
        open_ends_ps[lane].append(piece.start_ps + piece.dur_ps)
    return lanes


def _first_fit(piece: Slice, open_ends_ps: list[list[int]]) -> int:
    for lane, ends_ps in enumerate(open_ends_ps):
        while ends_ps and ends_ps[-1] <= piece.start_ps:
            ends_ps.pop()
        if not ends_ps or piece.start_ps + piece.dur_ps <= ends_ps[-1]:
            return lane
    return len(open_ends_ps)
