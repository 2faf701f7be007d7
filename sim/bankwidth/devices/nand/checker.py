"""A slow, simple check that an event trace of a drive keeps every rule of its parts.

It knows nothing of the kernel: it works from the drive's configuration and the trace alone. Each
rule looks through the events in the order in which they start; of all that is wrong the earliest
is named first:

* buses, decoders, filters, cores and link directions do one thing at a time, and so do dies;
* planes of a die work together only on equal block and page numbers, unless they are independent;
* array operations and what passes a bus take the time of the part;
* an array read follows its command, and its page leaves once, before the register is needed again;
* a program follows its data and its command; a register takes the data of one page at a time;
* pages are programmed in the order of their block, which is erased before, and only then read;
* only programs and erases are suspended, and in all they take the time that they need;
* what left a die passes the decoder of its channel, and only then its filter or the link.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bankwidth.devices.nand.kernel_state import TRACE, TRACE_KINDS
from bankwidth.devices.nand.policies import Bus, Interleave, MultiPlane

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bankwidth.devices.nand.config import DriveConfig

NONE: Final = -1  # an index that an event does not have
ON_BUS: Final = ("BUS_COMMAND", "BUS_DATA_OUT", "BUS_DATA_IN")
ON_DIE: Final = ("DIE_READ", "DIE_PROGRAM", "DIE_ERASE", "DIE_MOVE", "DIE_SUSPEND")
CAN_WAIT: Final = ("DIE_PROGRAM", "DIE_ERASE")  # that a suspend may cut
SINGLE: Final = ("PCIE_UP", "PCIE_DOWN")  # of which a drive has one
LANES: Final = {"CORE": "core", "COMPUTE": "lane", "THEN": "lane"}  # counted in `channel`
PER_CHANNEL: Final = {"ECC": "decoder", "FILTER": "filter"} | dict.fromkeys(ON_BUS, "bus")


@dataclass(frozen=True, slots=True)
class Event:
    """One occupation of a resource; `die` counts through the drive."""

    start_ps: int
    end_ps: int
    kind: str
    channel: int = NONE
    die: int = NONE
    plane: int = NONE
    block: int = NONE
    page: int = NONE
    lpa: int = NONE

    def __str__(self) -> str:
        names = ("channel", "die", "plane", "block", "page", "lpa")
        place = ((name, getattr(self, name)) for name in names)
        where = ", ".join(f"{name} {index}" for name, index in place if index != NONE)
        return f"{self.kind} ({where}) of {self.start_ps} to {self.end_ps} ps"

    @property
    def time_ps(self) -> int:
        """How long it takes."""
        return self.end_ps - self.start_ps

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Die, plane, block and page."""
        return self.die, self.plane, self.block, self.page

    @property
    def operation(self) -> tuple[str, int, int, int]:
        """What events of one operation on several planes share."""
        return self.kind, self.die, self.start_ps, self.end_ps


@dataclass(frozen=True, slots=True)
class Violation:
    """An event that breaks a rule, and the one that it is in conflict with, if there is one."""

    event: Event
    problem: str  # in words that follow the event
    before: Event | None = None
    is_missing: bool = False  # what should have followed until the end of the trace

    def __str__(self) -> str:
        return f"{self.event} {self.problem}"


Rule = Callable[[Sequence[Event], "DriveConfig"], Iterator[Violation]]


def events_of(trace: NDArray[np.void]) -> list[Event]:
    """The events of a drive's trace, a structured array with the fields of TRACE."""
    rows = zip(*(trace[name].tolist() for name in TRACE), strict=True)
    return [Event(row[0], row[1], TRACE_KINDS[row[2]], *row[3:]) for row in rows]


def first_violation(events: Iterable[Event], config: DriveConfig) -> Violation | None:
    """The earliest event that breaks a rule; None if there is none."""
    return next(iter(violations(events, config)), None)


