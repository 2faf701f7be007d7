"""Programs of HBM-PIM, and the controller that works group by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.pim.invented import invented

from bankwidth.devices.pim import hbm_pim
from bankwidth.devices.pim.channel import LogEntry, PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.plain import plain_macros
from bankwidth.devices.pim.program import ChannelProgram, MacroList, mac_of
from bankwidth.errors import SimulationError, SpecError
from bankwidth.spec import PimSpec, find, load_device

Macro = tuple[str, int, int, int]  # name, count, row, bank; "|" is a barrier
BAR: Macro = ("|", 1, 0, -1)
TILE_READS = 64  # 8 outputs of every unit, 8 columns each
PARKS = 32  # a read of every bank, before and after
kernels = st.sampled_from(hbm_pim.KERNELS)


@pytest.fixture(scope="module")
def banks() -> PimSpec:
    spec = load_device("pim/hbm2-pim")
    assert isinstance(spec, PimSpec)
    return spec


@pytest.fixture(scope="module")
def hbm(banks: PimSpec) -> PimConfig:
    return config_of(banks)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> PimSpec:
    """The invented design under the controller of HBM-PIM."""
    folder = tmp_path_factory.mktemp("grouped")
    return invented(folder, order="grouped", barrier="order", rows_ahead=False)


def _program(config: PimConfig, macros: Sequence[Macro], repeat: int = 1) -> ChannelProgram:
    listed = MacroList(config)
    for name, count, row, bank in macros:
        if name == "|":
            listed.barrier()
        else:
            listed.add(name, count, row, bank)
    return ChannelProgram(macros=listed.build(), channels=1, repeat=repeat)


def _run(
    spec: PimSpec, macros: Sequence[Macro], *, refresh: bool = False, at_ck: int = 0
) -> list[LogEntry]:
    channel = PimChannel(config_of(spec), refresh=refresh, log=True)
    channel.start(_program(config_of(spec), macros), at_ck=at_ck)
    channel.advance(1 << 40)
    assert violations(channel.log, spec) == []
    assert sum(channel.parts_ck.values()) == channel.busy_ck
    return channel.log


def _with_controller(spec: PimSpec, **changed: object) -> PimSpec:
    return spec.model_copy(update={"controller": spec.controller.model_copy(update=changed)})


def _issued(log: Sequence[LogEntry]) -> list[tuple[int, str, int]]:
    return [(entry.tick, entry.command, entry.bank) for entry in log]


def _cycles(config: PimConfig, kernel: str, outputs: int, inputs: int) -> int:
    macros = hbm_pim.kernel_program(config, kernel, outputs, inputs)
    program = ChannelProgram(macros=macros, channels=1)
    return PimChannel(config).run(program) + hbm_pim.END_CK


# ---- programs -----------------------------------------------------------------------------------


def test_commands_go_to_the_same_bank_of_all_units(hbm: PimConfig) -> None:
    assert hbm.touched("MAC", hbm_pim.ODD) == list(range(1, 16, 2))
    assert hbm.touched("RD", 5) == [5]
    assert mac_of(hbm) == "MAC"
    assert (hbm_pim.units(hbm), hbm_pim.lanes(hbm)) == (8, 16)


@given(outputs=st.integers(1, 300), inputs=st.integers(1, 1500))
def test_commands_of_a_product(hbm: PimConfig, outputs: int, inputs: int) -> None:
    """64 reads and 8 writes a tile; per pass the results and two mode writes, per call the rest."""
    passes, tiles = hbm_pim.tiles_of(hbm, outputs, inputs)
    assert (passes - 1) * 64 < outputs <= passes * 64
    assert (tiles - 1) * 128 < inputs <= tiles * 128
    macros = hbm_pim.gemv(hbm, outputs=outputs, inputs=inputs).build()
    reads, writes = hbm_pim.traffic(hbm, macros)
    assert reads == passes * tiles * TILE_READS + PARKS
    assert writes == passes * (8 * tiles + 8 + 2) + 4 + 1 + 2


def test_every_weight_is_read_once_and_results_lie_behind(hbm: PimConfig) -> None:
    """Six passes over five tiles: 3 x 64 columns of an even bank each, then six times 8 results."""
    macros = hbm_pim.gemv(hbm, outputs=384, inputs=640, reads_results=True).build()
    columns: Counter[tuple[str, int, int]] = Counter()
    for command, count, row, bank in macros:
        if command >= 0 and row >= 0:
            columns[hbm.names[command], int(row), int(bank)] += int(count)
    macs = {key: n for key, n in columns.items() if key[0] == "MAC"}
    assert sum(macs.values()) == 6 * 5 * TILE_READS
    assert max(macs.values()) <= hbm.columns
    matrix = 6 * 3 * TILE_READS // hbm.columns
    assert max(row for _, row, _ in macs) == matrix - 1
    results = {matrix: 32, matrix + 1: 16}
    assert {row: n for (name, row, _), n in columns.items() if name == "STORE"} == results
    read = {(row, bank): n for (name, row, bank), n in columns.items() if name == "RD"}
    assert read == {(row, bank): n for row, n in results.items() for bank in range(1, 16, 2)}
    assert hbm_pim.gemv_rows(hbm, 384, 640) == matrix + 2


@given(elements=st.integers(1, 20_000))
def test_commands_of_elementwise_kernels(hbm: PimConfig, elements: int) -> None:
    tiles = -(-elements // 2048)
    for kind, operands in (("add", 2), ("mul", 2), ("relu", 1)):
        macros = hbm_pim.elementwise(hbm, kind, elements=elements).build()
        reads, writes = hbm_pim.traffic(hbm, macros)
        assert reads == tiles * 2 * 8 * operands + PARKS
        assert writes == tiles * 2 * 8 + 2 + 4 + 1 + 2


def test_all_commands_are_reads_writes_or_rows(banks: PimSpec) -> None:
    columns = {name for name, command in banks.commands.items() if command.role == "column"}
    assert columns == {*hbm_pim.READS, *hbm_pim.WRITES}


@pytest.mark.parametrize(
    ("kernel", "outputs", "inputs", "message"),
    [
        ("gemv", 0, 128, "a matrix of 0 x 128: at least 1 x 1"),
        ("gemvtree", 64, 0, "a matrix of 64 x 0: at least 1 x 1"),
        ("gemv", 64 * 512, 128 * 64, "needs 32896 rows of every bank of its channel, of 16384"),
        ("relu", 0, 0, "relu of 0 elements"),
        ("add", 1 << 30, 0, "add of 1073741824 elements needs 393216 rows"),
        ("div", 64, 0, "div of 64 elements: add, mul or relu"),
    ],
)
def test_wrong_sizes(hbm: PimConfig, kernel: str, outputs: int, inputs: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        hbm_pim.kernel_program(hbm, kernel, outputs, inputs)


# ---- cycles -------------------------------------------------------------------------------------


def test_a_tile_takes_its_columns_and_a_row_change(banks: PimSpec, hbm: PimConfig) -> None:
    """64 columns 4 ck apart, but 31 ck (read, precharge, activate) from one row to the next."""
    channel = PimChannel(hbm, log=True)
    macros = hbm_pim.gemv(hbm, outputs=64, inputs=128).build()
    channel.run(ChannelProgram(macros=macros, channels=1))
    ticks = [entry.tick for entry in channel.log if entry.command == "MAC"]
    steps = [after - before for before, after in pairwise(ticks)]
    assert steps == [4] * 31 + [3 + 14 + 14] + [4] * 31
    assert violations(channel.log, banks) == []


def test_inputs_reach_the_registers_before_the_products(hbm: PimConfig) -> None:
    """Rows of the products open while the last input is under way; write to read is left, 19 ck."""
    channel = PimChannel(hbm, log=True)
    macros = hbm_pim.gemv(hbm, outputs=64, inputs=512).build()
    channel.run(ChannelProgram(macros=macros, channels=1))
    log = [(entry.tick, entry.command) for entry in channel.log if "_HAB" not in entry.command]
    loaded = [i for i, (_, name) in enumerate(log) if name == "WR_GRF"][7::8]
    waits = [log[i + 1][0] - log[i][0] for i in loaded]
    assert {log[i + 1][1] for i in loaded} == {"MAC"}
    # after the registers of its own bank an odd tile needs their row closed and its own opened
    assert waits == [22, 19, 26 + 14 + 14, 26 + 14 + 14]


@given(kernel=kernels, outputs=st.integers(1, 200), inputs=st.integers(1, 700))
@settings(max_examples=15)
def test_every_kernel_keeps_every_gap(
    banks: PimSpec, hbm: PimConfig, kernel: str, outputs: int, inputs: int
) -> None:
    channel = PimChannel(hbm, log=True)
    macros = hbm_pim.kernel_program(hbm, kernel, outputs, inputs)
    channel.run(ChannelProgram(macros=macros, channels=1))
    assert violations(channel.log, banks) == []
    assert sum(channel.parts_ck.values()) == channel.busy_ck
    wanted = ChannelProgram(macros=macros, channels=1).counts(len(hbm.names))
    found = {name: n for name, n in channel.counts.items() if hbm.index(name) in set(macros[:, 0])}
    assert found == {name: wanted[hbm.index(name)] for name in found}


def test_more_work_takes_longer(hbm: PimConfig) -> None:
    cycles = [_cycles(hbm, "gemv", 64, 128 * tiles) for tiles in range(1, 8)]
    assert cycles == sorted(set(cycles))
    assert _cycles(hbm, "gemv", 128, 256) > _cycles(hbm, "gemv", 64, 256)
    assert _cycles(hbm, "add", 65536, 0) == _cycles(hbm, "mul", 65536, 0)


def test_where_a_program_lies_makes_no_difference(hbm: PimConfig) -> None:
    macros = hbm_pim.gemv(hbm, outputs=128, inputs=256).build()
    program = ChannelProgram(macros=macros, channels=1)
    channel = PimChannel(hbm, log=True)
    first = channel.run(program, first_row=0)
    elsewhere = PimChannel(hbm, log=True)
    assert elsewhere.run(program, first_row=700) == first
    rows = {entry.row for entry in elsewhere.log if entry.command == "MAC"}
    assert rows == {700, 701, 702, 703}
    registers = {entry.row for entry in elsewhere.log if entry.command == "WR_GRF"}
    assert registers == {0x3FFF}


# ---- the controller -----------------------------------------------------------------------------


def test_the_last_of_a_group_goes_last(grouped: PimSpec) -> None:
    """Bank 0's row is open, but its read is the last of a group whose first one needs a row."""
    first: list[Macro] = [("RD", 1, 1, 2), ("RD", 1, 1, 0), BAR]
    second: list[Macro] = [("RD", 1, 2, 2), ("RD", 1, 1, 0), BAR]
    reads = [entry for entry in _run(grouped, [*first, *second]) if entry.command == "RD"]
    assert [entry.bank for entry in reads] == [2, 0, 2, 0]
    # bank 0 opens once its read is the last; bank 2 closes 4 ck after its read, opens 5 ck later
    assert [entry.tick for entry in reads] == [6, 7 + 5, 10 + 5 + 5, 22]


