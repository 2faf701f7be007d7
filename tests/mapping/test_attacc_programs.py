"""Attention in AttAcc's banks as part of a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bankwidth.devices.pim.attacc import attacc_config, attention_ck
from bankwidth.devices.pim.program import PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.attacc_programs import MAC, ROW, AttaccPrograms
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.pim_geometry import geometry_of
from bankwidth.mapping.stages import InBanks
from bankwidth.operators import Attention, Block, Operator, Trace
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, PimMappingSpec, PimSpec, load_device, load_machine


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    """One device on its own."""
    return load_machine("attacc").model_copy(update={"parallel": None})


def attention(**changes: Any) -> Attention:
    shape: dict[str, Any] = {
        "phase": "decode", "batch": 5, "q_len": 1, "kv_len": 256, "n_heads": 16,
        "n_kv_heads": 16, "head_dim": 128, "dtype": "fp16", "kv_dtype": "fp16",
    }  # fmt: skip
    return Attention(name="attention", layer=0, **(shape | changes))


def trace_of(*operators: Operator) -> Trace:
    return Trace(
        model="made up", phase="decode", batch=1, context=1, output_tokens=1, dtypes={},
        blocks=(Block(name="layers", operators=operators),),
        weight_bytes=0, kv_bytes=10**9, activation_bytes=10**6,
    )  # fmt: skip


def programs(device: str = "pim/hbm3-attacc-bank", channels: int = 80) -> AttaccPrograms:
    spec = load_device(device)
    assert isinstance(spec, PimSpec)
    return AttaccPrograms(spec, geometry_of(spec, channels), PimMappingSpec())


def program_of(op: Attention, device: str = "pim/hbm3-attacc-bank") -> PimProgram:
    (stage,) = programs(device).stages(op, 0, LoweringContext({}, [op]))
    assert isinstance(stage, InBanks)
    return stage.program


def test_heads_are_dealt_out_to_all_stacks() -> None:
    """80 heads, 16 for each of five stacks: one for every channel."""
    (group,) = program_of(attention()).channels
    assert group.channels == 80


def test_a_stack_more_or_less_by_one_head_is_all_there_is() -> None:
    """84 heads: four stacks have 17, which two rounds of heads make, and one has 16."""
    program = program_of(attention(batch=1, n_heads=84, n_kv_heads=84))
    assert sum(group.channels for group in program.channels) == 80
    counts = sorted((int(g.macros[:, 1].sum()), g.channels) for g in program.channels)
    assert counts[0][1] == 16  # the stack of 16 heads has least to do
    assert sum(channels for _, channels in counts[1:]) == 64


def test_stacks_without_a_head_rest() -> None:
    program = program_of(attention(batch=1, n_heads=3, n_kv_heads=3))
    assert sum(group.channels for group in program.channels) <= 3 * 16


@pytest.mark.parametrize("level", ["bank", "bg", "buffer"])
def test_every_key_and_value_is_read_by_its_unit(level: str) -> None:
    """Two products per element of K and V; units are told by the banks that a MAC reads."""
    program = program_of(attention(), f"pim/hbm3-attacc-{level}")
    units = {"bank": 64, "bg": 16, "buffer": 2}[level]
    elements = 2 * 80 * 256 * 128
    config = attacc_config(level, limited=True)
    assert len(config.touched(MAC)) == units
    assert program.mac_commands * units * 16 == elements


def test_layers_lie_behind_each_other_and_values_behind_keys(machine: MachineSpec) -> None:
    layers = [replace(attention(), layer=layer) for layer in range(3)]
    plan = make_plan(machine, trace_of(*(replace(op, name=f"a{op.layer}") for op in layers)))
    programs = [task.program for task in plan.tasks if isinstance(task.program, PimProgram)]
    firsts = [program.first_row for program in programs]
    rows = program_of(attention()).rows
    assert firsts == [0, rows, 2 * rows]
    (group,) = program_of(attention()).channels
    is_mac = group.macros[:, 0] == attacc_config("bank", limited=True).index(MAC)
    assert {int(row) for row in group.macros[is_mac, ROW]} == set(range(rows))


def test_rows_of_the_longest_context_are_kept() -> None:
    short, long = attention(kv_len=64), attention(kv_len=4096)
    maker = programs()
    context = LoweringContext({}, [short, long])
    assert maker.tensor(short, 0, context)[1] == maker.tensor(long, 1, context)[1]
    assert maker.tensor(short, 0, LoweringContext({}, [short]))[1] < program_of(long).rows


def test_a_run_takes_what_the_banks_take(machine: MachineSpec) -> None:
    result = simulate(machine, trace_of(attention()))
    alone_ck = attention_ck("bank", limited=True, heads=16, head_dim=128, kv_len=256)
    assert result.latency_ns == pytest.approx(alone_ck * 0.769, rel=0.02)
    assert result.operators["engine"][0] == "banks"
    spent = result.energy_by_component_pj
    assert spent["banks"] > 0
    assert spent["stacks"] > 0


def test_the_attention_of_a_prompt_stays_on_the_gpu(machine: MachineSpec) -> None:
    (task,) = make_plan(machine, trace_of(attention(q_len=8, phase="prefill"))).tasks
    assert task.engine == "gpu"


@pytest.mark.parametrize(
    "changes",
    [{"n_heads": 32}, {"kv_dtype": "fp32", "dtype": "fp32"}],
    ids=["heads that share keys", "32 bits"],
)
def test_what_the_units_cannot_do_is_refused(machine: MachineSpec, changes: Any) -> None:
    with pytest.raises(MappingError, match="engine 'banks' cannot run attention 'attention'; gpu"):
        make_plan(machine, trace_of(attention(**changes)))


def test_more_keys_than_rows_are_refused(machine: MachineSpec) -> None:
    with pytest.raises(MappingError, match=r"rows per bank.* the banks have 16384"):
        make_plan(machine, trace_of(attention(batch=400, kv_len=60_000)))


def test_channels_must_be_whole_stacks() -> None:
    with pytest.raises(MappingError, match="24 channels are no whole stacks of 16"):
        programs(channels=24)
