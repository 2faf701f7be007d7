"""MQSim's drive, event by event and without any haste: what the drive's compatibility mode must be.

Written from a reading of MQSim (github.com/CMU-SAFARI/MQSim, 7ec40e3) for what it does, with no
code of it: it reproduces every row of its reference runs to the nanosecond, counts of commands
included, so that the drive can be compared with it where there are no runs. All times in ns.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECTOR = 512
# Bytes of PCIe messages beyond the packets' overhead.
DOORBELL, COMMAND, COMPLETION = 2, 72, 16
PAYLOAD, OVERHEAD, READ_REQUEST = 128, 28, 32
# Bus times of commands: of one plane, and what each further plane adds.
READ_COMMAND, READ_MORE = 290, 650
PROGRAM_COMMAND, PROGRAM_MORE = 361, 816
READY_DELAY = 20  # from the end of a read to the controller's notice


class Drive(NamedTuple):
    """A drive and its link."""

    channels: int
    chips: int  # per channel
    dies: int  # per chip
    planes: int  # per die
    page_bytes: int
    mega_transfers: int
    read_ns: int
    program_ns: int
    lanes: int = 4
    lane_gbps: float = 1.0
    pages_per_block: int = 256

    @property
    def byte_pair_ns(self) -> int:
        """Two bytes over a channel: MQSim cuts the time of one to whole nanoseconds."""
        return int(1000 / self.mega_transfers) * 2

    def message_ns(self, payload: int) -> int:
        """Packets of a message over the link."""
        whole, rest = divmod(payload, PAYLOAD)
        return self.wire_ns(whole * (PAYLOAD + OVERHEAD) + (rest + OVERHEAD if rest else 0))

    def wire_ns(self, size: int) -> int:
        """Bytes over all lanes."""
        return int(-(-size // self.lanes) / self.lane_gbps)


@dataclass(slots=True)
class Request:
    """One of the host's, and when it was made."""

    sector: int
    sectors: int
    is_write: bool
    made_ns: int = 0
    pages_left: int = 0
    latency_ns: int = 0


class Page(NamedTuple):
    """A page's worth of a request, and where it is."""

    request: Request
    size: int
    chip: int  # over all channels
    die: int
    plane: int
    page: int  # within its block


@dataclass(slots=True)
class Chip:
    """Takes one command at a time, whatever its dies."""

    reads: list[Page] = field(default_factory=list)
    writes: list[Page] = field(default_factory=list)
    idle: bool = True
    leaving: int = 0  # pages read and not yet out


@dataclass(slots=True)
class Channel:
    """A bus, and the pages that wait for it."""

    busy: bool = False
    turn: int = 0
    waiting: deque[Page] = field(default_factory=deque)


