"""Operators on a chip of which only a roofline is known.

The bytes come from the simulated memory, the flops take their time at the chip's rates, and the
longer of the two counts. Activations that fit the cache stay there; weights and the KV cache are
read from memory every time, because a whole model passes the cache between two uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from bankwidth.devices.roofline.tiles import Cores, tiling_of
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.fetching import fetch_task
from bankwidth.mapping.gpu_task import activation_bytes
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.streams import streams
from bankwidth.operators import (
    DTYPE_BITS,
    Attention,
    Collective,
    Fetch,
    Matmul,
    Moe,
    Operator,
    Scan,
    Score,
    Tensor,
)
from bankwidth.operators.vector import SOFTMAX_FLOPS, Elementwise
from bankwidth.spec import CoresSpec, RingSpec, RooflineSpec
from bankwidth.units import ns_to_ps

FALLBACK = "fp32"  # formats without a rate are converted on the way
FLOPS_PER_NS_OF_TFLOPS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an operator asks of the chip; `blocks` is 0 where it divides without rest."""

    matrix_flops: float = 0.0
    vector_flops: float = 0.0
    blocks: int = 0
    cache_bytes: float = 0.0  # operands and results
    core_bytes: float = 0.0  # through the buffers of cores, where they are described
    busy_ns: float = 0.0  # of other kinds: a collective's steps
    link_bytes: float = 0.0
    detail: str = field(default="roofline")


