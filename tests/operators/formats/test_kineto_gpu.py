"""Kineto files of a GPU, written by the test: kernels, graphs, collectives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators import (
    Attention,
    Collective,
    Elementwise,
    KvAppend,
    Matmul,
    Norm,
    Rope,
    Trace,
)
from bankwidth.operators.formats import Imported, import_trace

from .kineto_writer import BF16, Writer, decode_step, decoder_layer, matmul

LAYER_US = {
    "norm": 2, "matmul": 5, "rope": 1, "kv_append": 1, "attention": 7, "matmul.1": 4, "add": 0,
    "norm.1": 2, "matmul.2": 6, "silu_mul": 1, "matmul.3": 5, "add.1": 2,
}  # fmt: skip


def step_file(made: Writer, path: Path) -> Path:
    with made.range("ProfilerStep#3"):
        decode_step(made)
    return made.save(path)


def times_us(result: Imported, name: str) -> list[float]:
    return [m.measured_ns / 1000 for m in result.measured if m.operator.endswith(f"].{name}")]


def kinds(trace: Trace) -> list[str]:
    return [op.kind for op in trace.operators()]


def test_a_layer_of_vllm(tmp_path: Path) -> None:
    trace = import_trace(step_file(Writer(), tmp_path / "t.json")).trace
    assert [(block.name, block.repeat) for block in trace.blocks] == [
        ("embed", 1), ("layers 0-2", 3), ("head", 1),
    ]  # fmt: skip
    layer = {type(op): op for op in reversed(trace.blocks[1].operators)}
    attention = layer[Attention]
    assert isinstance(attention, Attention)
    sizes = (attention.batch, attention.q_len, attention.kv_len, attention.phase)
    assert sizes == (2, 1, 33, "decode")
    assert (attention.n_heads, attention.n_kv_heads, attention.head_dim) == (4, 2, 16)
    rope, append = layer[Rope], layer[KvAppend]
    assert isinstance(rope, Rope)
    assert isinstance(append, KvAppend)
    assert (rope.tokens, rope.heads, rope.head_dim) == (2, 6, 16)
    assert (append.tokens, append.kv_heads, append.head_dim) == (2, 2, 16)
    products = [op for op in trace.blocks[1].operators if isinstance(op, Matmul)]
    assert [(op.m, op.n, op.k) for op in products] == [
        (2, 128, 64), (2, 64, 64), (2, 192, 64), (2, 64, 96),
    ]  # fmt: skip
    assert (trace.phase, trace.batch, trace.context) == ("decode", 2, 33)
    assert trace.meta["device"] == "NVIDIA H100"
    assert trace.kv_bytes == 3 * 2 * 33 * 2 * (2 * 16) * 2


@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("runtime", [True, False])
def test_kernels_are_joined_by_either_of_their_numbers(
    external: bool, runtime: bool, tmp_path: Path
) -> None:
    made = Writer(external=external, runtime=runtime)
    path = step_file(made, tmp_path / "t.json.gz")
    if not external and not runtime:
        with pytest.raises(TraceError, match=r"kernel gemm x1\d, of no operator"):
            import_trace(path)
        return
    result = import_trace(path)
    for name, time_us in LAYER_US.items():
        # The add of a fused add and norm has no kernel of its own.
        layers = times_us(result, name)[:3] if name != "add.1" else times_us(result, name)[:2]
        assert layers == [time_us if "add" not in name else 0.0] * len(layers), name
    kernels = [m.kernels for m in result.measured if m.operator == "layers 0-2[1].matmul"]
    assert kernels == [("gemm",)]


def test_kernels_of_other_steps_do_not_count(tmp_path: Path) -> None:
    made = Writer()
    for number in (7, 8):
        with made.range(f"ProfilerStep#{number}"):
            decode_step(made, slower=number)
    path = made.save(tmp_path / "t.json")
    for step in (7, 8):
        assert times_us(import_trace(path, step=step), "attention") == [7 + step] * 3


def test_a_kernel_of_an_operator_that_is_left_out_while_reading(tmp_path: Path) -> None:
    """Its External id is not known; the launch lies within a known operator."""
    made = Writer()
    with made.within("aten::linear", [[4, 8], [16, 8], []], [BF16, BF16, ""]):
        with made.within("aten::reshape", [[4, 8], []], [BF16, "ScalarList"]) as view:
            made.launch("hidden_copy", 3.0, view)
        made.op("aten::mm", [[4, 8], [8, 16]], kernels=[("gemm", 4.0)])
    result = import_trace(made.save(tmp_path / "t.json"))
    assert [(m.measured_ns, m.kernels) for m in result.measured] == [
        (7000, ("hidden_copy", "gemm"))
    ]


def test_kernels_without_operators_are_not_left_out_silently(tmp_path: Path) -> None:
    made = Writer()
    matmul(made, 4, 16, 8, 3.0)
    made.launch("triton_fused_7", 5.0)
    path = made.save(tmp_path / "t.json")
    with pytest.raises(TraceError, match="kernel triton_fused_7 x1, of no operator"):
        import_trace(path)
    assert import_trace(path, partial=True).trace.meta["partial"] is True


def test_copies_between_host_and_device_are_no_operators(tmp_path: Path) -> None:
    made = Writer()
    matmul(made, 4, 16, 8, 3.0)
    made.launch("Memcpy HtoD (Pinned -> Device)", 5.0)
    result = import_trace(made.save(tmp_path / "t.json"))
    assert "partial" not in result.trace.meta
    assert "1 copies between host and device (5 us) are no operators" in result.lost


def test_only_kernels_ask_for_operators(tmp_path: Path) -> None:
    made = Writer()
    made.launch("gemm", 5.0)
    with pytest.raises(TraceError, match=r":\d+: 1 kernels but no operators.*ProfilerActivity.CPU"):
        import_trace(made.save(tmp_path / "t.json"))


def test_on_a_gpu_operators_without_kernels_did_nothing(tmp_path: Path) -> None:
    made = Writer()
    matmul(made, 4, 16, 8, 3.0)
    made.op("aten::secret_question", [[4, 16]])
    assert import_trace(made.save(tmp_path / "t.json")).trace.num_steps == 1


def graph_file(path: Path, *, captured: bool = True, kernels: int | None = None) -> Path:
    made = Writer()
    with made.range("ProfilerStep#1"), made.capture() as names:
        decode_step(made)
    if not captured:
        made.events.clear()
    with made.range("ProfilerStep#2"):
        made.replay(names[:kernels], 3.0)
    return made.save(path)


def test_kernels_of_a_graph_are_joined_to_its_capture_by_order(tmp_path: Path) -> None:
    result = import_trace(graph_file(tmp_path / "t.json"))
    assert any("33 kernels of a CUDA graph were joined" in sentence for sentence in result.lost)
    assert "partial" not in result.trace.meta
    # The first kernel took 3 us and each one after it 1 us more; a layer launches ten.
    assert times_us(result, "attention") == [3 + 1 + 4 + 10 * layer for layer in range(3)]
    assert (
        result.trace.blocks == import_trace(step_file(Writer(), tmp_path / "u.json")).trace.blocks
    )
    assert all(m.kernels == ("flash",) for m in result.measured if "attention" in m.operator)


def test_a_graph_without_its_capture_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = graph_file(tmp_path / "t.json", captured=False)
    with pytest.raises(
        TraceError, match=r"33 kernels .* ran from CUDA graphs .*enforce_eager=True"
    ):
        import_trace(path)


def test_a_graph_that_is_not_the_one_captured_is_not_joined(tmp_path: Path) -> None:
    path = graph_file(tmp_path / "t.json", kernels=30)
    with pytest.raises(TraceError, match="CUDA graphs that no capture in the file explains"):
        import_trace(path)


def comms(made: Writer, name: str, elements: tuple[int, int], dtype: str = "BFloat16") -> None:
    message: dict[str, Any] = {"Collective name": name, "dtype": dtype, "Group size": 4}
    message |= {"In msg nelems": elements[0], "Out msg nelems": elements[1]}
    kernels = [("ncclDevKernel", 9.0)]
    with made.within("c10d::collective_", [[[64]], []], ["TensorList", ""]):
        made.op("record_param_comms", [[[64]]], ["TensorList"], kernels=kernels, **message)


def test_collectives_have_their_bytes_and_their_ways(tmp_path: Path) -> None:
    made = Writer()
    comms(made, "allreduce", (640, 640))
    comms(made, "_allgather_base", (160, 640), "Float")
    comms(made, "_reduce_scatter_base", (640, 160), "Half")
    comms(made, "all_to_allv", (320, 320))
    comms(made, "send", (100, 100), "Float8_e4m3fn")
    comms(made, "barrier", (0, 0))
    result = import_trace(made.save(tmp_path / "t.json"))
    found = [op for op in result.trace.operators() if isinstance(op, Collective)]
    assert [(op.function, op.size_bytes, op.ways, op.dtype) for op in found] == [
        ("all_reduce", 1280, 4, "bf16"),
        ("all_gather", 2560, 4, "fp32"),
        ("reduce_scatter", 1280, 4, "fp16"),
        ("all_to_all", 640, 4, "bf16"),
        ("send_recv", 100, 2, "fp8"),
    ]
    assert len(result.trace.blocks[0].operators) == 5
    assert times_us(result, "all_gather") == [9.0]


def test_a_collective_of_another_kind_is_not_understood(tmp_path: Path) -> None:
    made = Writer()
    matmul(made, 4, 16, 8, 3.0)
    comms(made, "broadcast", (640, 640))
    with pytest.raises(TraceError, match="record_param_comms x1"):
        import_trace(made.save(tmp_path / "t.json"))


def attention_call(made: Writer, name: str, dims: list[Any], values: dict[int, str]) -> None:
    texts = [values.get(index, "") for index in range(len(dims))]
    made.op(name, dims, kernels=[("flash", 5.0)], values=texts)


@pytest.mark.parametrize(
    ("name", "dims", "values", "causal"),
    [
        ("aten::scaled_dot_product_attention", [[], [], [], [], []], {5: "True"}, True),
        ("aten::scaled_dot_product_attention", [[], [], [], [], []], {5: "False"}, False),
        ("aten::_scaled_dot_product_flash_attention", [[], [], []], {4: "True"}, True),
        ("aten::_scaled_dot_product_efficient_attention", [[], [], [], []], {6: "True"}, True),
        ("aten::_scaled_dot_product_cudnn_attention", [[], [], [], []], {6: "False"}, False),
    ],
)
def test_attention_by_its_many_names(
    name: str, dims: list[Any], values: dict[int, str], causal: bool, tmp_path: Path
) -> None:
    q, kv = [2, 8, 10, 64], [2, 4, 10, 64]
    made = Writer()
    attention_call(made, name, [q, kv, kv, *dims], values)
    (op,) = import_trace(made.save(tmp_path / "t.json")).trace.operators()
    assert isinstance(op, Attention)
    assert (op.batch, op.q_len, op.kv_len, op.n_heads, op.n_kv_heads) == (2, 10, 10, 8, 4)
    assert op.causal is causal
    assert op.phase == "prefill"


def test_a_mask_makes_every_score_count(tmp_path: Path) -> None:
    made = Writer()
    q, mask = [2, 8, 10, 64], [2, 1, 10, 10]
    attention_call(
        made, "aten::scaled_dot_product_attention", [q, q, q, mask, [], []], {5: "False"}
    )
    result = import_trace(made.save(tmp_path / "t.json"))
    (op,) = result.trace.operators()
    assert isinstance(op, Attention)
    assert op.pairs == 100
    assert any("1 attentions have a mask" in sentence for sentence in result.lost)


def test_packed_sequences_of_unequal_length_are_not_understood(tmp_path: Path) -> None:
    made = Writer()
    decoder_layer(made, 2, 33, batch=2)
    for event in made.events:
        if event["name"].startswith("flash_attn"):
            event["args"]["Concrete Inputs"][5] = "2"  # two tokens at most, of two in all
    with pytest.raises(TraceError, match="flash_attn::_flash_attn_varlen_forward x1"):
        import_trace(made.save(tmp_path / "t.json"))


def eager_norm(made: Writer, rows: int, width: int, dtype: str, *, weight: bool = True) -> None:
    """Llama's, as in transformers: in fp32, cast back, times the weight."""
    x, one, cast = [rows, width], [rows, 1], dtype != "float"
    if cast:
        made.op("aten::_to_copy", [x, []], [dtype, "Scalar"], kernels=[("cast", 1)])
    made.op("aten::pow", [x, []], ["float", "Scalar"], kernels=[("pow", 1)])
    made.op("aten::mean", [x, [], []], ["float", "ScalarList", "Scalar"], kernels=[("mean", 1)])
    made.op("aten::add", [one, [], []], ["float", "double", "Scalar"], kernels=[("add", 1)])
    made.op("aten::rsqrt", [one], ["float"], kernels=[("rsqrt", 1)])
    made.op("aten::mul", [x, one], ["float", "float"], kernels=[("mul", 1)])
    if cast:
        made.op("aten::_to_copy", [x, []], ["float", "Scalar"], kernels=[("cast", 1)])
    if weight:
        made.op("aten::mul", [[width], x], [dtype, dtype], kernels=[("mul", 1)])


