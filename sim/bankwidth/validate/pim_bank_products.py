"""What a model hands to computing banks, through the programs of the plan that a run executes."""

from __future__ import annotations

import numpy as np

from bankwidth.devices.pim.numbers import Floats
from bankwidth.devices.pim.program import PimProgram
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.kv_data import (
    append_operands,
    clear_values,
    context_operands,
    score_operands,
    stored_keys,
    stored_values,
)
from bankwidth.mapping.kv_layout import KvLayout
from bankwidth.mapping.pim_data import load_weights, matmul_operands
from bankwidth.operators import Attention, Elementwise, KvAppend, Matmul, Trace
from bankwidth.spec import MachineSpec
from bankwidth.validate.pim_block import Parameters, PlainProducts, softmax
from bankwidth.validate.pim_checks import LAYOUTS, Banks, pim_engine


class BankProducts:
    """The computing banks of a machine, with the programs of the plan of a trace.

    What the plan leaves to the host is computed as `PlainProducts` does.
    """

    def __init__(self, machine: MachineSpec, trace: Trace, parameters: Parameters) -> None:
        self._engine, _ = pim_engine(machine)
        self._options = machine.mapping.pim
        self._parameters, self._host = parameters, PlainProducts(parameters)
        self._plan = make_plan(machine, trace)
        self._operators = [step.operator for step in trace.expand()]
        banks = Banks(machine)
        self.geometry, self.memory = banks.geometry, banks.memory
        self._loaded: set[str] = set()
        self._layouts: dict[int, KvLayout] = {}
        self._kv_row: dict[int, int] = {}

    def programs(self, index: int) -> list[PimProgram]:
        """The programs of an operator, in the order in which they run; none if the host has it."""
        tasks = [task for task in self._plan.tasks if task.operator == index]
        return [task.program for task in tasks if isinstance(task.program, PimProgram)]

    def is_fused(self, index: int) -> bool:
        is_function = isinstance(self._operators[index], Elementwise)
        return is_function and any(
            task.operator == index and task.engine == self._engine for task in self._plan.tasks
        )

    def matmul(self, op: Matmul, index: int, x: Floats) -> Floats:
        programs = self.programs(index)
        if not programs:
            return self._host.matmul(op, index, x)
        (program,) = programs
        weights, bias = self._parameters.weights(op), self._parameters.bias(op)
        name = f"{op.layer}/{op.name}"
        if name not in self._loaded:
            load_weights(self.memory, self.geometry, weights, program.first_row, self._options)
            self._loaded.add(name)
        operands = matmul_operands(
            self.geometry, x, op.n, bias, self._options, self._function_after(index)
        )
        return self.memory.run(program, operands, op.m * op.n).reshape(op.m, op.n)

    def _function_after(self, index: int) -> str:
        after = self._operators[index + 1] if index + 1 < len(self._operators) else None
        is_fused = isinstance(after, Elementwise) and self.is_fused(index + 1)
        return after.function if is_fused and isinstance(after, Elementwise) else ""

    def append(self, op: KvAppend, index: int, keys: Floats, values: Floats) -> None:
        programs = self.programs(index)
        if not programs:
            return self._host.append(op, index, keys, values)
        (program,) = programs
        attention = next(o for o in self._operators[index:] if isinstance(o, Attention))
        if op.layer not in self._layouts:
            self._layouts[op.layer] = self._layout(attention)
            self._kv_row[op.layer] = program.first_row
            clear_values(self.memory, self._layouts[op.layer], program.first_row)
        first = attention.kv_len - attention.q_len
        operands = append_operands(self._layouts[op.layer], keys[None], values[None], first)
        self.memory.run(program, operands, 0)

    def _layout(self, op: Attention) -> KvLayout:
        longest = max(o.kv_len for o in self._operators if isinstance(o, Attention))
        return LAYOUTS[self._options.heads](
            geometry=self.geometry,
            n_heads=op.n_heads,
            n_kv_heads=op.n_kv_heads,
            head_dim=op.head_dim,
            reserved_tokens=self._options.reserve_tokens or longest,
        )

    def attention(self, op: Attention, index: int, queries: Floats) -> Floats:
        if op.layer not in self._layouts:
            return self._host.attention(op, index, queries)
        layout, programs = self._layouts[op.layer], self.programs(index)
        lengths = range(op.kv_len - op.q_len + 1, op.kv_len + 1)
        steps = [(0, length) for length in lengths]
        scores = self._scores(op, layout, queries, steps, programs)
        scaled = scores / np.float32(np.sqrt(op.head_dim))
        rows = [softmax(s, n)[:, :n] for s, n in zip(scaled, lengths, strict=True)]
        return self._context(op, layout, rows, steps, programs)

    def _scores(
        self,
        op: Attention,
        layout: KvLayout,
        queries: Floats,
        steps: list[tuple[int, int]],
        programs: list[PimProgram],
    ) -> Floats:
        """[step, head, token], by the banks or by the host from what the banks hold."""
        shape = (op.q_len, op.n_heads, op.kv_len)
        if self._options.score == "bank":
            operands = score_operands(layout, list(queries), steps)
            return self.memory.run(programs[0], operands, int(np.prod(shape))).reshape(shape)
        keys = stored_keys(self.memory, layout, self._kv_row[op.layer], op.kv_len)
        shared = np.repeat(keys, layout.shared, axis=1)
        return np.asarray(np.einsum("qhd,thd->qht", queries, shared), dtype=np.float32)

    def _context(
        self,
        op: Attention,
        layout: KvLayout,
        rows: list[Floats],
        steps: list[tuple[int, int]],
        programs: list[PimProgram],
    ) -> Floats:
        """[step, head, element], by the banks or by the host from what the banks hold."""
        shape = (op.q_len, op.n_heads, op.head_dim)
        if self._options.context == "bank":
            operands = context_operands(layout, rows, steps, self._options)
            return self.memory.run(programs[-1], operands, int(np.prod(shape))).reshape(shape)
        values = stored_values(self.memory, layout, self._kv_row[op.layer], op.kv_len)
        shared = np.repeat(values, layout.shared, axis=1)
        return np.stack([np.einsum("ht,thd->hd", p, shared[: p.shape[1]]) for p in rows])
