"""What runs where on IANUS, and how its tiles lie in the rows of the banks."""

from __future__ import annotations

from collections import Counter

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.lower_pim import lower_matmul, matmul_rows
from bankwidth.mapping.pim_geometry import PimGeometry
from bankwidth.mapping.plan import Plan
from bankwidth.operators import make_trace
from bankwidth.spec import PimMappingSpec, load_machine, load_workload


def plan(phase: str, tokens: int) -> Plan:
    trace = make_trace(load_workload("ianus-gpt2-xl"), phase=phase, context=tokens)
    return make_plan(load_machine("ianus"), trace)


@pytest.fixture(scope="module")
def decode() -> Plan:
    return plan("decode", 192)


def test_products_of_one_token_are_the_banks(decode: Plan) -> None:
    engines = {task.name: task.engine for task in decode.tasks}
    assert {engines[name] for name in ("qkv.0", "o", "fc1", "fc2", "lm_head", "gelu")} == {"pim"}
    others = ("attention.0.score", "kv_append.0", "norm1", "add1")
    assert {engines[name] for name in others} == {"npu"}


def test_products_of_many_tokens_are_the_matrix_units() -> None:
    engines = {task.name: task.engine for task in plan("prefill", 128).tasks}
    assert {engines[name] for name in ("qkv.0", "o", "fc1", "gelu", "fc2")} == {"npu"}
    assert engines["lm_head"] == "pim"  # logits of the last token only


def test_heads_go_through_attention_four_at_a_time(decode: Plan) -> None:
    names = Counter(task.name for task in decode.tasks)
    assert {names[f"attention.{piece}.softmax"] for piece in range(6)} == {48}
    assert "attention.6.softmax" not in names


def test_a_head_waits_for_its_own_product_only(decode: Plan) -> None:
    by_index = dict(enumerate(decode.tasks))
    scores = [task for task in decode.tasks if task.name.endswith(".score")]
    for task in scores:
        piece = task.name.split(".")[1]
        assert {by_index[dep].name.split(".")[1] for dep in task.deps} == {piece}


def test_a_program_waits_for_the_scheduler(decode: Plan) -> None:
    programs = [task for task in decode.tasks if task.program is not None]
    assert {task.issue_ps for task in programs} == {2_340_000}


def test_tiles_have_rows_of_their_own(geometry: PimGeometry) -> None:
    # 256 outputs are 2 groups of 128; 1536 inputs are a piece of a whole row and one of half a row.
    own = PimMappingSpec(reuse="result", rows="own")
    packed = PimMappingSpec(reuse="result")
    assert matmul_rows(geometry, n=256, k=1536, options=own) == 4
    assert matmul_rows(geometry, n=256, k=1536, options=packed) == 3
    program = lower_matmul(geometry, m=1, n=256, k=1536, options=own)
    mac = geometry.config.index("MAC_ABK")
    rows = [int(row) for command, _, row, _ in program.channels[0].macros if command == mac]
    assert rows == [0, 1, 2, 3]
    assert program.mac_commands == 8 * 2 * 96


def test_attention_in_the_banks_is_not_cut() -> None:
    machine = load_machine("ianus")
    run = {**machine.mapping.run, "attention": "pim", "kv_append": "pim"}
    mapping = machine.mapping.model_copy(update={"run": run})
    trace = make_trace(load_workload("ianus-gpt2-m"), phase="decode", context=192)
    with pytest.raises(MappingError, match="which 'pim' cannot run: leave it out"):
        make_plan(machine.model_copy(update={"mapping": mapping}), trace)
    whole = mapping.model_copy(update={"heads_together": None})
    tasks = make_plan(machine.model_copy(update={"mapping": whole}), trace).tasks
    assert {t.engine for t in tasks if t.name == "attention.score"} == {"pim"}
    assert {t.engine for t in tasks if t.name == "attention.softmax"} == {"npu"}
