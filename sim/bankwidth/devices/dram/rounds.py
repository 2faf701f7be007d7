"""Rounds of refresh that a channel has been through, so that it need not go through them again.

While long sequential streams run, all that differs from one refresh to the next is where in their
rows the streams are, and the layers of a model come to the same places again and again. Whenever a
refresh is due the channel's state is looked up in its normal form: ticks relative to now, addresses
relative to their stream. From a state that was seen before, the channel is moved in one step
through all rounds that are known from there; only rounds never seen are simulated. The state it
comes to is the one it would have come to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram import DramChannel, Snapshot
from bankwidth.devices.dram import kernel as k

Words: TypeAlias = NDArray[np.int64]

MOST_STATES: Final = 4096  # that are kept; one takes about 60 KB

# Words of a stream: those that may differ between equal states, and those that tell states apart
# although the normal form leaves them out.
_EXTENT: Final = [k.ST_BASE, k.ST_TOTAL, k.ST_C0, k.ST_UNIT]
_KIND: Final = [k.ST_WRITE, k.ST_INTERVAL]


@dataclass(slots=True, eq=False)
class _Seen:
    """A state in which a refresh is due and, once that has been simulated, the round after it."""

    places: NDArray[np.uint16]  # the words that differ from an idle channel's
    values: Words
    behind: Words  # rows from each stream's oldest request or open row to its next address
    added: Words | None = None  # to the progress, by the round
    after: _Seen | None = None


class Rounds:
    """The rounds of the channels of one configuration that refresh all banks at a time."""

    def __init__(self, channel: DramChannel) -> None:
        self._interval_ck = channel.config.times["refi"]
        self._idle = channel.snapshot().state
        self._form = np.zeros(k.form_max(k.BANKS, k.GROUPS), dtype=np.int64)
        self._seen: dict[bytes, _Seen] = {}

    def advance(self, channel: DramChannel, until_ck: int) -> list[int]:
        """As `channel.advance`."""
        here, left = None, self._idle
        while True:
            stop_ck = min(until_ck, (channel.now_ck // self._interval_ck + 1) * self._interval_ck)
            done = channel.advance(stop_ck)
            if done or stop_ck == until_ck:
                return done
            saved = channel.snapshot()
            if not saved.slots:
                return channel.advance(until_ck)
            before, here = here, self._find(saved)
            if here is not None:
                if before is not None and before.after is None:
                    _note_round(before, here, left, saved)
                here, left = self._recall(channel, saved, here, until_ck)

    def _find(self, saved: Snapshot) -> _Seen | None:
        """The state as it was seen before, or noted now; None if its future may be another's."""
        if not _is_movable(saved):
            return None
        state = saved.state
        _streams(state)[:, k.ST_DIM] = 0  # sequences are alike, however long they are
        length = k.form_of(state, self._form)
        parts = (self._form[:length], _streams(state)[:, _KIND], _last_uses(state))
        key = b"".join(part.tobytes() for part in parts)  # equal hashes are compared byte by byte
        if key not in self._seen and len(self._seen) < MOST_STATES:
            places = np.flatnonzero(state != self._idle)
            self._seen[key] = _Seen(places.astype(np.uint16), state[places], _behind(state))
        return self._seen.get(key)

    def _recall(
        self, channel: DramChannel, saved: Snapshot, here: _Seen, until_ck: int
    ) -> tuple[_Seen, Words]:
        """Move through known rounds that end by `until_ck` and before any stream does."""
        there, now, slots = here, _progress(saved.state), _slots(saved)
        ends = _streams(saved.state)[slots, k.ST_TOTAL]
        while there.added is not None and there.after is not None:
            later = now + there.added
            is_over = later[k.ENTRY_CLK] > until_ck or (_sent(later)[slots] >= ends).any()
            if is_over or not _are_apart(saved, there, now, later):
                break
            there, now = there.after, later
        if there is here:
            return here, saved.state
        state = self._moved(there, saved.state, now)
        channel.restore(replace(saved, state=state))
        return there, state

    def _moved(self, seen: _Seen, state: Words, progress: Words) -> Words:
        """A state seen before with the streams of `state`, brought to `progress`.

        For the engine it goes on by one more period, as long as what is missing.
        """
        moved = self._idle.copy()
        moved[seen.places] = seen.values
        was = _progress(moved)
        entry = was - (progress - was)
        for word in (k.LAST_COMMAND, k.LAST_SENT):
            entry[k.ENTRY_COUNTERS_AT + word - k.N0] = k.LONG_AGO  # it moves along
        entry[k.ENTRY_BUSES_AT : k.ENTRY_BUSES_AT + moved[k.NUM_PSEUDO]] = k.LONG_AGO
        k.skip_period(moved, entry)
        recalled = _sent(progress) - _streams(state)[:, k.ST_SENT]
        moved[k.SKIPPED] = state[k.SKIPPED] + recalled.sum()
        _streams(moved)[:, _EXTENT] = _streams(state)[:, _EXTENT]
        return moved