def test_others_of_a_group_go_when_they_are_ready(grouped: PimSpec) -> None:
    first: list[Macro] = [("RD", 1, 1, 2), ("RD", 1, 1, 0), BAR]
    second: list[Macro] = [("RD", 1, 2, 2), ("RD", 2, 1, 0), BAR]
    reads = [entry for entry in _run(grouped, [*first, *second]) if entry.command == "RD"]
    assert [entry.bank for entry in reads] == [2, 0, 0, 2, 0]


def test_rows_of_the_next_group_open_when_one_command_is_left(grouped: PimSpec) -> None:
    """Bank 2's row opens beside bank 0's last read; bank 6's waits until it is its group's last."""
    log = _run(grouped, [("RD", 3, 1, 0), BAR, ("RD", 1, 1, 2), ("RD", 1, 1, 6), BAR])
    assert _issued(log) == [
        (1, "ACT", 0), (6, "RD", 0), (9, "RD", 0), (10, "ACT", 2), (12, "RD", 0), (15, "RD", 2),
        (16, "ACT", 6), (17, "PRE", 0), (19, "PRE", 2), (21, "RD", 6),
    ]  # fmt: skip


def test_rows_that_the_group_does_not_use_are_closed(grouped: PimSpec) -> None:
    log = _run(grouped, [("RD", 1, 1, 0), BAR, ("RD", 9, 1, 2), BAR])
    assert [(entry.command, entry.bank) for entry in log if entry.command == "PRE"] == [("PRE", 0)]


