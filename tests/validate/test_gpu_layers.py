"""Layers as sums of measured operators; operators take 1 ns for each FLOP here."""

from __future__ import annotations

import pytest

from bankwidth.errors import TraceError
from bankwidth.validate.gpu_layers import LAYER, DecodeLayers, evaluate_layers, step_of
from bankwidth.validate.gpu_tables import Key, Part, Reader

from .conftest import Write

MODEL = "Llama-2-70b-hf"
pytestmark = pytest.mark.usefixtures("one_ns_per_flop")


def silent(_: int) -> None:
    """No progress."""


GEMM = "device,model,operator,tp,m,n,k,dtype,latency_us\n"
VECTOR = "device,model,operator,tp,tokens,width,n_head,n_kv_head,head_dim,dtype,latency_us\n"
ATTENTION = (
    "device,operator,tp,batch,q_len,kv_cache_len,n_heads_total,n_kv_heads_total,head_dim,dtype,"
    "latency_us\n"
)
PROJECTIONS = [name for name in LAYER if name.endswith("_proj")]
VECTORS = [name for name in LAYER if not name.endswith("_proj")]


def layers(write: Write, gemms: str, vectors: str, attention: str) -> list[Part]:
    found = DecodeLayers()
    texts = {
        "gemm.csv": GEMM + gemms,
        "vector.csv": VECTOR + vectors,
        "a.csv": ATTENTION + attention,
    }
    for name, text in texts.items():
        path = write(f"vidur/{name}", text)
        found.take(Reader().evaluate(path, silent).rows, path)
    return found.parts()


def gemms(tokens: int = 8, *, tp: int = 2, latency: str = "10") -> str:
    return "".join(f"a100,{MODEL},{op},{tp},{tokens},2,2,fp16,{latency}\n" for op in PROJECTIONS)


def vectors(tokens: int = 8, *, tp: int = 2) -> str:
    return "".join(f"a100,{MODEL},{op},{tp},{tokens},2,64,8,128,fp16,1\n" for op in VECTORS)


def test_a_layer_is_its_operators_and_attention(write: Write) -> None:
    attention = "a100,attention_decode,2,8,1,99,64,8,128,fp16,100\n"
    (part,) = layers(write, gemms(), vectors(), attention)
    assert part.key == Key("decode layer", "a100", "vidur")
    # four projections of 10 us, two norms, rope, activation, two adds of 1 us, attention of 100
    assert part.measured_s.tolist() == pytest.approx([(40 + 6 + 100) * 1e-6])
    projections_flop = 4 * 2 * 8 * 2 * 2
    norms_flop, act_flop, adds_flop = 2 * 4 * 16, 5 * 16, 2 * 16
    rope_flop = 3 * 8 * 36 * 128
    attention_flop = 4 * 128 * 8 * 32 * 100
    flop = projections_flop + norms_flop + act_flop + adds_flop + rope_flop + attention_flop
    assert part.ours_s.tolist() == pytest.approx([flop * 1e-9])
    (point,) = part.points
    assert point.shape == "Llama-2-70b-hf batch=8 kv_len=100 tp=2"
    assert (point.table, point.line) == ("vidur/a.csv", 2)


def test_repeated_measurements_count_by_their_median(write: Write) -> None:
    attention = "a100,attention_decode,2,8,1,99,64,8,128,fp16,100\n"
    repeated = gemms() + gemms(latency="12") + gemms(latency="900")
    (part,) = layers(write, repeated, vectors(), attention)
    assert part.measured_s.tolist() == pytest.approx([(48 + 6 + 100) * 1e-6])


@pytest.mark.parametrize(
    "attention",
    [
        "a100,attention_decode,2,16,1,99,64,8,128,fp16,100\n",  # no operators at this batch
        "a100,attention_decode,4,8,1,99,64,8,128,fp16,100\n",  # nor on four GPUs
        "a100,attention_decode,2,8,1,99,32,8,128,fp16,100\n",  # other heads
        "a100,attention_prefill,2,8,1,99,64,8,128,fp16,100\n",
    ],
)
def test_operators_of_different_layers_are_not_added(attention: str, write: Write) -> None:
    assert layers(write, gemms(), vectors(), attention) == []


