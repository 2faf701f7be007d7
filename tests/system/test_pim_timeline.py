"""What the timeline shows of banks that compute: programs apart from plain traffic."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bankwidth import simulate
from bankwidth.operators import make_trace
from bankwidth.results import Result
from bankwidth.spec import load_machine, load_workload


@pytest.fixture(scope="module")
def result() -> Result:
    trace = make_trace(load_workload("gpt2"), phase="decode", context=64)
    return simulate(load_machine("pim-gpt"), trace)


def test_programs_and_plain_traffic_have_lanes_of_their_own(result: Result) -> None:
    lanes = {piece.track for piece in result.slices if piece.track.startswith("gddr6")}
    assert lanes == {"gddr6/PIM commands", "gddr6/plain commands"}
    plain = {piece.name for piece in result.slices if piece.track == "gddr6/plain commands"}
    assert "embed" in plain
    assert not plain & {"qkv", "attention.score"}


def test_programs_tell_their_commands(result: Result) -> None:
    told: Counter[str] = Counter()
    for piece in result.slices:
        if piece.track == "gddr6/PIM commands":
            told.update(piece.args)
    rows = zip(*(result.commands[name] for name in ("command", "count")), strict=True)
    counts = dict(rows)
    assert {name: counts[name] for name in told} == dict(told)
    assert told["MAC_ABK"] > 0


def test_programs_never_overlap_plain_traffic(result: Result) -> None:
    """A channel does one or the other."""
    pieces = sorted(
        (p.start_ps, p.start_ps + p.dur_ps) for p in result.slices if p.track.startswith("gddr6/")
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(pieces))
