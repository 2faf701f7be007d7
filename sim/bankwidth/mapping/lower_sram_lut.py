"""Products in compute SRAM: pieces whose weights the slices hold, one after the other.

Weights come from memory ahead of their product (`staging.py`). Activations are quantised and
results made floating point in the arrays, or by the engine beside them. What else a model does is
the default engine's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.activations import activations
from bankwidth.devices.sram_lut.costs import Costs, Law
from bankwidth.devices.sram_lut.engine import run_product
from bankwidth.devices.sram_lut.lookups import coding_of
from bankwidth.devices.sram_lut.outcome import Outcome
from bankwidth.devices.sram_lut.product import Chip, Operand, Product
from bankwidth.devices.sram_lut.quantising import Quantising, quantising_of
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import DTYPE_BITS, DTYPE_BLOCKS, Elementwise, Matmul, Operator
from bankwidth.spec import MachineSpec, SramLutMappingSpec, SramLutSpec
from bankwidth.units import ns_to_ps

UNIT: Final = "arrays"
BITS: Final = 8
PIECES_STAGED: Final = 2  # a double buffer: one computed with, one on its way
FORMATS: Final = ("int1", "int2", "int3", "int4", "int5", "int6", "int7", "int8", "ternary")
DRAWN_OUTPUTS: Final = 64  # whose weights are drawn where weights index tables; they repeat


class HostLowering(Protocol):
    """The engine beside the arrays (see build.py)."""

    def supports(self, op: Operator) -> bool:
        """Whether the engine can run the operator at all."""

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Tasks that run one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some of the outputs of a product."""

    first: int
    outputs: int
    weight_bytes: int


