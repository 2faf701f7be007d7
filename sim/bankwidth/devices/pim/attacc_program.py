"""Programs of AttAcc: attention of many heads, dealt out to the 16 channels of a stack.

A channel takes one head after the other, two at a time: while its units compute the scores of one,
the query of the other is loaded; while they compute the scores of the second, softmax runs over
those of the first, and so on. Products come in parts with a barrier behind each, so that the
results of a part leave during the next.

The commands and their order are those of the trace generators of scale-snu/attacc_simulator at
c600051 (trace_gen/), what they compute included: all channels of a pair of heads read the values
of its first head twice, also those that have no second head. What is loaded in parts is dealt out
over the commands of all channels in a row, and what does not divide evenly is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.attacc_placement import Placement, moves, placement_of, products
from bankwidth.devices.pim.config import BARRIER, PimConfig
from bankwidth.devices.pim.program import NO_BANK, ChannelProgram
from bankwidth.errors import SpecError

CHANNELS: Final = 16
PART_KEYS: Final = 16  # keys that a unit multiplies before its scores leave


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionWork:
    """One new token in `heads` heads, each with a cache of `kv_len` tokens; all of one stack."""

    heads: int
    head_dim: int
    kv_len: int
    element_bytes: int = 2
    head_rows: int = 0  # rows per bank from one head's keys to the next's; 0: as many as they take
    repeats_softmax: bool = False  # in every part of a last head that has no partner

    def check(self) -> None:
        """Raises SpecError for what has no sense."""
        for name in ("heads", "head_dim", "kv_len", "element_bytes"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")


class Piece(NamedTuple):
    """Commands `first` to `first + number` of a list; of products, columns of an area in `row`."""

    kind: str
    first: int
    number: int
    row: int = 0


def channel_programs(
    config: PimConfig, level: str, work: AttentionWork
) -> tuple[ChannelProgram, ...]:
    """Programs of the channels, equal ones once; the first channel's comes first.

    Raises SpecError for a level that is not known and for heads that do not fit the rows.
    """
    plan = _Plan(config, placement_of(level), work)
    return tuple(
        ChannelProgram(macros=plan.macros(pieces), channels=channels)
        for pieces, channels in plan.dealt().items()
    )


def first_program(config: PimConfig, level: str, work: AttentionWork) -> ChannelProgram:
    """The first channel's program only. Raises SpecError as `channel_programs`."""
    plan = _Plan(config, placement_of(level), work)
    return ChannelProgram(macros=plan.macros(plan.pieces(0)), channels=1)


def program_counts(config: PimConfig, level: str, work: AttentionWork) -> dict[str, int]:
    """Commands of all channels' programs. Raises SpecError as `channel_programs`."""
    plan = _Plan(config, placement_of(level), work)
    totals = dict.fromkeys(config.names, 0)
    for pieces, channels in plan.dealt().items():
        for piece in pieces:
            if piece.kind != "barrier":
                totals[plan.command(piece.kind)] += piece.number * channels
    return totals


class _Plan:
    """Numbers of commands of a head, and what becomes of pieces."""

    def __init__(self, config: PimConfig, place: Placement, work: AttentionWork) -> None:
        work.check()
        lanes = config.burst_bytes // work.element_bytes
        if lanes == 0:
            raise SpecError(f"a column has {config.burst_bytes} bytes, an element more")
        self.work, self._config, self._place = work, config, place
        self.keys = _ceil(work.kv_len, place.key_ways)  # of a unit
        self.parts = _ceil(self.keys, PART_KEYS)
        self.columns = _ceil(work.head_dim, place.dim_ways * lanes)  # of a key, and of the context
        taken = _ceil(self.keys * self.columns, config.columns * len(place.mac_banks))
        self.head_rows = work.head_rows or taken
        self.rounds = _ceil(work.heads, CHANNELS)
        self.value_row = config.rows // 2
        self._check_rows((self.rounds - 1) * self.head_rows + taken)
        self._lists = {
            "barrier": np.array([(BARRIER, 1, 0, NO_BANK)], dtype=np.int64),
            "query": moves(config, "WR_GB", place.query_to, self.columns),
            "scores": moves(config, "MV_SB", place.scores_from),
            "softmax": moves(config, "SFM", (0,)),
            "weights": moves(
                config, "MV_GB", place.weights_to, _ceil(work.kv_len, place.key_ways * lanes)
            ),
            "context": moves(config, "MV_SB", place.context_from),
        }

    def _check_rows(self, rows: int) -> None:
        if rows > self.value_row:
            work = self.work
            raise SpecError(
                f"keys of {work.heads} heads of {work.kv_len} tokens take {rows} rows per bank, "
                f"and their values as many; the banks have {self._config.rows}"
            )

    def number(self, kind: str) -> int:
        """Commands of a kind for one head, all together."""
        return len(self._lists[kind])

    def command(self, kind: str) -> str:
        """Name of the command of a kind of pieces."""
        return "MAC" if kind == "products" else self._config.names[self._lists[kind][0, 0]]

    def pieces(self, channel: int) -> tuple[Piece, ...]:
        """What a channel does."""
        return tuple(_channel_pieces(self, channel))

    def dealt(self) -> Mapping[tuple[Piece, ...], int]:
        """What the channels do and how many do the same; what the first one does comes first."""
        return Counter(self.pieces(channel) for channel in range(CHANNELS))

    def macros(self, pieces: Sequence[Piece]) -> NDArray[np.int64]:
        """Pieces as commands; those of one shape are made once."""
        made: dict[tuple[str, int, int], NDArray[np.int64]] = {}
        found = []
        for kind, first, number, row in pieces:
            shape = (kind, first, number)
            if shape not in made:
                made[shape] = self._made(*shape)
            found.append(made[shape] + np.array([0, 0, row, 0]) if row else made[shape])
        return np.concatenate(found)

    def _made(self, kind: str, first: int, number: int) -> NDArray[np.int64]:
        if kind == "products":
            return products(self._config, self._place, first, number)
        return self._lists[kind][first : first + number]


