from __future__ import annotations

import pytest

from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.validate import pim_ianus
from bankwidth.validate.pim_ianus import (
    FEW_LAYERS,
    IDLE,
    PARTS,
    PIM,
    PLAIN,
    SERIAL,
    Request,
    part_ms,
    token,
    token_ms,
)

XL = Request("xl", 64, 256)


@pytest.mark.parametrize(
    ("machine", "request_", "published_ms"),
    [(PIM, XL, 3.8), (PIM, Request("2.5b", 128, 64), 5.7), (PLAIN, XL, 15.5)],
)
def test_time_per_token_is_within_ten_percent(
    machine: str, request_: Request, published_ms: float
) -> None:
    assert token_ms(machine, request_) == pytest.approx(published_ms, rel=0.1)


def test_the_middle_token_stands_for_all() -> None:
    ends = [token_ms(PIM, Request("m", prompt, 128)) for prompt in (1, 255)]
    assert sum(ends) / 2 == pytest.approx(token_ms(PIM, Request("m", 64, 256)), rel=0.01)


def test_the_middle_is_between_the_first_and_the_last_token() -> None:
    assert XL.middle == 64 + 128


def test_a_few_layers_stand_for_all() -> None:
    whole = simulate(
        load_machine(PIM),
        make_trace(load_workload("ianus-gpt2-m"), phase="decode", context=192),
    )
    extended = pim_ianus._of_all_layers(pim_ianus._dynamic_mj, PIM, "m", "decode", 192)
    assert max(FEW_LAYERS) < 24
    assert extended == pytest.approx(pim_ianus._dynamic_mj(whole), rel=0.01)


def test_banks_that_are_idle_compute_nothing() -> None:
    result = pim_ianus._few(IDLE, "m", "decode", 192, 2)
    assert "MAC_ABK" not in set(result.commands["command"])
    assert "MAC_ABK" in set(pim_ianus._few(PIM, "m", "decode", 192, 2).commands["command"])


def test_scheduling_hides_attention_behind_the_banks() -> None:
    request = Request("m", 64, 256)
    assert token_ms(SERIAL, request) > 1.1 * token_ms(PIM, request)


def test_parts_are_operators_of_the_model_and_less_than_the_whole() -> None:
    request = Request("m", 64, 256)
    names = set(token(PIM, request).operators["name"])
    assert all(names.issuperset(part) for part in PARTS.values())
    parts = sum(part_ms(PIM, request, part) for part in PARTS)
    assert 0.3 * token_ms(PIM, request) < parts < token_ms(PIM, request)


def test_interfaces_and_refreshes_are_not_in_the_energy() -> None:
    result = pim_ianus._few(PIM, "m", "decode", 192, 2)
    units = zip(result.components["name"], result.components["energy_dynamic_pj"], strict=True)
    cores_pj = sum(pj for name, pj in units if name == "npu")
    commands = zip(result.commands["command"], result.commands["energy_pj"], strict=True)
    spent = {str(name): float(pj) for name, pj in commands}
    refresh_pj = spent.pop("REF_ALL")
    assert refresh_pj > 0
    assert pim_ianus._dynamic_mj(result) * 1e9 == pytest.approx(cores_pj + sum(spent.values()))


def test_every_figure_has_its_place_in_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    for figure in ("token_ms", "part_ms", "request_ms", "gpu_request_ms", "dynamic_mj"):
        monkeypatch.setattr(pim_ianus, figure, lambda *_: 2.0)
    cases = list(pim_ianus.published())
    assert len(cases) == 21
    assert len({(case.id, case.quantity) for case in cases}) == len(cases)
    assert all("Figure" in case.source or "section" in case.source for case in cases)
    assert not [case.quantity for case in cases if "FFN" in case.quantity]  # calibrated on
    ratios = [case.ours for case in cases if "speed-up" in case.quantity]
    assert ratios == [1.0] * 10


def test_an_operator_on_the_gpu_takes_at_least_its_dispatch() -> None:
    result = pim_ianus._few(pim_ianus.GPU, "m", "decode", 192, 2)
    dispatch_ms = pim_ianus.framework_ms()
    assert pim_ianus._dispatched_ms(result) >= dispatch_ms * len(result.operators)
    assert 0.03 < dispatch_ms < 0.1
