"""AttAcc: levels of units, the limit of power, programs of many heads and their controller."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim.attacc import (
    CHANNELS,
    DEVICES,
    AttentionWork,
    attacc_config,
    attention_ck,
    attention_run,
    earlier_controller,
    work_ck,
)
from bankwidth.devices.pim.attacc_program import channel_programs, first_program, program_counts
from bankwidth.devices.pim.channel import LogEntry, PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.config import BARRIER, PimConfig, config_of
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.errors import SpecError
from bankwidth.spec import PimSpec, load_device

LEVELS = ("bank", "bg", "buffer")
UNIT_BANKS = {"bank": 64, "bg": 16, "buffer": 2}  # that a MAC reads
KEYS_AT_ONCE = {"bank": 8, "bg": 32, "buffer": 256}  # that make logs of about the same length
BEFORE_REFRESH_CK = 4990  # the first refresh is due at 5070
FOREVER = 1 << 40
works = st.builds(
    AttentionWork,
    heads=st.integers(1, 70),
    head_dim=st.sampled_from([16, 64, 80, 128, 160]),
    kv_len=st.integers(1, 700),
    element_bytes=st.sampled_from([1, 2]),
    repeats_softmax=st.booleans(),
)


def _spec(level: str, *, limited: bool = True) -> PimSpec:
    spec = load_device(DEVICES[level, limited])
    assert isinstance(spec, PimSpec)
    return spec


def _work(heads: int = 1, kv_len: int = 128) -> AttentionWork:
    return AttentionWork(heads=heads, head_dim=128, kv_len=kv_len)


def _log(
    config: PimConfig, program: ChannelProgram, *, at_ck: int = 0, refresh: bool = True
) -> list[LogEntry]:
    channel = PimChannel(config, log=True, refresh=refresh)
    channel.start(program, at_ck=at_ck)
    channel.advance(FOREVER)
    return channel.log


def _ticks(log: list[LogEntry], command: str) -> list[int]:
    return [entry.tick for entry in log if entry.command == command]


@pytest.mark.parametrize("level", LEVELS)
def test_logs_are_legal_and_planted_mistakes_are_found(level: str) -> None:
    config, spec = attacc_config(level, limited=True), _spec(level)
    work = _work(kv_len=1024 // KEYS_AT_ONCE[level])
    log = _log(config, first_program(config, level, work), at_ck=BEFORE_REFRESH_CK)
    assert {"REF_ALL", "MV_GB", "PRE_ALL"} <= {entry.command for entry in log}
    assert violations(log, spec) == []
    for command in ("MAC", "ACT_MAC"):
        early = [e._replace(tick=e.tick - 2) if e.command == command else e for e in log]
        assert violations(sorted(early), spec)
    without_rows = [entry for entry in log if entry.command != "ACT_MAC"]
    assert any("without its row open" in text for text in violations(without_rows, spec))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("limited", [True, False])
def test_the_limit_of_power_is_the_distance_of_macs(level: str, limited: bool) -> None:
    config = attacc_config(level, limited=limited)
    log = _log(config, first_program(config, level, _work()), refresh=False)
    distances = [b - a for a, b in pairwise(_ticks(log, "MAC"))]
    assert min(distances) == (2 if level == "buffer" else 6 if limited else 4)
    spec, other = _spec(level, limited=True), _spec(level, limited=False)
    same = {"windows", "name", "title", "source"}
    assert spec.model_dump(exclude=same) == other.model_dump(exclude=same)
    assert (spec.windows == other.windows) == (level == "buffer")


@pytest.mark.parametrize("level", LEVELS)
def test_what_a_command_reaches(level: str) -> None:
    config = attacc_config(level, limited=True)
    assert len(config.touched("MAC", 5)) == UNIT_BANKS[level]
    assert config.touched("MAC", 5) == config.touched("ACT_MAC", 5)
    if level != "bank":
        assert config.touched("PRE_MAC", 5) == config.touched("MAC", 5)


def test_energy_is_per_bit_of_the_way() -> None:
    """Cells 0.44, mux 1.01, global I/O 1.23, TSV 0.5 pJ/bit, and 0.32 pJ per product and sum."""
    way_pj = {"bank": 0.44, "bg": 0.44 + 1.01, "buffer": 0.44 + 1.01 + 1.23 + 0.5}
    for level, banks in UNIT_BANKS.items():
        energy = dict(zip(config_names(level), energies(level), strict=True))
        assert energy["MAC"] == pytest.approx(banks * (256 * way_pj[level] + 16 * 0.32))
        assert energy["ACT_MAC"] == pytest.approx(banks * 0.11 * 8192)
        assert energy["WR_GB"] - energy["MV_GB"] == pytest.approx(256 * 0.3)


def config_names(level: str) -> tuple[str, ...]:
    return attacc_config(level, limited=True).names


def energies(level: str) -> tuple[float, ...]:
    return attacc_config(level, limited=True).energy_pj


@settings(max_examples=60)
@given(level=st.sampled_from(LEVELS), work=works)
def test_channels_share_out_all_heads(level: str, work: AttentionWork) -> None:
    config = attacc_config(level, limited=True)
    programs = channel_programs(config, level, work)
    assert sum(program.channels for program in programs) == CHANNELS
    assert np.array_equal(programs[0].macros, first_program(config, level, work).macros)
    counts: Counter[str] = Counter()
    for program in programs:
        for name, count in zip(config.names, program.counts(len(config.names)), strict=True):
            counts[name] += int(count) * program.channels
    assert counts == Counter(program_counts(config, level, work))
    if not work.repeats_softmax:
        assert counts["SFM"] == work.heads
        assert counts["MV_GB"] <= work.heads * counts["MV_GB"]
    longest = max(len(program.macros) for program in programs)
    assert len(programs[0].macros) == longest


@settings(max_examples=40)
@given(level=st.sampled_from(LEVELS), work=works)
def test_rows_hold_keys_and_values_apart(level: str, work: AttentionWork) -> None:
    config = attacc_config(level, limited=True)
    macros = first_program(config, level, work).macros
    macs = macros[macros[:, 0] == config.index("MAC")]
    rows = macs[:, 2]
    assert rows.min() == 0
    assert (rows >= config.rows // 2).any()
    assert rows.max() < config.rows
    assert macs[:, 1].max() <= config.columns
    assert (macros[:, 0] == BARRIER).any()


@pytest.mark.parametrize(
    ("level", "macs"),
    [("bank", 2 * 8 * 2), ("bg", 2 * 8 * 8), ("buffer", 2 * 64 * 8)],
)
def test_products_of_one_head(level: str, macs: int) -> None:
    """128 keys and values of 128 FP16: per unit and column 16 products."""
    counts = program_counts(attacc_config(level, limited=True), level, _work())
    assert counts["MAC"] == macs
    assert macs * UNIT_BANKS[level] * 16 == 2 * 128 * 128
    assert counts["WR_GB"] == 8


def test_heads_of_one_round_cost_nothing_more() -> None:
    """A channel per head; with a second round heads overlap, so that two take less than twice."""
    one, all_channels, more = (attention_ck("bank", limited=True, heads=h, head_dim=128, kv_len=256)
                               for h in (1, 16, 17))  # fmt: skip
    assert one == all_channels
    assert one < more < 2 * one


@pytest.mark.parametrize(("level", "heads"), [("bank", 77), ("bg", 35), ("buffer", 35)])
def test_the_first_channel_is_the_last_to_end(level: str, heads: int) -> None:
    work = AttentionWork(heads=heads, head_dim=160, kv_len=300, element_bytes=1)
    config = attacc_config(level, limited=True)
    programs = channel_programs(config, level, work)
    assert len(programs) > 1
    ends = [_log(config, program)[-1].tick for program in programs]
    assert max(ends) <= ends[0] + 4


def test_a_run_has_all_commands_and_their_energy() -> None:
    work = {"heads": 20, "head_dim": 128, "kv_len": 200}
    run = attention_run("bg", limited=False, **work)
    config = attacc_config("bg", limited=False)
    assert run.ck >= attention_ck("bg", limited=False, **work)
    assert run.counts["ACT_MAC"] > 0
    wanted = program_counts(config, "bg", AttentionWork(heads=20, head_dim=128, kv_len=200))
    assert {name: run.counts[name] for name, count in wanted.items() if count} == {
        name: count for name, count in wanted.items() if count
    }
    energy = dict(zip(config.names, config.energy_pj, strict=True))
    assert run.energy_pj == pytest.approx(sum(energy[n] * c for n, c in run.counts.items()))


def test_rows_of_the_next_part_open_before_the_barrier() -> None:
    """Of the values, while the last scores are computed; the first controller waits."""
    config = attacc_config("bank", limited=True)
    program = first_program(config, "bank", _work(kv_len=1024))
    ck = {}
    for opens_ahead in (True, False):
        earlier = earlier_controller(config, opens_ahead=opens_ahead)
        assert not earlier.controller.row_and_column
        log = _log(earlier, program, refresh=False)
        ck[opens_ahead] = log[-1].tick
    assert ck[False] > ck[True]
    assert _log(config, program, refresh=False)[-1].tick <= ck[True]


def _macros(config: PimConfig, *rows: tuple[str, int, int, int]) -> ChannelProgram:
    listed = MacroList(config)
    for name, count, row, bank in rows:
        listed.add(name, count, row, bank)
    return ChannelProgram(macros=listed.build(), channels=1)


def test_nothing_goes_before_columns_that_hit_in_its_bank() -> None:
    """Once the row is open; a move addressed to bank 0, as MAC is, waits for all of them."""
    spec = _spec("bank")
    without = spec.controller.model_copy(update={"hits_first": False})
    moved = {}
    for chosen in (spec, spec.model_copy(update={"controller": without})):
        config = config_of(chosen)
        program = _macros(config, ("MAC", 4, 0, -1), ("MV_SB", 1, 0, 0), ("MV_SB", 1, 0, 4))
        log = _log(config, program, refresh=False)
        assert violations(log, chosen) == []
        macs = _ticks(log, "MAC")
        assert [tick - macs[0] for tick in macs] == [0, 6, 12, 18]
        ticks = {entry.bank: entry.tick for entry in log if entry.command == "MV_SB"}
        moved[chosen.controller.hits_first] = (ticks[0] - macs[0], ticks[4] - macs[0])
    assert moved[True] == (18 + 1, -19)
    assert moved[False] == (-19, -17)


def test_columns_go_on_while_a_refresh_waits_for_its_rows() -> None:
    """MACs 4 ck apart keep a row open that may close 8 ck after the last of them."""
    config = attacc_config("bank", limited=False)
    program = _macros(config, ("MAC", 32, 0, -1), ("MAC", 32, 1, -1))
    log = _log(config, program, at_ck=5000)
    closes = _ticks(log, "PRE_ALL")[0]
    before = [tick for tick in _ticks(log, "MAC") if tick < closes]
    assert len(before) == 32
    assert closes > 5070 + 8
    one_bus = _log(earlier_controller(config, opens_ahead=True), program, at_ck=5000)
    assert 5070 <= _ticks(one_bus, "PRE_ALL")[0] <= 5070 + 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"kv_len": 0}, "kv_len must be at least 1, got 0"),
        ({"element_bytes": 64}, "a column has 32 bytes, an element more"),
        ({"kv_len": 4_000_000}, "take 15625 rows per bank, and their values as many; the banks"),
    ],
)
def test_works_that_are_refused(changed: dict[str, int], message: str) -> None:
    work = {"heads": 1, "head_dim": 128, "kv_len": 128} | changed
    with pytest.raises(SpecError, match=message):
        attention_ck("bank", limited=True, **work)


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(SpecError, match="unknown level 'chip': bank, bg, buffer"):
        attacc_config("chip", limited=True)
    with pytest.raises(SpecError, match="unknown level 'chip': bank, bg, buffer"):
        program_counts(attacc_config("bank", limited=True), "chip", _work())


def test_ticks_are_until_the_last_command() -> None:
    config = attacc_config("buffer", limited=True)
    log = _log(config, first_program(config, "buffer", _work()), at_ck=1)
    assert work_ck(config, "buffer", _work()) == log[-1].tick
