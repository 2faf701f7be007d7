"""The whole way, on the main jobs: sums, bounds, and order of magnitude."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

import bankwidth as bw


@pytest.fixture(scope="module")
def llama() -> bw.Result:
    trace = bw.make_trace(bw.load_workload("llama-2-7b"), phase="decode", batch=1, context=2048)
    return bw.simulate(bw.load_arch("h200"), trace)


@pytest.fixture(scope="module")
def xl() -> bw.Result:
    trace = bw.make_trace(bw.load_workload("gpt2-xl"), phase="decode", context=1024)
    return bw.simulate(bw.load_arch("pim-gpt"), trace)


def test_llama_on_h200_takes_its_bytes_and_its_launches(llama: bw.Result) -> None:
    weights_and_kv_bytes = 13_476_831_232 + 1_073_741_824
    expected_ns = weights_and_kv_bytes / 4000 + llama.parts_ns["launch_ns"]
    assert llama.latency_ns == pytest.approx(expected_ns, rel=0.25)
    assert llama.latency_ns >= llama.lower_bound_ns


def test_the_lower_bound_is_the_bytes_at_the_peak(llama: bw.Result) -> None:
    # All weights but 31,999 rows of the embedding, all of KV, over 4.8 TB/s
    read_bytes = 13_476_831_232 - 31_999 * 4096 * 2 + 1_073_741_824
    assert llama.lower_bound_ns == pytest.approx(read_bytes / 4800, rel=0.001)


@pytest.mark.parametrize("name", ["llama", "xl"])
def test_times_parts_and_energies_sum(name: str, request: pytest.FixtureRequest) -> None:
    result: bw.Result = request.getfixturevalue(name)
    operators = result.operators
    assert math.fsum(operators["time_ns"]) == pytest.approx(result.latency_ns, rel=1e-12)
    assert math.fsum(result.parts_ns.values()) == pytest.approx(result.latency_ns, rel=1e-12)
    parts = sum(operators[part] for part in result.parts_ns)
    assert parts == pytest.approx(operators["time_ns"], abs=1e-6)
    assert math.fsum(operators["energy_pj"]) == pytest.approx(result.energy_pj)
    assert math.fsum(result.components["energy_pj"]) == pytest.approx(result.energy_pj)


@pytest.mark.parametrize("name", ["llama", "xl"])
def test_no_operator_beats_its_bound(name: str, request: pytest.FixtureRequest) -> None:
    operators = request.getfixturevalue(name).operators
    assert all(operators["duration_ns"] >= operators["lower_bound_ns"] * (1 - 1e-9))


@pytest.mark.parametrize("name", ["llama", "xl"])
def test_every_component_spends_energy(name: str, request: pytest.FixtureRequest) -> None:
    energies = request.getfixturevalue(name).energy_by_component_pj
    assert all(pj > 0 for pj in energies.values()), energies


def test_pim_reads_along_rows(xl: bw.Result) -> None:
    rate = dict(zip(xl.summary["metric"], xl.summary["value"], strict=True))["row_hit_rate"]
    assert 0.97 <= rate <= 0.99


def test_pim_takes_a_few_ms_per_token_and_says_why(xl: bw.Result) -> None:
    assert 0.8e6 <= xl.latency_ns <= 2.5e6
    assert xl.parts_ns["row_miss_ns"] > 0
    matrices = xl.operators["bound"][xl.operators["kind"] == "matmul"]
    assert set(matrices.tolist()) == {"pim banks"}


def test_pim_moves_far_fewer_bytes_than_it_reads(xl: bw.Result) -> None:
    components = {row["name"]: row for row in xl.components.rows()}
    assert components["asic-gddr6"]["read_bytes"] * 50 < components["gddr6"]["read_bytes"]


def test_the_same_run_gives_the_same_result(xl: bw.Result) -> None:
    trace = bw.make_trace(bw.load_workload("gpt2-xl"), phase="decode", context=1024)
    assert bw.simulate(bw.load_arch("pim-gpt"), trace).to_json() == xl.to_json()


SMALL = {
    "model_type": "llama", "hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 8, "intermediate_size": 2816, "vocab_size": 4000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip


def small_run(**changes: object) -> float:
    """Latency of a small model on an H200 with some of the GPU's numbers changed."""
    machine = bw.load_arch("h200")
    gpu = machine.engines["gpu"].model_copy(update=changes)
    machine = machine.model_copy(update={"engines": {"gpu": gpu}})
    workload = bw.load_workload("llama-2-7b").model_copy(update={"config": SMALL})
    return bw.simulate(machine, bw.make_trace(workload, context=256)).latency_ns


