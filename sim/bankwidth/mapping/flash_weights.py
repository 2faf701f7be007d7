"""Weights that lie in flash: reads of what is not in memory, before the product that needs it.

Alizadeh et al., "LLM in a flash" (ACL 2024). A product whose weights are not in memory waits until
they are read, in the order of the drive. Of a feed-forward part only the neurons come that a token
is predicted to use and that those of the tokens before it have not left in memory: in pieces, each
at a place of its own. They replace as many that leave: rows at the end of a matrix move into the
gaps, and the new rows are put behind them. The part then computes with all neurons in memory.

A prompt uses nearly all neurons, so its feed-forward parts are read whole. That the first token
behind it finds none of its neurons in memory is not modelled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.feed_forward import Neurons, Part, narrowed, neurons_of, part_of, parts
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import Elementwise, Embedding, Matmul, Operator, Tensor, Trace
from bankwidth.operators.tensor import weight
from bankwidth.spec import MachineSpec
from bankwidth.spec.flash_mapping import FlashMappingSpec, NeuronsSpec
from bankwidth.units import ns_to_ps

GIB = 2.0**30


class EngineLowering(Protocol):
    """What an engine kind does with an operator (see build.py)."""

    def supports(self, op: Operator) -> bool:
        """Whether the engine can run the operator at all."""

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Tasks that run one after the other."""


# ---- what stays in memory


def kept(machine: MachineSpec, trace: Trace) -> Trace:
    """A trace whose weights are those that stay in memory, for their placement.

    Raises MappingError where the drive cannot hold all weights.
    """
    flash = machine.mapping.flash
    if flash is None:
        return trace
    _check_drive(machine, flash, trace)
    return replace(trace, weight_bytes=_kept_bytes(machine, flash, trace))


def _check_drive(machine: MachineSpec, flash: FlashMappingSpec, trace: Trace) -> None:
    capacity = machine.memories[flash.memory].capacity_bytes
    if capacity is not None and trace.weight_bytes > capacity:
        raise MappingError(
            f"{trace.model} does not fit {machine.name}: weights of {trace.weight_bytes / GIB:.2f} "
            f"GiB in memory {flash.memory!r} of {capacity / GIB:.2f} GiB (mapping.flash); use a "
            f"narrower dtype or a larger drive"
        )


def _kept_bytes(machine: MachineSpec, flash: FlashMappingSpec, trace: Trace) -> int:
    products = products_of(trace)
    if flash.resident == "attention":
        return _without_neurons(flash, trace, [(op, part) for op, part in products if part])
    sizes = [_weight_bytes(op) for op, _ in products]
    read_into = max(sizes, default=0)
    if flash.resident == "fitting":
        return min(trace.weight_bytes, max(read_into, _room_bytes(machine, trace)))
    return max(read_into, trace.weight_bytes - sum(sizes) + read_into)


def _without_neurons(
    flash: FlashMappingSpec, trace: Trace, feed_forward: Sequence[tuple[Matmul, Part]]
) -> int:
    """All but feed-forward parts; of those the neurons of a window, or room for one product."""
    sizes = [_weight_bytes(op) for op, _ in feed_forward]
    kept_bytes = max(sizes, default=0)
    if flash.neurons is not None:
        held = flash.neurons.held(1)
        rows = sum(_weight_bytes(narrowed(op, part, held)) for op, part in feed_forward)
        kept_bytes = max(kept_bytes, rows)
    predictors = [op for up, part in feed_forward if part == "up" for op in predictor_of(flash, up)]
    return trace.weight_bytes - sum(sizes) + kept_bytes + sum(map(_weight_bytes, predictors))


def _room_bytes(machine: MachineSpec, trace: Trace) -> int:
    """What the weights' memory has left for them; a GPU's or a host's."""
    place = machine.mapping.place
    capacity = machine.memories[place["weights"]].capacity_bytes
    if capacity is None:
        return trace.weight_bytes
    others = {"kv": trace.kv_bytes, "activations": trace.activation_bytes}
    return capacity - sum(size for role, size in others.items() if place[role] == place["weights"])


def products_of(trace: Trace) -> list[tuple[Matmul, Part | None]]:
    """Every product with weights once, with what it is of a feed-forward part."""
    operators = [step.operator for step in trace.expand()]
    found = {
        (op.layer, op.name): (op, part)
        for op, part in parts(operators)
        if isinstance(op, Matmul) and op.has_weight
    }
    return list(found.values())


