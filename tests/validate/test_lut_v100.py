"""The V100 beside llama.cpp: its generation holds without a fit, a prompt is known to differ."""

from __future__ import annotations

from bankwidth.spec import load_device
from bankwidth.spec.gpu import GpuSpec
from bankwidth.validate import lut_v100


def test_generation_holds_and_the_prompt_says_why_it_does_not() -> None:
    *generated, prompt = lut_v100.published()
    assert [case.id.rpartition(" ")[2] for case in generated] == ["q4_0", "fp16"]
    assert all(case.ok and case.source for case in generated)
    assert not prompt.ok
    assert prompt.note.startswith("known: ")


def test_a_prompt_stays_below_the_peak() -> None:
    spec = load_device("gpu/v100-sxm2")
    assert isinstance(spec, GpuSpec)
    result = lut_v100.step("q4_0", phase="prefill", context=lut_v100.PROMPT)
    flops = float(result.operators["flops"].sum())
    assert flops / result.latency_ns < 1000 * spec.tensor_tflops["fp16"]


def test_stored_weights_are_what_is_read() -> None:
    """6.6 billion weights of products: 4.5 bits each in q4_0, 16 in fp16."""
    packed, whole = (
        float(lut_v100.step(name, context=64).operators["read_bytes"].sum())
        for name in ("q4_0", "fp16")
    )
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11_008) + 4096 * 32_000
    assert whole - packed == weights * (16 - 4.5) / 8 + 4096 * (16 - 4.5) / 8  # one row embedded
