"""Which experts tokens take: by a law, or as they were recorded."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError, TraceError
from bankwidth.operators import Moe, Trace, make_trace
from bankwidth.operators.routing import expert_loads
from bankwidth.operators.techniques.moe_routing import read_routing
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec


def routed(batch: int = 16, name: str = "mixtral-8x7b", **options: Any) -> Trace:
    others = options.pop("others", {})
    techniques = TechniquesSpec.model_validate({"moe_routing": options} | others)
    return make_trace(load_workload(name), context=64, batch=batch, techniques=techniques)


def moes(trace: Trace) -> list[Moe]:
    return [op for op in trace.operators() if isinstance(op, Moe)]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Layer 0 takes experts 0 and 1 only, all other layers each of the 8 as often."""
    rows = [f"0,{step},0 1" for step in range(4)]
    rows += [
        f"{layer},{step},{2 * step} {2 * step + 1}" for layer in range(1, 32) for step in range(4)
    ]
    path = tmp_path / "routing.csv"
    path.write_text("layer,step,experts\n" + "\n".join(rows) + "\n")
    return path


def test_a_law_spreads_tokens_less_evenly_than_balance() -> None:
    even, law = routed(), routed(distribution="zipf_1.5")
    assert {op.routing for op in moes(law)} == {"zipf_1.5"}
    assert max(moes(law)[0].loads) > max(moes(even)[0].loads)
    assert sum(moes(law)[0].loads) == sum(moes(even)[0].loads) == 32


def test_recorded_experts_are_those_of_each_layer(recorded: Path) -> None:
    trace = routed(file=str(recorded))
    found = moes(trace)
    assert found[0].loads == (16, 16, 0, 0, 0, 0, 0, 0)
    assert found[1].loads == found[31].loads == (4,) * 8
    assert len(found) == 32
    assert trace.weight_bytes == routed().weight_bytes


def test_a_gzipped_record_of_tokens_is_read_too(recorded: Path, tmp_path: Path) -> None:
    text = recorded.read_text().replace("step", "token").replace("layer,", "Layer,")
    path = tmp_path / "routing.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert read_routing(str(path)).counts(0, 8) == (4, 4, 0, 0, 0, 0, 0, 0)


@given(
    st.sampled_from([4, 16, 64]), st.integers(1, 200), st.floats(0.1, 3), st.sampled_from([1, 2])
)
def test_no_choice_is_lost_and_no_token_chooses_twice(
    experts: int, tokens: int, alpha: float, topk: int
) -> None:
    counts = "counts_" + "_".join(str(n * n) for n in range(experts))
    for routing in (f"zipf_{alpha:.3f}", "zipf", counts):
        loads = expert_loads(tokens, experts, topk, 1, routing)
        assert sum(loads) == tokens * topk
        assert max(loads) <= tokens


@given(st.integers(2, 100), st.floats(0.2, 1.5))
def test_a_steeper_law_has_a_fuller_expert(tokens: int, alpha: float) -> None:
    flat, steep = (max(expert_loads(tokens, 16, 2, 1, f"zipf_{a:.3f}")) for a in (alpha, alpha + 1))
    assert flat <= steep


def test_it_goes_with_packed_weights_and_shared_experts() -> None:
    others = {"weight_quant": {"format": "int4_g128"}, "parallel": {"expert": 4}}
    found = moes(routed(distribution="zipf_1.2", others=others))[0]
    assert (found.weight_dtype, found.moe_ep, found.routing) == ("int4_g128", 4, "zipf_1.2")
    assert sum(found.loads) > 16 * 2 / 4  # the device with the most


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layer,step\n0,0\n", r"routing.csv:1: column experts is missing"),
        ("layer,experts\n0,0\n", r":1: column step \(or token\) is missing"),
        ("layer,step,experts\n", "no rows"),
        ("layer,step,experts\n0,0,1 1\n", r":2: experts must be different numbers, got '1 1'"),
        ("layer,step,experts\n0,0,1 2\n0,x,1 2\n", r":3: a whole number of at least 0 .* got 'x'"),
        ("layer,step,experts\n0,0\n", r":2: 2 cells, the header has more"),
        ("layer,step,experts\n0,0,1 2\n", "no rows of layer 1, which has experts: 0"),
        ("layer,step,experts\n0,0,1 8\n", "expert 8 in layer 0, the model has 0 to 7"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "routing.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=said):
        routed(file=str(path))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(SpecError, match="moe_routing: llama-3-8b has no experts"):
        routed(name="llama-3-8b")
    with pytest.raises(SpecError, match=r"moe_routing: routing must be balanced or .* got 'even'"):
        routed(distribution="even")


@pytest.mark.slow
def test_a_skewed_step_reads_fewer_experts() -> None:
    """Of 60 experts 16 tokens take 4 each: by a steep law many take the same."""
    machine = load_machine("h100")
    even, steep = (
        simulate(machine, routed(8, "qwen1.5-moe-a2.7b", distribution=law)).latency_ns
        for law in ("balanced", "zipf_2.0")
    )
    assert steep < even