class RooflineLowering:
    """One task per operator."""

    def __init__(self, spec: RooflineSpec) -> None:
        self._spec = spec
        self._cores = _cores(spec.cores) if spec.cores else None

    def supports(self, op: Operator) -> bool:
        """Everything; collectives where it has others to talk to."""
        return not isinstance(op, Collective) or self._spec.ring is not None

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One task. Raises MappingError for a format without a rate on a chip without fp32's."""
        if isinstance(op, Fetch):
            return [fetch_task(op, index, engine, context)]
        work = self._work(op)
        loads = tuple(self._loads(op, context))
        loaded = sum(transfer.size_bytes for transfer in loads)
        return [
            Task(
                name=op.name,
                operator=index,
                engine=engine,
                deps=(),
                launch_ps=ns_to_ps(_priced(self._spec.overhead_ns, op, 0.0)),
                compute_ps=ns_to_ps(max(self._compute_ns(op, work), self._fed_ns(work, loaded))),
                ideal_ps=ns_to_ps(self._ideal_ns(op, work)),
                overlap=math.inf,
                loads=loads,
                stores=tuple(self._stores(op, context)),
                counts=self._counts(op, work),
                detail=work.detail,
            )
        ]

    def _work(self, op: Operator) -> Work:
        if isinstance(op, Collective):
            return self._collective(op)
        if isinstance(op, Matmul):
            return self._product(op)
        if isinstance(op, Attention):
            return self._attention(op)
        moved = op.read_bytes + op.write_bytes
        if isinstance(op, Moe | Score):
            return Work(matrix_flops=op.flops, cache_bytes=moved)
        if isinstance(op, Scan):
            products = op.batch * op.product_flops
            vectors = op.flops - products
            return Work(matrix_flops=products, vector_flops=vectors, cache_bytes=moved)
        return Work(vector_flops=op.flops, cache_bytes=moved)

    def _product(self, op: Matmul) -> Work:
        if self._cores is None:
            return Work(matrix_flops=op.flops, cache_bytes=op.read_bytes + op.write_bytes)
        element_bytes = DTYPE_BITS[op.weight_dtype] / 8
        tiling = tiling_of(self._cores, op.m, op.n, op.k, op.batch, element_bytes)
        return Work(
            matrix_flops=op.flops,
            blocks=tiling.blocks,
            cache_bytes=tiling.cache_elements * element_bytes,
            core_bytes=tiling.core_elements * element_bytes,
            detail=f"{tiling.blocks} tiles",
        )

    def _attention(self, op: Attention) -> Work:
        """A head of keys and values is one piece of work; each goes to one core, once."""
        moved = op.read_bytes + op.write_bytes
        blocks = op.batch * op.n_kv_heads if self._cores else 0
        return Work(
            matrix_flops=op.flops,
            vector_flops=SOFTMAX_FLOPS * op.score_elements,
            blocks=blocks,
            cache_bytes=moved,
            core_bytes=moved if blocks else 0.0,
            detail=f"{blocks} heads" if blocks else "roofline",
        )

    def _collective(self, op: Collective) -> Work:
        """Steps to every other chip, each of its share of the message."""
        ring = self._spec.ring
        if ring is None or op.ways > ring.max_ways:
            joined = f"joins {ring.max_ways} chips" if ring else "has no field 'ring'"
            raise MappingError(f"collective {op.name!r} among {op.ways}: the device {joined}")
        return Work(
            busy_ns=_ring_ns(ring, op.ways, op.size_bytes),
            link_bytes=op.size_bytes,
            detail=f"{op.ways - 1} steps",
        )

    # ---- time

    def _ideal_ns(self, op: Operator, work: Work) -> float:
        """At the peaks."""
        return self._flops_ns(op, work) + work.busy_ns

    def _compute_ns(self, op: Operator, work: Work) -> float:
        """With what the code reaches of the peaks, and cores that idle in the last round."""
        reached = self._spec.compute_utilisation * self._busy_share(work)
        passed = _priced(self._spec.vector_bandwidth_bytes_per_ns, op, math.inf)
        passed_ns = (op.read_bytes + op.write_bytes) / passed
        return max(self._flops_ns(op, work) / reached, passed_ns) + work.busy_ns

    def _flops_ns(self, op: Operator, work: Work) -> float:
        total_ns = 0.0
        for kind, rates, flops in (
            ("matrix", self._spec.matrix_tflops, work.matrix_flops),
            ("vector", self._spec.vector_tflops, work.vector_flops),
        ):
            if flops:
                rate = rates[_format(kind, rates, op)]
                total_ns += flops / (rate * FLOPS_PER_NS_OF_TFLOPS)
        return total_ns

    def _fed_ns(self, work: Work, loaded_bytes: int) -> float:
        """Until the busiest core has its part of the bytes; 0 where cores are not described."""
        cores = self._spec.cores
        if cores is None or not work.blocks:
            return 0.0
        all_cores = cores.count * cores.load_bandwidth_bytes_per_ns
        return loaded_bytes / (all_cores * self._busy_share(work))

    def _busy_share(self, work: Work) -> float:
        return self._cores.busy_share(work.blocks) if self._cores and work.blocks else 1.0

    # ---- bytes and energy

    def _loads(self, op: Operator, context: LoweringContext) -> Iterator[Transfer]:
        parts = ((t, t.size_bytes) for t in self._through_memory(op, op.inputs))
        for tensor, size in streams(parts):
            yield context.transfer(tensor, op.layer, is_write=False, size_bytes=size)

    def _stores(self, op: Operator, context: LoweringContext) -> Iterator[Transfer]:
        """Nobody waits for what the cache can hold until it is written."""
        for tensor in self._through_memory(op, op.outputs):
            size = tensor.size_bytes
            posted = size <= self._spec.cache_bytes
            yield context.transfer(tensor, op.layer, is_write=True, size_bytes=size, posted=posted)

    def _through_memory(self, op: Operator, tensors: tuple[Tensor, ...]) -> Iterator[Tensor]:
        fits = activation_bytes(op) <= self._spec.cache_bytes
        return (tensor for tensor in tensors if not (fits and tensor.role == "activation"))

    def _counts(self, op: Operator, work: Work) -> dict[str, float]:
        counts = {
            "cache": work.cache_bytes * 8.0,
            "core": work.core_bytes * 8.0,
            "link": work.link_bytes * 8.0,
        }
        if work.matrix_flops:
            matrix = _format("matrix", self._spec.matrix_tflops, op)
            counts[f"matrix {matrix}"] = float(work.matrix_flops)
        if work.vector_flops:
            vector = _format("vector", self._spec.vector_tflops, op)
            counts[f"vector {vector}"] = float(work.vector_flops)
        return {item: count for item, count in counts.items() if count}


def _cores(spec: CoresSpec) -> Cores:
    return Cores(
        count=spec.count,
        buffer_bytes=spec.buffer_bytes,
        tile_sides=tuple(spec.tile_sides),
        tile_depth=spec.tile_depth,
        register_side=spec.register_side,
    )


def _ring_ns(ring: RingSpec, ways: int, size_bytes: int) -> float:
    part_ns = size_bytes / ways / ring.bandwidth_bytes_per_ns
    return (ways - 1) * (ring.step_ns + part_ns)


def _priced(prices: dict[str, float], op: Operator, otherwise: float) -> float:
    """Of an operator's function, of its kind, or the default."""
    names = (op.function, op.kind) if isinstance(op, Elementwise) else (op.kind,)
    return next((prices[n] for n in (*names, "default") if n in prices), otherwise)


def _format(kind: str, rates: dict[str, float], op: Operator) -> str:
    dtype: str = getattr(op, "dtype", FALLBACK)
    if dtype in rates:
        return dtype
    if FALLBACK in rates:
        return FALLBACK
    raise MappingError(
        f"{op.kind} {op.name!r}: no {kind} rate for {dtype}, and none for {FALLBACK} to convert "
        f"to; the device has {', '.join(rates)}"
    )
