"""TeLLMe v2 (Qiao et al., FPGA 2026): time to first token, tokens per second, power on a KV260.

The paper's body was not at hand. Its abstract is, and so are the authors' own sources of the
design: tables, widths, buffers, ports and loops (devices/ternary_lut/tellme-v2.yaml says which).
They do not say how deep a pipeline is: that is estimated from the operators in it, and nothing is
fitted to a time of this design. Its power is calibrated on two other designs.

The model is BitNet b1.58 with its two further norms per layer; embeddings in half precision and a
head in 8 bit on the processor, as the authors' run-time has them. The first version of the design
(9.51 tokens/s at 7 W) is not compared: its sources are not public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from bankwidth.operators import Embedding, Matmul, Norm, Operator, Trace, make_trace
from bankwidth.operators.dtypes import DTYPE_BITS
from bankwidth.operators.trace import Block
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, TernaryLutSpec, load_machine, load_workload
from bankwidth.validate.verdicts import Case

MACHINE, ENGINE, MODEL = "tellme-v2", "fpga", "bitnet-0.7b"
PUBLISHED: Final = "Qiao et al., TeLLMe v2, FPGA 2026 (arXiv 2510.15926)"
ABSTRACT: Final = f"{PUBLISHED}, abstract"
TABLE: Final = f"{PUBLISHED}, table of results, as an independent reading note has it"
PD_SWAP: Final = "Zhang et al., PD-Swap (arXiv 2512.11550), abstract and results as a note has them"
WITHIN_PCT: Final = 15.0
SHORT, LONG = 64, 128  # prompts of the abstract
FAR: Final = 2048
EMBEDDING_DTYPE, HEAD_DTYPE, STREAM_DTYPE = "fp16", "int8", "fp16"
BITS: Final = 8
# What a layer of BitNet normalises besides a Llama's: the operator before, and the one behind.
EXTRA_NORMS: Final = (("attention", "o"), ("silu_mul", "down"))
FIRST_NOTE: Final = "nothing fitted; the assumed depth of the quantiser's pipeline moves it most"
DECODE_NOTE: Final = (
    "'up to': at the shorter prompt of the abstract; a quarter of the step is the head on the "
    "processor, whose bandwidth is assumed"
)
POWER_NOTE: Final = "without the DRAM; calibrated on two other designs on this board"
FAR_NOTE: Final = (
    "derived: PD-Swap, with the same products, has more than 10 tokens/s at 2048 tokens and says "
    "1.3 to 2.1 times its forerunners', the more the longer the context; so at least 10 / 2.1"
)
# A layer takes what the one before took: all 24 are extrapolated from two runs of a few.
FEW, MORE = 1, 2


def published() -> Iterator[Case]:
    """Prompts of 64 and 128 tokens, a decode step, a long one, power."""
    for tokens, reference in ((SHORT, 0.45), (LONG, 0.96)):
        yield Case(
            id=f"{MODEL}, prompt {tokens}",
            quantity="time to first token, s",
            reference=reference,
            ours=seconds("prefill", tokens),
            tolerance_pct=WITHIN_PCT,
            source=ABSTRACT,
            note=FIRST_NOTE,
        )
    yield Case(
        id=f"{MODEL}, context {SHORT}",
        quantity="decode, tokens/s",
        reference=25.0,
        ours=1.0 / seconds("decode", SHORT),
        tolerance_pct=WITHIN_PCT,
        source=ABSTRACT,
        note=DECODE_NOTE,
    )
    yield Case(
        id=f"{MODEL}, context {FAR}",
        quantity="decode, tokens/s",
        reference=10.0 / 2.1,
        ours=1.0 / seconds("decode", FAR),
        tolerance_pct=WITHIN_PCT,
        source=PD_SWAP,
        note=FAR_NOTE,
    )
    yield Case(
        id=f"{MODEL}, prompt {SHORT}",
        quantity="power, W",
        reference=4.8,
        ours=power_w("prefill", SHORT),
        tolerance_pct=WITHIN_PCT,
        source=TABLE,
        note=POWER_NOTE,
    )


def seconds(phase: str, tokens: int, machine: MachineSpec | None = None) -> float:
    """Latency of a prompt of so many tokens, or of a decode step that sees so many."""
    return _figures(phase, tokens, machine)[0] * 1e-12


def power_w(phase: str, tokens: int) -> float:
    """Mean power of the chip; the DRAM is not in it."""
    latency_ps, energy_pj = _figures(phase, tokens, None)
    return energy_pj / latency_ps


def _figures(phase: str, tokens: int, machine: MachineSpec | None) -> tuple[float, float]:
    """Picoseconds and the chip's picojoules of all layers."""
    trace = bitnet(phase, tokens)
    runs = [_run(phase, tokens, layers, machine) for layers in (FEW, MORE)]
    beyond = (layers_of(trace) - MORE) / (MORE - FEW)
    few, more = ((r.latency_ps, r.energy_by_component_pj[ENGINE]) for r in runs)
    latency_ps, energy_pj = (b + beyond * (b - a) for a, b in zip(few, more, strict=True))
    return latency_ps, energy_pj