@pytest.mark.parametrize("dtype", [BF16, "float"])
@pytest.mark.parametrize("weight", [True, False])
def test_an_eager_norm_is_one_operator(dtype: str, weight: bool, tmp_path: Path) -> None:
    made = Writer()
    eager_norm(made, 6, 64, dtype, weight=weight)
    matmul(made, 6, 128, 64, 3.0)
    result = import_trace(made.save(tmp_path / "t.json"))
    norm, product = result.trace.operators()
    assert isinstance(norm, Norm)
    assert isinstance(product, Matmul)
    expected = "bf16" if dtype == BF16 else "fp32"
    assert (norm.rows, norm.width, norm.style, norm.dtype) == (6, 64, "rms", expected)
    calls = 5 + 2 * (dtype == BF16) + weight
    assert times_us(result, "norm") == [calls]


def test_what_only_resembles_a_norm_is_not_taken_for_one(tmp_path: Path) -> None:
    made = Writer()
    eager_norm(made, 6, 64, "float")
    mean = next(event for event in made.events if event["name"] == "aten::mean")
    mean["args"]["Input Dims"] = [[6, 32], [], []]
    matmul(made, 6, 128, 64, 3.0)
    result = import_trace(made.save(tmp_path / "t.json"), partial=True)
    assert "norm" not in kinds(result.trace)


