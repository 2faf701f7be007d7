"""The engine against the reference's slow model, request by request and command by command.

The model is read from ../shared when it is at hand. Lists are short, with many conflicts, changes
of direction and equal addresses: what the long golden runs hardly have.
"""

from __future__ import annotations

import io
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramConfig, replay

Load = Callable[[str], DramConfig]
Commands = list[tuple[int, str, tuple[int, ...]]]  # tick, name, levels, row and column
NAMES = ("DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")
MOST_TICKS = 200_000
LENGTHS = st.sampled_from([20, 60, 100])  # runs of a few requests each
many = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


# ---------------------------------------------------------------------------- the model
@cache
def model_of(folder: Path) -> Any:
    """The model's module."""
    path = folder / "refmodel.py"
    module = types.ModuleType("refmodel")
    vars(module)["open"] = lambda name: io.StringIO(Path(name).read_text())  # it closes no file
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


@cache
def standard_of(folder: Path, name: str) -> Any:
    return model_of(folder).Spec(folder / "standards" / f"{name}.json")


@cache
def careful_of(folder: Path) -> Any:
    """The model with our one difference: no auto-precharge of a row that somebody waits for."""

    class Careful(model_of(folder).Ctl):  # type: ignore[misc]
        def upgrade(self, request: Any) -> None:
            bank = self.D.flat(request.v) if request.typ >= 0 else 0
            others = self.apb[bank] - any(request is active for active in self.act)
            if others == 0:
                super().upgrade(request)

    return Careful


def run_model(controller: Any, words: list[int], rate: int, gap: int) -> dict[str, Any]:
    """What the model does with the requests, offered as a replay offers them."""
    accepted: list[int] = []
    while len(controller.done) < len(words) and controller.clk < MOST_TICKS:
        if controller.clk % gap == 0:
            for _ in range(rate):
                i = len(accepted)
                if i == len(words) or not controller.send(words[i] >> 1, words[i] & 1, i):
                    break
                accepted.append(controller.clk)
        controller.tick()
    counted, done = controller.st, dict(controller.done)
    return {
        "commands": [(t, controller.S.cmds[c], place) for t, c, place in controller.log],
        "rows": (counted["hit"], counted["miss"], counted["conf"]),
        "merged": (counted["fwd"], counted["coal"]),
        "read latency": counted["rlat"],
        "accepted": accepted,
        "done": [done.get(i) for i in range(len(words))],
    }


def run_engine(config: DramConfig, words: list[int], **options: Any) -> dict[str, Any]:
    result = replay(
        config,
        np.array(words, dtype=np.int64),
        with_commands=True,
        with_record=True,
        **options,
    )
    width = 4 + len(config.levels)
    commands = result.commands[:, :width].tolist()
    return {
        "commands": [(t, config.command_names[c], tuple(place)) for t, c, *place in commands],
        "rows": (result.row_hits, result.row_misses, result.row_conflicts),
        "merged": (result.forwarded, result.coalesced),
        "read latency": result.read_latency_sum_ck,
        "accepted": result.record[:, 0].tolist(),
        "done": result.record[:, 1].tolist(),
    }


