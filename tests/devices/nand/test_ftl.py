"""Data that were written are where the translation layer says, whatever was collected meanwhile.

The model is a dictionary from places to logical pages, kept from the trace alone: what a program
puts somewhere, and what an erase takes away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.nand.drives import drive_of
from tests.devices.nand.mixes import depths, drives, mixes, overwrites, requests_of

from bankwidth.devices.nand.checker import Event, events_of, first_violation, home_blocks
from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.drive import Drive
from bankwidth.devices.nand.policies import Stripe
from bankwidth.devices.nand.requests import Requests
from bankwidth.errors import UserError

Place = tuple[int, int, int, int]  # die, plane, block, page


def place_of(drive: Drive, lpa: int) -> Place:
    c = drive.config
    rest, page = divmod(drive.place_of(lpa), c.pages_per_block)
    rest, block = divmod(rest, c.blocks_per_plane)
    return *divmod(rest, c.planes), block, page


def home_of(lpa: int, c: DriveConfig) -> Place:
    counts = (c.channels, c.chips_per_channel, c.dies_per_chip, c.planes)
    place = {}
    for level in c.striping:
        lpa, place[level] = divmod(lpa, counts[level])
    chip = place[Stripe.CHANNEL] * c.chips_per_channel + place[Stripe.CHIP]
    die = chip * c.dies_per_chip + place[Stripe.DIE]
    return die, place[Stripe.PLANE], *divmod(lpa, c.pages_per_block)


class Cells:
    """What every page holds: a logical page, or nothing."""

    def __init__(self, config: DriveConfig) -> None:
        self.holds = {home_of(lpa, config): lpa for lpa in range(config.logical_pages)}
        self.erases: dict[tuple[int, int, int], int] = {}
        self.newest: dict[int, Place] = {}

    def see(self, event: Event) -> None:
        """A program fills a page, an erase empties a block; a read finds what it asks for."""
        match event.kind:
            case "DIE_READ":
                assert self.holds.get(event.place) == event.lpa, str(event)
            case "DIE_PROGRAM":
                self.holds[event.place] = event.lpa
                self.newest[event.lpa] = event.place
            case "DIE_ERASE":
                block = event.place[:3]
                self.erases[block] = self.erases.get(block, 0) + 1
                for place in [place for place in self.holds if place[:3] == block]:
                    del self.holds[place]


def told(config: DriveConfig, requests: Requests, depth: int) -> tuple[Drive, Cells]:
    """A drive after its requests, and what its trace has left in the cells."""
    drive = Drive(config, trace=True)
    run = drive.replay(requests, queue_depth=depth)
    assert run.trace is not None
    events = events_of(run.trace)
    found = first_violation(events, config)
    assert found is None, str(found)
    cells = Cells(config)
    for event in events:
        cells.see(event)
    return drive, cells


def check(drive: Drive, cells: Cells) -> None:
    config = drive.config
    for lpa in range(config.logical_pages):
        place = place_of(drive, lpa)
        assert place == cells.newest.get(lpa, home_of(lpa, config))
        assert cells.holds[place] == lpa


def check_wear(drive: Drive, cells: Cells) -> None:
    config = drive.config
    blocks = drive.erases_of_blocks().reshape(config.dies, config.planes, config.blocks_per_plane)
    assert int(blocks.sum()) == sum(cells.erases.values())
    for block, times in cells.erases.items():
        assert blocks[block] == times


# ---------------------------------------------------------------------------- what is where
@settings(max_examples=100)
@given(changes=drives, asked=mixes, depth=depths)
def test_data_are_where_they_should_be(
    changes: dict[str, Any], asked: list[tuple[int, int, bool]], depth: int
) -> None:
    changes["policy"]["suspend"] = False  # parts of a program are two events
    config = drive_of(**changes)
    drive, cells = told(config, requests_of(asked, config), depth)
    check(drive, cells)
    check_wear(drive, cells)


@settings(max_examples=20)
@given(
    changes=drives,
    seed=st.integers(0, 2**16),
    pages=st.sampled_from([1, 5, 40, 64]),
    depth=depths,
)
def test_collecting_blocks_loses_nothing(
    changes: dict[str, Any], seed: int, pages: int, depth: int
) -> None:
    changes["policy"]["suspend"] = False
    config = drive_of(**{**changes, "channels": 1, "chips_per_channel": 1})
    drive, cells = told(config, overwrites(config, 800, pages, seed), depth)
    check(drive, cells)
    check_wear(drive, cells)
    counts = drive.counts
    assert counts["erase"] == sum(cells.erases.values())
    assert counts["gc_program"] == counts["pages_programmed"] - 800


# ---------------------------------------------------------------------------- when blocks are short
def test_blocks_are_collected_only_when_they_are_short() -> None:
    config = drive_of(channels=1, chips_per_channel=1, nand={"planes": 1})
    free = (config.blocks_per_plane - home_blocks(config)) - config.gc_threshold_blocks
    before = free * config.pages_per_block
    drive, _ = told(config, overwrites(config, before, 64, 1), 4)
    assert drive.counts["erase"] == 0
    drive, _ = told(config, overwrites(config, before + 1, 64, 1), 4)
    assert drive.counts["erase"] == 1


def test_what_is_overwritten_in_turn_moves_nothing() -> None:
    """The oldest block holds only stale pages when it is its turn."""
    config = drive_of(channels=1, chips_per_channel=1, nand={"planes": 1})
    places = np.arange(1000) % config.logical_pages * config.page_bytes
    sizes = np.full(1000, config.page_bytes)
    drive, _ = told(config, Requests(places, sizes, np.full(1000, True)), 8)
    assert drive.counts["erase"] > 50
    assert drive.counts["gc_program"] == 0


def test_less_spare_space_moves_more() -> None:
    def amplification(over_provisioning: float) -> float:
        ftl = {"over_provisioning": over_provisioning}
        config = drive_of(ftl=ftl, nand={"blocks_per_plane": 64})
        requests = overwrites(config, 8000, config.logical_pages, 3)
        return Drive(config).replay(requests, queue_depth=16).write_amplification

    least, middle, most = (amplification(share) for share in (0.5, 0.3, 0.15))
    assert 1.0 <= least < middle < most


def test_a_drive_without_spare_space_says_so() -> None:
    config = drive_of(
        channels=1, chips_per_channel=1, nand={"planes": 1}, ftl={"over_provisioning": 0.0}
    )
    with pytest.raises(UserError, match="full"):
        Drive(config).replay(overwrites(config, 400, config.logical_pages, 1), queue_depth=1)