@pytest.mark.parametrize("heads_first", [True, False])
@pytest.mark.parametrize("tokens", [1, 5])
def test_rotary_positions_of_queries_and_keys(
    heads_first: bool, tokens: int, tmp_path: Path
) -> None:
    made = Writer()
    for heads in (8, 2):
        x = [3, heads, tokens, 16] if heads_first else [3, tokens, heads, 16]
        turn = [3, 1, tokens, 16] if heads_first else [tokens, 1, 16]
        half = [*x[:-1], 8]
        made.op("aten::mul", [x, turn], kernels=[("mul", 1)])
        made.op("aten::neg", [half], kernels=[("neg", 1)])
        made.op("aten::cat", [[half, half], []], ["TensorList", "Scalar"], kernels=[("cat", 1)])
        made.op("aten::mul", [x, turn], kernels=[("mul", 1)])
        made.op("aten::add", [x, x, []], kernels=[("add", 1)])
    result = import_trace(made.save(tmp_path / "t.json"))
    (op,) = result.trace.operators()
    assert isinstance(op, Rope)
    assert (op.tokens, op.heads, op.head_dim, op.dtype) == (3 * tokens, 10, 16, "bf16")
    assert times_us(result, "rope") == [10]


def test_rotary_positions_of_other_tokens_stay_apart(tmp_path: Path) -> None:
    made = Writer()
    for tokens in (5, 4):
        x, turn, half = [3, tokens, 2, 16], [tokens, 1, 16], [3, tokens, 2, 8]
        made.op("aten::mul", [x, turn])
        made.op("aten::neg", [half])
        made.op("aten::cat", [[half, half], []], ["TensorList", "Scalar"])
        made.op("aten::mul", [x, turn])
        made.op("aten::add", [x, x, []])
    ropes = list(import_trace(made.save(tmp_path / "t.json")).trace.operators())
    assert [(op.tokens, op.heads) for op in ropes if isinstance(op, Rope)] == [(15, 2), (12, 2)]