def test_faster_parts_never_slow_a_run() -> None:
    base = small_run()
    gpu = bw.load_arch("h200").engines["gpu"]
    doubled = {k: 2 * v for k, v in gpu.tensor_tflops.items()}  # type: ignore[union-attr]
    assert small_run(launch_ns=0.1) < base
    assert small_run(tensor_tflops=doubled) <= base
    assert small_run(l2_bandwidth_bytes_per_ns=1e6) <= base
    assert small_run(kernel_min_ns=1.0) <= base


def test_more_channels_never_slow_a_run() -> None:
    machine = bw.load_arch("h200")
    workload = bw.load_workload("llama-2-7b").model_copy(update={"config": SMALL})
    trace = bw.make_trace(workload, context=256)
    times = []
    for channels in (48, 96, 192):
        memory = machine.memories["hbm"].model_copy(update={"channels": channels})
        changed = machine.model_copy(update={"memories": {"hbm": memory}})
        times.append(bw.simulate(changed, trace).latency_ns)
    assert times == sorted(times, reverse=True)


def test_longer_contexts_and_batches_never_cost_less() -> None:
    arch = bw.load_arch("h200")
    workload = bw.load_workload("llama-2-7b").model_copy(update={"config": SMALL})
    by_context = [
        bw.simulate(arch, bw.make_trace(workload, context=c)).latency_ns for c in (128, 1024, 4096)
    ]
    assert by_context == sorted(by_context)


def test_a_trace_with_a_batch_of_two_moves_its_weights_once() -> None:
    arch = bw.load_arch("h200")
    workload = bw.load_workload("llama-2-7b").model_copy(update={"config": SMALL})
    one, two = (bw.simulate(arch, bw.make_trace(workload, batch=b, context=256)) for b in (1, 2))
    kv_bytes = bw.make_trace(workload, batch=1, context=256).kv_bytes
    extra = two.operators["read_bytes"].sum() - one.operators["read_bytes"].sum()
    assert kv_bytes <= extra <= kv_bytes * 1.1


def test_a_model_too_large_is_refused_before_anything_runs() -> None:
    trace = bw.make_trace(bw.load_workload("llama-2-7b"), context=2048)
    with pytest.raises(bw.MappingError, match="too much"):
        bw.simulate(bw.load_arch("pim-gpt"), replace(trace, weight_bytes=10**12))


@pytest.mark.parametrize("name", ["a6000", "h200"])
def test_memories_that_remember_take_what_exact_ones_take(name: str) -> None:
    arch = bw.load_arch(name)
    workload = bw.load_workload("opt-125m")
    trace = bw.make_trace(workload, phase="generate", prompt=64, output=6, batch=4)
    ours, exact = (bw.simulate(arch, trace, exact_memory=flag) for flag in (False, True))
    assert ours.latency_ns == pytest.approx(exact.latency_ns, rel=0.005)
    assert ours.latency_ns != exact.latency_ns
    assert ours.energy_pj == pytest.approx(exact.energy_pj, rel=0.01)
    models = [next(iter(r.provenance["memory_model"].values())) for r in (ours, exact)]
    assert models == ["remembered transfers, refreshes where they fall due", "command by command"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a6000", {"phase": "decode", "context": 64}),
        ("a6000", {"phase": "prefill", "prompt": 64}),
        ("a6000", {"phase": "generate", "prompt": 64, "output": 1}),
        ("pim-gpt", {"phase": "generate", "prompt": 8, "output": 2}),
        ("npu-mem", {"phase": "generate", "prompt": 8, "output": 2}),
    ],
)
def test_all_other_runs_are_exact(name: str, arguments: dict[str, object]) -> None:
    arch = bw.load_arch(name)
    trace = bw.make_trace(bw.load_workload("gpt2"), **arguments)  # type: ignore[arg-type]
    result = bw.simulate(arch, trace)
    assert set(result.provenance["memory_model"].values()) == {"command by command"}


def test_a_copy_of_a_run_is_equal_with_memories_that_remember() -> None:
    arch, workload = bw.load_arch("a6000"), bw.load_workload("opt-125m")
    trace = bw.make_trace(workload, phase="generate", prompt=16, output=4)
    assert bw.simulate(arch, trace).to_json() == bw.simulate(arch, trace).to_json()
