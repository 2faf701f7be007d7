"""AttAcc's commands: attention, whole heads with their softmax on stacks of 16 channels; products.

Heads of all sequences are dealt out evenly to the stacks. Keys and values of a layer lie in rows of
their own, the values behind the keys. New keys and values come as plain writes from the engine
that makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.attacc_program import CHANNELS, AttentionWork, channel_programs
from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import ChannelProgram, program_of
from bankwidth.errors import MappingError, SpecError
from bankwidth.mapping.attacc_products import LEVEL, ProductShape, product_programs
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.pim_geometry import PimGeometry
from bankwidth.mapping.stages import InBanks, Stage
from bankwidth.operators import DTYPE_BITS, Attention, Matmul, Operator
from bankwidth.spec import PimMappingSpec, PimSpec

MAC: Final = "MAC"
# Where the units are, by the banks of a channel that a MAC reads at once.
LEVELS: Final = {64: "bank", 16: "bg", 2: "buffer"}
BITS: Final = (8, 16)  # of the elements that the units multiply; their time depends on no more
ROW: Final = 2  # column of a macro


class AttaccPrograms:
    """Attentions of one shape share their programs, on rows of their own."""

    def __init__(self, spec: PimSpec, geometry: PimGeometry, options: PimMappingSpec) -> None:
        self._config, self._channels = geometry.config, geometry.channels
        banks = len(self._config.touched(MAC))
        if banks not in LEVELS:
            raise MappingError(f"{spec.name}: a MAC of {banks} banks, AttAcc's have {[*LEVELS]}")
        if self._channels % CHANNELS:
            raise MappingError(
                f"{spec.name}: {self._channels} channels are no whole stacks of {CHANNELS}"
            )
        self._level = LEVELS[banks]
        self._buffer_columns = geometry.buffer_columns
        self._made: dict[Any, InBanks] = {}

    def supports(self, op: Operator) -> bool:
        """Attention of one new token per sequence, each head with keys of its own; products where
        every bank has a unit. Elements of 8 or 16 bits.
        """
        match op:
            case Attention():
                is_whole = op.q_len == 1 and op.n_heads == op.n_kv_heads
                return is_whole and DTYPE_BITS[op.kv_dtype] in BITS
            case Matmul():
                is_placed = self._level == LEVEL and op.has_weight
                return is_placed and DTYPE_BITS[op.weight_dtype] in BITS
        return False

    def tensor(self, op: Operator, index: int, context: LoweringContext) -> tuple[str, int]:
        """A matrix, or the keys and values of a layer's heads for the longest context."""
        if isinstance(op, Attention):
            op = replace(op, kv_len=max(op.kv_len, context.longest_kv))
        return f"{op.layer}/{op.name}", self._in_banks(op).program.rows

    def stages(self, op: Operator, index: int, context: LoweringContext) -> Sequence[Stage]:
        """One program. Raises MappingError for heads that do not fit the rows."""
        return (self._in_banks(op),)

    def _in_banks(self, op: Operator) -> InBanks:
        match op:
            case Attention():
                key: Any = _work(op, op.batch * op.n_heads)
            case Matmul():
                key = self._shape(op)
            case _:
                raise MappingError(f"{op.kind} {op.name!r}: AttAcc's banks have no program for it")
        if key not in self._made:
            self._made[key] = self._program(op)
        return self._made[key]

    def _shape(self, op: Matmul) -> ProductShape:
        return ProductShape(
            m=op.m * op.batch,
            n=op.n,
            k=op.k,
            lanes=self._config.burst_bytes * 8 // DTYPE_BITS[op.weight_dtype],
            buffer_columns=self._buffer_columns,
        )

    def _channel_programs(self, op: Attention | Matmul) -> tuple[ChannelProgram, ...]:
        if isinstance(op, Matmul):
            return product_programs(self._config, self._shape(op), self._channels)
        try:
            return tuple(self._of_stacks(op))
        except SpecError as error:
            raise MappingError(f"{op.name}: {error}") from error

    def _program(self, op: Attention | Matmul) -> InBanks:
        channels = self._channel_programs(op)
        rows = max(int(group.macros[:, ROW].max()) + 1 for group in channels)
        program = program_of(self._config, channels, rows=rows, flops=op.flops)
        commands = -(-program.mac_commands // self._channels)
        ideal_ps = commands * self._config.cadence_ck(MAC) * self._config.tick_ps
        return InBanks(program=program, ideal_ps=ideal_ps)

    def _of_stacks(self, op: Attention) -> Iterator[ChannelProgram]:
        """Stacks with a head more, and those with one less."""
        stacks = self._channels // CHANNELS
        heads, more = divmod(op.batch * op.n_heads, stacks)
        for count, each in ((more, heads + 1), (stacks - more, heads)):
            if not count or not each:
                continue
            for group in channel_programs(self._config, self._level, _work(op, each)):
                macros = _values_behind_keys(group.macros, self._config)
                yield replace(group, macros=macros, channels=count * group.channels)


def _work(op: Attention, heads: int) -> AttentionWork:
    return AttentionWork(
        heads=heads,
        head_dim=op.head_dim,
        kv_len=op.kv_len,
        element_bytes=DTYPE_BITS[op.kv_dtype] // 8,
    )


def _values_behind_keys(macros: NDArray[np.int64], config: PimConfig) -> NDArray[np.int64]:
    """Rows end to end, where a program by itself has its values in the upper half of the banks."""
    half = config.rows // 2
    rows = macros[:, ROW]
    keys = int(rows[rows < half].max(initial=-1)) + 1
    moved = macros.copy()
    moved[:, ROW] = np.where(rows < half, rows, rows - half + keys)
    return moved