def predictor_of(flash: FlashMappingSpec, up: Operator) -> list[Matmul]:
    """The two thin products that tell a layer's neurons; none where they are known for free."""
    rank = flash.rank_of(up.layer)
    if not rank or not isinstance(up, Matmul):
        return []
    width = neurons_of(up, None).width
    thin = replace(up, name=f"{up.name}.predict_in", n=rank, bias=False)
    wide = replace(up, name=f"{up.name}.predict_out", n=width, k=rank, bias=False, deps=())
    return [thin, wide]


def _weight_bytes(op: Operator) -> int:
    """Of a product's matrix."""
    return sum(t.size_bytes for t in op.inputs if t.role == "weight" and len(t.shape) > 1)


# ---- what is read


def with_flash(
    engines: Mapping[str, EngineLowering], machine: MachineSpec, trace: Trace
) -> Mapping[str, EngineLowering]:
    """The engines with reads before what needs them, where weights lie in flash."""
    flash = machine.mapping.flash
    if flash is None:
        return engines
    streamed = _streamed_share(machine, flash, trace)
    drive = _Drive(flash.memory)
    return {name: WithFlash(each, flash, streamed, drive) for name, each in engines.items()}


def _streamed_share(machine: MachineSpec, flash: FlashMappingSpec, trace: Trace) -> float:
    """Of each product's weights, what is read for each token."""
    if flash.resident != "fitting":
        return 1.0 if flash.resident == "nothing" else 0.0
    room = _kept_bytes(machine, flash, trace)
    if room >= trace.weight_bytes:
        return 0.0
    sizes = [_weight_bytes(op) for op, _ in products_of(trace)]
    total, largest = sum(sizes), max(sizes)
    # What is read of the largest product needs room as well.
    left = room - (trace.weight_bytes - total)
    return min(1.0, (total - left) / (total - largest))


class _Drive:
    """Places in the drive, one behind the other in the order of use."""

    def __init__(self, memory: str) -> None:
        self.memory = memory
        self._used_bytes = 0
        self._known: dict[tuple[int, str], int] = {}

    def address_of(self, op: Operator, size_bytes: int) -> int:
        key = (op.layer, op.name)
        if key not in self._known:
            self._known[key] = self._used_bytes
            self._used_bytes += size_bytes
        return self._known[key]


class WithFlash:
    """An engine whose products wait until the weights they lack are read."""

    def __init__(
        self, engine: EngineLowering, flash: FlashMappingSpec, streamed: float, drive: _Drive
    ) -> None:
        self._engine = engine
        self._flash = flash
        self._streamed = streamed
        self._drive = drive

    def supports(self, op: Operator) -> bool:
        """What the engine runs."""
        return self._engine.supports(op)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Reads, what they cost besides, and the engine's own tasks, one after the other."""
        before = context.operator_after(index - 2) if index else None
        after = context.operator_after(index)
        part = part_of(before, op, after)
        neurons, tokens = self._flash.neurons, _tokens(op)
        if part is None or neurons is None or neurons.used(tokens) >= 1.0:
            return [*self._whole(op, part, index, engine, context)]
        own = self._engine.lower(narrowed(op, part, neurons.held(tokens)), index, engine, context)
        if part != "up" or not isinstance(op, Matmul):
            return own
        new = _New(neurons_of(op, after), neurons, tokens)
        return [*self._fetch(op, new, index, engine, context), *own]

    def _whole(
        self, op: Operator, part: Part | None, index: int, engine: str, context: LoweringContext
    ) -> Sequence[Task]:
        """An operator whose weights come as they lie, where they are not in memory."""
        own = self._engine.lower(op, index, engine, context)
        share = 1.0 if part and self._flash.resident == "attention" else self._streamed
        size_bytes = round(_weight_bytes(op) * share) if _has_weights(op) else 0
        if not size_bytes:
            return own
        tensor = next(t for t in op.inputs if t.role == "weight")
        address = self._drive.address_of(op, _weight_bytes(op))
        load = Transfer(
            memory=self._drive.memory, address=address, size_bytes=size_bytes, is_write=False
        )
        store = context.transfer(tensor, op.layer, is_write=True, size_bytes=size_bytes)
        return [_read(op, index, engine, load, (store,), f"{share:.0%} of the weights"), *own]

    def _fetch(
        self, op: Matmul, new: _New, index: int, engine: str, context: LoweringContext
    ) -> Sequence[Task]:
        """From the prediction to the new neurons' rows in their place."""
        made: list[Task] = []
        for thin in predictor_of(self._flash, op):
            made += self._engine.lower(thin, index, engine, context)
        if self._flash.bookkeeping_ns:
            made.append(_bookkeeping(op, index, engine, self._flash.bookkeeping_ns))
        if new.count:
            made.append(self._read_neurons(op, new, index, engine, context))
            if new.moved:
                dropped = new.copied(op, "drop", new.moved)
                made += self._engine.lower(dropped, index, engine, context)
            made += self._put(op, new, index, engine, context)
        return made

    def _read_neurons(
        self, op: Matmul, new: _New, index: int, engine: str, context: LoweringContext
    ) -> Task:
        load = Transfer(
            memory=self._drive.memory,
            address=self._drive.address_of(op, new.neurons.width * new.neurons.neuron_bytes),
            size_bytes=new.size_bytes,
            is_write=False,
            chunk_bytes=new.piece_bytes,
        )
        store = self._staged(op, new, context, is_write=True)
        detail = f"{new.count} neurons in pieces of {new.piece_bytes} bytes"
        return _read(op, index, self._flash.reader or engine, load, (store,), detail)

    def _staged(
        self, op: Matmul, new: _New, context: LoweringContext, *, is_write: bool
    ) -> Transfer:
        """The rows where they were read to."""
        if self._flash.staging is not None:
            return Transfer(
                memory=self._flash.staging, address=0, size_bytes=new.size_bytes, is_write=is_write
            )
        tensor = new.tensor(f"{op.name}.staged")
        return context.transfer(tensor, op.layer, is_write=is_write, size_bytes=new.size_bytes)

    def _put(
        self, op: Matmul, new: _New, index: int, engine: str, context: LoweringContext
    ) -> Sequence[Task]:
        """The new rows behind those that stay."""
        put = self._engine.lower(new.copied(op, "insert", new.count), index, engine, context)
        if self._flash.staging is None:
            return put
        tensor = new.tensor(f"{op.name}.placed")
        store = context.transfer(tensor, op.layer, is_write=True, size_bytes=new.size_bytes)
        copy = replace(
            put[0],
            compute_ps=0,
            ideal_ps=0,
            loads=(self._staged(op, new, context, is_write=False),),
            stores=(store,),
        )
        return [copy]