class SramLutLowering:
    """Products of one chip's arrays; equal ones are run once."""

    def __init__(self, spec: SramLutSpec, machine: MachineSpec, host: HostLowering) -> None:
        self._spec, self._machine = spec, machine.name
        self._options = machine.mapping.sram_lut
        self._host, self._host_name = host, machine.mapping.run["default"]
        self._chip, self._costs = chip_of(spec), costs_of(spec)
        self._known: dict[Hashable, Outcome] = {}

    def supports(self, op: Operator) -> bool:
        """Products with weights."""
        return isinstance(op, Matmul) and op.has_weight

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """A task for each piece; where the host converts, its tasks before and behind.

        Raises MappingError for weights that are not integers of at most 8 bits with one scale for
        each output, and for tables and sums that do not fit an array.
        """
        assert isinstance(op, Matmul)
        self._check(op)
        loads = self._weights(op, context)
        tasks = [
            self._piece(op, index, engine, piece, load)
            for piece, load in zip(self.pieces(op), loads, strict=True)
        ]
        if self._options.convert == "host":
            before = self._on_host(op, "quantise", op.m * op.batch * op.k, index, context)
            behind = self._on_host(op, "dequantise", op.m * op.batch * op.n, index, context)
            return [*before, *tasks, *behind]
        tasks[0] = self._quantised(op, tasks[0])
        return tasks

    def outcome(self, op: Matmul, outputs: int) -> Outcome:
        """What the arrays take for so many outputs of a product."""
        key = (op.m * op.batch, op.k, outputs, op.weight_dtype)
        if key not in self._known:
            product = self._product(op, outputs)
            self._known[key] = run_product(self._chip, self._costs, product)
        return self._known[key]

    def quantising(self, op: Matmul) -> Quantising:
        """What it takes to make the activations of a product integers."""
        elements = op.m * op.batch * op.k
        return quantising_of(self._chip, self._costs, elements, self._options.activation_width)

    def pieces(self, op: Matmul) -> list[Piece]:
        """Outputs whose weights fit half of what the slices hold; a tile of lanes at least.

        As few pieces as can be, all alike, or of a power of two of tiles, which slices share
        better: whichever the arrays take less time for.
        """
        weight = op.inputs[1].size_bytes
        room = self._spec.staging_bytes * self._spec.slices // PIECES_STAGED
        tiles = -(-op.n // self._chip.lanes)
        most = min(tiles, max(1, room * tiles // weight))
        alike = -(-tiles // -(-tiles // most))
        ways = [self._cut(op, step) for step in dict.fromkeys((alike, 1 << most.bit_length() - 1))]
        return min(ways, key=lambda way: sum(self.outcome(op, p.outputs).cycles for p in way))

    def _cut(self, op: Matmul, tiles: int) -> list[Piece]:
        weight, step = op.inputs[1].size_bytes, tiles * self._chip.lanes
        counts = [min(step, op.n - first) for first in range(0, op.n, step)]
        return [
            Piece(first=i * step, outputs=count, weight_bytes=weight * count // op.n)
            for i, count in enumerate(counts)
        ]

    # ---- parts of a task

    def _check(self, op: Matmul) -> None:
        if op.weight_dtype in FORMATS:
            return
        bits = DTYPE_BITS[op.weight_dtype]
        instead = f"int{bits}" if op.weight_dtype in DTYPE_BLOCKS else "int4"
        what = "has a scale for each block" if op.weight_dtype in DTYPE_BLOCKS else "is no integer"
        raise MappingError(
            f"{op.name}: weights of {op.weight_dtype}: {what}, the arrays of {self._machine} take "
            f"{', '.join(FORMATS)}; use --weight-dtype {instead}, or {self._host_name!r} for matmul"
        )

    def _product(self, op: Matmul, outputs: int) -> Product:
        options, rows = self._options, op.m * op.batch
        weights = Operand(
            bits=DTYPE_BITS[op.weight_dtype],
            coding=coding_of(op.weight_dtype),
            wire_bits=BITS * op.inputs[1].size_bytes / (op.k * op.n),
        )
        width = options.activation_width
        inputs = Operand(bits=width, coding="twos", wire_bits=width)
        common: dict[str, Any] = {
            "name": op.name,
            "algorithm": options.algorithm,
            "inputs": op.k,
            "group": options.group,
            "accumulator_bits": options.accumulator_width,
            **options.pattern.model_dump(exclude={"source"}),
            "convert": options.convert == "arrays",
        }
        if options.algorithm == "activation_tables":
            values = drawn_weights(options, op.weight_dtype, min(outputs, DRAWN_OUTPUTS), op.k)
            return Product(
                lanes=rows, members=outputs, numbers=inputs, index=weights, values=values, **common
            )
        values = activations(options.activations, rows, op.k, width)
        return Product(
            lanes=outputs, members=rows, numbers=weights, index=inputs, values=values, **common
        )

    def _weights(self, op: Matmul, context: LoweringContext) -> Iterator[Transfer]:
        tensor = op.inputs[1]
        whole = context.transfer(tensor, op.layer, is_write=False, size_bytes=tensor.size_bytes)
        at = whole.address
        for piece in self.pieces(op):
            yield replace(whole, address=at, size_bytes=piece.weight_bytes, ahead=True)
            at += piece.weight_bytes

    def _piece(self, op: Matmul, index: int, engine: str, piece: Piece, load: Transfer) -> Task:
        found = self.outcome(op, piece.outputs)
        switch_ns = self._spec.switch_ck / self._spec.clock_ghz if piece.first == 0 else 0.0
        return Task(
            name=op.name if piece.first == 0 else f"{op.name}.{piece.first}",
            operator=index,
            engine=engine,
            unit=UNIT,
            deps=(),
            launch_ps=ns_to_ps(self._spec.issue_ns + switch_ns),
            compute_ps=self._ck_ps(found.cycles),
            ideal_ps=self._ck_ps(found.ideal_cycles),
            overlap=math.inf,
            loads=(load,),
            counts=_counts(found, load.size_bytes),
            split_ps={word: self._ck_ps(ck) for word, ck in found.split.items()},
            detail=_detail(found),
        )

    def _quantised(self, op: Matmul, task: Task) -> Task:
        """The first task, with its activations made integers before it."""
        own = self.quantising(op)
        counts = dict(task.counts)
        counts["convert"] = counts.get("convert", 0.0) + own.array_cycles
        counts["access"] += own.port_rows
        counts["bus"] += own.bus_bits
        own_ps = self._ck_ps(own.cycles)
        split = dict(task.split_ps)
        split["convert"] += own_ps
        return replace(task, compute_ps=task.compute_ps + own_ps, counts=counts, split_ps=split)

    def _on_host(
        self, op: Matmul, word: str, elements: int, index: int, context: LoweringContext
    ) -> list[Task]:
        """A scale times each element, by the engine beside the arrays."""
        scaling = Elementwise(
            name=f"{op.name}.{word}",
            layer=op.layer,
            deps=op.deps,
            function="mul",
            elements=elements,
            num_inputs=2,
            dtype=op.dtype,
        )
        return self._host.lower(scaling, index, self._host_name, context)

    def _ck_ps(self, cycles: int) -> int:
        return ns_to_ps(cycles / self._spec.clock_ghz)


def chip_of(spec: SramLutSpec) -> Chip:
    """A description in plain numbers."""
    return Chip(
        slices=spec.slices,
        banks_per_slice=spec.banks_per_slice,
        arrays_per_bank=spec.arrays_per_bank,
        rows=spec.array.rows,
        columns=spec.array.columns,
        layout=spec.array.layout,
        word_bits=spec.array.word_bits or 0,
        buffers=spec.array.weight_buffers,
        slice_bus_bits=spec.slice_bus_bits,
        bank_port_bits=spec.bank_port_bits,
    )


def costs_of(spec: SramLutSpec) -> Costs:
    """The laws of its style of arrays."""
    laws = {name: getattr(spec.laws, name) for name in type(spec.laws).model_fields}
    laws.pop("source", None)
    return Costs({name: Law(law.product, law.linear, law.constant) for name, law in laws.items()})


def drawn_weights(
    options: SramLutMappingSpec, dtype: str, outputs: int, inputs: int
) -> NDArray[np.signedinteger]:
    """[outputs, inputs] weights as the numbers of a machine are drawn, in a format of integers.

    Ternary ones are those above half of the mean magnitude, as BitNet b1.58 rounds them; binary
    ones are signs.
    """
    coding = coding_of(dtype)
    if coding == "twos":
        return activations(options.activations, outputs, inputs, DTYPE_BITS[dtype])
    fine = activations(options.activations, outputs, inputs, 12).astype(np.int32)
    if coding == "binary":
        return np.where(fine < 0, -1, 1)
    mean = np.abs(fine).mean(axis=1, keepdims=True)
    ternary: NDArray[np.int32] = np.clip(np.rint(fine / mean), -1, 1).astype(np.int32)
    return ternary


def _counts(found: Outcome, weight_bytes: int) -> dict[str, float]:
    """What energy is charged for; cycles are those of all arrays."""
    phases = {phase.name.lower(): float(ck) for phase, ck in found.phase_cycles.items()}
    return {
        **phases,
        "access": float(found.port_rows),
        "bus": float(found.bus_bits),
        "staging": 2.0 * BITS * weight_bytes,
    }


def _detail(found: Outcome) -> str:
    tiling = found.tiling
    waves = f" in {tiling.waves} waves" if tiling.waves > 1 else ""
    return (
        f"{tiling.units} x {tiling.parts} arrays of a slice{waves}, {tiling.rows.members} rows of "
        f"x each, {100 * found.split['build'] // max(1, found.cycles)} % building tables"
    )