def test_a_command_enters_the_queue_in_every_tick(grouped: PimSpec) -> None:
    """The fourth bank is heard of at tick 4; a row of it can open then, not before."""
    listed: list[Macro] = [("RD", 1, 1, bank) for bank in (0, 2, 4, 6, 0)]
    log = _run(grouped, [*listed, BAR])
    activates = [(entry.tick, entry.bank) for entry in log if entry.command == "ACT"]
    assert activates == [(1, 0), (2, 2), (3, 4), (4, 6)]


def test_a_barrier_can_wait_for_the_data(grouped: PimSpec) -> None:
    """The second read issues at 9, its data are there at 15."""
    waiting = _with_controller(grouped, barrier="complete")
    macros: list[Macro] = [("RD", 2, 1, 0), BAR, ("RD", 1, 1, 0), BAR]
    assert _run(grouped, macros)[-1].tick == 12
    assert _run(waiting, macros)[-1].tick == 15


@given(steps=st.lists(st.integers(1, 400), min_size=1, max_size=20))
@settings(max_examples=20)
def test_pauses_change_nothing(hbm: PimConfig, steps: list[int]) -> None:
    """A program that is looked at now and then, on a channel that has been idle before."""
    macros = hbm_pim.elementwise(hbm, "add", elements=8192).build()
    program = ChannelProgram(macros=macros, channels=1)
    whole, looked_at = PimChannel(hbm, log=True), PimChannel(hbm, log=True)
    for channel in (whole, looked_at):
        channel.start(program, at_ck=3000)
    for step in [*steps, 1 << 40]:
        if looked_at.is_running:  # else it would be idle, and refresh, for as long
            looked_at.advance(looked_at.now_ck + step)
    whole.advance(1 << 40)
    assert looked_at.log == whole.log


