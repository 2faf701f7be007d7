"""Work on a simulated device that advances to its own next completion, and back for a newcomer.

Once all work of an instant has arrived, the device runs ahead of simpy to its first completion, but
not beyond the next event: what that brings may join. A snapshot before each run ahead lets work
that arrives earlier all the same join at its own time: the device returns to the snapshot and is
advanced, exactly, to the newcomer's arrival.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import simpy

from bankwidth.system.record import Served

FOREVER_TICKS = 2**58


class Ahead(ABC):
    """The clock of a device whose own time is in ticks."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self._saved: Any = None
        self._waiting: dict[int, tuple[simpy.Event, int, int]] = {}
        self._done: list[int] = []  # what ends where the device has run ahead to
        self._run = 0  # counts runs ahead; an older one's completion is void

    # ---- the device
    @abstractmethod
    def now_ticks(self) -> int:
        """The time that it has come to."""

    @abstractmethod
    def ticks(self, time_ps: int) -> int:
        """First tick at or after a time."""

    @abstractmethod
    def time_ps(self, ticks: int) -> int:
        """Time of a tick."""

    @abstractmethod
    def advance(self, until: int) -> list[int]:
        """Go on to a tick or to the first completion: what is done then."""

    @abstractmethod
    def snapshot(self) -> Any:
        """Its state, to come back to."""

    @abstractmethod
    def restore(self, saved: Any) -> None:
        """Back to the last snapshot."""

    def refreshed_ticks(self) -> int:
        """Ticks until now in which refresh held work up."""
        return 0

    # ---- its work
    def join(self, begin: Callable[[], int]) -> simpy.Event:
        """Begin work now; the event succeeds with a `Served` when it is done."""
        self.catch_up()
        number = begin()
        event = self.env.event()
        self._waiting[number] = (event, int(self.env.now), self.refreshed_ticks())
        self._run += 1
        self._at(int(self.env.now), self._completion(self._run))  # others may arrive right now
        return event

    def catch_up(self) -> None:
        """Bring the device to the present."""
        now = self.ticks(int(self.env.now))
        if self.now_ticks() > now:
            self.restore(self._saved)
            self._done = []
        self._finish()
        while self.now_ticks() < now:
            self._done = self.advance(now)
            self._finish()

    def _run_ahead(self) -> None:
        self._run += 1
        if not self._waiting:
            return
        self._saved = self.snapshot()
        self._done = self.advance(self._next_event())
        end_ps = max(self.time_ps(self.now_ticks()), int(self.env.now))
        self._at(end_ps, self._completion(self._run))

    def _next_event(self) -> int:
        """The next tick at which anything else happens; never, if that is unknown."""
        next_ps = self.env.peek()
        if next_ps == float("inf"):
            return FOREVER_TICKS
        soon = self.ticks(int(next_ps))
        return soon if soon > self.now_ticks() else FOREVER_TICKS

    def _completion(self, run: int) -> Callable[[simpy.Event], None]:
        def fire(_: simpy.Event) -> None:
            if run == self._run:
                self._finish()
                self._run_ahead()

        return fire

    def _finish(self) -> None:
        done, self._done = self._done, []
        for number in done:
            event, start_ps, refreshed = self._waiting.pop(number)
            refresh_ps = self.time_ps(self.refreshed_ticks() - refreshed)
            event.succeed(Served(start_ps, int(self.env.now), refresh_ps))

    def _at(self, time_ps: int, callback: Callable[[simpy.Event], None]) -> None:
        timer = self.env.timeout(time_ps - int(self.env.now))
        if timer.callbacks is not None:  # None only once processed
            timer.callbacks.append(callback)
