"""Engines that would get an operator wrong refuse it, and say why and who can."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.build import choose_engine, lowerings
from bankwidth.mapping.refusals import refusal
from bankwidth.operators import Attention, Conv, Elementwise, Fetch, KvAppend, Operator, Scan
from bankwidth.spec import load_machine

CHANGES: dict[str, dict[str, Any]] = {
    "v_head_dim 64": {"v_head_dim": 64},
    "v_dtype int4": {"v_dtype": "int4"},
    "window 8 over kv_len 16": {"window": 8},
    "latent keys and values": {"latent": True},
    "residual 4": {"residual": 4},
    "page 16": {"page": 16},
    "stored_len 32 beside kv_len 16": {"stored_len": 32},
    "kv_role far": {"kv_role": "far"},
    "has_sinks": {"has_sinks": True},
}
# Engines by machine that run attention of their own kind.
ENGINES = {
    "pim-gpt": "pim", "neupims": "npu", "instinfer": "csd", "raspberry-pi-5-llamacpp": "cpu",
    "ternary-lut": "lut", "cent-7b": "pnm",
}  # fmt: skip


def attention(**changes: Any) -> Attention:
    values: dict[str, Any] = {
        "phase": "decode", "batch": 1, "q_len": 1, "kv_len": 16, "n_heads": 4, "n_kv_heads": 4,
        "head_dim": 128, "dtype": "bf16", "kv_dtype": "bf16",
    }  # fmt: skip
    return Attention(name="a", **(values | changes))


def append(**changes: Any) -> KvAppend:
    values: dict[str, Any] = {
        "tokens": 1, "kv_heads": 4, "head_dim": 128, "dtype": "bf16", "kv_dtype": "bf16",
    }  # fmt: skip
    return KvAppend(name="k", **(values | changes))


def said(machine: str, op: Operator) -> str:
    spec = load_machine(machine)
    with pytest.raises(MappingError) as caught:
        choose_engine(spec, lowerings(spec), op)
    return str(caught.value)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("machine", ["pim-gpt", "npu-mem", "instinfer", "raspberry-pi-5-llamacpp"])
def test_fields_that_change_attention_are_named(machine: str, what: str) -> None:
    message = said(machine, attention(**CHANGES[what]))
    assert message.startswith(f"{machine}: engine ")
    assert f"cannot run attention 'a' with {what}; " in message


def test_the_remedy_is_the_machines_own_engine_or_the_kinds_that_can() -> None:
    assert said("instinfer", attention(page=16)).endswith("; gpu can: set mapping.run.attention")
    assert said("npu-mem", attention(page=16)).endswith("; engines of kind gpu or roofline can")


@pytest.mark.parametrize("field", ["v_head_dim", "v_dtype", "latent", "kv_role"])
def test_appends_are_refused_like_what_reads_them(field: str) -> None:
    what = next(what for what, change in CHANGES.items() if field in change)
    assert f"cannot run kv_append 'k' with {what}" in said("npu-mem", append(**CHANGES[what]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window": 16},
        {"window": 4096},
        {"v_head_dim": 128},
        {"v_dtype": "bf16"},
        {"stored_len": 16},
    ],
)
def test_fields_that_change_nothing_are_not_refused(changes: dict[str, Any]) -> None:
    for machine in ("pim-gpt", "npu-mem", "raspberry-pi-5-llamacpp"):
        for spec in load_machine(machine).engines.values():
            assert refusal(spec, attention(**changes)) is None


@pytest.mark.parametrize("machine", ["h200", "rtx-4090-host"])
def test_gpus_and_rooflines_refuse_nothing(machine: str) -> None:
    spec = load_machine(machine).engines["gpu"]
    for change in CHANGES.values():
        assert refusal(spec, attention(**change)) is None


@pytest.mark.parametrize(
    ("machine", "has_it"), [("pim-gpt", False), ("npu-mem", False), ("m2-ultra-llamacpp", False)]
)
def test_functions_that_an_engine_is_not_described_with(machine: str, has_it: bool) -> None:
    op = Elementwise(name="e", function="relu2", elements=8, num_inputs=1, dtype="bf16")
    assert "cannot run elementwise 'e' with function relu2; " in said(machine, op)
    plain = Elementwise(name="e", function="relu", elements=8, num_inputs=1, dtype="bf16")
    spec = load_machine(machine)
    assert choose_engine(spec, lowerings(spec), plain) == spec.mapping.run["default"]


def test_parts_of_a_fused_function_are_enough() -> None:
    spec = load_machine("npu-mem")
    op = Elementwise(name="e", function="gelu_mul", elements=8, num_inputs=2, dtype="bf16")
    assert choose_engine(spec, lowerings(spec), op) == "npu"


def test_formats_with_scales_do_not_lie_in_banks_or_pages() -> None:
    assert "with kv_dtype int8_g32, which has scales" in said(
        "instinfer", attention(kv_dtype="int8_g32")
    )


@pytest.mark.parametrize(
    "op",
    [
        Scan(
            name="s", recurrence="ssd", batch=1, q_len=1, heads=2, head_dim=4, state=4, dtype="bf16"
        ),
        Conv(name="c", batch=1, q_len=1, width=8, taps=4, dtype="bf16"),
        Fetch(name="f", size_bytes=8),
    ],
    ids=lambda op: op.kind,
)
def test_new_kinds_go_to_the_default_engine_if_it_can(op: Operator) -> None:
    spec = load_machine("attacc")
    assert choose_engine(spec, lowerings(spec), op) == spec.mapping.run["default"]
    message = said("npu-mem", op)
    assert message.endswith(
        f"cannot run {op.kind} {op.name!r}; engines of kind gpu or roofline can"
    )