def test_a_mode_that_nothing_enters(grouped: PimSpec) -> None:
    config = config_of(grouped)
    with pytest.raises(SimulationError, match="MAC cannot issue in plain access"):
        PimChannel(config).run(_program(config, [("MAC", 1, 0, 0), BAR]))


def test_a_refresh_stops_nobody_and_waits_for_closed_rows(grouped: PimSpec) -> None:
    """Due at 1000, the row may close 4 ck after the last read; 5 ck later nothing is open."""
    macros: list[Macro] = [("RD", 9, 1, 0), BAR, ("RD", 1, 2, 0), BAR]
    log = _run(grouped, macros, refresh=True, at_ck=990)
    reads = [entry.tick for entry in log if entry.command == "RD"]
    assert reads[:9] == list(range(996, 1021, 3))
    assert [(entry.tick, entry.command) for entry in log if entry.for_refresh] == [
        (1024, "PRE"),
        (1029, "REF"),
    ]
    assert reads[9] == 1029 + 20 + 5


def test_refreshes_in_turn(grouped: PimSpec) -> None:
    """Two ranks: the first is due at 500, and then as often as ever."""
    macros: list[Macro] = [("RD", 1, 1, 0), BAR]
    alone = _run(grouped, macros, refresh=True, at_ck=2100)
    assert [entry.tick for entry in alone if entry.command == "REF"] == [1000, 2000]
    shared = _run(_with_controller(grouped, ranks=2), macros, refresh=True, at_ck=2100)
    assert [entry.tick for entry in shared if entry.command == "REF"] == [500, 1500]


def test_a_refresh_is_dropped_at_the_turn_of_the_next_rank(grouped: PimSpec) -> None:
    """Rows of two banks in turn: one is always open, until long after the other rank's turn."""
    config = config_of(_with_controller(grouped, ranks=2))
    rows: list[Macro] = [("RD", 2, i, 2 * (i % 2)) for i in range(70)]
    program = _program(config, [macro for row in rows for macro in (row, BAR)])
    channel = PimChannel(config, log=True)
    channel.start(program, at_ck=490)
    channel.advance(1 << 40)
    assert channel.now_ck > 1000 + 50
    channel.advance(1499)
    assert channel.counts["REF"] == 0
    channel.advance(1600)
    assert channel.counts["REF"] == 1


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ("{order: in_order, ranks: 2}", "controller.ranks: refreshes in turn need order: grouped"),
        ("{order: grouped}", "controller.queue: order: grouped needs a queue of at least 2"),
        ("{order: grouped, queue: 8, rows_ahead: true}", "controller.rows_ahead: .* its own rule"),
        ("{order: grouped, queue: 8, row_and_column: true}", "controller.row_and_column: .* bus"),
        ("{order: groups, queue: 8}", "controller.order: unknown order 'groups'"),
    ],
)
def test_controllers_that_cannot_be(tmp_path: Path, choices: str, message: str) -> None:
    text = Path(find("device", "pim/hbm2-pim")).read_text()
    head, _, rest = text.partition("controller:\n")
    file = tmp_path / "device.yaml"
    file.write_text(f"{head}controller: {choices}\n\n{rest.partition(chr(10) * 2)[2]}")
    with pytest.raises(SpecError, match=message):
        load_device(str(file))


