"""A decode step on DGX and on DGX with AttAcc, put together from simulated parts.

One layer's share of a GPU is a run of arch/dgx-a100a.yaml: its memory is simulated command by
command. AttAcc's attention is a run of its banks. What is put together here is how the two and the
link between them overlap, as Park et al. (ASPLOS 2024) describe it:

- by heads: a head's products run while other heads are in attention, so that of qkv, attention and
  transfers only one head's part is not hidden behind the longest of them;
- co-processing: the banks take a part of the feed-forward products, one row of x after the other,
  so that both sides end at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Final

from bankwidth.operators import Attention, Block, KvAppend, Operator, Trace, make_trace, shard
from bankwidth.operators.base import OUTSIDE
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, load_device, load_machine
from bankwidth.validate.attacc_banks import Banks, banks_of
from bankwidth.validate.attacc_models import DTYPES, SHAPES, model_of

MACHINE: Final = "dgx-a100a"
GPUS: Final = {"A100a": "roofline/a100a", "H100": "roofline/h100-attacc"}
ENGINE: Final = "gpu"
SAMPLES: Final = 4  # lengths of the cache at which a decode is simulated, for its mean
PRODUCTS: Final = {"qkv": "qkv_ns", "o": "out_ns"}  # others are of the feed-forward part
MS_PER_NS, NJ_PER_PJ, BITS = 1e-6, 1e-3, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A decode of `output` - 1 steps behind a prompt. Without a `level` the GPUs do everything."""

    gpu: str  # of GPUS
    devices: int
    model: str
    dtype: str  # of DTYPES
    batch: int
    prompt: int
    output: int
    level: str = ""  # of the banks' units
    is_limited: bool = False  # by the banks' power
    is_earlier: bool = False  # banks as they were when the reference's cache was made
    by_heads: bool = False
    shares_feed_forward: bool = False

    def lengths(self) -> Sequence[int]:
        """Tokens of the cache in the middle of equal runs of steps."""
        steps = self.output - 1
        runs = min(SAMPLES, steps)
        return [self.prompt + 1 + int((i + 0.5) * steps / runs) for i in range(runs)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A step of all layers, and the energy of all devices. Products only as far as exposed."""

    matmul_ms: float  # attention
    fc_ms: float  # products with weights
    comm_ms: float  # sums over devices, transfers to the banks and back
    etc_ms: float
    energy_nj: float

    @property
    def time_ms(self) -> float:
        """Until the next token of every sequence."""
        return self.matmul_ms + self.fc_ms + self.comm_ms + self.etc_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of one device, one thing after the other."""

    qkv_ns: float = 0.0
    out_ns: float = 0.0  # the product behind attention
    feed_forward_ns: float = 0.0
    attention_ns: float = 0.0
    sums_ns: float = 0.0  # over the devices
    etc_ns: float = 0.0
    energy_pj: float = 0.0  # of what is done: without refresh and standby
    feed_forward_bytes: float = 0.0  # of weights


@cache
def figures_of(job: Job) -> Figures:
    """The mean of a decode's steps.

    Raises MappingError where the model does not divide over the devices.
    """
    steps = [_step(job, length) for length in job.lengths()]
    names = [field.name for field in fields(Figures)]
    return Figures(**{n: math.fsum(getattr(s, n) for s in steps) / len(steps) for n in names})


def _step(job: Job, length: int) -> Figures:
    operators = layer_operators(job, length)
    if not job.level:
        return _scaled(job, gpu_layer(job.gpu, job.devices, operators))
    left = gpu_layer(job.gpu, job.devices, _without_attention(operators))
    attention = next(op for op in operators if isinstance(op, Attention))
    return _with_banks(job, left, attention)


def _scaled(job: Job, layer: Layer) -> Figures:
    """All layers and devices."""
    layers = SHAPES[job.model].layers
    to_ms = layers * MS_PER_NS
    return Figures(
        matmul_ms=layer.attention_ns * to_ms,
        fc_ms=(layer.qkv_ns + layer.out_ns + layer.feed_forward_ns) * to_ms,
        comm_ms=layer.sums_ns * to_ms,
        etc_ms=layer.etc_ns * to_ms,
        energy_nj=layer.energy_pj * layers * job.devices * NJ_PER_PJ,
    )


# ---- the GPU's part


def layer_operators(job: Job, length: int) -> tuple[Operator, ...]:
    """One layer's share of one device."""
    dtype = DTYPES[job.dtype]
    whole = make_trace(
        model_of(job.model, devices=job.devices, tokens=job.prompt + job.output),
        phase="decode",
        batch=job.batch,
        context=length,
        weight_dtype=dtype,
        activation_dtype=dtype,
        kv_dtype=dtype,
    )
    blocks = shard(whole, job.devices).blocks
    return next(b.operators for b in blocks if b.operators[0].layer != OUTSIDE)


def _without_attention(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """The product behind attention follows the one before it."""
    gone = {op.name for op in operators if isinstance(op, Attention | KvAppend)}
    return tuple(
        replace(op, deps=tuple("qkv" if dep in gone else dep for dep in op.deps))
        for op in operators
        if op.name not in gone
    )


@cache
def gpu_layer(gpu: str, devices: int, operators: tuple[Operator, ...]) -> Layer:
    """One layer on one GPU, everything one after the other."""
    trace = Trace(
        model="one layer",
        phase="decode",
        batch=1,
        context=1,
        output_tokens=1,
        dtypes={},
        blocks=(Block(name="layer", operators=operators),),
        weight_bytes=_bytes_of("weight", operators),
        kv_bytes=_bytes_of("kv", operators),
        activation_bytes=_bytes_of("activation", operators),
        meta={"tensor": devices},
    )
    return _layer_of(simulate(_machine(gpu, devices), trace))


def _bytes_of(role: str, operators: Sequence[Operator]) -> int:
    tensors = (t for op in operators for t in (*op.inputs, *op.outputs))
    return sum(t.size_bytes for t in tensors if t.role == role)


@cache
def _machine(gpu: str, devices: int) -> MachineSpec:
    machine = load_machine(MACHINE)
    engines = {ENGINE: load_device(GPUS[gpu])}
    assert machine.parallel is not None
    parallel = machine.parallel.model_copy(update={"devices": devices, "tensor": devices})
    return machine.model_copy(update={"engines": engines, "parallel": parallel})


def _layer_of(result: Result) -> Layer:
    sums = dict.fromkeys((field.name for field in fields(Layer)), 0.0)
    for row in result.operators.rows():
        part = _part(row["name"], row["kind"])
        sums[part] += row["time_ns"]
        if part == "feed_forward_ns":
            sums["feed_forward_bytes"] += row["read_bytes"]
    spent = math.fsum(row["energy_dynamic_pj"] for row in result.components.rows())
    return Layer(**sums | {"energy_pj": spent})


def _part(name: str, kind: str) -> str:
    if kind == "matmul":
        return PRODUCTS.get(name, "feed_forward_ns")
    return {"attention": "attention_ns", "collective": "sums_ns"}.get(kind, "etc_ns")


# ---- with the banks


def _with_banks(job: Job, layer: Layer, attention: Attention) -> Figures:
    """Attention in the banks, and what it leaves exposed of products and transfers."""
    banks = banks_of(job.level, is_limited=job.is_limited, is_earlier=job.is_earlier)
    device = banks.attention(attention)
    sent = _sent_bytes(attention)
    there, back = (size / banks.link.bandwidth_bytes_per_ns for size in sent)
    transfers = makespan((there, device.time_ns, back), attention.n_heads) - device.time_ns
    products = layer.qkv_ns + layer.out_ns
    if job.by_heads:
        stages = (layer.qkv_ns, there, device.time_ns, back, layer.out_ns)
        end_ns = makespan(stages, attention.n_heads, last_from=layer.qkv_ns)
        products = end_ns - device.time_ns - transfers
    exposed = replace(
        layer,
        qkv_ns=products,
        out_ns=0.0,
        feed_forward_ns=_feed_forward_ns(job, layer, banks),
        attention_ns=device.time_ns,
        sums_ns=layer.sums_ns + transfers,
        energy_pj=layer.energy_pj
        + device.energy_pj
        + sum(sent) * BITS * banks.link.energy_pj_per_bit,
    )
    return _scaled(job, exposed)


def _sent_bytes(attention: Attention) -> tuple[int, int]:
    """Queries, keys and values of the new tokens there, results back."""
    result = sum(t.size_bytes for t in attention.outputs)
    heads = attention.n_heads + 2 * attention.n_kv_heads
    return result * heads // attention.n_heads, result


def _feed_forward_ns(job: Job, layer: Layer, banks: Banks) -> float:
    """Shared so that GPU and banks end together; the banks read their part for each row of x."""
    if not job.shares_feed_forward:
        return layer.feed_forward_ns
    in_banks_ns = layer.feed_forward_bytes * job.batch / banks.bytes_per_ns(DTYPES[job.dtype])
    return 1.0 / (1.0 / layer.feed_forward_ns + 1.0 / in_banks_ns)


def makespan(stages: Sequence[float], pieces: int, *, last_from: float = 0.0) -> float:
    """End of equal pieces that pass the stages one behind the other.

    A stage needs its whole time for all pieces. The last one begins at `last_from` at the
    earliest: when the engine that it shares with the first has done all of that.
    """
    free = [0.0] * len(stages)
    free[-1] = last_from
    for _ in range(pieces):
        done = 0.0
        for stage, whole in enumerate(stages):
            free[stage] = done = max(done, free[stage]) + whole / pieces
    return free[-1]
