"""A small GPT through the mapped commands of a plan; what a wrong address does to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bankwidth.devices.pim.numbers import FORMATS, Arithmetic
from bankwidth.devices.pim.program import PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.plan import Plan, Task
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.spec.files import ROOT
from bankwidth.validate import pim_bank_products, pim_hbm_products
from bankwidth.validate.pim_block import Parameters, softmax
from bankwidth.validate.pim_bounds import chained_bound, product_bound, sampled_bound
from bankwidth.validate.pim_checks import Check, check_attention, check_product, pim_engine
from bankwidth.validate.pim_functional import OF_BLOCKS, published, with_options
from bankwidth.validate.pim_hbm_products import HbmBankProducts, LaneProducts
from bankwidth.validate.pim_models import check_block, small_gpt, small_llama
from bankwidth.validate.verdicts import Case


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("pim-gpt")


def test_every_case_holds() -> None:
    cases = list(published())
    assert len(cases) == 16 + 18 + 3 + 27 + 3 + 3
    assert [case.id for case in cases if not case.ok] == []
    # The bounds are of the formats' size, not of the numbers': 2^-8 of a rounding is 0.4 %.
    tolerances = [case.tolerance_pct for case in cases if _is_large(case)]
    assert max(tolerances) < 3.0


def _is_large(case: Case) -> bool:
    """Where cancellation leaves a small number the same bound is a large share of it; sums in fp16
    have bounds of their own."""
    return abs(float(str(case.reference))) > 1.0 and "fp16" not in case.id


@pytest.mark.parametrize("name", OF_BLOCKS)
def test_two_layers_do_not_share_rows(machine: MachineSpec, name: str) -> None:
    check = check_block(with_options(machine, OF_BLOCKS[name]), hidden=64, layers=2)
    assert check.worst < 1.0


def test_heads_of_q_share_those_of_k_in_a_llama(machine: MachineSpec) -> None:
    assert check_block(machine, hidden=64, layers=2, model=small_llama).worst < 1.0


def test_a_command_set_of_a_user_computes_too() -> None:
    """The example of docs/: another organisation, no code of its own."""
    board = load_machine(str(ROOT / "docs" / "examples" / "ddr5-mac-board.yaml"))
    assert check_product(board, m=2, n=100, k=1500).worst < 1.0
    assert check_block(board, hidden=64).worst < 1.0


def test_another_seed_holds_too(machine: MachineSpec) -> None:
    assert check_block(machine, hidden=64, seed=7).worst < 1.0
    assert check_product(machine, m=2, n=70, k=1200, seed=7).worst < 1.0


# ---- planted errors -----------------------------------------------------------------------------


def _plant(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Task], Task],
    module: ModuleType = pim_bank_products,
) -> None:
    def wrong(*arguments: Any) -> Plan:
        plan = make_plan(*arguments)
        return replace(plan, tasks=tuple(change(task) for task in plan.tasks))

    monkeypatch.setattr(module, "make_plan", wrong)


def _edited(task: Task, edit: Callable[[Any], None]) -> Task:
    assert isinstance(task.program, PimProgram)
    channels = []
    for channel in task.program.channels:
        macros = channel.macros.copy()
        edit(macros)
        channels.append(replace(channel, macros=macros))
    return replace(task, program=replace(task.program, channels=tuple(channels)))


@pytest.mark.parametrize("name", ["attention.score", "attention.context"])
def test_attention_from_the_row_behind_is_found(
    machine: MachineSpec, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def change(task: Task) -> Task:
        if task.name != name or not isinstance(task.program, PimProgram):
            return task
        return replace(task, program=task.program.at(task.program.first_row + 1))

    _plant(monkeypatch, change)
    assert check_block(machine, hidden=64).worst > 10.0


def test_keys_in_the_wrong_bank_are_found(
    machine: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Banks 0 and 1: the keys of the first two tokens change places."""

    def edit(macros: Any) -> None:
        named = (macros[:, 3] >= 0) & (macros[:, 3] < 2)
        macros[named, 3] = 1 - macros[named, 3]

    _plant(monkeypatch, lambda task: _edited(task, edit) if task.name == "kv_append" else task)
    assert check_block(machine, hidden=64).worst > 10.0