def test_grouped_kernel_agrees_with_its_own_python(
    hbm: PimConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bankwidth.devices.pim import kernel, kernel_grouped

    macros = hbm_pim.gemv_tree(hbm, outputs=64, inputs=256).build()
    program = ChannelProgram(macros=macros, channels=1)
    compiled = PimChannel(hbm)
    ticks = compiled.run(program)
    for module in (kernel, kernel_grouped):
        functions = {name: f.py_func for name, f in vars(module).items() if hasattr(f, "py_func")}
        for name, function in functions.items():
            monkeypatch.setattr(module, name, function)
    if not hasattr(kernel_grouped.advance, "py_func"):
        plain = PimChannel(hbm)
        assert plain.run(program) == ticks
        assert plain.counts == compiled.counts
        assert plain.parts_ck == compiled.parts_ck


# ---- plain traffic ------------------------------------------------------------------------------


def test_bank_groups_take_turns_in_plain_traffic(hbm: PimConfig, config: PimConfig) -> None:
    """2 ck a burst in different bank groups, 4 ck in one; AiM has no groups."""
    bursts = 4096
    macros = plain_macros(hbm, 0, bursts, is_write=False)
    program = ChannelProgram(macros=macros, channels=1, is_plain=True)
    assert PimChannel(hbm, refresh=False).run(program) < 1.01 * 2 * bursts
    rows = plain_macros(config, 0, 256, is_write=True)
    assert [tuple(row[1:]) for row in rows] == [(64, 0, bank) for bank in range(4)]


@given(first=st.integers(0, 3000), count=st.integers(1, 3000), cut=st.integers(0, 3000))
def test_plain_traffic_in_parts_is_the_same_columns(
    hbm: PimConfig, first: int, count: int, cut: int
) -> None:
    def columns(begin: int, end: int) -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        for _, number, row, bank in plain_macros(hbm, begin, end, is_write=False):
            found[int(row), int(bank)] += int(number)
        return found

    middle = min(first + cut, first + count)
    whole = columns(first, first + count)
    assert whole.total() == count
    assert max(whole.values()) <= hbm.columns
    assert columns(first, middle) + columns(middle, first + count) == whole


# ---- the reference ------------------------------------------------------------------------------


def test_two_ranks_refresh_half_an_interval_earlier(hbm: PimConfig) -> None:
    """3327 ck end before the first refresh of one rank, at 3900, but not of two, at 1950."""
    turns = hbm.controller.model_copy(update={"ranks": 2})
    one = _cycles(hbm, "gemv", 64, 1024)
    two = _cycles(replace(hbm, controller=turns), "gemv", 64, 1024)
    assert one < 3900
    assert 300 < two - one < 350


@pytest.mark.validation
@pytest.mark.parametrize(
    ("kernel", "outputs", "inputs", "cycles", "reads", "writes"),
    [
        ("gemv", 64, 128, 750, 96, 25),
        ("gemv", 512, 1024, 26450, 4128, 599),
        ("gemvtree", 64, 256, 1589, 176, 170),
        ("gemvtree", 64, 1024, 4680, 608, 266),
        ("mul", 16384, 0, 2985, 288, 137),
        ("relu", 4096, 0, 817, 64, 41),
    ],
)
def test_figures_of_the_reference(
    hbm: PimConfig, kernel: str, outputs: int, inputs: int, cycles: int, reads: int, writes: int
) -> None:
    """Runs of one channel of PIMSimulator (or of 16, a sixteenth each)."""
    assert _cycles(hbm, kernel, outputs, inputs) == pytest.approx(cycles, rel=0.003)
    macros = hbm_pim.kernel_program(hbm, kernel, outputs, inputs)
    assert hbm_pim.traffic(hbm, macros) == (reads, writes)
