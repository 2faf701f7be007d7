"""A drive that is told of all work in the order of time, and remembers what it made of it.

A drive in which nothing is left has no phase of any kind, so what follows depends only on what it
is asked for from then on, and when. Each piece of work since then is a step in a tree; where the
same steps were taken before, their ends are known, and the drive is not told at all unless
something new comes before it would have been idle again.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import lcm
from typing import TypeAlias

from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.drive import Drive
from bankwidth.devices.nand.work import Job, Stream, Writes
from bankwidth.system.record import Served

Work: TypeAlias = Stream | Job | Writes
STEP_PS = 1_000_000  # in which the drive is watched becoming idle


@dataclass(slots=True, eq=False)
class Node:
    """What came since the drive was idle, up to one piece of work; times count from there.

    `uses` counts how often it was remembered to the end, and the drive itself did nothing.
    """

    then: dict[Hashable, Node] = field(default_factory=dict)
    ends_ps: tuple[int, ...] | None = None  # of the parts of its last work
    idle_ps: int | None = None  # if nothing else comes
    counts: Mapping[str, int] = field(default_factory=dict)
    busy_ps: int = 0
    uses: int = 0


@dataclass(slots=True, eq=False)
class UnderWay:
    """Work that began together; `numbers` are the drive's, once it knows of it."""

    told: ToldDrive
    works: tuple[Work, ...]
    since_ps: int  # when the drive had been idle
    start_ps: int
    node: Node
    numbers: tuple[int, ...] = ()

    def wait(self) -> Sequence[Served]:
        """When each part began and ended. Nothing may arrive any more before the last end."""
        ends_ps = self.told.ends_of(self)
        return [Served(self.start_ps, self.since_ps + end_ps, 0) for end_ps in ends_ps]