# ---------------------------------------------------------------------------- any list
@st.composite
def runs_of(draw: st.DrawFn, banks: list[int], rows: list[int], columns: int) -> list[list[int]]:
    """Runs of requests: bank, row, first column, direction, length. Drawn, or many from a seed."""
    choices = (banks, rows, range(columns), (0, 1), range(1, 7))
    if draw(st.booleans()):
        run = st.tuples(*(st.sampled_from(choice) for choice in choices))
        return [list(r) for r in draw(st.lists(run, min_size=1, max_size=30))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [[int(rng.choice(choice)) for choice in choices] for _ in range(draw(LENGTHS))]


@st.composite
def word_lists(draw: st.DrawFn, config: DramConfig) -> list[int]:
    """Runs of columns in a few rows of a few banks (of RoBaRaCoCh; others cut them otherwise)."""
    banks = draw(st.lists(st.integers(0, config.num_banks - 1), min_size=1, max_size=4))
    rows = draw(st.lists(st.integers(0, config.rows - 1), min_size=1, max_size=3))
    columns = draw(st.sampled_from([2, config.columns]))
    return [
        ((first + i) % columns + config.columns * (bank + config.num_banks * row))
        * config.burst_bytes
        << 1
        | is_write
        for bank, row, first, is_write, length in draw(runs_of(banks, rows, columns))
        for i in range(length)
    ]


def compare(data: st.DataObject, folder: Path, golden_config: Load) -> None:
    """Draws a controller and requests; everything must be equal."""
    name = data.draw(st.sampled_from(NAMES))
    config = golden_config(name)
    refreshes = ["AllBank", "NoRefresh"] + ["PerBank"] * ("refipb" in config.times)
    refreshes += ["HBM34PerBankRefresh"] * (name == "HBM3")
    refresh = data.draw(st.sampled_from(refreshes))
    mapper = data.draw(st.sampled_from(["RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR"]))
    scheduler = data.draw(st.sampled_from(["FRFCFS", "FRFCFS-RowHit"]))
    row_policy = data.draw(st.sampled_from(["ClosedCAP", "Open"]))
    offers = {
        "rate": data.draw(st.sampled_from([1, 2, 4, 16])),
        "gap": data.draw(st.sampled_from([1, 1, 7, 20, 100])),
    }
    words = data.draw(word_lists(config))
    controller = careful_of(folder)(
        standard_of(folder, name), refresh=refresh, mapper=mapper, sched=scheduler, row=row_policy
    )
    expected = run_model(controller, words, **offers)
    policies = {"refresh": refresh, "mapper": mapper, "scheduler": scheduler}
    found = run_engine(config, words, row_policy=row_policy, **policies, **offers)
    for what, value in expected.items():
        assert found[what] == value, what


@pytest.mark.validation
@settings(many, max_examples=100)
@given(data=st.data())
def test_everything_equals_the_model(
    data: st.DataObject, reference: Path, golden_config: Load
) -> None:
    compare(data, reference, golden_config)


@pytest.mark.validation
@pytest.mark.nightly
@settings(many, max_examples=1000)
@given(data=st.data())
def test_everything_equals_the_model_many_times(
    data: st.DataObject, reference: Path, golden_config: Load
) -> None:
    compare(data, reference, golden_config)


# ---------------------------------------------------------------------------- the difference
# ClosedCAP, RoBaRaCoCh, no refresh. Requests to one row of one bank; a digit is the column of a
# read (r) or write (w). The reference closes the row with auto-precharge though an activated
# request waits for it. That one then activates again, or, with two buses, waits for another
# request to do so: for ever, if there is none.
DIFFERENCES = {
    "GDDR6": (
        "w0 w1 w2 r3 w4 w5",
        "1 ACT, 17 WR, 21 WR, 25 WR, 29 WR, 33 WRA, 95 ACT, 122 RD",
        "1 ACT, 17 WR, 21 WR, 25 WR, 29 WR, 33 WR, 52 RDA",
    ),
    "HBM2": (
        "w0 w1 w2 r3 w4 w5",
        "1 ACT, 14 WR, 18 WR, 22 WR, 26 WR, 30 WRA",
        "1 ACT, 14 WR, 18 WR, 22 WR, 26 WR, 30 WR, 45 RDA",
    ),
    "HBM3": (
        "w0 w1 w2 r3 w4 w5 w6",
        "1 ACT, 33 WR, 41 WR, 49 WR, 57 WR, 65 WRA, 207 ACT, 239 WR, 283 RD",
        "1 ACT, 33 WR, 41 WR, 49 WR, 57 WR, 65 WR, 73 WR, 117 RDA",
    ),
}


def issues(commands: Commands) -> str:
    return ", ".join(f"{tick} {name}" for tick, name, _ in commands)


@pytest.mark.validation
@pytest.mark.parametrize("name", DIFFERENCES)
def test_only_the_reference_closes_a_row_that_is_waited_for(
    name: str, reference: Path, golden_config: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, theirs, ours = DIFFERENCES[name]
    config = golden_config(name)
    words = [int(r[1:]) * config.burst_bytes << 1 | (r[0] == "w") for r in requests.split()]
    offers = {"rate": len(words), "gap": 20}
    monkeypatch.setitem(globals(), "MOST_TICKS", 5000)
    policies = {"refresh": "NoRefresh", "row": "ClosedCAP"}
    model = model_of(reference).Ctl(standard_of(reference, name), **policies)
    assert issues(run_model(model, words, **offers)["commands"]) == theirs
    found = run_engine(config, words, refresh="NoRefresh", row_policy="ClosedCAP", **offers)
    assert issues(found["commands"]) == ours