def test_writes_of_other_heads_than_the_attention_has_are_none_to_its_cache(tmp_path: Path) -> None:
    made = Writer()
    for _ in range(2):
        made.op("aten::copy_", [[3, 1, 3, 16], [3, 1, 3, 16], []], kernels=[("copy", 1)])
    q, kv = [3, 8, 1, 16], [3, 2, 9, 16]
    attention_call(made, "aten::scaled_dot_product_attention", [q, kv, kv], {})
    trace = import_trace(made.save(tmp_path / "t.json")).trace
    assert "kv_append" not in kinds(trace)


@pytest.mark.parametrize("between", [True, False])
def test_a_gate_and_its_product_are_one_function(between: bool, tmp_path: Path) -> None:
    made = Writer()
    made.op("aten::silu", [[6, 96]], kernels=[("silu", 2)])
    if between:
        matmul(made, 6, 96, 64, 3.0)
    made.op("aten::mul", [[6, 96], [6, 96]], kernels=[("mul", 5)])
    result = import_trace(made.save(tmp_path / "t.json"))
    *_, gate = result.trace.operators()
    assert isinstance(gate, Elementwise)
    assert (gate.function, gate.num_inputs, gate.elements) == ("silu_mul", 2, 6 * 96)
    assert times_us(result, "silu_mul") == [7]