def test_swapped_rows_of_a_matrix_are_found(
    machine: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fc2 of 1024 x 256: a channel has two groups of one row each."""

    def edit(macros: Any) -> None:
        rows = macros[:, 2].copy()
        macros[:, 2] = np.where(rows == 0, 1, np.where(rows == 1, 0, rows))

    _plant(monkeypatch, lambda task: _edited(task, edit) if task.name == "fc2" else task)
    assert check_block(machine, hidden=256).worst > 10.0


def test_layers_on_the_same_rows_are_found(
    machine: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(task: Task) -> Task:
        return replace(task, program=task.program.at(0)) if task.program else task

    _plant(monkeypatch, change)
    assert check_block(machine, hidden=64).worst > 10.0


def test_hbm_pim_on_the_same_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    hbm = load_machine("hbm-pim-16")

    def worst() -> float:
        check = check_block(hbm, hidden=64, banks=HbmBankProducts, sampled=LaneProducts)
        return check.worst

    def change(task: Task) -> Task:
        return replace(task, program=task.program.at(0)) if task.program else task

    assert worst() < 1.0
    _plant(monkeypatch, change, pim_hbm_products)
    assert worst() > 10.0


# ---- bounds -------------------------------------------------------------------------------------


def test_a_bound_by_hand() -> None:
    """One product of 1 x 2 in fp16: one rounding of the product, one of the sum, one read."""
    arithmetic = Arithmetic(operand=FORMATS["fp16"], accumulator=FORMATS["fp16"], has_tree=False)
    u = 2.0**-11
    inner = 2 * u / (1 - 2 * u) * 2.0
    expected = inner + u * (2.0 + inner)
    host = 2.0**-24 / (1 - 2.0**-24)
    found = product_bound([(2.0, 2.0)], 1, 16, arithmetic)
    assert found == pytest.approx(expected + host * (2.0 + expected), rel=1e-12)
    assert chained_bound([(2.0, 2.0)], 1, 16, arithmetic) == pytest.approx(expected, rel=1e-12)


def test_chained_pieces_carry_their_error() -> None:
    arithmetic = Arithmetic(operand=FORMATS["bf16"], accumulator=FORMATS["fp32"])
    one = chained_bound([(3.0, 5.0)], 4, 16, arithmetic)
    two = chained_bound([(3.0, 5.0), (-3.0, 5.0)], 4, 16, arithmetic)
    assert one < two < 2 * one
    assert product_bound([(3.0, 5.0), (-3.0, 5.0)], 4, 16, arithmetic) > 2 * one


def test_sampled_bounds_are_six_deviations() -> None:
    exact = np.zeros(2, dtype=np.float32)
    samples = [np.float32([1, 2]), np.float32([-1, -2])]  # type: ignore[arg-type]
    assert sampled_bound(exact, samples).tolist() == [6.0, 12.0]  # type: ignore[arg-type]


def test_what_is_no_number_is_no_match() -> None:
    check = Check(np.array([np.nan, 1.0], np.float32), np.array([1.0, 1.0]), np.array([9.0, 0.0]))
    assert check.shares.tolist() == [np.inf, 0.0]
    assert not check.case("x", "y").ok


# ---- pieces -------------------------------------------------------------------------------------


def test_attention_of_two_sequences(machine: MachineSpec) -> None:
    checks = check_attention(
        machine, n_heads=4, n_kv_heads=2, head_dim=32, tokens=33, batch=2, seed=3
    )
    assert all(check.worst < 1.0 for check in checks)


def test_softmax_leaves_later_tokens_out() -> None:
    rows = softmax(np.array([[0.0, 0.0, 50.0]], dtype=np.float32), 2)
    assert rows.tolist() == [[0.5, 0.5, 0.0]]


def test_parameters_are_the_same_whoever_asks_first() -> None:
    one, other = Parameters(1), Parameters(1)
    other.draw("b", (3,))
    assert (one.draw("a", (4,)) == other.draw("a", (4,))).all()
    assert (Parameters(2).draw("a", (4,)) != one.draw("a", (4,))).any()


def test_a_machine_without_computing_banks_is_refused() -> None:
    with pytest.raises(MappingError, match="h200: no engine of kind pim"):
        pim_engine(load_machine("h200"))


def test_a_block_is_a_prompt_and_three_tokens() -> None:
    trace = small_gpt(64, 1)
    names = [step.operator.name for step in trace.expand()]
    assert names.count("lm_head") == 4
    assert names.count("attention") == 4
