"""Traces written by hand: what a drive does, page after page, at times that one chooses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bankwidth.devices.nand.checker import Event
from bankwidth.devices.nand.config import DriveConfig

Place = tuple[int, int, int, int]  # die, plane, block, page


class Story:
    """Events of a drive; each step starts at `at_ps` or when the one before it ended."""

    def __init__(self, config: DriveConfig) -> None:
        self.config = config
        self.events: list[Event] = []
        self.now_ps = 0

    def add(self, kind: str, place: Place, time_ps: int, at_ps: int | None = None) -> Event:
        """One event, at its page."""
        start_ps = self.now_ps if at_ps is None else at_ps
        channel = place[0] // self.config.dies_per_channel
        event = Event(start_ps, start_ps + time_ps, kind, channel, *place)
        self.events.append(event)
        self.now_ps = event.end_ps
        return event

    def together(self, kind: str, places: tuple[Place, ...], time_ps: int) -> None:
        """The same on several planes at once."""
        start_ps = self.now_ps
        for place in places:
            self.add(kind, place, time_ps, start_ps)

    def read(self, *places: Place, at_ps: int | None = None) -> Story:
        """Command and array read of pages on several planes of a die."""
        c = self.config
        command_ps = c.read_command_ps + (len(places) - 1) * c.multi_plane_read_ps
        self.add("BUS_COMMAND", places[0], command_ps, at_ps)
        self.together("DIE_READ", places, max(c.read_ps[p[3] % len(c.read_ps)] for p in places))
        return self

    def out(self, *places: Place, at_ps: int | None = None) -> Story:
        """Data out of pages, and their decoding."""
        c = self.config
        self.now_ps = self.now_ps if at_ps is None else at_ps
        for number, place in enumerate(places):
            set_up_ps = c.multi_plane_data_ps if number else c.data_setup_ps
            out = self.add("BUS_DATA_OUT", place, set_up_ps + c.page_transfer_ps)
            if c.has_ecc:
                self.add("ECC", place, c.ecc_page_ps)
            self.now_ps = out.end_ps
        return self

    def load(self, *places: Place, at_ps: int | None = None) -> Story:
        """Command and data of a program."""
        c = self.config
        self.now_ps = self.now_ps if at_ps is None else at_ps
        more_ps = (len(places) - 1) * (c.multi_plane_program_ps + c.page_in_ps)
        self.together("BUS_DATA_IN", places, c.program_command_ps + c.page_in_ps + more_ps)
        return self

    def program(self, *places: Place, at_ps: int | None = None) -> Story:
        """The array program."""
        c = self.config
        self.now_ps = self.now_ps if at_ps is None else at_ps
        longest_ps = max(c.program_ps[p[3] % len(c.program_ps)] for p in places)
        self.together("DIE_PROGRAM", places, longest_ps)
        return self

    def write(self, *places: Place) -> Story:
        """Command, data and array program."""
        return self.load(*places).program(*places)

    def erase(self, place: Place) -> Story:
        """Command and array erase; of its block a place names the first page."""
        self.add("BUS_COMMAND", place, self.config.erase_command_ps)
        self.add("DIE_ERASE", place, self.config.erase_ps)
        return self

    def interrupted(self, kind: str, place: Place, whole_ps: int, first_ps: int) -> Story:
        """A program or an erase that is suspended after `first_ps`; `resume` goes on with it."""
        c = self.config
        start_ps = self.now_ps
        self.add(kind, place, first_ps, start_ps)
        stop_ps = start_ps + first_ps
        self.add("BUS_COMMAND", place, c.suspend_command_ps, stop_ps - c.suspend_command_ps)
        self.add("DIE_SUSPEND", place, c.suspend_ps, stop_ps)
        self._left = (kind, place, whole_ps - first_ps)
        return self

    def resume(self) -> Story:
        """Command, and what is left of what was suspended."""
        kind, place, left_ps = self._left
        self.add("BUS_COMMAND", place, self.config.suspend_command_ps)
        self.add(kind, place, left_ps)
        return self

    def change(self, number: int, **changes: Any) -> Event:
        """Plant a mistake: an event as it must not be."""
        self.events[number] = replace(self.events[number], **changes)
        return self.events[number]

    def shift(self, number: int, by_ps: int) -> Event:
        """Plant a mistake: an event at another time."""
        event = self.events[number]
        return self.change(number, start_ps=event.start_ps + by_ps, end_ps=event.end_ps + by_ps)