class ToldDrive:
    """The drive with its past."""

    def __init__(self, drive: Drive, *, remembers: bool) -> None:
        self._drive = drive
        self._remembers = remembers
        self._round = rounds_of(drive.config)
        self._root = Node()
        self._ended_nodes: list[Node] = []
        self._node: Node | None = None  # where the drive is; None: it is idle
        self._since_ps = 0
        self._events: list[UnderWay] = []  # since then
        self._is_live = False  # the drive has been told of them
        self._before: tuple[Mapping[str, int], int] = ({}, 0)  # counts and busy time back then
        self._ended_ps: dict[int, int] = {}
        self._open = 0  # pieces of work under way

    # ---- work, in the order of time
    def begin(self, works: tuple[Work, ...], now_ps: int) -> UnderWay:
        """Begin work at `now_ps`."""
        event = self._event(works, now_ps)
        if self._is_live:
            self._tell(event)
        return event

    def ends_of(self, event: UnderWay) -> tuple[int, ...]:
        """When each part of some work ended, from when the drive had been idle."""
        if event.node.ends_ps is None and not event.numbers:
            self._replay()
        while event.node.ends_ps is None:
            self._step(None)
            if event.node.ends_ps is None and self._has_ended(event):
                self._note_ends(event)
        assert event.node.ends_ps is not None
        return event.node.ends_ps

    def finish(self, now_ps: int) -> None:
        """Bring the drive to `now_ps`."""
        self._pass(now_ps)
        if self._node is not None and not self._is_live:
            self._replay()
        self._advance_to(now_ps)

    # ---- what it all came to
    def counts(self) -> dict[str, int]:
        """What happened in the drive and what was remembered, by name."""
        counts = dict(self._drive.counts)
        for node in self._ended_nodes:
            for name, n in node.counts.items():
                counts[name] += n * node.uses
        return counts

    def busy_ps(self) -> int:
        """Time with work from outside under way."""
        return self._drive.busy_ps + sum(n.busy_ps * n.uses for n in self._ended_nodes)

    def remembered(self, name: str) -> int:
        """Of a count, what was remembered."""
        return sum(node.counts[name] * node.uses for node in self._ended_nodes)

    # ---- the past
    def _event(self, works: tuple[Work, ...], now_ps: int) -> UnderWay:
        """The next step on the way from where the drive was idle."""
        self._pass(now_ps)
        if self._node is None:
            self._begin_from(now_ps)
        assert self._node is not None
        key = (now_ps - self._since_ps, *[self._at_home(work) for work in works])
        node = self._node.then.get(key)
        if node is None:
            if not self._is_live:
                self._replay()
            node = Node()
            if self._is_remembered(works):
                self._node.then[key] = node
        self._node = node
        event = UnderWay(self, works, self._since_ps, now_ps, node)
        self._events.append(event)
        return event

    def _begin_from(self, now_ps: int) -> None:
        """The drive is idle: all that comes counts from now on."""
        is_known = self._remembers and self._drive.is_fresh
        self._node = self._root if is_known else Node()
        self._since_ps = now_ps
        self._is_live = False

    def _is_remembered(self, works: tuple[Work, ...]) -> bool:
        """Not where data find places of their own: what comes then depends on these."""
        moves = any(isinstance(w, Stream) and w.is_write and not w.placed for w in works)
        return self._remembers and self._drive.is_fresh and not moves

    def _pass(self, now_ps: int) -> None:
        """Let time come to `now_ps`."""
        node = self._node
        if node is None:
            return
        if self._is_live:
            self._advance_to(now_ps)
        elif node.idle_ps is not None and self._since_ps + node.idle_ps <= now_ps:
            node.uses += 1
            self._forget()

    def _forget(self) -> None:
        self._node, self._events, self._is_live = None, [], False

    def _replay(self) -> None:
        """Tell the drive of all that it was spared since it was idle."""
        self._is_live = True
        self._drive_to(self._since_ps)
        self._before = self._drive.counts, self._drive.busy_ps
        for event in self._events:
            self._tell(event)

    def _tell(self, event: UnderWay) -> None:
        self._advance_to(event.start_ps)
        event.numbers = tuple([self._add(work) for work in event.works])

    def _add(self, work: Work) -> int:
        self._open += 1
        return self._drive.add(work)

    def _has_ended(self, event: UnderWay) -> bool:
        return all([number in self._ended_ps for number in event.numbers])

    def _note_ends(self, event: UnderWay) -> None:
        ends = [self._ended_ps[number] - event.since_ps for number in event.numbers]
        event.node.ends_ps = tuple(ends)

    def _at_home(self, work: Work) -> Work:
        """The same work as far to the front as it comes in whole rounds of all dies."""
        if self._drive.config.retry_mean:
            return work  # which pages are read again depends on where they are
        if isinstance(work, Stream):
            return replace(
                work, first_byte=work.first_byte % (self._round * self._drive.config.page_bytes)
            )
        return replace(work, base_page=work.base_page % self._round)

    # ---- the drive
    def _advance_to(self, time_ps: int) -> None:
        while self._drive.now_ps < time_ps:
            self._step(time_ps)

    def _drive_to(self, time_ps: int) -> None:
        """With nothing in it."""
        while self._drive.now_ps < time_ps:
            self._drive.advance(time_ps)

    def _step(self, until_ps: int | None) -> None:
        """Go on to the next end, or to `until_ps`."""
        if self._open == 0:
            soon_ps = self._drive.now_ps + STEP_PS
            if not self._drive.idle:
                until_ps = soon_ps if until_ps is None else min(until_ps, soon_ps)
        done = self._drive.advance() if until_ps is None else self._drive.advance(until_ps)
        for number in done:
            self._open -= 1
            self._ended_ps[number] = self._drive.now_ps
        if self._is_live and self._open == 0 and self._drive.idle:
            self._note_idle()

    def _note_idle(self) -> None:
        """All is done: what came is known to its end."""
        node = self._node
        assert node is not None
        for event in self._events:
            if event.numbers and event.node.ends_ps is None:
                self._note_ends(event)
        counts, busy_ps = self._before
        node.idle_ps = self._drive.now_ps - self._since_ps
        node.counts = {name: n - counts[name] for name, n in self._drive.counts.items()}
        node.busy_ps = self._drive.busy_ps - busy_ps
        self._ended_nodes.append(node)
        self._ended_ps.clear()
        self._forget()


def rounds_of(config: DriveConfig) -> int:
    """Pages after which dies, planes and kinds of pages (lower, middle, upper) come again."""
    return config.dies * config.planes * lcm(len(config.read_ps), len(config.program_ps))