def _ceil(number: int, by: int) -> int:
    return -(-number // by)


class _Head:
    """A round's head on one channel; nothing where the round has none for the channel."""

    def __init__(self, plan: _Plan, round_number: int, channel: int) -> None:
        self.plan = plan
        self._channels = min(CHANNELS, plan.work.heads - round_number * CHANNELS)
        self._channel = channel
        self.is_there = channel < self._channels
        self.key_row = round_number * plan.head_rows
        self.value_row = plan.value_row + self.key_row

    def all_of(self, kind: str) -> list[Piece]:
        return [Piece(kind, 0, self.plan.number(kind))] if self.is_there else []

    def share_of(self, kind: str, parts: int, part: int) -> list[Piece]:
        """The channel's commands within one of equal parts of the commands of all channels."""
        total = self.plan.number(kind) * self._channels
        every = total // parts
        first, last = part * every, (part + 1) * every
        begin, end = (_ceil(edge - self._channel, self._channels) for edge in (first, last))
        return [Piece(kind, begin, end - begin)] if self.is_there and end > begin else []

    def scores(self, part: int) -> list[Piece]:
        first = part * PART_KEYS
        keys = min(PART_KEYS, self.plan.keys - first)
        return self.products(first * self.plan.columns, keys * self.plan.columns, self.key_row)

    def context(self, part: int) -> list[Piece]:
        return self.products(part * self.plan.keys, self.plan.keys, self.value_row)

    def products(self, first: int, number: int, row: int) -> list[Piece]:
        return [Piece("products", first, number, row)] if self.is_there else []


_BARRIER: Final = Piece("barrier", 0, 1)
Beside = Callable[[int], Sequence[Piece]]  # what is done in a part


def _channel_pieces(plan: _Plan, channel: int) -> Iterator[Piece]:
    heads = [_Head(plan, i, channel) for i in range(plan.rounds)]
    for i in range(0, plan.rounds - 1, 2):
        yield from heads[i].all_of("query")
        if i == 0:
            yield from heads[0].products(0, 1, heads[0].key_row)  # opens the first row
        yield _BARRIER
        yield from _pair(plan, heads[i], heads[i + 1])
    if plan.rounds % 2:
        yield from _single(plan, heads[-1])


def _pair(plan: _Plan, one: _Head, two: _Head) -> Iterator[Piece]:
    """Two heads, the second a stage behind the first."""
    query = _while(plan.parts, lambda part: two.share_of("query", plan.parts, part))
    yield from _stage(plan.parts, one.scores, one.all_of("scores"), query)
    yield from _stage(plan.parts, two.scores, two.all_of("scores"), _softmax(one, plan.parts))
    context = one.all_of("context")
    yield from _stage(plan.columns, one.context, context, _softmax(two, plan.columns))
    yield from _stage(plan.columns, one.context, context, _nothing)


def _stage(
    parts: int, compute: Beside, results: Sequence[Piece], beside: Beside
) -> Iterator[Piece]:
    """Products part by part, the results of each during the next, and what is done beside them."""
    for part in range(parts + 1):
        if part < parts:
            yield from compute(part)
        if part > 0:
            yield from results
        yield from beside(part)
        if part < parts:
            yield _BARRIER


def _nothing(part: int) -> Sequence[Piece]:
    return ()


def _while(parts: int, beside: Beside) -> Beside:
    """Nothing any more behind the last part, when only results leave."""
    return lambda part: beside(part) if part < parts else ()


def _softmax(head: _Head, parts: int) -> Beside:
    """Softmax at once, and its weights to the units during the second half of the parts."""
    first = parts // 2

    def beside(part: int) -> list[Piece]:
        begun = head.all_of("softmax") if part == 0 else []
        if not first <= part < parts:
            return begun
        return begun + head.share_of("weights", _ceil(parts, 2), part - first)

    return beside


def _single(plan: _Plan, head: _Head) -> Iterator[Piece]:
    """A head without a partner: one thing after the other."""
    softmax = [*head.all_of("softmax"), *head.all_of("weights"), _BARRIER]
    yield from head.all_of("query")
    yield _BARRIER
    for part in range(plan.parts + 1):
        yield from head.scores(part) if part < plan.parts else ()
        yield from head.all_of("scores") if part > 0 else ()
        yield from [_BARRIER] if part < plan.parts else ()
        yield from softmax if plan.work.repeats_softmax else ()
    if not plan.work.repeats_softmax:
        yield from softmax
    yield from _stage(plan.columns, head.context, head.all_of("context"), _nothing)
