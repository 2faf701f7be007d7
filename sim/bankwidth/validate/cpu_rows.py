"""Published runs of language models on CPUs, as rows that we can run.

A token of many equal layers is drawn from two runs of a few of them: what a layer adds is the same
wherever it comes, but for the phase of the refresh (a test holds it to half a percent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from bankwidth.operators import Embedding, Matmul, Operator, Trace, make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import CpuSpec, MachineSpec, WorkloadSpec, load_machine, load_workload
from bankwidth.validate.verdicts import Case

LAYERS = (1, 2)  # of the two runs
TOKENS = 64  # mean context of 128 generated tokens, as llama-bench generates them


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuRow:
    """One figure: a model in a format on some threads with a library's kernels.

    `formats` are those of single products, by their names in the trace; `prompt` asks for so many
    tokens at once. `clock_ghz` is set where the chip differs from the machine's.
    """

    machine: str
    model: str
    weights: str
    library: str
    threads: int
    reference: float
    quantity: str = "tokens/s"
    formats: Mapping[str, str] = field(default_factory=dict)
    prompt: int = 0
    clock_ghz: float | None = None
    source: str
    note: str = ""
    tolerance_pct: float = 25.0

    @property
    def label(self) -> str:
        """Model, format, machine and threads in words."""
        name = self.machine.removesuffix("-llamacpp").removesuffix("-tmac")
        with_s = "s" if self.threads > 1 else ""
        return f"{self.model} {self.weights}, {name}, {self.library}, {self.threads} thread{with_s}"


def case_of(row: CpuRow) -> Case:
    """Ours beside the published figure."""
    return Case(
        id=row.label,
        quantity=row.quantity,
        reference=row.reference,
        ours=_ours(row),
        tolerance_pct=row.tolerance_pct,
        source=row.source,
        note=row.note,
    )


def _ours(row: CpuRow) -> float:
    latency_ns, energy_pj = whole_run(row)
    tokens = row.prompt or 1
    return energy_pj / 1e12 / tokens if row.quantity == "J per token" else 1e9 * tokens / latency_ns


def whole_run(row: CpuRow) -> tuple[float, float]:
    """Latency in ns and energy in pJ of all layers."""
    few, more = (_run(row, layers) for layers in LAYERS)
    trace = trace_of(row)
    beyond = (max(block.repeat for block in trace.blocks) - LAYERS[0]) / (LAYERS[1] - LAYERS[0])
    latency_ns, energy_pj = (a + beyond * (b - a) for a, b in zip(few, more, strict=True))
    return latency_ns, energy_pj


def _run(row: CpuRow, layers: int) -> tuple[float, float]:
    """Of the first layers with all that stands outside of them; the same run is run once."""
    key = (row.label, row.prompt, layers)
    if key not in _RUNS:
        result = simulate(machine_of(row), with_layers(trace_of(row), layers))
        _RUNS[key] = result.latency_ns, result.energy_pj
    return _RUNS[key]


_RUNS: dict[tuple[str, int, int], tuple[float, float]] = {}


def machine_of(row: CpuRow) -> MachineSpec:
    """The row's machine with its threads, kernels and clock."""
    machine = _machine(row.machine)
    cpu = machine.engines["cpu"]
    assert isinstance(cpu, CpuSpec)
    changes: dict[str, object] = {"threads": row.threads, "library": row.library}
    if row.clock_ghz is not None:
        changes["clock_ghz"] = row.clock_ghz
    return machine.model_copy(update={"engines": {"cpu": cpu.model_copy(update=changes)}})


_machine = cache(load_machine)


def trace_of(row: CpuRow) -> Trace:
    """The row's decode step, or its prompt."""
    trace = make_trace(
        _workload(row.model),
        phase="prefill" if row.prompt else "decode",
        context=row.prompt or TOKENS,
        weight_dtype=row.weights,
        activation_dtype="fp32",
        kv_dtype="fp16",
    )
    return with_formats(trace, row.formats)


def with_formats(trace: Trace, formats: Mapping[str, str]) -> Trace:
    """The trace with other weights in the products and look-ups that are named."""
    blocks = tuple(
        replace(block, operators=tuple(_formatted(op, formats) for op in block.operators))
        for block in trace.blocks
    )
    return replace(trace, blocks=blocks)


def with_layers(trace: Trace, layers: int) -> Trace:
    """The trace with fewer of its equal layers."""
    blocks = tuple(replace(b, repeat=min(b.repeat, layers)) for b in trace.blocks)
    return replace(trace, blocks=blocks)


def _formatted(op: Operator, formats: Mapping[str, str]) -> Operator:
    if op.name in formats and isinstance(op, Matmul | Embedding):
        return replace(op, weight_dtype=formats[op.name])
    return op


@cache
def _workload(name: str) -> WorkloadSpec:
    return _QWEN if name == _QWEN.name else load_workload(name)


# Run for one row only, so that it is not shipped.
_QWEN = WorkloadSpec.model_validate(
    {
        "kind": "workload",
        "name": "qwen2.5-3b",
        "title": "Qwen2.5 3B",
        "source": "huggingface.co/Qwen/Qwen2.5-3B, config.json, recalled",
        "config": {
            "model_type": "llama", "vocab_size": 151936, "max_position_embeddings": 32768,
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
            "num_attention_heads": 16, "num_key_value_heads": 2, "hidden_act": "silu",
            "attention_bias": True, "mlp_bias": False, "tie_word_embeddings": True,
        },
    }
)  # fmt: skip
