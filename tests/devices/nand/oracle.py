"""A drive in plain Python, event by event: what the kernel must do, to the picosecond.

It keeps to the mode that is ours (commands before data, dies side by side) and to the rules that
the kernel's file states: commands in the order in which their dies became ready for them, then
pages in or out in the order in which they became ready; reads before programs. Where nothing is
stated it does the plain thing: what happens at one instant happens in the order in which it was
caused. Not here: suspends, read retries, a write buffer, garbage collection, parts of pages that
are written.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.policies import MultiPlane, Stripe

LOOK_AHEAD = 64  # pages of a queue among which a read or a program looks for company
PATIENCE_PS = 5_000_000_000  # a program that waited longer goes before younger reads
IDLE, READING, MOVING, HOLDING, LOADING, PROGRAMMING = (
    "idle", "reading", "moving", "holding", "loading", "programming",
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Request:
    """What the host asks for: bytes from an offset on."""

    offset_bytes: int
    size_bytes: int
    is_write: bool
    number: int = 0
    start_ps: int = 0
    pages_left: int = 0
    done_ps: int = 0


@dataclass(slots=True, eq=False)
class Page:
    """One page of a request, on its way."""

    request: Request
    lpa: int
    ready_ps: int  # when it joined the queue of its die
    die: Die
    plane: int
    block: int
    page: int
    size_bytes: int
    is_further: bool = False  # another plane's page leaves or left before it

    @property
    def offset(self) -> tuple[int, int]:
        """Block and page: equal for planes that work together."""
        return self.block, self.page


@dataclass(slots=True, eq=False)
class Die:
    """One array, its queues and what it does."""

    channel: Channel
    reads: deque[Page] = field(default_factory=deque)
    writes: deque[Page] = field(default_factory=deque)
    state: str = IDLE
    group: list[Page] = field(default_factory=list)  # what the array works on
    coming: list[Page] = field(default_factory=list)  # data on the bus or in the cache register
    has_come: bool = False
    in_line: bool = False
    latched: int = 0  # pages that wait in the page registers
    cached: int = 0  # pages that wait in the cache registers


@dataclass(slots=True, eq=False)
class Channel:
    """One bus, and the decoder behind it."""

    is_busy: bool = False
    commands: deque[Die] = field(default_factory=deque)
    transfers: deque[Page | Die] = field(default_factory=deque)
    decoder_free_ps: int = 0


class Oracle:
    """A drive that was never written before."""

    def __init__(self, config: DriveConfig) -> None:
        self.config = config
        self.now_ps = 0
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.order = 0
        self.channels = [Channel() for _ in range(config.channels)]
        self.dies = [
            Die(self.channels[number // config.dies_per_channel]) for number in range(config.dies)
        ]
        self.cores = [0] * config.cores
        self.up_ps = self.down_ps = self.dram_ps = 0  # when each is free
        self.moved: dict[int, tuple[int, int, int, int]] = {}  # lpa -> where it was written
        self.pending: dict[int, int] = {}  # lpa -> programs under way
        self.next_page: dict[tuple[int, int], int] = {}  # die, plane -> pages appended
        self.buffer_hits = 0

    def run(self, requests: Sequence[Request], depth: int) -> list[int]:
        """Latencies of the requests, `depth` of them at once."""
        self.waiting = deque(requests)
        for number, request in enumerate(requests):
            request.number = number
        for _ in range(min(depth, self.config.queue_depth, len(requests))):
            self.submit()
        while self.events:
            self.now_ps, _, happen = heapq.heappop(self.events)
            happen()
        return [request.done_ps - request.start_ps for request in requests]

    def at(self, time_ps: int, happen: Callable[[], None]) -> None:
        """Let something happen; of one instant in the order in which it was caused."""
        self.order += 1
        heapq.heappush(self.events, (time_ps, self.order, happen))

    # ---- host link and controller
    def up(self, time_ps: int) -> int:
        """A message to the host: when it is there."""
        self.up_ps = max(self.now_ps, self.up_ps) + time_ps
        return self.up_ps

    def down(self, time_ps: int) -> int:
        """A message to the drive: when it is there."""
        self.down_ps = max(self.now_ps, self.down_ps) + time_ps
        return self.down_ps

    def dram(self, size_bytes: int) -> int:
        """Data into the drive's DRAM and out."""
        self.dram_ps = max(self.now_ps, self.dram_ps) + 2 * self.config.dram_ps(size_bytes)
        return self.dram_ps

    def submit(self) -> None:
        """Doorbell, the drive's request for the command, the command.

        The short messages take their places on the link at once, as the kernel's do; each arrives
        its own time after the one before it.
        """
        request, c = self.waiting.popleft(), self.config
        request.start_ps = self.now_ps
        rung_ps = self.down(c.nvme_doorbell_ps)
        asked_ps = self.up(c.nvme_request_ps)
        asked_ps = max(asked_ps, rung_ps + c.nvme_request_ps)
        sent_ps = max(self.down(c.nvme_command_ps), asked_ps + c.nvme_command_ps)
        self.command(request, sent_ps)

    def command(self, request: Request, sent_ps: int) -> None:
        """A core works on it, its place is looked up."""
        c = self.config
        at_ps = sent_ps + c.nvme_latency_ps + (c.nvme_write_ps if request.is_write else 0)
        if c.core_ps:
            core = self.cores.index(min(self.cores))
            self.cores[core] = at_ps = max(at_ps, self.cores[core]) + c.core_ps
        at_ps += c.lookup_ps
        happen = self.take_write if request.is_write else self.take_read
        if at_ps > self.now_ps:
            self.at(at_ps, lambda: happen(request))
        else:
            happen(request)

    def spans(self, request: Request) -> list[tuple[int, int]]:
        """Logical pages of a request, with the bytes of each."""
        size = self.config.page_bytes
        end = request.offset_bytes + request.size_bytes
        first, last = request.offset_bytes // size, (end - 1) // size
        return [
            (lpa, min(end, (lpa + 1) * size) - max(request.offset_bytes, lpa * size))
            for lpa in range(first, last + 1)
        ]

    def complete(self, request: Request, at_ps: int) -> None:
        """Tell the host, once data and DRAM are through."""
        self.up_ps = max(at_ps, self.up_ps) + self.config.nvme_completion_ps
        self.at(self.up_ps, lambda: self.done(request))

    def done(self, request: Request) -> None:
        """The host gives the queue's entry back and asks for the next."""
        request.done_ps = self.now_ps
        self.down(self.config.nvme_doorbell_ps)
        if self.waiting:
            self.submit()

    # ---- where pages lie
    def home(self, lpa: int) -> tuple[int, int, int, int]:
        """Die, plane, block and page by the striping order."""
        c = self.config
        counts = {
            Stripe.CHANNEL: c.channels,
            Stripe.CHIP: c.chips_per_channel,
            Stripe.DIE: c.dies_per_chip,
            Stripe.PLANE: c.planes,
        }
        place = {}
        for level in c.striping:
            lpa, place[level] = divmod(lpa, counts[Stripe(level)])
        chip = place[Stripe.CHANNEL] * c.chips_per_channel + place[Stripe.CHIP]
        die = chip * c.dies_per_chip + place[Stripe.DIE]
        return die, place[Stripe.PLANE], *divmod(lpa, c.pages_per_block)

    def append(self, lpa: int) -> tuple[int, int, int, int]:
        """The next page of the plane that the home of a logical page is on."""
        c = self.config
        die, plane, _, _ = self.home(lpa)
        full = -(-c.logical_pages // (c.dies * c.planes * c.pages_per_block))
        number = self.next_page.get((die, plane), 0)
        self.next_page[die, plane] = number + 1
        block, page = divmod(number, c.pages_per_block)
        assert full + block < c.blocks_per_plane - c.gc_threshold_blocks, "no blocks are collected"
        self.moved[lpa] = (die, plane, full + block, page)
        return self.moved[lpa]

    # ---- requests
    def take_read(self, request: Request) -> None:
        """All pages join the queues of their dies; then the buses are looked at."""
        spans = self.spans(request)
        request.pages_left = len(spans)
        touched = set()
        for lpa, size_bytes in spans:
            die, plane, block, number = self.moved.get(lpa) or self.home(lpa)
            page = Page(request, lpa, self.now_ps, self.dies[die], plane, block, number, size_bytes)
            if self.pending.get(lpa):
                self.buffer_hits += 1
                self.deliver(page)
                continue
            page.die.reads.append(page)
            touched.add(die // self.config.dies_per_channel)
            self.ask(page.die)
        for channel in sorted(touched):
            self.serve(self.channels[channel])

    def take_write(self, request: Request) -> None:
        """The drive asks for the data; they come page by page."""
        self.at(self.up(self.config.nvme_request_ps), lambda: self.send_data(request))

    def send_data(self, request: Request) -> None:
        spans = self.spans(request)
        request.pages_left = len(spans)
        for lpa, size_bytes in spans:
            sent_ps = self.down(self.config.pcie_ps(size_bytes))
            arrived_ps = max(sent_ps, self.dram(size_bytes))
            self.at(arrived_ps, lambda lpa=lpa: self.store(request, lpa))  # type: ignore[misc]

    def store(self, request: Request, lpa: int) -> None:
        die, plane, block, number = self.append(lpa)
        size_bytes = self.config.page_bytes
        at = self.dies[die]
        page = Page(request, lpa, self.now_ps, at, plane, block, number, size_bytes)
        self.pending[lpa] = self.pending.get(lpa, 0) + 1
        page.die.writes.append(page)
        self.ask(page.die)
        self.serve(page.die.channel)

    # ---- the bus of a channel
    def wants(self, die: Die) -> bool:
        """Whether a die has something to do that begins with a command."""
        if die.state == IDLE:
            if die.latched:
                return False
            return bool(die.reads or (die.writes and not die.cached))
        return die.state == PROGRAMMING and self.may_load(die)

    def may_load(self, die: Die) -> bool:
        """Whether data for the next program may come in while the array programs."""
        is_free = self.config.cache_program and not die.coming and not die.reads
        return bool(die.state == PROGRAMMING and is_free and die.writes)

    def ask(self, die: Die) -> None:
        """A die joins the line for its bus."""
        if not die.in_line and self.wants(die):
            die.in_line = True
            die.channel.commands.append(die)

    def serve(self, channel: Channel) -> None:
        """A free bus goes to who is next."""
        while not channel.is_busy and (channel.commands or channel.transfers):
            if channel.commands:
                die = channel.commands.popleft()
                die.in_line = False
                self.grant(die)
            else:
                entry = channel.transfers.popleft()
                if isinstance(entry, Page):
                    self.data_out(entry)
                else:
                    entry.in_line = False
                    self.data_in(entry)

    def grant(self, die: Die) -> None:
        """Reads before programs; the command of a program waits with the data."""
        if not self.wants(die):
            return
        if die.state != IDLE or self.programs_next(die):
            die.in_line = True
            die.channel.transfers.append(die)
        else:
            self.read(die)

    def programs_next(self, die: Die) -> bool:
        """Whether an idle die takes up a program: when nothing is to be read, or in its turn."""
        if die.cached or not die.writes:
            return False
        since_ps = die.writes[0].ready_ps
        is_older = not die.reads or die.reads[0].ready_ps > since_ps
        return is_older and (not die.reads or self.now_ps - since_ps > PATIENCE_PS)

    def use(self, channel: Channel, time_ps: int, after: Callable[[], None]) -> None:
        """Hold a bus; then what follows, and who is next."""
        channel.is_busy = True

        def over() -> None:
            channel.is_busy = False
            after()
            self.serve(channel)

        self.at(self.now_ps + time_ps, over)

    # ---- reads
    def read(self, die: Die) -> None:
        """Command and array read of the oldest page, with those that can go with it."""
        c = self.config
        die.group = self.company(die.reads, c.multi_plane_read, c.multi_plane)
        command_ps = c.read_command_ps + (len(die.group) - 1) * c.multi_plane_read_ps
        array_ps = max(c.read_ps[page.page % len(c.read_ps)] for page in die.group)
        self.use(die.channel, command_ps, lambda: None)
        die.state = READING
        self.at(self.now_ps + command_ps + array_ps, lambda: self.has_read(die))

    def company(self, queue: deque[Page], together: bool, rule: int) -> list[Page]:
        """Take the first of a queue, and of the next few those on other planes that fit."""
        first = queue.popleft()
        group, planes = [first], {first.plane}
        for page in list(queue)[:LOOK_AHEAD] if together else ():
            fits = rule == MultiPlane.INDEPENDENT or page.offset == first.offset
            if page.plane not in planes and fits:
                queue.remove(page)
                page.is_further = True
                group.append(page)
                planes.add(page.plane)
        return group

    def has_read(self, die: Die) -> None:
        self.offer(die)
        self.ask(die)
        self.serve(die.channel)

    def offer(self, die: Die) -> None:
        """Pages wait for the bus: in the cache register where a next read waits."""
        if die.cached:
            die.state = HOLDING
        elif self.config.cache_read and die.reads:
            die.state = MOVING
            self.at(self.now_ps + self.config.read_cache_busy_ps, lambda: self.has_moved(die))
        else:
            die.state, die.latched = IDLE, len(die.group)
            die.channel.transfers.extend(die.group)

    def has_moved(self, die: Die) -> None:
        die.state, die.cached = IDLE, len(die.group)
        die.channel.transfers.extend(die.group)
        self.ask(die)
        self.serve(die.channel)

    def data_out(self, page: Page) -> None:
        c = self.config
        set_up_ps = c.multi_plane_data_ps if page.is_further else c.data_setup_ps
        whole = page.size_bytes == c.page_bytes or not c.partial_read
        data_ps = c.page_transfer_ps if whole else c.bus_ps(c.moved_bytes(page.size_bytes))
        self.use(page.die.channel, set_up_ps + data_ps, lambda: self.is_out(page))

    def is_out(self, page: Page) -> None:
        """The register is free; the page goes on to the decoder."""
        die = page.die
        if die.cached:
            die.cached -= 1
            if not die.cached and die.state == HOLDING:
                self.offer(die)
        else:
            die.latched -= 1
        self.ask(die)
        self.decode(page)

    def decode(self, page: Page) -> None:
        c, channel = self.config, page.die.channel
        if not c.has_ecc:
            self.deliver(page)
            return
        units = -(-page.size_bytes // c.unit_bytes) if c.partial_read else c.units_per_page
        whole = units == c.units_per_page
        time_ps = c.ecc_page_ps if whole else c.ecc_ps(units * c.unit_bytes)
        channel.decoder_free_ps = max(self.now_ps, channel.decoder_free_ps) + time_ps
        self.at(channel.decoder_free_ps + c.ecc_latency_ps, lambda: self.deliver(page))

    def deliver(self, page: Page) -> None:
        """Through DRAM and link at once; the last page of a request completes it."""
        request = page.request
        through_ps = max(self.dram(page.size_bytes), self.up(self.config.pcie_ps(page.size_bytes)))
        request.done_ps = max(request.done_ps, through_ps)
        request.pages_left -= 1
        if not request.pages_left:
            self.complete(request, request.done_ps)

    # ---- programs
    def data_in(self, die: Die) -> None:
        """A die's turn to take data: unless reads came between."""
        is_idle = die.state == IDLE and not die.latched
        if not (is_idle and self.programs_next(die)) and not self.may_load(die):
            self.ask(die)
            return
        c = self.config
        die.coming = self.company_of_program(die)
        further = len(die.coming) - 1
        command_ps = c.program_command_ps + further * c.multi_plane_program_ps
        die.has_come = False
        if die.state == IDLE:
            die.state = LOADING
        time_ps = command_ps + len(die.coming) * c.page_in_ps
        self.use(die.channel, time_ps, lambda: self.is_in(die))

    def company_of_program(self, die: Die) -> list[Page]:
        """The oldest program, with those of other planes; no plane's pages change their order."""
        first = die.writes.popleft()
        group, planes, passed = [first], {first.plane}, set()
        for page in list(die.writes)[:LOOK_AHEAD] if self.config.multi_plane_program else ():
            is_free = page.plane not in planes and page.plane not in passed
            if is_free and page.offset == first.offset:
                die.writes.remove(page)
                group.append(page)
                planes.add(page.plane)
            else:
                passed.add(page.plane)
        return group

    def is_in(self, die: Die) -> None:
        die.has_come = True
        if die.state == LOADING:
            self.program(die, self.now_ps)
        self.ask(die)

    def program(self, die: Die, start_ps: int) -> None:
        c = self.config
        die.group, die.coming, die.state = die.coming, [], PROGRAMMING
        array_ps = max(c.program_ps[page.page % len(c.program_ps)] for page in die.group)
        self.at(start_ps + array_ps, lambda: self.has_programmed(die))

    def has_programmed(self, die: Die) -> None:
        """The pages are in flash; data that came in meanwhile follow."""
        die.state = IDLE
        for page in die.group:
            self.pending[page.lpa] -= 1
            page.request.pages_left -= 1
            if not page.request.pages_left:
                self.complete(page.request, self.now_ps)
        if die.coming and die.has_come:
            self.program(die, self.now_ps + self.config.program_cache_busy_ps)
        elif die.coming:
            die.state = LOADING
        self.ask(die)
        self.serve(die.channel)
