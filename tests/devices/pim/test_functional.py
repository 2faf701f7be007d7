"""What each command does to numbers, by hand; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bankwidth.devices.pim.config import config_of
from bankwidth.devices.pim.functional import FunctionalChannel, FunctionalMemory, shape_of
from bankwidth.devices.pim.operands import NOWHERE, Operand
from bankwidth.devices.pim.program import ChannelProgram, MacroList, PimProgram
from bankwidth.errors import SimulationError, SpecError
from bankwidth.spec import PimSpec, load_device
from bankwidth.spec.files import ROOT

LANES = np.arange(16, dtype=np.float32)
Program = Callable[..., ChannelProgram]


@pytest.fixture
def channel(spec: PimSpec) -> FunctionalChannel:
    return FunctionalChannel(shape_of(spec))


def run(
    channel: FunctionalChannel, program: ChannelProgram, *operands: Operand, size: int = 0
) -> Any:
    result = np.zeros(size, dtype=np.float32)
    channel.run(program, operands, result)
    return result


def columns(*values: float) -> Any:
    """A column per value, all lanes alike."""
    return np.repeat(np.array(values, dtype=np.float32)[:, None], 16, axis=1)


def registers(*values: float) -> Any:
    """A value of all banks per register."""
    return columns(*values)


def places(*numbers: int) -> Any:
    return np.array([numbers])


# ---- products -----------------------------------------------------------------------------------


def test_a_dot_product_by_hand(channel: FunctionalChannel, program: Program) -> None:
    """Bank b holds b in row 3, columns 5 and 6; the buffer 2 and 3: 16 (2 b + 3 b) + bias b."""
    channel.row(3)[:, 5:7] = LANES[:, None, None]
    macros = program(
        ("WR_GB", 2, 0, -1), ("WR_BIAS", 1, 0, -1), ("MAC_ABK", 2, 3, -1), ("RD_MAC", 1, 0, -1)
    )
    found = run(
        channel,
        macros,
        Operand(command="WR_GB", count=2, buffer_column=8, data=columns(2, 3)),
        Operand(command="WR_BIAS", register=1, data=LANES[None]),
        Operand(command="MAC_ABK", count=2, column=5, buffer_column=8, register=1),
        Operand(command="RD_MAC", register=1, places=np.arange(16)[None]),
        size=16,
    )
    assert found[:4].tolist() == [0, 81, 162, 243]
    assert found[15] == 1216  # 1215 takes 11 bits, bf16 has 8


def test_a_product_of_one_bank_leaves_the_others(
    channel: FunctionalChannel, program: Program
) -> None:
    channel.row(0)[2, 0] = 1.0
    found = run(
        channel,
        program(
            ("WR_GB", 1, 0, -1), ("WR_BIAS", 1, 0, -1), ("MAC_SBK", 1, 0, 2), ("RD_MAC", 1, 0, -1)
        ),
        Operand(command="WR_GB", data=columns(4)),
        Operand(command="WR_BIAS", data=registers(1)),
        Operand(command="MAC_SBK"),
        Operand(command="RD_MAC", places=np.arange(16)[None]),
        size=16,
    )
    assert found.tolist() == [1, 1, 65] + [1] * 13


def test_a_run_goes_on_in_the_next_row(channel: FunctionalChannel, program: Program) -> None:
    """Columns 62 and 63 of row 0, then 0 and 1 of row 7: as the macros say."""
    channel.row(0)[:, 62:] = 1.0
    channel.row(7)[:, :2] = columns(10, 100)
    found = run(
        channel,
        program(
            ("WR_GB", 4, 0, -1), ("WR_BIAS", 1, 0, -1), ("MAC_ABK", 2, 0, -1),
            ("MAC_ABK", 2, 7, -1), ("RD_MAC", 1, 0, -1),
        ),
        Operand(command="WR_GB", count=4, data=columns(1, 2, 0.5, 0.25) / 16),
        Operand(command="WR_BIAS", data=registers(0)),
        Operand(command="MAC_ABK", count=4, column=62),
        Operand(command="RD_MAC", places=places(0, *[NOWHERE] * 15)),
        size=1,
    )  # fmt: skip
    assert found.tolist() == [1 + 2 + 5 + 25]


def test_results_are_rounded_when_they_are_read_only(
    channel: FunctionalChannel, program: Program
) -> None:
    """256 + 16 x 1/16 twice is 258 in the accumulator; rounded in between it would stay 256."""
    channel.row(0)[:, :2] = columns(1, 1)
    found = run(
        channel,
        program(
            ("WR_GB", 2, 0, -1), ("WR_BIAS", 1, 0, -1), ("MAC_ABK", 2, 0, -1), ("RD_MAC", 1, 0, -1)
        ),
        Operand(command="WR_GB", count=2, data=columns(1, 1) / 16),
        Operand(command="WR_BIAS", data=registers(256.0)),
        Operand(command="MAC_ABK", count=2),
        Operand(command="RD_MAC", places=places(0, *[NOWHERE] * 15)),
        size=1,
    )
    assert found.tolist() == [258.0]


def test_values_for_one_place_are_added_by_the_host(
    channel: FunctionalChannel, program: Program
) -> None:
    """In float32: 256 + 1 is no bf16."""
    found = run(
        channel,
        program(("WR_BIAS", 2, 0, -1), ("RD_MAC", 2, 0, -1)),
        Operand(command="WR_BIAS", count=2, step=1, data=registers(256, 1)),
        Operand(command="RD_MAC", count=2, step=1, places=np.zeros((2, 16), dtype=np.int64)),
        size=1,
    )
    assert found.tolist() == [16 * 257.0]


def test_a_sum_sent_back_leaves_the_host(channel: FunctionalChannel, program: Program) -> None:
    wanted = places(0, *[NOWHERE] * 15)
    found = run(
        channel,
        program(
            ("WR_BIAS", 1, 0, -1), ("RD_MAC", 1, 0, -1), ("WR_BIAS", 1, 0, -1), ("RD_MAC", 1, 0, -1)
        ),
        Operand(command="WR_BIAS", data=registers(3.0)),
        Operand(command="RD_MAC", places=wanted),
        Operand(command="WR_BIAS", register=1, sent_back=wanted),
        Operand(command="RD_MAC", register=1, places=wanted),
        size=1,
    )
    assert found.tolist() == [3.0]


def test_functions_go_to_registers_of_their_own(
    channel: FunctionalChannel, program: Program
) -> None:
    bias = np.where(LANES % 2, LANES, -LANES)
    found = run(
        channel,
        program(("WR_BIAS", 1, 0, -1), ("AF", 1, 9, -1), ("RD_AF", 1, 0, -1), ("RD_MAC", 1, 0, -1)),
        Operand(command="WR_BIAS", data=bias[None]),
        Operand(command="AF", function="relu"),
        Operand(command="RD_AF", places=np.arange(16)[None]),
        Operand(command="RD_MAC", places=16 + np.arange(16)[None]),
        size=32,
    )
    assert found.tolist() == [*np.maximum(bias, 0), *bias]


def test_an_unknown_function_is_refused(channel: FunctionalChannel, program: Program) -> None:
    macros = program(("AF", 1, 9, -1))
    with pytest.raises(SimulationError, match="no activation function 'swish': gelu, relu"):
        run(channel, macros, Operand(command="AF", function="swish"))


def test_neighbouring_banks_are_multiplied(channel: FunctionalChannel, program: Program) -> None:
    """Banks 0 and 1 of each group of four into bank 2."""
    channel.row(1)[:, :3] = LANES[:, None, None]
    run(channel, program(("EWMUL", 2, 1, -1)), Operand(command="EWMUL", count=2, column=1))
    assert channel.row(1)[:4, 2, 0].tolist() == [0, 1, 0, 3]
    assert channel.row(1)[12:, 1, 5].tolist() == [12, 13, 156, 15]
    assert channel.row(1)[12:, 0, 5].tolist() == [12, 13, 14, 15]


# ---- moving -------------------------------------------------------------------------------------


def test_writes_copies_and_reads_find_each_other(
    channel: FunctionalChannel, program: Program
) -> None:
    """Into bank 3, through the buffer to bank 9, and out."""
    data = np.stack([LANES, 2 * LANES])
    found = run(
        channel,
        program(
            ("WR_SBK", 2, 4, 3), ("COPY_BKGB", 2, 4, 3), ("COPY_GBBK", 2, 6, 9), ("RD_SBK", 2, 6, 9)
        ),
        Operand(command="WR_SBK", count=2, column=10, data=data),
        Operand(command="COPY_BKGB", count=2, column=10, buffer_column=1),
        Operand(command="COPY_GBBK", count=2, column=20, buffer_column=1),
        Operand(command="RD_SBK", count=2, column=20, places=np.arange(32).reshape(2, 16)),
        size=32,
    )
    assert found.tolist() == [*LANES, *(2 * LANES)]
    assert np.isnan(channel.row(6)[8]).all()


def test_a_write_to_all_banks_is_one_element_each(
    channel: FunctionalChannel, program: Program
) -> None:
    macros = program(("WR_ABK", 1, 2, -1))
    run(channel, macros, Operand(command="WR_ABK", column=7, lane=5, data=LANES[None]))
    assert channel.row(2)[:, 7, 5].tolist() == LANES.tolist()
    assert np.isnan(channel.row(2)[:, 7, :5]).all()


def test_what_is_sent_is_rounded(channel: FunctionalChannel, program: Program) -> None:
    data = np.full((1, 16), 257.0)
    run(channel, program(("WR_SBK", 1, 0, 0)), Operand(command="WR_SBK", data=data))
    assert channel.row(0)[0, 0].tolist() == [256.0] * 16


def test_what_was_never_written_shows(channel: FunctionalChannel, program: Program) -> None:
    channel.row(0)[:, 0, :15] = 1.0  # one lane is missing
    found = run(
        channel,
        program(
            ("WR_GB", 1, 0, -1), ("WR_BIAS", 1, 0, -1), ("MAC_ABK", 1, 0, -1), ("RD_MAC", 1, 0, -1)
        ),
        Operand(command="WR_GB", data=columns(0)),
        Operand(command="WR_BIAS", data=registers(0)),
        Operand(command="MAC_ABK"),
        Operand(command="RD_MAC", places=places(0, *[NOWHERE] * 15)),
        size=1,
    )
    assert np.isnan(found).all()


def test_contents_are_stored_end_to_end(channel: FunctionalChannel) -> None:
    contents = np.arange(16 * 3 * 16, dtype=np.float32).reshape(16, 3, 16) % 128
    channel.store(63, contents, first_row=5)
    assert channel.row(5)[:, 63].tolist() == contents[:, 0].tolist()
    assert channel.row(6)[:, :2].tolist() == contents[:, 1:].tolist()
    assert channel.stored(63, 3, first_row=5).tolist() == contents.tolist()


# ---- programs -----------------------------------------------------------------------------------


def test_rows_count_from_the_first_and_programs_repeat(
    channel: FunctionalChannel, program: Program
) -> None:
    macros = program(("WR_SBK", 1, 2, 0), repeat=2)
    operands = [Operand(command="WR_SBK", column=c, data=columns(c)) for c in (1, 2)]
    channel.run(macros, operands, np.zeros(0, np.float32), first_row=40)
    assert channel.row(42)[0, 1:3, 0].tolist() == [1, 2]


def test_barriers_and_row_commands_do_nothing_to_numbers(
    spec: PimSpec, channel: FunctionalChannel
) -> None:
    macros = MacroList(config_of(spec))
    macros.add("ACT_ALL", row=3)
    macros.barrier()
    macros.add("WR_SBK", 1, 3, 0)
    macros.add("PRE_ALL")
    built = ChannelProgram(macros=macros.build(), channels=1)
    run(channel, built, Operand(command="WR_SBK", data=columns(1)))
    assert channel.row(3)[0, 0, 0] == 1


def test_channels_have_programs_in_order(spec: PimSpec, program: Program) -> None:
    """Two channels write, the third has no program."""
    memory = FunctionalMemory(shape_of(spec), 3)
    macros = program(("WR_SBK", 1, 0, 0))
    both = PimProgram(channels=(ChannelProgram(macros=macros.macros, channels=2),), first_row=1)
    data = [Operand(command="WR_SBK", data=columns(value)) for value in (1, 2)]
    memory.run(both, [[data[0]], [data[1]], []], 0)
    assert [memory.channels[c].row(1)[0, 0, 0] for c in (0, 1)] == [1, 2]
    assert np.isnan(memory.channels[2].row(1)).all()
    with pytest.raises(SimulationError, match="the program is over, 1 operands are left"):
        memory.run(both, [[data[0]], [data[1]], [data[0]]], 0)


@pytest.mark.parametrize(
    ("operand", "message"),
    [
        (
            Operand(command="RD_SBK", count=2),
            "the program says WR_SBK x 2, operand 0 says RD_SBK x 2",
        ),
        (
            Operand(command="WR_SBK", count=1),
            "the program says WR_SBK x 2, operand 0 says WR_SBK x 1",
        ),
        (Operand(command="WR_SBK", count=2, column=63), "columns 63 to 64 of row 0, which has 64"),
    ],
)
def test_operands_must_be_those_of_the_macros(
    channel: FunctionalChannel, program: Program, operand: Operand, message: str
) -> None:
    with pytest.raises(SimulationError, match=message):
        run(channel, program(("WR_SBK", 2, 0, 0)), operand)


def test_operands_may_not_run_out(channel: FunctionalChannel, program: Program) -> None:
    with pytest.raises(SimulationError, match="WR_SBK x 1 behind the last operand"):
        run(channel, program(("WR_SBK", 1, 0, 0)))


def test_the_buffer_has_an_end(channel: FunctionalChannel, program: Program) -> None:
    operand = Operand(command="WR_GB", count=2, buffer_column=63, data=columns(1, 2))
    with pytest.raises(SimulationError, match="buffer columns 63 to 64: the global buffer has 64"):
        run(channel, program(("WR_GB", 2, 0, -1)), operand)


# ---- descriptions -------------------------------------------------------------------------------


def test_a_command_that_does_not_say_what_it_does_is_named(spec: PimSpec) -> None:
    silent = {**spec.commands, "AF": spec.commands["AF"].model_copy(update={"does": None})}
    with pytest.raises(
        SpecError, match="mode needs `does` of every column and register command; missing for AF"
    ):
        shape_of(spec.model_copy(update={"commands": silent}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("does: read,", "does: raed,", "commands.RD_SBK.does.*'raed'"),
        ("unit: bank", "unit: bnak", "numbers.unit: unknown level 'bnak', allowed: bank"),
        ("does: read,", "does: store_result,", "store_result needs a sum per lane"),
        ("accumulator: fp32", "accumulator: fp64", "numbers.accumulator.*'fp64'"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (ROOT / "arch" / "devices" / "pim" / "gddr6-aim.yaml").read_text()
    assert old in text
    file = tmp_path / "device.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SpecError, match=message):
        load_device(str(file))


def test_a_set_with_other_names_works(spec: PimSpec, channel: FunctionalChannel) -> None:
    """Effects hang on `does`, not on names."""
    renamed = {f"X_{name}": command for name, command in spec.commands.items()}
    gaps = [
        gap.model_copy(update={"before": _renamed(gap.before), "after": _renamed(gap.after)})
        for gap in spec.gaps
    ]
    other = spec.model_copy(update={"commands": renamed, "gaps": gaps})
    macros = MacroList(config_of(other))
    macros.add("X_WR_SBK", 1, 0, 4)
    channel = FunctionalChannel(shape_of(other))
    built = ChannelProgram(macros=macros.build(), channels=1)
    run(channel, built, Operand(command="X_WR_SBK", data=columns(7)))
    assert channel.row(0)[4, 0].tolist() == [7.0] * 16


def _renamed(names: list[str]) -> list[str]:
    return [name if name == "*" else f"X_{name}" for name in names]