class _New:
    """Neurons that are read for some tokens."""

    def __init__(self, neurons: Neurons, use: NeuronsSpec, tokens: int) -> None:
        self.neurons = neurons
        self.count = neurons.count(use.read(tokens))
        self._held = max(1, neurons.count(use.held(tokens)))
        self.piece_bytes = neurons.neuron_bytes if use.bundled else neurons.row_bytes

    @property
    def size_bytes(self) -> int:
        """Of all their rows."""
        return self.count * self.neurons.neuron_bytes

    def tensor(self, name: str) -> Tensor:
        """Their rows, one behind the other."""
        return weight(
            name, (self.count, self.neurons.matrices * self.neurons.row), self.neurons.dtype
        )

    @property
    def moved(self) -> int:
        """Rows at the end that move into gaps: as many leave as come, some of them at the end."""
        return round(self.count * (1.0 - self.count / self._held))

    def copied(self, op: Matmul, what: str, rows: int) -> Embedding:
        """So many neurons' rows read and written elsewhere."""
        dtype = self.neurons.dtype
        return Embedding(
            name=f"{op.name}.{what}",
            layer=op.layer,
            tokens=rows,
            width=self.neurons.matrices * self.neurons.row,
            vocab=self._held,
            dtype=dtype,
            weight_dtype=dtype,
        )


def _tokens(op: Operator) -> int:
    """New tokens that meet a product's weights."""
    if isinstance(op, Matmul):
        return op.m * op.batch
    return (op.rows or 1) if isinstance(op, Elementwise) else 1


def _has_weights(op: Operator) -> bool:
    return isinstance(op, Matmul) and op.has_weight


def _bookkeeping(op: Operator, index: int, engine: str, time_ns: float) -> Task:
    name, launch_ps = f"{op.name}.list", ns_to_ps(time_ns)
    return Task(name=name, operator=index, engine=engine, deps=(), launch_ps=launch_ps)


def _read(
    op: Operator,
    index: int,
    engine: str,
    load: Transfer,
    stores: tuple[Transfer, ...],
    detail: str,
) -> Task:
    return Task(
        name=f"{op.name}.read",
        operator=index,
        engine=engine,
        deps=(),
        overlap=math.inf,
        loads=(load,),
        stores=stores,
        detail=detail,
    )