def _run(phase: str, tokens: int, layers: int, machine: MachineSpec | None) -> Result:
    if machine is not None:
        return simulate(machine, with_layers(bitnet(phase, tokens), layers))
    return _shipped(phase, tokens, layers)


@cache
def _shipped(phase: str, tokens: int, layers: int) -> Result:
    return simulate(load_machine(MACHINE), with_layers(bitnet(phase, tokens), layers))


def layers_of(trace: Trace) -> int:
    """How often the repeated block comes."""
    return max(block.repeat for block in trace.blocks)


def with_layers(trace: Trace, layers: int) -> Trace:
    """The same with fewer layers."""
    blocks = tuple(
        replace(block, repeat=layers) if block.repeat > 1 else block for block in trace.blocks
    )
    return replace(trace, blocks=blocks)


# ---- the model as it is run


def bitnet(phase: str, tokens: int) -> Trace:
    """The shipped workload's trace with BitNet's norms, and outer weights in their own formats."""
    trace = make_trace(
        load_workload(MODEL),
        phase=phase,
        context=tokens,
        weight_dtype="ternary",
        activation_dtype=STREAM_DTYPE,
        kv_dtype=STREAM_DTYPE,
    )
    outer = _outer_elements(trace)
    kept = outer * (DTYPE_BITS[EMBEDDING_DTYPE] + DTYPE_BITS[HEAD_DTYPE]) // BITS
    blocks = tuple(_with_norms(_with_formats(block)) for block in trace.blocks)
    return replace(trace, blocks=blocks, weight_bytes=trace.weight_bytes + kept)


def _outer_elements(trace: Trace) -> int:
    """Of the embedding, and as many of the head."""
    heads = (op for block in trace.blocks for op in block.operators if op.name == "lm_head")
    return sum(op.n * op.k for op in heads if isinstance(op, Matmul))


def _with_formats(block: Block) -> Block:
    return replace(block, operators=tuple(map(_formatted, block.operators)))


def _formatted(op: Operator) -> Operator:
    if isinstance(op, Embedding):
        return replace(op, weight_dtype=EMBEDDING_DTYPE)
    if isinstance(op, Matmul) and op.name == "lm_head":
        return replace(op, weight_dtype=HEAD_DTYPE)
    return op


def _with_norms(block: Block) -> Block:
    """The same with the further norms, where the operators are that they lie between."""
    for before, behind in EXTRA_NORMS:
        block = _with_norm(block, before, behind)
    return block


def _with_norm(block: Block, before: str, behind: str) -> Block:
    operators: list[Operator] = []
    for op in block.operators:
        if op.name == behind and isinstance(op, Matmul):
            norm = Norm(
                name=f"{before}_norm",
                layer=op.layer,
                deps=(before,),
                rows=op.m,
                width=op.k,
                style="rms",
                dtype=op.dtype,
            )
            operators += [norm, replace(op, deps=(norm.name,))]
        else:
            operators.append(op)
    return replace(block, operators=tuple(operators))


# ---- what moves the figures


def sensitivity() -> Iterator[tuple[str, float, float, float]]:
    """An assumption changed, and per cent by which both prompts and the decode step change."""
    machine = load_machine(MACHINE)
    runs = (("prefill", SHORT), ("prefill", LONG), ("decode", SHORT))
    before = [seconds(*run) for run in runs]
    for what, changes in CHANGES:
        other = _changed(machine, changes)
        after = [seconds(*run, other) for run in runs]
        first, second, third = (100.0 * (b - a) / a for a, b in zip(before, after, strict=True))
        yield what, first, second, third


# What of the engine changes: section -> fields.
Changes = Mapping[str, Mapping[str, Any]]
CHANGES: Final[tuple[tuple[str, Changes], ...]] = (
    ("the quantiser's pipeline half as deep", {"input": {"block_fill_ck": 10}}),
    ("the quantiser's pipeline half as deep again", {"input": {"block_fill_ck": 30}}),
    ("sums of a head pipelined", {"prefill": {"sum_ck": 6}}),
    ("weights of values pipelined", {"decode": {"value_head_ck": 1}}),
    ("ports of 256 bit", {"ports": {"width_bits": 256}}),
    ("the processor reads 4 GB/s", {"host": {"bandwidth_bytes_per_ns": 4.0}}),
    ("the processor reads 8 GB/s", {"host": {"bandwidth_bytes_per_ns": 8.0}}),
    ("tables halved", {"table": {"halved": True}}),
    ("tables doubled", {"table": {"doubled": True}}),
)


def _changed(machine: MachineSpec, changes: Changes) -> MachineSpec:
    engine = machine.engines[ENGINE]
    assert isinstance(engine, TernaryLutSpec)
    update = {
        section: getattr(engine, section).model_copy(update=dict(fields))
        for section, fields in changes.items()
    }
    return machine.model_copy(
        update={"engines": {**machine.engines, ENGINE: engine.model_copy(update=update)}}
    )
