"""The choices that a machine with computing banks has: each changes what it says, and no more."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mapping.test_lower_pim_addresses import Recorder, _streams

import bankwidth as bw
from bankwidth.devices.pim.program import PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping import lower_pim_attention
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.kv_layout import HeadsApartLayout
from bankwidth.mapping.lower_pim import lower_matmul
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_geometry import PimGeometry
from bankwidth.mapping.plan import Plan, Task
from bankwidth.spec import MachineSpec, PimMappingSpec

sizes = st.integers(1, 4000)


def machine_with(**options: Any) -> MachineSpec:
    machine = bw.load_arch("pim-gpt")
    chosen = {"pim": PimMappingSpec(**options)}
    mapping = machine.mapping.model_copy(update=chosen)
    return machine.model_copy(update={"mapping": mapping})


def plan_of(model: str = "gpt2", tokens: int = 100, **options: Any) -> Plan:
    trace = bw.make_trace(bw.load_workload(model), context=tokens)
    return make_plan(machine_with(**options), trace)


def named(plan: Plan, name: str) -> Task:
    """The first task of a name."""
    return next(task for task in plan.tasks if task.name == name)


def counts(program: PimProgram) -> Counter[str]:
    return Counter(dict(program.counts))


def macros_of(program: PimProgram) -> list[list[list[int]]]:
    return [channel.macros.tolist() for channel in program.channels]


# ---- products -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(n=sizes, k=sizes)
def test_results_that_stay_need_no_sums(geometry: PimGeometry, n: int, k: int) -> None:
    usual = lower_matmul(geometry, m=1, n=n, k=k)
    stays = lower_matmul(geometry, m=1, n=n, k=k, options=PimMappingSpec(reuse="result"))
    assert stays.asic_adds == 0
    assert stays.rows == usual.rows
    assert counts(stays)["MAC_ABK"] == counts(usual)["MAC_ABK"]
    results = -(-n // 16)
    assert counts(stays)["RD_MAC"] == counts(stays)["WR_BIAS"] == results
    assert counts(stays)["WR_GB"] >= counts(usual)["WR_GB"]
    for channel in stays.channels:
        macs = channel.macros[channel.macros[:, 0] == geometry.config.index("MAC_ABK")]
        per_row = np.bincount(macs[:, 2], weights=macs[:, 1])
        assert (per_row[:-1] == 64).all()  # end to end, each column once
        assert (np.diff(macs[:, 2]) >= 0).all()


def test_a_vector_is_loaded_again_for_each_pair_of_results(geometry: PimGeometry) -> None:
    """1024 outputs are 8 groups in each of 8 channels, 4 pairs; 2048 inputs are 128 columns."""
    stays = lower_matmul(geometry, m=1, n=1024, k=2048, options=PimMappingSpec(reuse="result"))
    assert counts(stays)["WR_GB"] == 8 * 4 * 128


@settings(max_examples=20, deadline=None)
@given(n=sizes, k=sizes)
def test_sums_in_the_banks_change_no_command(geometry: PimGeometry, n: int, k: int) -> None:
    """A result starts from its bias anyway: here from what was read before."""
    usual = lower_matmul(geometry, m=1, n=n, k=k)
    summed = lower_matmul(geometry, m=1, n=n, k=k, options=PimMappingSpec(partial_sums="bank"))
    assert macros_of(summed) == macros_of(usual)
    assert summed.asic_adds == 0


@settings(max_examples=20, deadline=None)
@given(n=sizes, k=sizes, reuse=st.sampled_from(["vector", "result"]))
def test_functions_take_whole_results(geometry: PimGeometry, n: int, k: int, reuse: Any) -> None:
    options = PimMappingSpec(reuse=reuse, partial_sums="bank", activation_function="bank")
    usual = lower_matmul(geometry, m=1, n=n, k=k, options=options)
    program = lower_matmul(geometry, m=1, n=n, k=k, options=options, activates=True)
    results = -(-n // 16)
    assert counts(program)["AF"] == counts(program)["RD_AF"] == results
    assert counts(program)["RD_MAC"] == counts(usual)["RD_MAC"] - results
    assert program.rows == usual.rows + 1
    for channel in program.channels:
        table = channel.macros[channel.macros[:, 0] == geometry.config.index("AF")]
        assert set(table[:, 2]) == {usual.rows}


def test_a_function_in_the_banks_is_no_work_for_the_asic() -> None:
    plan = plan_of(partial_sums="bank", activation_function="bank")
    gelu, product = named(plan, "gelu"), named(plan, "fc1")
    assert (gelu.engine, gelu.compute_ps, gelu.program) == ("pim", 0, None)
    assert isinstance(product.program, PimProgram)
    assert product.program.counts["AF"] == 3072 // 16
    assert named(plan_of(), "gelu").engine == "asic"
    # what no function follows is as it was
    other = named(plan, "fc2").program
    assert isinstance(other, PimProgram)
    assert "AF" not in other.counts


@pytest.mark.parametrize(
    "options",
    [
        {"heads": "per_channel"},
        {"reuse": "result"},
        {"partial_sums": "bank"},
        {"partial_sums": "bank", "activation_function": "bank"},
        {"score": "host"},
        {"context": "host"},
        {"reserve_tokens": 1024},
    ],
    ids=str,
)
def test_a_model_runs_with_every_choice(options: dict[str, Any]) -> None:
    workload = bw.load_workload("gpt2")
    cut = workload.model_copy(update={"config": workload.config | {"n_layer": 2}})
    trace = bw.make_trace(cut, phase="generate", prompt=3, output=2)
    result = bw.simulate(machine_with(**options), trace)
    usual = bw.simulate(machine_with(), trace)
    assert 0.5 < result.latency_ns / usual.latency_ns < 2.0


# ---- attention ----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    kv_heads=st.integers(1, 20),
    shared=st.sampled_from([1, 2, 3]),
    head_dim=st.sampled_from([16, 64, 80]),
    tokens=st.integers(1, 60),
    spare=st.integers(0, 40),
    batch=st.integers(1, 2),
)
def test_heads_apart_are_read_where_they_were_written(
    geometry: PimGeometry,
    kv_heads: int,
    shared: int,
    head_dim: int,
    tokens: int,
    spare: int,
    batch: int,
) -> None:
    layout = HeadsApartLayout(
        geometry=geometry,
        n_heads=kv_heads * shared,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        reserved_tokens=tokens + spare,
        batch=batch,
    )
    keys: Counter[tuple[int, ...]] = Counter()  # (channel, bank, column)
    values: Counter[tuple[int, ...]] = Counter()  # (channel, column)
    Recorder.built.clear()
    with patch.object(lower_pim_attention, "MacroList", Recorder):
        for token in range(tokens):
            streams = _streams(lower_kv_append(layout, first_token=token), 8)
            for channel, written in enumerate(streams):
                for name, first, count, bank in written:
                    columns = range(first, first + count)
                    if name == "WR_SBK":
                        keys.update((channel, bank, column) for column in columns)
                    else:
                        values.update((channel, column) for column in columns)
        programs = lower_attention(layout, kv_len=tokens)
        score, context = (_streams(p, 8) for p in (programs.score, programs.context))
    assert set(keys.values()) == {1}
    assert len(keys) == batch * kv_heads * tokens * layout.key_columns
    assert {(c, column) for c, _, column in keys}.isdisjoint(values)
    last = layout.rows * geometry.config.columns - 1
    assert max(column for *_, column in (*keys, *values)) <= last
    read_keys = _macs(score)
    assert all(read_keys[channel, column] == shared for channel, _, column in keys)
    assert len(read_keys) == len({(channel, column) for channel, _, column in keys})
    assert _macs(context) == Counter(dict.fromkeys(values, shared))


def _macs(streams: list[list[Any]]) -> Counter[tuple[int, ...]]:
    return Counter(
        (channel, column)
        for channel, listed in enumerate(streams)
        for name, first, count, _ in listed
        if name == "MAC_ABK"
        for column in range(first, first + count)
    )


def test_heads_apart_load_their_own_queries_only(geometry: PimGeometry) -> None:
    """16 heads of 128 on 8 channels: 2 heads of 8 columns each, not 16."""
    layout = HeadsApartLayout(
        geometry=geometry, n_heads=16, n_kv_heads=16, head_dim=128, reserved_tokens=512
    )
    assert counts(lower_attention(layout, kv_len=512).score)["WR_GB"] == 16 * 8


@pytest.mark.parametrize(("stage", "other"), [("score", "context"), ("context", "score")])
def test_a_product_left_to_the_host_reads_its_half_of_the_cache(stage: str, other: str) -> None:
    options: Any = {stage: "host"}
    plan = plan_of(**options)
    left, kept = named(plan, f"attention.{stage}"), named(plan, f"attention.{other}")
    assert (left.engine, kept.engine) == ("asic", "pim")
    assert sum(load.size_bytes for load in left.loads) == 100 * 768 * 2
    assert left.counts["mul"] == 100 * 768
    assert {task.engine for task in plan.tasks if task.name == "attention.softmax"} == {"asic"}


def test_any_engine_may_be_the_host() -> None:
    """A GPU takes softmaxes and sums as its own kernels."""
    machine = bw.load_arch("pim-gpt")
    engines = {"asic": bw.load_arch("t4").engines["gpu"], "pim": machine.engines["pim"]}
    changed = machine.model_copy(update={"engines": engines})
    plan = make_plan(changed, bw.make_trace(bw.load_workload("gpt3-small"), context=1025))
    softmax, total = named(plan, "attention.softmax"), named(plan, "attention.sum")
    assert softmax.launch_ps > 0
    assert any(item.startswith("vector") for item in total.counts)


def test_banks_need_another_engine_beside_them() -> None:
    machine = bw.load_arch("pim-gpt")
    run = {"default": "pim"}
    changed = machine.model_copy(
        update={"mapping": machine.mapping.model_copy(update={"run": run})}
    )
    with pytest.raises(MappingError, match="'pim' is a pim"):
        make_plan(changed, bw.make_trace(bw.load_workload("gpt2"), context=10))


# ---- what does not fit --------------------------------------------------------------------------


def test_more_tokens_than_were_reserved() -> None:
    with pytest.raises(
        MappingError, match=r"101 tokens, but .* space for 100, 1 fewer; .*reserve_tokens"
    ):
        plan_of(tokens=101, reserve_tokens=100)


def test_a_tensor_that_does_not_fit_is_named() -> None:
    with pytest.raises(
        MappingError, match=r"K/V space of layer 3 needs \d+ rows per bank, \d+ of 16384.* too much"
    ):
        plan_of("gpt2", reserve_tokens=400_000)


def test_a_larger_reservation_changes_where_and_not_what() -> None:
    usual, roomy = (named(plan_of(reserve_tokens=n), "attention.score") for n in (None, 4096))
    assert isinstance(usual.program, PimProgram)
    assert isinstance(roomy.program, PimProgram)
    assert usual.program.counts == roomy.program.counts
    assert roomy.program.rows > usual.program.rows


def test_commands_that_nobody_writes_programs_for() -> None:
    machine = bw.load_arch("pim-gpt")
    pim: Any = machine.engines["pim"]
    commands = {name: spec for name, spec in pim.commands.items() if name != "WR_GB"}
    engines = {**machine.engines, "pim": pim.model_copy(update={"commands": commands})}
    changed = machine.model_copy(update={"engines": engines})
    with pytest.raises(MappingError, match="no programs are known for the commands of gddr6-aim"):
        make_plan(changed, bw.make_trace(bw.load_workload("gpt2"), context=10))
