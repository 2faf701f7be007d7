"""Weights in fewer bits: what is stored and read, by operator, and what a checkpoint says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators import Matmul, Trace, make_trace, packed_bytes
from bankwidth.operators.techniques.checkpoint import formats_of, with_own_formats
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec
from bankwidth.spec.techniques.weights import WeightQuantSpec

EVERYTHING = {"head", "embedding", "router"}


def quantised(name: str, *, context: int = 64, **options: Any) -> Trace:
    techniques = TechniquesSpec(weight_quant=WeightQuantSpec(**options))
    return make_trace(load_workload(name), context=context, techniques=techniques)


def formats(trace: Trace) -> dict[str, str]:
    return {
        op.name: op.weight_dtype
        for block in trace.blocks
        for op in block.operators
        if hasattr(op, "weight_dtype")
    }


@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-2b", "mixtral-8x7b", "deepseek-v3", "gpt2"])
@pytest.mark.parametrize("format_", ["int4_g128", "int3_g64z", "fp8", "bf16_2of4", "int8"])
def test_everything_in_a_format_is_the_model_in_that_format(name: str, format_: str) -> None:
    """By another way: shapes of tensors, and their format from the start."""
    plain = make_trace(load_workload(name), context=64, weight_dtype=format_)
    everything: dict[str, Any] = dict.fromkeys(EVERYTHING, format_)
    found = quantised(name, format=format_, **everything)
    assert found.weight_bytes == plain.weight_bytes
    assert found.read_bytes == plain.read_bytes
    assert found.dtypes["weight"] == format_


def test_head_table_and_router_stay_as_they_are() -> None:
    found = formats(quantised("mixtral-8x7b"))
    kept = {name for name, format_ in found.items() if format_ == "bf16"}
    assert kept == {"embed", "router", "lm_head"}
    plain = make_trace(load_workload("mixtral-8x7b"), context=64)
    table = 32000 * 4096
    router = 32 * 8 * 4096
    norms = 65 * 4096
    layers = int(str(plain.meta["parameters"])) - 2 * table - router - norms
    expected = packed_bytes(layers, "int4_g128") + 2 * (2 * table + router + norms)
    assert quantised("mixtral-8x7b").weight_bytes == expected


def test_a_tied_table_is_what_the_head_is() -> None:
    """One tensor has one format: that of the head."""
    found = formats(quantised("gemma-2b", head="int8", embedding="int4"))
    assert (found["embed"], found["lm_head"]) == ("int8", "int8")


def test_operators_and_layers_by_name() -> None:
    trace = quantised("llama-3-8b", modules={"down": "int8", "0.q*": "fp8", "o": "keep"},
                      keep_layers=[31])  # fmt: skip
    assert [(b.operators[0].layer, b.repeat) for b in trace.blocks[1:-1]] == [
        (0, 1),
        (1, 30),
        (31, 1),
    ]
    found = [
        {op.name: op.weight_dtype for op in block.operators if isinstance(op, Matmul)}
        for block in trace.blocks[1:-1]
    ]
    plain = {"qkv": "int4_g128", "o": "bf16", "gate_up": "int4_g128", "down": "int8"}
    assert found == [plain | {"qkv": "fp8"}, plain, dict.fromkeys(plain, "bf16")]


def test_products_in_fewer_bits_leave_plain_results() -> None:
    trace = quantised("llama-3-8b", format="fp8", activations="fp8")
    ops: dict[str, Any] = {op.name: op for op in trace.operators()}
    assert (ops["qkv"].dtype, ops["qkv"].out_dtype, ops["qkv"].weight_dtype) == (
        "fp8",
        "bf16",
        "fp8",
    )
    assert (ops["lm_head"].dtype, ops["norm1"].dtype) == ("bf16", "bf16")


def test_weights_without_loss_are_unpacked_before_their_layer() -> None:
    """11 bits stored; a buffer takes a layer in 16 bits; products read that."""
    plain = make_trace(load_workload("llama-3-8b"), context=64)
    trace = quantised("llama-3-8b", format="dfloat11")
    layer = trace.blocks[1].operators
    assert [op.name for op in layer[:4]] == [
        "qkv.unpack",
        "o.unpack",
        "gate_up.unpack",
        "down.unpack",
    ]
    elements = 4096 * (6144 + 4096 + 28672 + 14336)
    assert plain.weight_bytes - trace.weight_bytes == 32 * (elements * 5 // 8)
    assert trace.activation_bytes - plain.activation_bytes == pytest.approx(2 * elements, rel=0.001)
    assert trace.flops == plain.flops + 32 * 2 * elements
    fused = quantised("llama-3-8b", format="dfloat11", unpack="fused")
    assert fused.weight_bytes == trace.weight_bytes
    assert fused.num_steps == plain.num_steps


@given(st.integers(1, 8), st.sampled_from([32, 64, 128, 256]), st.booleans())
def test_fewer_bits_and_larger_groups_are_never_more(bits: int, group: int, zero: bool) -> None:
    name = f"int{bits}_g{group}{'z' if zero else ''}"
    here = quantised("llama-3.2-1b", format=name)
    if bits < 8:
        wider = quantised("llama-3.2-1b", format=name.replace(f"int{bits}", f"int{bits + 1}"))
        assert here.weight_bytes < wider.weight_bytes
        assert here.read_bytes < wider.read_bytes
    sparse = quantised("llama-3.2-1b", format=f"int{bits}_2of4_g{group}") if bits > 4 else here
    assert sparse.weight_bytes <= here.weight_bytes
    coarser = quantised("llama-3.2-1b", format=name.replace(f"g{group}", f"g{2 * group}"))
    assert coarser.weight_bytes <= here.weight_bytes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "int9"}, "weight_quant: format: unknown dtype 'int9'"),
        ({"head": "bf61"}, "weight_quant: head: unknown dtype 'bf61', did you mean 'bf16'"),
        (
            {"modules": {"up": "int8"}},
            r"modules: 'up' is no operator of llama-3-8b \(known: down, ",
        ),
        ({"keep_layers": [32]}, "32 is no layer, llama-3-8b has 0 to 31"),
    ],
)
def test_what_is_not_known_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        quantised("llama-3-8b", **options)


def test_it_goes_with_shares_and_a_packed_cache() -> None:
    """Either way round: a share of the packed is the packed share."""
    both = {"weight_quant": {"format": "int4_g128"}, "kv_quant": {}, "parallel": {"tensor": 4}}
    trace = make_trace(
        load_workload("llama-3-70b"), context=4096, techniques=TechniquesSpec.model_validate(both)
    )
    alone = quantised("llama-3-70b", context=4096)
    assert alone.weight_bytes < 4 * trace.weight_bytes < 1.001 * alone.weight_bytes
    assert 4 * trace.kv_bytes < 0.2 * alone.kv_bytes


# ---- what a checkpoint says

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}
CHECKPOINTS = [
    (GPTQ, "int4_g128"),
    ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4_g128"),
    (GPTQ | {"group_size": -1}, "int4"),
    (GPTQ | {"bits": 3, "sym": False}, "int3_g128z"),
    ({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}, "int4_g64z"),
    ({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}, "fp8_b128"),
    ({"quant_method": "fp8", "fmt": "e4m3"}, "fp8"),
    ({"quant_method": "mxfp4"}, "mxfp4"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4_g64"),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
    ({"quant_method": "compressed-tensors",
      "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}}}, "fp8"),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {
      "num_bits": 4, "type": "int", "group_size": 128, "symmetric": True}}}}, "int4_g128"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "format_"), CHECKPOINTS)
def test_a_checkpoint_says_its_format(given: dict[str, Any], format_: str) -> None:
    found = formats_of({"quantization_config": given})
    assert found is not None
    assert found.format == format_


def test_modules_that_a_checkpoint_leaves_out_are_kept() -> None:
    names = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head", "vision_tower",
             "model.layers.0", "model.layers.3.mlp.down_proj"]  # fmt: skip
    found = formats_of({"quantization_config": GPTQ | {"modules_to_not_convert": names}})
    assert found is not None
    assert found.keep_layers == [0]
    assert {"qkv", "o", "router", "lm_head", "3.down"} <= set(found.modules)
    trace = quantised("llama-3-8b", **found.model_dump(exclude={"source"}))
    kept = {name for name, format_ in formats(trace).items() if format_ == "bf16"}
    assert {"embed", "lm_head", "qkv", "o"} <= kept


def test_what_is_given_goes_before_what_the_checkpoint_says() -> None:
    own = {"quantization_config": GPTQ}
    given = TechniquesSpec(weight_quant=WeightQuantSpec(format="int8"))
    assert with_own_formats(own, given) is given
    assert with_own_formats({}, None) is None
    found = with_own_formats(own, TechniquesSpec())
    assert found is not None
    assert found.weight_quant is not None
    assert found.weight_quant.format == "int4_g128"


def test_a_method_that_is_not_known_is_named() -> None:
    with pytest.raises(
        SpecError, match=r"unknown quant_method 'vptq' \(known: awq, .* say the format"
    ):
        formats_of({"quantization_config": {"quant_method": "vptq"}})
    with pytest.raises(SpecError, match="quantization_config: bits is missing"):
        formats_of({"quantization_config": {"quant_method": "gptq"}})


@pytest.mark.slow
def test_a_quarter_of_the_bits_is_nearly_a_quarter_of_the_time() -> None:
    """The layers' products of a decode step on a GPU; head and table are in 16 bits."""
    machine = load_machine("h100")
    packed, plain = (
        simulate(machine, trace).latency_ns
        for trace in (quantised("llama-3-8b"), make_trace(load_workload("llama-3-8b"), context=64))
    )
    assert 1.8 < plain / packed < 4
    lossless = simulate(machine, quantised("llama-3-8b", format="dfloat11")).latency_ns
    assert 1.3 < lossless / plain < 3  # unpacking a layer takes longer than reading it
