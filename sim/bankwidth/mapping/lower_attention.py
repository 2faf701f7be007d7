"""Attention as the kernel that a library's dispatch takes: devices/gpu/attention.py.

In a model the query was just written and keys and values come from memory. In a benchmark that
replays one call, what fits the L2 is warm, and the call's other kernels are timed with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bankwidth.devices.gpu.attention import (
    AttentionShape,
    Call,
    append_cost,
    attention_cost,
    call_of,
    cold_share,
    regroup_ns,
)
from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import (
    activations_in_l2,
    kernel_task,
    shares,
    stored_instructions,
)
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.streams import streams
from bankwidth.operators import DTYPE_BITS, Attention, Tensor

Counts = Callable[[Chip, Attention, KernelCost], Mapping[str, float]]
APPEND_OVERLAP = 1.0  # its stores follow its loads


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionLowering:
    """What the tasks need of the engine."""

    chip: Chip
    launch_ns: float
    counts: Counts

    def tasks(self, op: Attention, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """The attention kernel; in a replayed call its companions first.

        Raises MappingError for a dtype, a head or a latent that the library has no kernel for.
        """
        shape = attention_shape(op)
        is_decode = op.phase == "decode"
        call = call_of(self.chip.attention, shape, self.chip.sms, decode=is_decode)
        read = sum(tensor.size_bytes for tensor in self._read(op))
        return [
            self._task(op, index, engine, cost, context)
            for cost in self._costs(shape, call, read_bytes=read)
        ]

    def _costs(self, s: AttentionShape, call: Call, *, read_bytes: int) -> Iterable[KernelCost]:
        if not self.chip.timing.replays_attention:
            start_ns = self.launch_ns + self.chip.matmul.start_ns
            yield _kernel(self.chip, call, s, start_ns, read_bytes, s.output_bytes)
            return
        if call.capture.append is not None:
            yield _append(self.chip, call, s)
        moved = s.key_value_bytes + s.query_bytes
        cold = cold_share(self.chip, call.capture, moved + s.output_bytes)
        start_ns = call.capture.launch_ns + regroup_ns(call.capture, s)
        yield _kernel(self.chip, call, s, start_ns, cold * moved, cold * s.output_bytes)

    def _read(self, op: Attention) -> tuple[Tensor, ...]:
        """The cache, and what was just made where the L2 no longer holds it."""
        if self.chip.timing.replays_attention or not activations_in_l2(self.chip, op):
            return op.inputs
        return tuple(t for t in op.inputs if t.role != "activation")

    def _task(
        self, op: Attention, index: int, engine: str, cost: KernelCost, context: LoweringContext
    ) -> Task:
        return kernel_task(
            cost,
            name=op.name,
            operator=index,
            engine=engine,
            launch_ns=0.0,
            loads=self._loads(op, cost.read_bytes, context),
            stores=self._stores(op, cost.write_bytes, context),
            counts=self.counts(self.chip, op, cost),
        )

    def _loads(
        self, op: Attention, size_bytes: int, context: LoweringContext
    ) -> Iterator[Transfer]:
        for tensor, part in streams(shares(self._read(op), size_bytes)):
            yield from context.transfers(
                tensor, op.layer, is_write=False, size_bytes=part, attention=op
            )

    def _stores(
        self, op: Attention, size_bytes: int, context: LoweringContext
    ) -> Iterator[Transfer]:
        posted = not self.chip.timing.replays_attention and self.chip.stays_in_l2(size_bytes)
        for tensor, part in shares(op.outputs, size_bytes):
            yield context.transfer(tensor, op.layer, is_write=True, size_bytes=part, posted=posted)


def attention_shape(op: Attention) -> AttentionShape:
    """Bare numbers of the operator; keys before any token's window do not count."""
    return AttentionShape(
        batch=op.batch,
        q_len=op.q_len,
        kv_len=op.read_len,
        n_heads=op.n_heads,
        n_kv_heads=op.n_kv_heads,
        head_dim=op.head_dim,
        causal=op.causal,
        flops=op.flops,
        dtype=op.dtype,
        element_bytes=DTYPE_BITS[op.dtype] / 8,
        kv_bytes=DTYPE_BITS[op.kv_dtype] / 8,
        value_width=op.value_dim,
        window=op.window if op.window is not None and op.window < op.read_len else None,
        is_latent=op.latent,
        token_bytes=_token_bytes(op),
        token_instructions=_token_instructions(op),
        token_flops=op.remat_flops / (op.batch * op.read_len * op.n_kv_heads),
    )


def _token_bytes(op: Attention) -> float:
    """Key and value of one token and KV head as they are stored: with scales and tables of pages;
    on average, where the newest are stored otherwise. What both are made of is read by every head.
    """
    stored = sum(t.size_bytes for t in op.inputs[1:] if t.role != "weight")
    heads = 1 if op.remat_width else op.n_kv_heads
    return stored / (op.batch * op.read_len * heads)


def _token_instructions(op: Attention) -> float:
    """Conversions of one token's key and value; the newest need none where they are kept plain."""
    keys = stored_instructions(op.kv_dtype, op.dtype)
    values = stored_instructions(op.v_dtype or op.kv_dtype, op.dtype)
    packed = 1 - min(op.residual, op.read_len) / op.read_len
    if op.remat_width:
        return packed * op.remat_width * keys
    return packed * (op.head_dim * keys + (0.0 if op.latent else op.value_dim * values))


def _kernel(
    chip: Chip, call: Call, s: AttentionShape, start_ns: float, read: float, written: float
) -> KernelCost:
    cost = attention_cost(chip, call.kernel, s)
    return KernelCost(
        label=cost.label,
        blocks=cost.blocks,
        waves=cost.waves,
        ideal_ns=s.flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=cost.compute_ns,
        overlap=cost.overlap,
        start_ns=start_ns + cost.serial_ns,
        read_bytes=int(read),
        write_bytes=int(written),
        l2_bytes=int(cost.l2_bytes),
        tensor_flops=s.flops,
        vector_flops=cost.conversions,
    )


def _append(chip: Chip, call: Call, s: AttentionShape) -> KernelCost:
    """The write of new keys and values that a replayed call holds; through the L2 where warm."""
    assert call.capture.append is not None
    cost = append_cost(chip, call.capture.append, s)
    moved = cost.read_bytes + cost.write_bytes
    cold = cold_share(chip, call.capture, moved)
    warm_ns = (1 - cold) * moved / (chip.l2_bytes_per_ns * chip.sms)
    return KernelCost(
        label="append",
        blocks=s.batch * s.q_len,
        waves=1,
        ideal_ns=0.0,
        compute_ns=cost.compute_ns + warm_ns,
        overlap=APPEND_OVERLAP,
        read_bytes=int(cold * cost.read_bytes),
        write_bytes=int(cold * cost.write_bytes),
        l2_bytes=int(moved),
    )
