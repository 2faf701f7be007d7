"""Every operator of an iteration is in exactly one part, and what is in it is the whole one's."""

from __future__ import annotations

import pytest

from bankwidth.operators import Operator, Trace
from bankwidth.operators.passes import Group
from bankwidth.serving.pricing_parts import Parts, Served
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec

MODELS = ("llama-3-8b", "gpt2", "gemma-3-4b", "mamba-2.8b", "jamba-v0.1", "mixtral-8x7b", "phi-2")
LATENT = "deepseek-v2-lite"


def served(model: str, tensor: int = 1) -> Served:
    return Served(machine=load_machine("h200"), workload=load_workload(model), tensor=tensor)


def operators(trace: Trace | None) -> dict[tuple[str, str], Operator]:
    """By block and name, what they wait for aside."""
    if trace is None:
        return {}
    return {(block.name, op.name): op for block in trace.blocks for op in block.operators}


def sizes(found: dict[tuple[str, str], Operator]) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {name: (op.flops, op.read_bytes, op.write_bytes) for name, op in found.items()}


@pytest.mark.parametrize("model", [*MODELS, LATENT])
@pytest.mark.parametrize(
    "group",
    [
        Group(batch=7, q_len=1, kv_len=333, phase="decode"),
        Group(batch=1, q_len=33, kv_len=133, phase="prefill"),
    ],
    ids=["decode", "chunk"],
)
def test_parts_together_are_the_whole_pass(model: str, group: Group) -> None:
    parts = Parts(served(model))
    whole = sizes(operators(parts.served.trace((group,))))
    found = [
        sizes(operators(trace))
        for trace in (
            parts.tokens(group.tokens),
            parts.logits(group.batch),
            parts.sequences(group),
        )
    ]
    assert sum(map(len, found)) == len(whole)
    assert {name: size for part in found for name, size in part.items()} == whole


def test_attention_looks_at_sequences_and_the_head_at_logits() -> None:
    parts = Parts(served("llama-3-8b", tensor=2))
    names = {
        "tokens": operators(parts.tokens(9)),
        "logits": operators(parts.logits(5)),
        "sequences": operators(parts.sequences(Group(batch=5, q_len=1, kv_len=9, phase="decode"))),
    }
    kinds = {part: {op.kind for op in ops.values()} for part, ops in names.items()}
    assert kinds["sequences"] == {"attention"}
    assert kinds["logits"] == {"matmul", "collective"}
    assert {"matmul", "norm", "collective", "kv_append"} <= kinds["tokens"]


def test_without_logits_there_is_no_head() -> None:
    assert Parts(served("llama-3-8b")).logits(0) is None


def test_devices_are_those_of_the_technique_where_it_shares_the_model() -> None:
    ways = TechniquesSpec.model_validate({"parallel": {"tensor": 4}})
    sharing = Served(
        machine=load_machine("h200"),
        workload=load_workload("llama-3-8b"),
        options={"techniques": ways},
    )
    assert sharing.devices == 4
    assert served("llama-3-8b", tensor=2).devices == 2
    assert served("llama-3-8b").devices == 1