def test_a_layer_needs_all_its_operators(write: Write) -> None:
    attention = "a100,attention_decode,2,8,1,99,64,8,128,fp16,100\n"
    without_one = gemms().replace("mlp_down_proj", "mlp_up_proj")
    assert layers(write, without_one, vectors(), attention) == []


# ---- a capture of a trace

CAPTURE = "device,operator,m,n,k,dtype,latency_us,name,count\n"


def step(write: Write, rows: str) -> list[Part]:
    path = write("h200/decode.csv", CAPTURE + rows)
    return step_of(Reader().evaluate(path, silent).rows, path)


def test_a_capture_of_a_trace_is_a_step(write: Write) -> None:
    rows = "h200,gemm,1,1,50,bf16,3,qkv,32\nh200,gemm,1,1,500,bf16,7,head,1\n"
    (part,) = step(write, rows)
    assert part.key == Key("decode layer", "h200", "torch")
    assert part.measured_s.tolist() == pytest.approx([(32 * 3 + 7) * 1e-6])
    assert part.ours_s.tolist() == pytest.approx([(32 * 100 + 1000) * 1e-9])


@pytest.mark.parametrize(
    "rows",
    [
        "h200,gemm,1,1,50,bf16,3,a,1\nh200,gemm,1,1,51,bf16,3,b,1\n",  # no layers
        "h200,gemm,1,1,50,bf16,3,a,32\nh200,gemm,1,1,51,bf16,3,a,32\n",  # one name twice
        "h200,gemm,1,1,50,bf16,3,,32\n",  # no name
        "h200,gemm,1,1,50,bf16,3,a,32\nh200,gemm,1,1,51,bf16,3,,1\n",
    ],
)
def test_a_grid_of_operators_is_no_step(rows: str, write: Write) -> None:
    assert step(write, rows) == []


# ---- LLMCompass


def gpt3(operator: str, phase: str = "decode", latency: str = "1e-3") -> dict[str, str]:
    return {
        "device": "4xA100-80GB-SXM", "phase": phase, "operator": operator, "batch": "8",
        "q_len": "1", "kv_len": "3072", "d_model": "12288", "n_heads": "96", "tp": "4",
        "dtype": "fp16", "latency_s": latency,
    }  # fmt: skip


def test_the_operators_of_gpt3_on_one_of_four_gpus(write: Write) -> None:
    names = ("Q_K_V", "Q_mul_K", "A_mul_V", "Wo_proj", "W1_proj", "W2_proj", "Softmax")
    rows = [(2 + n, gpt3(name)) for n, name in enumerate((*names, "LayerNorm_MHA", "GeLU"))]
    found = evaluate_layers(rows, write("x.csv", ""))
    (part,) = found.parts
    assert part.key == Key("decode layer", "a100", "llmcompass")
    assert part.measured_s.tolist() == pytest.approx([9e-3])
    weights = 12288 * (9216 + 3072 + 12288 + 12288)
    attention = 2 * 8 * 24 * 3072 * 128
    products = 2 * (8 * weights + attention)
    rest = 5 * 8 * 24 * 3072 + 7 * 8 * 12288 + 9 * 8 * 12288
    host_s = (6 * 21 + 12 + 45 + 45) * 1e-6
    assert part.ours_s.tolist() == pytest.approx([(products + rest) * 1e-9 + host_s])


def test_what_the_machine_does_not_run_is_in_neither_sum(write: Write) -> None:
    rows = [(2, gpt3("GeLU")), (3, gpt3("AllReduce_MHA", latency="7"))]
    found = evaluate_layers(rows, write("x.csv", ""))
    assert found.parts[0].measured_s.tolist() == pytest.approx([1e-3])
    (skipped,) = found.skipped
    assert skipped.reason.startswith("decode AllReduce_MHA, in neither sum: a100: ")


def test_phases_are_layers_of_their_own(write: Write) -> None:
    rows = [(2, gpt3("GeLU")), (3, gpt3("GeLU", "prefill"))]
    families = [part.key.family for part in evaluate_layers(rows, write("x.csv", "")).parts]
    assert families == ["decode layer", "prefill layer"]


def test_an_unknown_operator_of_a_layer_is_refused(write: Write) -> None:
    path = write("x.csv", "")
    with pytest.raises(
        TraceError, match=r"x\.csv:2: unknown operator 'Conv' of a layer \(known: Q"
    ):
        evaluate_layers([(2, gpt3("Conv"))], path)
