"""The checker finds every planted violation, and nothing in traces that keep all rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.devices.nand.drives import ECC, drive_of
from tests.devices.nand.story import Place, Story

from bankwidth.devices.nand.checker import (
    NONE,
    Event,
    events_of,
    first_violation,
    home_blocks,
    violations,
)
from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.kernel_state import TRACE, TRACE_KINDS

FREE = 8  # first block of a plane that nothing is in at first
A: Place = (0, 0, 0, 0)  # die, plane, block, page
B: Place = (1, 0, 0, 0)
A_PLANE_1: Place = (0, 1, 0, 0)
NEW: Place = (0, 0, FREE, 0)
NEXT: Place = (0, 0, FREE, 1)
PAGE_PS = 4_096_000


@pytest.fixture(scope="module")
def config() -> DriveConfig:
    return drive_of()


def said(story: Story, number: int = 0) -> str:
    """What the checker names first, or as the violation of that number."""
    found = violations(story.events, story.config)
    assert first_violation(story.events, story.config) == (found[0] if found else None)
    return str(found[number]) if found else ""


def test_blocks_that_the_host_sees_are_full_at_first(config: DriveConfig) -> None:
    assert home_blocks(config) == FREE
    assert home_blocks(drive_of(ftl={"over_provisioning": 0.55})) == FREE  # 57.6 pages a plane


# ---------------------------------------------------------------------------- good traces
def test_a_read_a_write_and_an_erase_are_good(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A).write(NEW).write(NEXT).read(NEXT).out(NEXT).erase(A)
    assert said(story.write(A)) == ""


def test_two_dies_share_the_bus(config: DriveConfig) -> None:
    story = Story(config).read(A).read(B, at_ps=290_000)
    story.out(A, at_ps=20_290_000).out(B)
    assert said(story) == ""


def test_all_of_it_with_a_decoder() -> None:
    config = drive_of(ecc=ECC)
    story = Story(config).read(A).out(A).read(A).out(A)
    assert [event.kind for event in story.events].count("ECC") == 2
    assert said(story) == ""


def test_planes_work_together(config: DriveConfig) -> None:
    both = ((0, 0, FREE, 0), (0, 1, FREE, 0))
    assert said(Story(config).write(*both).read(*both).out(*both)) == ""


def test_a_trace_as_the_drive_gives_it_is_read(config: DriveConfig) -> None:
    kinds = np.dtype([(name, np.int64) for name in TRACE])
    row = (5, 295_005, TRACE_KINDS.index("BUS_COMMAND"), 0, 1, 0, 3, 2, 77)
    assert events_of(np.array([row], dtype=kinds)) == [
        Event(5, 295_005, "BUS_COMMAND", 0, 1, 0, 3, 2, 77)
    ]


# ---------------------------------------------------------------------------- places
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"die": 2}, "has die 2, must be 0 to 1"),
        ({"plane": 2}, "has plane 2, must be 0 to 1"),
        ({"block": 16}, "has block 16, must be 0 to 15"),
        ({"page": 8}, "has page 8, must be 0 to 7"),
        ({"page": -1}, "has page -1, must be 0 to 7"),
        ({"channel": 1}, "has channel 1, must be 0 to 0"),
        ({"end_ps": 0, "start_ps": 1}, "ends before it starts"),
        ({"start_ps": -1}, "starts before the trace"),
    ],
)
def test_an_event_at_no_place(changes: dict[str, int], words: str, config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.change(1, **changes)
    assert words in said(story)


def test_a_die_is_on_its_own_channel() -> None:
    story = Story(drive_of(channels=2)).read(A).out(A)
    story.change(2, channel=1)
    assert "has channel 1, its die is on channel 0" in said(story)


# ---------------------------------------------------------------------------- one at a time
def test_a_bus_carries_one_thing_at_a_time(config: DriveConfig) -> None:
    story = Story(config).read(A).read(B, at_ps=290_000)
    story.out(A, at_ps=20_290_000).out(B)
    story.shift(-1, -1)
    assert said(story) == (
        "BUS_DATA_OUT (channel 0, die 1, plane 0, block 0, page 0) of 24415999 to 28541999 ps "
        "finds bus of channel 0 taken by BUS_DATA_OUT (channel 0, die 0, plane 0, block 0, page 0) "
        "of 20290000 to 24416000 ps"
    )


def test_a_command_waits_for_the_bus_too(config: DriveConfig) -> None:
    story = Story(config).read(A).read(B, at_ps=289_999).out(A, at_ps=20_290_000).out(B)
    assert "finds bus of channel 0 taken by BUS_COMMAND" in said(story)


def test_buses_of_two_channels_are_two() -> None:
    config = drive_of(channels=2)
    story = Story(config).read(A).read((2, 0, 0, 0), at_ps=0)
    assert said(story.out(A).out((2, 0, 0, 0), at_ps=20_290_000)) == ""


def test_a_die_does_one_thing_at_a_time(config: DriveConfig) -> None:
    other: Place = (0, 1, 3, 5)
    story = Story(config).read(A).read(other, at_ps=290_000).out(A, at_ps=20_580_000).out(other)
    assert "finds plane 0 of die 0 taken by DIE_READ" in said(story)


def test_independent_planes_read_apart() -> None:
    config = drive_of(nand={"multi_plane": "independent"})
    other: Place = (0, 1, 3, 5)
    story = Story(config).read(A).read(other, at_ps=290_000).out(A, at_ps=20_580_000).out(other)
    assert said(story) == ""
    story = Story(config).load(NEW).load((0, 1, FREE, 0))
    story.program(NEW, at_ps=story.now_ps).program((0, 1, FREE, 0), at_ps=story.now_ps - 1)
    assert "taken by DIE_PROGRAM" in said(story)


def test_a_chip_that_does_not_interleave_is_one() -> None:
    config = drive_of(chips_per_channel=1, dies_per_chip=2, policy={"interleave": "chip"})
    story = Story(config).read(A).read(B, at_ps=290_000).out(A, at_ps=20_580_000).out(B)
    assert "finds chip 0 taken by DIE_READ" in said(story)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ECC", "decoder of channel 0"),
        ("PCIE_UP", "direction PCIE_UP"),
        ("PCIE_DOWN", "direction PCIE_DOWN"),
        ("CORE", "core 0"),
        ("COMPUTE", "lane 0"),
    ],
)
def test_servers_are_not_shared(kind: str, name: str) -> None:
    config = drive_of(ecc=ECC)
    story = Story(config).read(A).out(A).read(B).out(B)
    story.events = [event for event in story.events if event.kind != "ECC"]
    places = [event for event in story.events if event.kind == "BUS_DATA_OUT"]
    for event, start_ps in zip(places, (60_000_000, 62_047_999), strict=True):
        story.add(kind, event.place, config.ecc_page_ps, start_ps)
        if kind != "ECC":
            story.change(-1, page=NONE)
    assert f"finds {name} taken by {kind}" in said(story)
    story.shift(-1, 1)
    assert f"finds {name}" not in said(story)


# ---------------------------------------------------------------------------- planes together
@pytest.mark.parametrize("other", [(0, 1, 1, 0), (0, 1, 0, 1)])
def test_planes_read_together_what_has_equal_numbers(other: Place, config: DriveConfig) -> None:
    said_of = said(Story(config).read(A, other).out(A, other))
    assert "goes together with block 0, page 0 of another plane" in said_of
    free = drive_of(nand={"multi_plane": "independent"})
    assert said(Story(free).read(A, other).out(A, other)) == ""


def test_in_lockstep_mode_blocks_may_differ() -> None:
    config = drive_of(policy={"bus": "data_first_lockstep"})
    other: Place = (0, 1, 1, 0)
    assert said(Story(config).read(A, other).out(A, other)) == ""
    assert "goes together" in said(Story(config).read(A, (0, 1, 0, 1)))


def test_programs_go_together_on_equal_numbers_whatever_reads_may() -> None:
    config = drive_of(nand={"multi_plane": "independent"})
    story = Story(config).write((0, 1, FREE, 0)).write(NEW, (0, 1, FREE, 1))
    assert "goes together" in said(story)


def test_a_plane_is_not_twice_in_one_operation(config: DriveConfig) -> None:
    story = Story(config).read(A, A).out(A)
    assert "has this plane twice" in said(story)


# ---------------------------------------------------------------------------- times
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "takes 290001 ps, the part"),
        (1, "takes 20000001 ps, its pages 20000000 ps"),
        (2, "takes 4126001 ps, the part"),
        (3, "takes 4457001 ps, the part 4457000 or"),
        (4, "has taken 200000001 ps in all, must take 200000000 ps"),
        (6, "has taken 1000000001 ps in all, must take 1000000000 ps"),
    ],
)
def test_everything_takes_its_time(number: int, words: str, config: DriveConfig) -> None:
    story = Story(config).read(A).out(A).write(NEW).erase(A)
    assert said(story) == ""
    for later in range(number + 1, len(story.events)):
        story.shift(later, 1)
    story.change(number, end_ps=story.events[number].end_ps + 1)
    assert words in said(story)


def test_each_type_of_page_has_its_own_time() -> None:
    config = drive_of(nand={"timing": {"read": ["20 us", "30 us", "40 us"]}})
    story = Story(config)
    for page in (0, 1, 2, 3):
        story.read((0, 0, 0, page)).out((0, 0, 0, page))
    assert [e.time_ps for e in story.events if e.kind == "DIE_READ"] == [
        20_000_000, 30_000_000, 40_000_000, 20_000_000,
    ]  # fmt: skip
    assert said(story) == ""
    story = Story(config).read((0, 0, 0, 1)).out((0, 0, 0, 1))
    story.change(1, end_ps=20_290_000)
    assert "takes 20000000 ps, its pages 30000000 ps" in said(story)


def test_codewords_may_leave_alone(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.change(2, end_ps=story.events[2].start_ps + 30_000 + 512_000)
    assert said(story) == ""
    story.change(2, end_ps=story.events[2].start_ps + 30_000 + 511_000)
    assert "takes 541000 ps" in said(story)


# ---------------------------------------------------------------------------- reads
def test_a_read_needs_a_command_of_its_own(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A).read(A).out(A)
    del story.events[3]
    assert "DIE_READ" in said(story)
    assert "starts without a command" in said(story)


def test_a_command_must_be_whole(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.shift(1, -1)
    assert "DIE_READ" in said(story)
    assert "starts before the end of BUS_COMMAND" in said(story)


def test_a_command_is_for_its_page(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.change(0, page=1)
    assert "starts after the command of another page" in said(story)


def test_a_command_is_followed(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.add("BUS_COMMAND", A, config.read_command_ps)
    assert "is followed by nothing" in said(story)


def test_data_leave_after_the_read(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.shift(2, -1)
    assert "BUS_DATA_OUT" in said(story)
    assert "starts before the end of DIE_READ" in said(story)


def test_data_leave_once(config: DriveConfig) -> None:
    assert "is moved out already by" in said(Story(config).read(A).out(A).out(A))


def test_data_leave(config: DriveConfig) -> None:
    assert "DIE_READ" in said(Story(config).read(A))
    assert "is never moved out" in said(Story(config).read(A))


def test_only_what_was_read_leaves(config: DriveConfig) -> None:
    other: Place = (0, 0, 0, 1)
    assert "is of a page that was not read" in said(Story(config).read(A).out(other))
    assert "is of a page that was not read" in said(Story(config).out(A))


def test_a_register_is_not_overwritten(config: DriveConfig) -> None:
    other: Place = (0, 0, 0, 1)
    story = Story(config).read(A).read(other).out(A)
    assert "overwrites DIE_READ" in said(story)
    story = Story(config).read(A).out(A).read(other).out(other)
    story.shift(4, -290_001)  # the second read, before its command
    assert "overwrites" in said(story, 1)
    assert "overwrites DIE_READ" in said(Story(config).read(A).write(NEW).out(A))


# ---------------------------------------------------------------------------- cache reads
def cached(config: DriveConfig) -> Story:
    """Page 1 is read while page 0 leaves from the cache register."""
    first, second = A, (0, 0, 0, 1)
    story = Story(config).read(first)
    moved = story.add("DIE_MOVE", first, config.read_cache_busy_ps)
    story.read(second, at_ps=moved.end_ps - 290_000).out(first, at_ps=moved.end_ps)
    return story.out(second, at_ps=moved.end_ps + 20_000_000)


def test_a_cache_read_is_good(config: DriveConfig) -> None:
    assert said(cached(config)) == ""


def test_a_part_without_cache_register_does_not_move(config: DriveConfig) -> None:
    story = cached(config)
    story.config = replace(config, read_cache_busy_ps=0)
    assert "takes 3000000 ps, the part has no such thing" in said(story)


def test_the_move_takes_its_time(config: DriveConfig) -> None:
    story = cached(config)
    story.change(2, end_ps=story.events[2].end_ps - 1)
    assert "DIE_MOVE" in said(story)
    assert "takes 2999999 ps, the part 3000000 ps" in said(story)


def test_the_array_is_busy_in_the_move(config: DriveConfig) -> None:
    story = cached(config)
    story.shift(4, -1)  # the read
    assert "finds plane 0 of die 0 taken by DIE_MOVE" in said(story)


def test_the_cache_register_holds_one_page(config: DriveConfig) -> None:
    story = cached(config)
    late = next(i for i, event in enumerate(story.events) if event.kind == "BUS_DATA_OUT")
    second: Place = (0, 0, 0, 1)
    story.add("DIE_MOVE", second, config.read_cache_busy_ps, story.events[late - 1].end_ps)
    story.shift(late, 20_000_000)
    assert "overwrites DIE_MOVE" in said(story)


def test_data_leave_after_the_move(config: DriveConfig) -> None:
    story = cached(config)
    out = next(i for i, event in enumerate(story.events) if event.kind == "BUS_DATA_OUT")
    story.shift(out, -1)
    story.events[3:5] = []
    story.events[-1:] = []
    assert "starts before the end of DIE_MOVE" in said(story)


# ---------------------------------------------------------------------------- decoders, filters
def test_what_leaves_is_decoded_once() -> None:
    config = drive_of(ecc=ECC)
    story = Story(config).read(A).out(A)
    assert story.events[-1].kind == "ECC"
    del story.events[-1]
    assert "is never decoded" in said(story)
    story = Story(config).read(A).out(A)
    story.add("ECC", A, config.ecc_page_ps, 60_000_000)
    assert "has no page to work on" in said(story)


def test_decoders_wait_for_the_data() -> None:
    story = Story(drive_of(ecc=ECC)).read(A).out(A)
    story.shift(-1, -1)
    assert "ECC" in said(story)
    assert "starts before the end of BUS_DATA_OUT" in said(story)


def test_a_decoder_takes_its_time() -> None:
    story = Story(drive_of(ecc=ECC)).read(A).out(A)
    story.change(-1, end_ps=story.events[-1].end_ps + 1)
    assert "takes 2048001 ps" in said(story)


def test_filters_wait_for_the_decoder() -> None:
    config = drive_of(ecc=ECC)
    story = Story(config).read(A).out(A)
    end_ps = story.events[-1].end_ps
    story.add("FILTER", A, 1000, end_ps + config.ecc_latency_ps)
    assert said(story) == ""
    story.shift(-1, -1)
    assert "FILTER" in said(story)
    assert "and 2000000 ps behind it" in said(story)


def test_filters_without_a_decoder_wait_for_the_data(config: DriveConfig) -> None:
    story = Story(config).read(A).out(A)
    story.add("FILTER", A, 1000)
    assert said(story) == ""
    story.shift(-1, -1)
    assert "starts before the end of BUS_DATA_OUT" in said(story)


@pytest.mark.parametrize("ecc", [None, ECC])
def test_pages_go_up_once_behind_their_decoder(ecc: dict[str, str] | None) -> None:
    config = drive_of(ecc=ecc)
    story = Story(config).read(A).out(A)
    end_ps = story.events[-1].end_ps + config.ecc_latency_ps
    story.add("PCIE_UP", A, config.pcie_page_ps, end_ps)
    assert said(story) == ""
    story.shift(-1, -1)
    assert "PCIE_UP" in said(story)
    assert "starts before the end of" in said(story)
    story.shift(-1, 1)
    story.add("PCIE_UP", A, config.pcie_page_ps)
    assert "has no page to work on" in said(story)


def test_what_is_written_just_now_goes_up_unread(config: DriveConfig) -> None:
    story = Story(config).write(NEW)
    story.add("PCIE_UP", NEW, config.pcie_page_ps, story.now_ps - 1)
    assert said(story) == ""
    story.shift(-1, 1)
    assert "has no page to work on" in said(story)
    story.add("PCIE_UP", (0, 0, 0, NONE), 2, story.events[-1].start_ps - 2)  # the link was busy
    assert said(story) == ""


# ---------------------------------------------------------------------------- programs
def test_a_program_follows_its_data(config: DriveConfig) -> None:
    story = Story(config).write(NEW)
    story.shift(1, -1)
    assert "starts before the end of BUS_DATA_IN" in said(story)
    assert "programs data that did not come in" in said(Story(config).program(NEW))
    assert "is never programmed" in said(Story(config).load(NEW))


def test_a_register_takes_one_page(config: DriveConfig) -> None:
    story = Story(config).load(NEW).load(NEXT).program(NEW).program(NEXT)
    assert "finds its register taken by BUS_DATA_IN" in said(story)


def test_cache_programs_take_one_page_more() -> None:
    config = drive_of(policy={"cache_program": True})
    third: Place = (0, 0, FREE, 2)
    story = Story(config).load(NEW).program(NEW).load(NEXT, at_ps=10_000_000)
    story.program(NEXT, at_ps=204_457_000)
    assert said(story) == ""
    story.load(third, at_ps=20_000_000).program(third, at_ps=404_457_000)
    assert "finds its register taken" in said(story)


# ---------------------------------------------------------------------------- blocks
def test_pages_are_programmed_in_order(config: DriveConfig) -> None:
    assert "is out of order, next in its block is page 0" in said(Story(config).write(NEXT))
    story = Story(config).write(NEW).write((0, 0, FREE, 2))
    assert "is out of order, next in its block is page 1" in said(story)


def test_blocks_are_erased_before_they_are_programmed_again(config: DriveConfig) -> None:
    assert "programs a page again that is not erased from the start" in said(Story(config).write(A))
    story = Story(config).write(NEW).write(NEW)
    assert "programs a page again that is not erased: DIE_PROGRAM" in said(story)
    assert said(Story(config).write(NEW).erase(NEW).write(NEW)) == ""


def test_what_is_erased_is_not_read(config: DriveConfig) -> None:
    story = Story(config).erase(A).read(A).out(A)
    assert "reads a page that is erased since DIE_ERASE" in said(story)
    assert "reads a page that is erased" in said(Story(config).read(NEW).out(NEW))
    assert said(Story(config).write(NEW).read(NEW).out(NEW)) == ""


def test_in_lockstep_mode_anything_may_be_read() -> None:
    config = drive_of(policy={"bus": "data_first_lockstep"})
    assert said(Story(config).read(NEXT).out(NEXT).write(NEW).write((0, 0, FREE, 2))) == ""
    assert "programs a page again" in said(Story(config).write(NEW).write(NEW))


# ---------------------------------------------------------------------------- suspends
def suspended(config: DriveConfig) -> Story:
    """A program that a read interrupts after a tenth."""
    story = Story(config).load(NEW)
    story.interrupted("DIE_PROGRAM", NEW, config.program_ps[0], 20_000_000)
    return story.read(A).out(A).resume()


def test_a_suspended_program_is_good(config: DriveConfig) -> None:
    assert said(suspended(config)) == ""


def test_a_suspended_erase_is_good(config: DriveConfig) -> None:
    story = Story(config)
    story.add("BUS_COMMAND", A, config.erase_command_ps)
    story.interrupted("DIE_ERASE", A, config.erase_ps, 500_000_000)
    assert said(story.read((0, 0, 1, 0)).out((0, 0, 1, 0)).resume().write(A)) == ""


def test_a_trace_may_say_when_the_suspended_would_have_ended(config: DriveConfig) -> None:
    story = suspended(config)
    story.change(1, end_ps=story.events[1].start_ps + config.program_ps[0])
    assert said(story) == ""


def test_parts_take_their_time_in_all(config: DriveConfig) -> None:
    story = suspended(config)
    story.change(-1, end_ps=story.events[-1].end_ps - 1)
    assert "has taken 199999999 ps in all, must take 200000000 ps" in said(story)


def test_what_is_suspended_goes_on(config: DriveConfig) -> None:
    story = suspended(config)
    del story.events[-2:]
    assert "is suspended with 180000000 ps left and never goes on" in said(story)


def test_a_suspend_takes_its_time(config: DriveConfig) -> None:
    story = suspended(config)
    stop = next(i for i, event in enumerate(story.events) if event.kind == "DIE_SUSPEND")
    story.change(stop, end_ps=story.events[stop].end_ps - 1)
    assert "takes 9999999 ps, the part 10000000 ps" in said(story)


def test_nothing_is_read_before_the_suspend_is_over(config: DriveConfig) -> None:
    story = suspended(config)
    read = next(i for i, event in enumerate(story.events) if event.kind == "DIE_READ")
    story.shift(read - 1, -1)
    story.shift(read, -1)
    assert "DIE_READ" not in said(story)[:8]
    story.shift(read, -290_000)
    assert "taken by DIE_SUSPEND" in said(story) or "before the end of BUS" in said(story)


def test_to_go_on_takes_a_command(config: DriveConfig) -> None:
    story = suspended(config)
    del story.events[-2]
    assert "DIE_PROGRAM" in said(story)
    assert "starts without a command" in said(story)


def test_no_other_program_starts_while_one_is_suspended(config: DriveConfig) -> None:
    story = Story(config).load(NEW)
    story.interrupted("DIE_PROGRAM", NEW, config.program_ps[0], 20_000_000)
    story.erase((0, 1, 3, 0)).resume()
    assert "is suspended" in said(story)
    assert "DIE_ERASE" in said(story)


def test_only_a_suspend_cuts_a_program(config: DriveConfig) -> None:
    story = suspended(config)
    stop = next(i for i, event in enumerate(story.events) if event.kind == "DIE_SUSPEND")
    del story.events[stop - 1 : stop + 1]
    assert "has taken 20000000 ps in all" in said(story)