def _note_round(before: _Seen, after: _Seen, left: Words, saved: Snapshot) -> None:
    """What a channel did from the state `left` to now, if no two of its streams met in a row."""
    was, now = _progress(left), _progress(saved.state)
    if _are_apart(saved, before, was, now):
        before.added, before.after = now - was, after


# ---- the progress of a channel, as one vector: its tick, its counters, how far each stream is


def _progress(state: Words) -> Words:
    """As the engine notes it."""
    entry = np.zeros(k.ENTRY_FORM_AT, dtype=np.int64)
    k.progress_of(state, entry)
    return entry


def _sent(progress: Words) -> Words:
    """Requests sent by each stream."""
    return progress[k.ENTRY_STREAMS_AT + 1 : k.ENTRY_COUNTERS_AT : 4]


def _address(progress: Words) -> Words:
    """The next burst of each stream."""
    return progress[k.ENTRY_STREAMS_AT + 3 : k.ENTRY_COUNTERS_AT : 4]


# ---- states of a channel


def _streams(state: Words) -> Words:
    """The words of each stream."""
    return state[k.STREAM_AT : k.DONE_AT].reshape(k.STREAMS, k.STREAM_WORDS)


def _last_uses(state: Words) -> Words:
    """Last request, last command and last use of each data bus, relative to now.

    The idle ticks of a bus are counted from its last use, so these belong to a state.
    """
    buses = range(state[k.NUM_PSEUDO])
    words = [k.LAST_SENT, k.LAST_COMMAND, *(k.BUS_LAST_AT + bus for bus in buses)]
    unfed = [k.BUS_UNFED_AT + bus for bus in buses]
    return np.concatenate([state[words] - state[k.CLK], state[unfed] - state[k.UNFED]])


def _slots(saved: Snapshot) -> NDArray[np.intp]:
    """The places of the running streams."""
    return np.array(list(saved.slots.values()))


def _is_movable(saved: Snapshot) -> bool:
    """Whether all is of sequential streams that go on, so that only their places matter."""
    state = saved.state
    if not all(_is_sequential(state, _streams(state)[slot].tolist()) for slot in _slots(saved)):
        return False
    is_open = state[k.OPEN_ROW_AT : k.OPEN_ROW_AT + k.BANKS] >= 0
    is_foreign = state[k.OPENER_AT : k.OPENER_AT + k.BANKS] < 0  # of a stream that has ended
    return not (is_open & is_foreign).any() and bool(state[k.NUM_PRIORITY] <= k.FORM_PRIORITY_MAX)


def _is_sequential(state: Words, stream: list[int]) -> bool:
    """Whether a stream goes on burst by burst, and not into the address bits above the row."""
    end = stream[k.ST_BASE] + stream[k.ST_TOTAL]
    return (
        stream[k.ST_C1] == stream[k.ST_C2] == stream[k.ST_S0] == 1
        and stream[k.ST_SENT] < stream[k.ST_TOTAL]
        and end >> int(state[k.TOP_SHIFT]) == 0
    )


def _behind(state: Words) -> Words:
    """Rows of all banks between the oldest that each stream still uses and its next address."""
    shift = int(state[k.STRIDE_SHIFT])
    at = _streams(state)[:, k.ST_ADDRESS] >> shift
    oldest = at.copy()
    is_used = np.ones(k.SLOTS, dtype=bool)
    is_used[state[k.FREE_AT : k.FREE_AT + state[k.NUM_FREE]]] = False
    used = np.flatnonzero(is_used)
    bursts = state[k.SLOT_ADDRESS_AT + used] >> state[k.OFFSET_BITS]
    np.minimum.at(oldest, state[k.SLOT_TAG_AT + used], bursts >> shift)
    banks = np.flatnonzero(state[k.OPEN_ROW_AT : k.OPEN_ROW_AT + k.BANKS] >= 0)
    rows = state[k.OPEN_ROW_AT + banks] >> (shift - state[k.ROW_SHIFT])
    np.minimum.at(oldest, state[k.OPENER_AT + banks], rows)
    behind: Words = at - oldest
    return behind


def _are_apart(saved: Snapshot, seen: _Seen, now: Words, later: Words) -> bool:
    """Whether no two streams come to the same row of a bank from `now` to `later`."""
    if len(saved.slots) == 1:
        return True
    shift, slots = int(saved.state[k.STRIDE_SHIFT]), _slots(saved)
    first = (_address(now)[slots] >> shift) - seen.behind[slots]
    last = _address(later)[slots] >> shift
    order = np.argsort(first)
    return bool((last[order][:-1] < first[order][1:]).all())