class Oracle:
    """A closed loop of requests: `run` gives the time of the last event."""

    def __init__(self, drive: Drive, requests: Sequence[Request], queue_depth: int) -> None:
        self.drive = drive
        self.requests = requests
        self.queue_depth = queue_depth
        self.channels = [Channel() for _ in range(drive.channels)]
        self.chips = [Chip() for _ in range(drive.channels * drive.chips)]
        self.commands: Counter[str] = Counter()
        self.now = 0
        self._made = 0
        self._submitted: deque[Request] = deque()
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._num_events = 0
        self._places: dict[int, tuple[int, int, int, int]] = {}
        self._written: Counter[tuple[int, int, int]] = Counter()
        self._up: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._down: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()

    def run(self) -> int:
        """Events in order of time, and of registration where times are equal."""
        self._at(1, self._start)
        while self._events:
            self.now, _, handle, given = heapq.heappop(self._events)
            handle(*given)
        return self.now

    def _at(self, time: int, handle: Callable[..., None], *given: Any) -> None:
        heapq.heappush(self._events, (time, self._num_events, handle, given))
        self._num_events += 1

    # ------------------------------------------------------------------------ host and link
    def _start(self) -> None:
        for _ in range(min(self.queue_depth, len(self.requests))):
            self._submit()

    def _submit(self) -> None:
        request = self.requests[self._made]
        self._made += 1
        request.made_ns = self.now
        self._submitted.append(request)
        self._send(self._down, self.drive.message_ns(DOORBELL), self._doorbell)

    def _doorbell(self) -> None:
        fetched = self._submitted.popleft()
        self._ask(self.drive.message_ns(COMMAND), self._command, fetched)

    def _ask(self, answer_ns: int, then: Callable[..., None], request: Request) -> None:
        """A read request up, and its answer down."""
        asking_ns = self.drive.wire_ns(READ_REQUEST)
        self._send(self._up, asking_ns, self._send, self._down, answer_ns, then, request)

    def _command(self, request: Request) -> None:
        if request.is_write:
            data_ns = self.drive.message_ns(request.sectors * SECTOR)
            self._ask(data_ns, self._dispatch, request)
        else:
            self._dispatch(request)

    def _completed(self, request: Request) -> None:
        request.latency_ns = self.now - request.made_ns
        self._send(self._down, self.drive.message_ns(DOORBELL), lambda: None)
        if self._made < len(self.requests):
            self._submit()

    def _send(self, way: Any, message_ns: int, then: Callable[..., None], *given: Any) -> None:
        way.append((message_ns, then, given))
        if len(way) == 1:
            self._at(self.now + message_ns, self._delivered, way)

    def _delivered(self, way: Any) -> None:
        _, then, given = way.popleft()
        then(*given)  # answers go the other way
        if way:
            self._at(self.now + way[0][0], self._delivered, way)

    # ------------------------------------------------------------------------ pages
    def _dispatch(self, request: Request) -> None:
        """All pages of a request come to their chips' queues at once."""
        for page in self._pages(request):
            chip = self.chips[page.chip]
            (chip.writes if request.is_write else chip.reads).append(page)
            request.pages_left += 1
        for number, channel in enumerate(self.channels):
            if not channel.busy:
                self._serve(number)

    def _pages(self, request: Request) -> list[Page]:
        page_sectors = self.drive.page_bytes // SECTOR
        pages, sector, end = [], request.sector, request.sector + request.sectors
        while sector < end:
            until = min(end, sector - sector % page_sectors + page_sectors)
            place = self._place(sector // page_sectors, request.is_write)
            pages.append(Page(request, (until - sector) * SECTOR, *place))
            sector = until
        return pages

    def _place(self, logical: int, is_write: bool) -> tuple[int, int, int, int]:
        """Where a logical page is; one that was never touched gets a place by being read, too."""
        if is_write or logical not in self._places:
            drive = self.drive
            rest, channel = divmod(logical, drive.channels)
            rest, chip = divmod(rest, drive.chips)
            rest, die = divmod(rest, drive.dies)
            plane = rest % drive.planes
            of_plane = (channel * drive.chips + chip, die, plane)
            page = self._written[of_plane] % drive.pages_per_block
            self._written[of_plane] += 1
            self._places[logical] = (*of_plane, page)
        return self._places[logical]

    def _served(self, page: Page) -> None:
        request = page.request
        request.pages_left -= 1
        if request.pages_left:
            return
        if not request.is_write:
            data_ns = self.drive.message_ns(request.sectors * SECTOR)
            self._send(self._up, data_ns, lambda: None)
        self._send(self._up, self.drive.message_ns(COMPLETION), self._completed, request)

    # ------------------------------------------------------------------------ buses and chips
    def _serve(self, number: int) -> None:
        """An idle bus: the chips in turn, until one has taken it."""
        channel = self.channels[number]
        for _ in range(self.drive.chips):
            chip = number * self.drive.chips + channel.turn
            channel.turn = (channel.turn + 1) % self.drive.chips
            self._issue(chip)
            if channel.busy:
                return

    def _issue(self, number: int) -> None:
        chip = self.chips[number]
        queue = chip.reads or chip.writes
        if not chip.idle or not queue:
            return
        pages = _together(queue)
        chip.idle = False
        self._channel(number).busy = True
        is_write = pages[0].request.is_write
        self.commands[_name(is_write, len(pages))] += 1
        self._at(self.now + self._command_ns(pages, is_write), self._begun, number, pages)

    def _command_ns(self, pages: Sequence[Page], is_write: bool) -> int:
        if is_write:
            command_ns = PROGRAM_COMMAND + PROGRAM_MORE * (len(pages) - 1)
            return command_ns + sum(self._transfer_ns(page) for page in pages)
        return READ_COMMAND + READ_MORE * (len(pages) - 1)

    def _transfer_ns(self, page: Page) -> int:
        return page.size // 2 * self.drive.byte_pair_ns

    def _channel(self, chip: int) -> Channel:
        return self.channels[chip // self.drive.chips]

    def _begun(self, number: int, pages: list[Page]) -> None:
        """The command is over the bus: the array works."""
        if pages[0].request.is_write:
            self._at(self.now + self.drive.program_ns, self._programmed, number, pages)
        else:
            self._at(self.now + self.drive.read_ns + READY_DELAY, self._read, number, pages)
        self._bus_free(number // self.drive.chips)

    def _bus_free(self, number: int) -> None:
        """Pages that wait to go out win over every command."""
        channel = self.channels[number]
        channel.busy = False
        if channel.waiting:
            self._take_out(channel.waiting.popleft())
        else:
            self._serve(number)

    def _read(self, number: int, pages: Sequence[Page]) -> None:
        self.chips[number].leaving = len(pages)
        channel = self._channel(number)
        for page in pages:
            if channel.busy:
                channel.waiting.append(page)
            else:
                self._take_out(page)

    def _take_out(self, page: Page) -> None:
        self._channel(page.chip).busy = True
        self._at(self.now + self._transfer_ns(page), self._out, page)

    def _out(self, page: Page) -> None:
        self._served(page)
        chip = self.chips[page.chip]
        chip.leaving -= 1
        chip.idle = not chip.leaving
        self._bus_free(page.chip // self.drive.chips)

    def _programmed(self, number: int, pages: Sequence[Page]) -> None:
        for page in pages:
            self._served(page)
        self.chips[number].idle = True
        if not self._channel(number).busy:
            self._serve(number // self.drive.chips)


def _together(queue: list[Page]) -> list[Page]:
    """The first of a queue and what goes with it: same die and page number, each plane once."""
    first, taken, left = queue[0], {queue[0].plane: queue[0]}, []
    for page in queue[1:]:
        if (page.die, page.page) == (first.die, first.page) and page.plane not in taken:
            taken[page.plane] = page
        else:
            left.append(page)
    queue[:] = left
    return list(taken.values())


def _name(is_write: bool, planes: int) -> str:
    return ("program" if is_write else "read") + ("_multi_plane" if planes > 1 else "")