def violations(events: Iterable[Event], config: DriveConfig) -> list[Violation]:
    """Every rule that every event breaks, the earliest event first, and last what is missing.

    The trace begins with a fresh drive and ends when all is done: what is still under way is wrong.
    """
    ordered = sorted(events, key=lambda event: (event.start_ps, event.end_ps))
    misplaced = list(_misplaced(ordered, config))
    if misplaced:  # no other rule could look at them
        return misplaced
    cut = _suspended(ordered)
    found = [violation for rule in RULES for violation in rule(cut, config)]
    return sorted(found, key=lambda one: (one.is_missing, one.event.start_ps))


# ---------------------------------------------------------------------------- places and servers
def _misplaced(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """Every event is at a place that the drive has, and does not end before it starts."""
    counts = {
        "channel": config.channels,
        "die": config.dies,
        "plane": config.planes,
        "block": config.blocks_per_plane,
        "page": config.pages_per_block,
    }
    for event in events:
        if event.start_ps < 0 or event.time_ps < 0:
            yield Violation(event, "ends before it starts, or starts before the trace")
        for name in _needs(event.kind):
            index, count = getattr(event, name), counts[name]
            if not 0 <= index < count:
                yield Violation(event, f"has {name} {index}, must be 0 to {count - 1}")
        if _needs(event.kind) and event.channel != event.die // config.dies_per_channel:
            home = event.die // config.dies_per_channel
            yield Violation(event, f"has channel {event.channel}, its die is on channel {home}")


def _needs(kind: str) -> tuple[str, ...]:
    """Indices that an event must have; the others of events elsewhere say something else."""
    if kind in ON_DIE or kind in PER_CHANNEL:
        return ("channel", "die", "plane", "block", "page")
    return ()


def _servers(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """What serves one at a time does."""
    for name, visits in _by_server(events, config).items():
        last: Event | None = None
        for event in visits:
            is_taken = last is not None and last.end_ps > event.start_ps
            if last is not None and is_taken and event.operation != last.operation:
                yield Violation(event, f"finds {name} taken by {last}", last)
            if last is None or event.end_ps > last.end_ps:
                last = event


def _by_server(events: Sequence[Event], config: DriveConfig) -> dict[str, list[Event]]:
    """The visits of every server by its name."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        for name in _servers_of(event, config):
            found[name].append(event)
    return found


def _servers_of(event: Event, config: DriveConfig) -> Iterator[str]:
    if event.kind in ON_DIE:
        yield from _arrays_of(event, config)
    elif event.kind in PER_CHANNEL:
        yield f"{PER_CHANNEL[event.kind]} of channel {event.channel}"
    elif event.kind in SINGLE:
        yield f"direction {event.kind}"
    elif event.kind in LANES:
        yield f"{LANES[event.kind]} {event.channel}"


def _arrays_of(event: Event, config: DriveConfig) -> Iterator[str]:
    """A read of independent planes takes its plane; everything else the die, or the chip."""
    if config.interleave == Interleave.CHIP:
        yield f"chip {event.die // config.dies_per_chip}"
    elif event.kind == "DIE_READ" and config.multi_plane == MultiPlane.INDEPENDENT:
        yield f"plane {event.plane} of die {event.die}"
    else:
        yield from (f"plane {plane} of die {event.die}" for plane in range(config.planes))


# ---------------------------------------------------------------------------- planes together
def _operations(events: Sequence[Event]) -> dict[tuple[str, int, int, int], list[Event]]:
    """Array operations, each with one event per plane."""
    found: dict[tuple[str, int, int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event.kind in ON_DIE:
            found[event.operation].append(event)
    return found


def _planes(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """Planes work together on equal block and page numbers, each once.

    In lockstep mode only page numbers are compared, as MQSim does.
    """
    for group in _operations(events).values():
        first, planes = group[0], set()
        for event in group:
            if event.plane in planes:
                yield Violation(event, "has this plane twice in one operation", first)
            planes.add(event.plane)
            if not _may_go_with(event, first, config):
                at = f"block {first.block}, page {first.page}"
                yield Violation(event, f"goes together with {at} of another plane", first)


def _may_go_with(event: Event, first: Event, config: DriveConfig) -> bool:
    is_read = event.kind in ("DIE_READ", "DIE_MOVE")
    if is_read and config.multi_plane == MultiPlane.INDEPENDENT:
        return True
    compares_blocks = config.bus != Bus.DATA_FIRST_LOCKSTEP
    return event.page == first.page and (event.block == first.block or not compares_blocks)


# ---------------------------------------------------------------------------- times
def _times(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """What passes a bus, and what an array does, takes the time of the part."""
    allowed = _allowed_ps(config)
    for event in events:
        times = allowed.get(event.kind)
        if times is not None and event.time_ps not in times:
            yield Violation(event, f"takes {event.time_ps} ps, {_listed(times)}")
    for group in _operations(events).values():
        if group[0].kind == "DIE_READ":
            need_ps = max(config.read_ps[event.page % len(config.read_ps)] for event in group)
            if group[0].time_ps != need_ps:
                yield Violation(group[0], f"takes {group[0].time_ps} ps, its pages {need_ps} ps")


def _allowed_ps(config: DriveConfig) -> dict[str, set[int]]:
    further = range(config.planes)
    read_ps = {config.read_command_ps + n * config.multi_plane_read_ps for n in further}
    more_ps = config.multi_plane_program_ps + config.page_in_ps
    program_ps = config.program_command_ps + config.page_in_ps
    units = range(1, config.units_per_page + 1)
    data_ps = {config.bus_ps(config.moved_bytes(n * config.unit_bytes)) for n in units}
    data_ps.add(config.page_transfer_ps)
    set_ups = (config.data_setup_ps, config.multi_plane_data_ps)
    return {
        "BUS_COMMAND": read_ps | {config.erase_command_ps, config.suspend_command_ps},
        "BUS_DATA_OUT": {set_up + ps for set_up in set_ups for ps in data_ps},
        "BUS_DATA_IN": {program_ps + n * more_ps for n in further},
        "DIE_MOVE": {config.read_cache_busy_ps} - {0},
        "DIE_SUSPEND": {config.suspend_ps} - {0},
        "ECC": {config.ecc_ps(n * config.unit_bytes) for n in units} | {config.ecc_page_ps},
    }


def _listed(times: set[int]) -> str:
    if not times:
        return "the part has no such thing"
    return f"the part {' or '.join(map(str, sorted(times)))} ps"


# ---------------------------------------------------------------------------- commands
def _commands(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """A read, an erase, a suspend and what goes on after it follow a command of their own.

    The command of a program is one piece with its data.
    """
    given: dict[int, deque[Event]] = defaultdict(deque)
    suspended: set[tuple[int, int, int, int]] = set()
    groups = _operations(events)
    for event in events:
        if event.kind == "BUS_COMMAND":
            given[event.die].append(event)
        if event.kind not in ON_DIE or groups[event.operation][0] is not event:
            continue
        is_resumed = event.kind in CAN_WAIT and event.place in suspended
        if event.kind in ("DIE_READ", "DIE_ERASE", "DIE_SUSPEND") or is_resumed:
            yield from _follows(groups[event.operation], given[event.die])
        suspended.discard(event.place)
        if event.kind == "DIE_SUSPEND":
            suspended.add(event.place)
    for left in given.values():
        for command in left:
            yield Violation(command, "is followed by nothing", is_missing=True)


def _follows(group: Sequence[Event], given: deque[Event]) -> Iterator[Violation]:
    event = group[0]
    command = given.popleft() if given else None
    if command is None:
        yield Violation(event, "starts without a command")
    elif command.place not in [other.place for other in group]:
        yield Violation(event, f"starts after the command of another page: {command}", command)
    elif command.end_ps > event.start_ps:
        yield Violation(event, f"starts before the end of {command}", command)


# ---------------------------------------------------------------------------- reads
@dataclass(slots=True)
class _Register:
    """One page of data in a plane: since when it is there, and what takes it away."""

    page: Event | None = None
    taken: Event | None = None

    def holds(self, event: Event) -> bool:
        """Whether the page of an event is here, be it on its way in or out."""
        return self.page is not None and self.page.place == event.place

    def is_free(self, at_ps: int) -> bool:
        """Whether what was in it has left."""
        return self.page is None or (self.taken is not None and self.taken.end_ps <= at_ps)


def _reads(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """Data leave a plane once, after they are in its register, and before others come in."""
    planes: dict[tuple[int, int], tuple[_Register, _Register]] = {}
    for event in events:
        if event.kind not in ("DIE_READ", "DIE_MOVE", "BUS_DATA_OUT", "BUS_DATA_IN"):
            continue
        array, cache = planes.setdefault(event.place[:2], (_Register(), _Register()))
        match event.kind:
            case "DIE_READ":
                yield from _comes_in(event, array)
            case "DIE_MOVE":
                yield from _goes_out(event, array)
                yield from _comes_in(event, cache)
            case "BUS_DATA_IN":
                yield from _meets(event, array)
            case _:
                yield from _goes_out(event, _source_of(event, array, cache))
    for registers in planes.values():
        for register in registers:
            if register.page is not None and register.taken is None:
                yield Violation(register.page, "is never moved out", is_missing=True)


def _source_of(event: Event, array: _Register, cache: _Register) -> _Register:
    """Where data come from: the cache register, unless they have left it."""
    is_cached = cache.holds(event) and (cache.taken is None or not array.holds(event))
    return cache if is_cached else array


def _comes_in(event: Event, register: _Register) -> Iterator[Violation]:
    yield from _meets(event, register)
    register.page, register.taken = event, None


def _meets(event: Event, register: _Register) -> Iterator[Violation]:
    if not register.is_free(event.start_ps):
        held = register.page
        yield Violation(event, f"overwrites {held}, which is not moved out yet", held)


def _goes_out(event: Event, register: _Register) -> Iterator[Violation]:
    if register.page is None or not register.holds(event):
        yield Violation(event, "is of a page that was not read")
        return
    if register.taken is not None:
        yield Violation(event, f"is moved out already by {register.taken}", register.taken)
    if event.start_ps < register.page.end_ps:
        yield Violation(event, f"starts before the end of {register.page}", register.page)
    register.taken = event


def _decodes(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """Every page that left its die is decoded once, and then only passes the filter."""
    out: dict[tuple[int, int, int, int], deque[Event]] = defaultdict(deque)
    good: dict[tuple[int, int, int, int], deque[Event]] = defaultdict(deque)
    for event in events:
        if event.kind == "BUS_DATA_OUT":
            out[event.place].append(event)
        elif event.kind == "ECC":
            yield from _passes(event, out[event.place], 0)
            good[event.place].append(event)
        elif event.kind == "FILTER":
            before = good if config.has_ecc else out
            delay_ps = config.ecc_latency_ps if config.has_ecc else 0
            yield from _passes(event, before[event.place], delay_ps)
    if config.has_ecc:
        for left in out.values():
            for event in left:
                yield Violation(event, "is never decoded", is_missing=True)


def _link(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """A page goes up to the host behind its decoder; before it was read, only what is written now.

    Data that are not in flash yet are still in the drive's DRAM.
    """
    good: dict[tuple[int, int, int, int], deque[Event]] = defaultdict(deque)
    ends_ps: dict[tuple[int, int, int, int], int] = {}
    for event in events:
        if event.kind == "DIE_PROGRAM":
            ends_ps[event.place] = event.end_ps
    before = "ECC" if config.has_ecc else "BUS_DATA_OUT"
    delay_ps = config.ecc_latency_ps if config.has_ecc else 0
    since_ps = until_ps = 0  # the link has been busy: what goes up now may have waited as long
    for event in events:
        if event.kind == before:
            good[event.place].append(event)
        if event.kind != "PCIE_UP":
            continue
        since_ps = since_ps if event.start_ps <= until_ps else event.start_ps
        until_ps = event.end_ps
        is_buffered = ends_ps.get(event.place, 0) > since_ps
        if event.page != NONE and (good[event.place] or not is_buffered):
            yield from _passes(event, good[event.place], delay_ps)


def _passes(event: Event, before: deque[Event], delay_ps: int) -> Iterator[Violation]:
    if not before:
        yield Violation(event, "has no page to work on")
        return
    source = before.popleft()
    if event.start_ps < source.end_ps + delay_ps:
        behind = f" and {delay_ps} ps behind it" if delay_ps else ""
        yield Violation(event, f"starts before the end of {source}{behind}", source)


# ---------------------------------------------------------------------------- programs, erases
def _suspended(events: Sequence[Event]) -> list[Event]:
    """The same events, but what a suspend stops ends there: a trace may say when it would have."""
    found = list(events)
    running: dict[tuple[int, int, int, int], int] = {}  # place -> number of the event
    for number, event in enumerate(events):
        if event.kind in CAN_WAIT:
            running[event.place] = number
        elif event.kind == "DIE_SUSPEND" and event.place in running:
            stopped = found[running[event.place]]
            end_ps = min(stopped.end_ps, event.start_ps)
            found[running[event.place]] = replace(stopped, end_ps=end_ps)
    return found


def _long_operations(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """A program or an erase takes its time in all, in parts only where it is suspended.

    While one is suspended its die takes up no other.
    """
    left: dict[tuple[int, int, int, int], tuple[Event, int]] = {}  # part before, what is left
    stops = {(event.place, event.start_ps) for event in events if event.kind == "DIE_SUSPEND"}
    for group in _operations(events).values():
        first = group[0]
        if first.kind not in CAN_WAIT:
            continue
        whole_ps = _needed_ps(group, config)
        before, left_ps = left.pop(first.place, (first, whole_ps))
        yield from _is_alone(first, [event for event, _ in left.values()])
        left_ps -= first.time_ps
        if (first.place, first.end_ps) in stops and left_ps > 0:
            left[first.place] = (first, left_ps)
        elif left_ps:
            problem = f"has taken {whole_ps - left_ps} ps in all, must take {whole_ps} ps"
            yield Violation(first, problem, before)
    for event, left_ps in left.values():
        problem = f"is suspended with {left_ps} ps left and never goes on"
        yield Violation(event, problem, is_missing=True)


def _is_alone(event: Event, suspended: Sequence[Event]) -> Iterator[Violation]:
    for other in suspended:
        if other.die == event.die:
            yield Violation(event, f"starts while {other} is suspended", other)


def _needed_ps(group: Sequence[Event], config: DriveConfig) -> int:
    if group[0].kind == "DIE_ERASE":
        return config.erase_ps
    return max(config.program_ps[event.page % len(config.program_ps)] for event in group)


def _whole(events: Sequence[Event]) -> list[Event]:
    """The events with the parts of suspended programs and erases as one, from first to last."""
    found: list[Event] = []
    cut: dict[tuple[int, int, int, int], int] = {}  # place -> number of what was suspended
    numbers: dict[tuple[int, int, int, int], int] = {}
    for event in events:
        if event.kind in CAN_WAIT and event.place in cut:
            number = cut.pop(event.place)
            found[number] = replace(found[number], end_ps=event.end_ps)
            continue
        if event.kind in CAN_WAIT:
            numbers[event.place] = len(found)
        elif event.kind == "DIE_SUSPEND" and event.place in numbers:
            cut[event.place] = numbers[event.place]
        found.append(event)
    return found


def _programs(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """A program follows its data; a plane holds those of one page, with cache programs of two."""
    room = 2 if config.cache_program else 1
    planes: dict[tuple[int, int], list[_Register]] = defaultdict(list)
    for event in _whole(events):
        held = planes[event.place[:2]]
        if event.kind == "BUS_DATA_IN":
            held[:] = [one for one in held if not one.is_free(event.start_ps)]
            if len(held) >= room:
                yield Violation(event, f"finds its register taken by {held[0].page}", held[0].page)
            held.append(_Register(event))
        elif event.kind == "DIE_PROGRAM":
            waits = (one for one in held if one.holds(event) and one.taken is None)
            yield from _goes_in(event, next(waits, _Register()))
    for registers in planes.values():
        for one in registers:
            if one.page is not None and one.taken is None:
                yield Violation(one.page, "is never programmed", is_missing=True)


def _goes_in(event: Event, data: _Register) -> Iterator[Violation]:
    if data.page is None:
        yield Violation(event, "programs data that did not come in")
    elif event.start_ps < data.page.end_ps:
        yield Violation(event, f"starts before the end of {data.page}", data.page)
    data.taken = event


# ---------------------------------------------------------------------------- blocks
@dataclass(slots=True)
class _Block:
    """Pages of a block up to `next` are programmed, or on their way."""

    next: int
    by: dict[int, Event] = field(default_factory=dict)  # page -> program of this trace
    erased: Event | None = None


def _blocks(events: Sequence[Event], config: DriveConfig) -> Iterator[Violation]:
    """Pages are programmed in order into an erased block, and read once they are programmed.

    At first the blocks that the logical pages fill are full, and all others are erased. In lockstep
    mode, which knows no data, all are erased, and a page may be read that was never written.
    """
    is_lockstep = config.bus == Bus.DATA_FIRST_LOCKSTEP
    full = 0 if is_lockstep else home_blocks(config)
    blocks: dict[tuple[int, int, int], _Block] = {}
    for event in _whole(events):
        at = event.place[:3]
        if at not in blocks:
            blocks[at] = _Block(config.pages_per_block if event.block < full else 0)
        block = blocks[at]
        match event.kind:
            case "DIE_READ" if not is_lockstep:
                yield from _is_written(event, block)
            case "DIE_PROGRAM":
                yield from _is_next(event, block, may_skip=is_lockstep)
                block.next, block.by[event.page] = event.page + 1, event
            case "DIE_ERASE":
                blocks[at] = _Block(0, erased=event)


def home_blocks(config: DriveConfig) -> int:
    """Blocks of each plane that the logical pages fill when nothing was written yet."""
    planes = config.dies * config.planes
    return -(-config.logical_pages // (planes * config.pages_per_block))


def _is_written(event: Event, block: _Block) -> Iterator[Violation]:
    program = block.by.get(event.page)
    if event.page >= block.next:
        since = f" since {block.erased}" if block.erased else ""
        yield Violation(event, f"reads a page that is erased{since}", block.erased)
    elif program is not None and event.start_ps < program.end_ps:
        yield Violation(event, f"starts before the end of {program}", program)


def _is_next(event: Event, block: _Block, *, may_skip: bool) -> Iterator[Violation]:
    before = block.by.get(event.page)
    if event.page < block.next:
        what = f": {before}" if before else " from the start"
        yield Violation(event, f"programs a page again that is not erased{what}", before)
    elif event.page > block.next and not may_skip:
        yield Violation(event, f"is out of order, next in its block is page {block.next}")


RULES: Final[tuple[Rule, ...]] = (
    _servers, _planes, _times, _commands, _reads, _decodes, _link, _long_operations, _programs,
    _blocks,
)  # fmt: skip