def test_a_growing_cache_and_keys_copied_for_every_head(tmp_path: Path) -> None:
    """As transformers does: cat to the cache, then every KV head twice."""
    made = Writer()
    for _ in range(2):
        parts = [[3, 2, 8, 16], [3, 2, 1, 16]]
        made.op("aten::cat", [parts, []], ["TensorList", "Scalar"], kernels=[("cat", 1)])
    for _ in range(2):
        made.op("aten::clone", [[3, 2, 4, 9, 16], []], kernels=[("copy", 2)])
    q, kv = [3, 8, 1, 16], [3, 8, 9, 16]
    attention_call(
        made, "aten::scaled_dot_product_attention", [q, kv, kv, [], [], []], {5: "False"}
    )
    result = import_trace(made.save(tmp_path / "t.json"))
    append, attention = result.trace.operators()
    assert isinstance(append, KvAppend)
    assert isinstance(attention, Attention)
    assert (append.tokens, append.kv_heads, append.head_dim) == (3, 2, 16)
    assert (attention.n_heads, attention.n_kv_heads, attention.kv_len) == (8, 2, 9)
    assert (times_us(result, "kv_append"), times_us(result, "attention")) == ([2], [9])
    (sentence,) = [text for text in result.lost if "sequences of small calls" in text]
    assert re.search("1 attentions with keys and values copied for every query head", sentence)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    layers=st.integers(1, 6),
    tokens=st.integers(1, 4),
    kv_len=st.integers(4, 99),
    external=st.booleans(),
)
def test_nothing_is_lost_or_counted_twice(
    layers: int, tokens: int, kv_len: int, external: bool, tmp_path: Path
) -> None:
    made = Writer(external=external)
    with made.range("ProfilerStep#0"):
        decode_step(made, layers, tokens, kv_len)
    result = import_trace(made.save(tmp_path / "t.json"))
    recorded_us = sum(e["dur"] for e in made.events if e["cat"] == "kernel")
    assert sum(m.measured_ns for m in result.measured) == pytest.approx(recorded_us * 1000)
    assert len(result.measured) == result.trace.num_steps == 2 + 12 * layers + 2
    products = [e for e in made.events if e["name"] == "aten::mm"]
    flops = sum(2 * a[0] * a[1] * b[1] for a, b in (e["args"]["Input Dims"] for e in products))
    assert sum(op.flops for op in result.trace.operators() if isinstance(op, Matmul)) == flops
