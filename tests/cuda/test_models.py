"""Decoders of plain torch: sizes, points, and a layer against float64 on the CPU."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any, Literal

import pytest

import bankwidth as bw
from gpucap import decoder
from gpucap.fused import rope
from gpucap.machine import open_machine
from gpucap.measure import Failed
from gpucap.model_plan import Point, make_points
from gpucap.model_run import MODEL_COLUMNS, layer_error, measure_model
from gpucap.models import MODELS, Model, find_model
from gpucap.options import Options
from gpucap.problems import CaptureError
from gpucap.tensors import Maker

OPTIONS = Options(fused="eager", power_seconds=0.0, warmup_seconds=0.0, repeats=2)


def tiny(style: Literal["gpt2", "llama"] = "llama", experts: int = 0) -> Model:
    return Model(
        name="tiny", style=style, layers=3, hidden=64, heads=4,
        kv_heads=4 if style == "gpt2" else 2, inter=96, vocab=100, positions=256,
        source="made up", experts=experts, topk=2 if experts else 0,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["gpt2-xl", "llama-2-7b", "llama-3-8b"])
def test_weights_and_cache_are_those_of_the_workload(name: str) -> None:
    trace = bw.make_trace(bw.load_workload(name), phase="decode", batch=2, context=1000)
    point = Point(model=find_model(name), part="step", phase="decode", batch=2, context=1000)
    assert point.kv_bytes == trace.kv_bytes
    # norms, biases and learned positions are left out here: under 1 % of the weights
    assert 0.99 < point.weight_bytes / trace.weight_bytes <= 1.0


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(CaptureError, match="did you mean 'llama-3-8b'"):
        find_model("llama-3-8")


@pytest.mark.parametrize(
    ("name", "batch", "context", "part"),
    [
        ("gpt2-xl", 1, 2048, "1024 positions"),
        ("mixtral-8x7b", 1, 9, "layers alone"),
        ("llama-3-8b", 999, 8192, "GB of memory"),
    ],
)
def test_reasons_not_to_run(name: str, batch: int, context: int, part: str) -> None:
    point = Point(model=MODELS[name], part="step", phase="decode", batch=batch, context=context)
    assert part in str(point.refusal(141 * 10**9))


def test_prefill_is_kept_to_small_batches() -> None:
    points = make_points([tiny()], ["step"], ["decode", "prefill"], [1, 32], [8])
    assert [(p.phase, p.batch) for p in points] == [("decode", 1), ("decode", 32), ("prefill", 1)]


STYLES = [("gpt2", 0), ("llama", 0), ("llama", 4)]


@pytest.mark.parametrize(("style", "experts"), STYLES)
@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("part", ["layer", "step"])
def test_every_kind_of_point_is_measured(
    style: Literal["gpt2", "llama"], experts: int, phase: str, part: str, torch: ModuleType
) -> None:
    point = Point(model=tiny(style, experts), part=part, phase=phase, batch=2, context=64)
    row = measure_model(point, open_machine("cpu", OPTIONS), OPTIONS)
    assert not isinstance(row, Failed)
    assert row.keys() <= set(MODEL_COLUMNS)
    assert row["layers"] == (1 if part == "layer" else 3)


def test_a_layer_that_drops_its_rope_is_seen(
    torch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = Point(model=tiny(), part="layer", phase="prefill", batch=2, context=64)
    make = Maker("cpu", "bf16")
    assert layer_error(point, OPTIONS, make) < 0.06
    monkeypatch.setattr(decoder, "fused", lambda function, how, keep=False: _broken(function))
    assert layer_error(point, OPTIONS, make) > 0.06


def _broken(function: object) -> object:
    return (lambda x, cos, sin: x) if function is rope else function


def test_the_step_is_causal(torch: ModuleType) -> None:
    """A later token changes nothing before it: logits of a prefix are those of the prefix alone."""
    torch.manual_seed(1)
    make = Maker("cpu", "fp32")
    whole = decoder.make_decoder(
        tiny(), batch=1, tokens=8, context=8, layers=2, is_whole=False, options=OPTIONS, make=make
    )
    x = make.normal(1, 8, 64)
    y = decoder.run_layers(decoder.in_float64(whole), x.double())
    changed = x.clone()
    changed[:, -1] += 1
    z = decoder.run_layers(decoder.in_float64(whole), changed.double())
    assert torch.equal(y[:, :-1], z[:, :-1])
    assert not torch.equal(y[:, -1], z[:, -1])


def made(tokens: int, context: int, style: Literal["gpt2", "llama"]) -> decoder.Decoder:
    """In float64 and on the same weights each time; eager kernels, not the reference ones."""
    make = Maker("cpu", "fp64")
    return decoder.make_decoder(
        tiny(style), batch=2, tokens=tokens, context=context, layers=2, is_whole=False,
        options=OPTIONS, make=make,
    )  # fmt: skip


def with_plain_attention(run: decoder.Decoder) -> decoder.Decoder:
    """The flash backend takes no float64."""
    attend = decoder.in_float64(run).functions.attend
    return replace(run, functions=replace(run.functions, attend=attend))


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_a_step_after_a_prefill_is_the_last_token_of_a_longer_prefill(
    style: Literal["gpt2", "llama"], torch: ModuleType
) -> None:
    """Cache, angles and mask of a decode step fit those of the prefill."""
    torch.manual_seed(1)
    prefill = with_plain_attention(made(9, 9, style))
    x = Maker("cpu", "fp64").normal(2, 9, 64)
    y = decoder.run_layers(prefill, x)
    kept = [
        decoder.Layer(layer.weights, layer.k.clone(), layer.v.clone()) for layer in prefill.layers
    ]
    for layer in kept:  # what the step has to write itself
        layer.k[:, -1:], layer.v[:, -1:] = 7.0, 7.0
    step = replace(with_plain_attention(made(1, 9, style)), layers=kept)
    assert torch.allclose(decoder.run_layers(step, x[:, -1:]), y[:, -1:], atol=1e-10)


def by_hand(torch: ModuleType, weights: dict[str, Any], x: Any) -> Any:
    """A layer of Llama with two query heads to a KV head, by its formulas, one head at a time."""
    heads, kv_heads, size, tokens = 4, 2, 16, x.shape[1]

    def rms(v: Any, scale: Any) -> Any:
        return v / ((v * v).mean(-1, keepdim=True) + 1e-5).sqrt() * scale

    def turned(v: Any) -> Any:
        angle = torch.arange(tokens, dtype=torch.float64)[:, None] / 10000.0 ** (
            torch.arange(0, size, 2, dtype=torch.float64) / size
        )
        a, b = v[..., : size // 2], v[..., size // 2 :]
        c, s = angle.cos(), angle.sin()
        return torch.cat((a * c - b * s, a * s + b * c), dim=-1)

    qkv = rms(x, weights["norm1"]) @ weights["qkv"].T
    parts = [qkv[..., i * size : (i + 1) * size] for i in range(heads + 2 * kv_heads)]
    out = []
    for head in range(heads):
        k = turned(parts[heads + head // 2])
        scores = turned(parts[head]) @ k.transpose(1, 2) / size**0.5
        scores = scores + torch.full((tokens, tokens), float("-inf")).triu(1)
        out.append(scores.softmax(-1) @ parts[heads + kv_heads + head // 2])
    x = x + torch.cat(out, dim=-1) @ weights["o"].T
    gate, up = (rms(x, weights["norm2"]) @ weights["up"].T).chunk(2, dim=-1)
    return x + (gate * gate.sigmoid() * up) @ weights["down"].T


def test_a_layer_is_that_of_the_formulas(torch: ModuleType) -> None:
    torch.manual_seed(1)
    run = with_plain_attention(made(9, 9, "llama"))
    x = Maker("cpu", "fp64").normal(2, 9, 64)
    expected = x
    for layer in run.layers:
        expected = by_hand(torch, layer.weights, expected)
    assert torch.allclose(decoder.run_layers(run, x), expected, atol=1e-10)
    assert torch.allclose(decoder.run_layers(decoder.in_float64(run), x), expected, atol=1e-10)
