"""Operators in computing banks: programs for the channels, the rest on the chip beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bankwidth.devices.pim.program import PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.lower_pim import (
    AttentionPrograms,
    KvLayout,
    RowAllocator,
    check_dtype,
    geometry_of,
    lower_attention,
    lower_kv_append,
    lower_matmul,
    matmul_rows,
)
from bankwidth.mapping.plan import Task
from bankwidth.operators import OUTSIDE, Attention, KvAppend, Matmul, Operator
from bankwidth.spec import AsicSpec, MachineSpec, PimSpec

BF16_BYTES = 2
MAC = "MAC_ABK"


class PimLowering:
    """Programs of one PIM engine; weights, keys and values get rows of the banks as they come."""

    def __init__(self, spec: PimSpec, machine: MachineSpec) -> None:
        if spec.memory is None:
            raise MappingError(f"{machine.name}: the pim engine names no memory")
        self._memory = spec.memory
        self._geometry = geometry_of(spec, machine.memories[spec.memory].channels)
        self._rows = RowAllocator(self._geometry)
        self._first_row: dict[str, int] = {}
        self._host, self._host_name = _host(machine)
        # Layers of one shape share their programs, on rows of their own.
        self._products: dict[tuple[int, int, int], PimProgram] = {}
        self._attentions: dict[Attention, AttentionPrograms] = {}
        self._appends: dict[Attention, PimProgram] = {}

    def supports(self, op: Operator) -> bool:
        """Products with weights, attention, and what fills its cache."""
        return isinstance(op, Attention | KvAppend) or (isinstance(op, Matmul) and op.has_weight)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One program, or for attention two with a softmax between; then what is left to add."""
        match op:
            case Matmul():
                return list(self._matmul(op, index, engine))
            case Attention():
                return list(self._attention(op, index, engine, context))
            case KvAppend():
                return [self._append(op, index, engine, context)]
        raise MappingError(f"no program for {op.kind} {op.name!r}")

    def _matmul(self, op: Matmul, index: int, engine: str) -> Iterator[Task]:
        check_dtype(op.name, op.weight_dtype)
        key = (op.m * op.batch, op.n, op.k)
        if key not in self._products:
            self._products[key] = lower_matmul(self._geometry, m=key[0], n=op.n, k=op.k)
        rows = matmul_rows(self._geometry, n=op.n, k=op.k)
        program = self._products[key].at(self._row(f"{op.layer}/{op.name}", rows))
        yield self._task(op.name, index, engine, program, reads=True)
        yield from self._partial_sums(op.name, index, program)

    def _attention(
        self, op: Attention, index: int, engine: str, context: LoweringContext
    ) -> Iterator[Task]:
        check_dtype(op.name, op.kv_dtype)
        layout = self._layout(op, context)
        first_row = self._row(f"{op.layer}/kv", layout.rows)
        shape = _shape(op)
        if shape not in self._attentions:
            self._attentions[shape] = lower_attention(
                layout, kv_len=op.kv_len, q_len=op.q_len, causal=op.causal
            )
        programs = self._attentions[shape]
        yield self._task(
            f"{op.name}.score", index, engine, programs.score.at(first_row), reads=True
        )
        yield self._softmax(op, index, programs.softmax_rows, programs.softmax_elements)
        context_program = programs.context.at(first_row)
        yield self._task(f"{op.name}.context", index, engine, context_program, reads=True)
        yield from self._partial_sums(op.name, index, context_program)

    def _append(self, op: KvAppend, index: int, engine: str, context: LoweringContext) -> Task:
        attention = context.attention_after(index)
        layout = self._layout(attention, context)
        shape = _shape(attention)
        if shape not in self._appends:
            first_token = attention.kv_len - attention.q_len
            self._appends[shape] = lower_kv_append(
                layout, first_token=first_token, tokens=attention.q_len
            )
        program = self._appends[shape].at(self._row(f"{op.layer}/kv", layout.rows))
        return self._task(op.name, index, engine, program, reads=False)

    def _layout(self, op: Attention, context: LoweringContext) -> KvLayout:
        return KvLayout(
            geometry=self._geometry,
            n_heads=op.n_heads,
            n_kv_heads=op.n_kv_heads,
            head_dim=op.head_dim,
            reserved_tokens=context.longest_kv,
            batch=op.batch,
        )

    def _row(self, name: str, rows: int) -> int:
        """First row of a tensor, taken when it is first used."""
        if name not in self._first_row:
            self._first_row[name] = self._rows.take(name, rows)
        return self._first_row[name]

    def _task(
        self, name: str, index: int, engine: str, program: PimProgram, *, reads: bool
    ) -> Task:
        config = self._geometry.config
        mac = config.index(MAC)
        mac_ck = int(config.gaps[:, mac, mac].max())
        commands = -(-program.mac_commands // self._geometry.channels)
        return Task(
            name=name,
            operator=index,
            engine=engine,
            deps=(),
            ideal_ps=commands * mac_ck * config.tick_ps,
            program=program,
            program_memory=self._memory,
            program_read_bytes=program.bank_bytes if reads else 0,
            program_write_bytes=0 if reads else program.bank_bytes,
            detail=f"{program.mac_commands} MAC commands",
        )

    def _partial_sums(self, name: str, index: int, program: PimProgram) -> Iterator[Task]:
        if program.asic_adds:
            yield self._host.task(
                name=f"{name}.sum",
                index=index,
                engine=self._host_name,
                adds=program.asic_adds,
                multiplies=0.0,
                moved_bytes=3 * program.asic_adds * BF16_BYTES,
            )

    def _softmax(self, op: Attention, index: int, rows: int, elements: int) -> Task:
        adds, multiplies = self._host.softmax_operations(rows, elements)
        return self._host.task(
            name=f"{op.name}.softmax",
            index=index,
            engine=self._host_name,
            adds=adds,
            multiplies=multiplies,
            moved_bytes=2 * elements * BF16_BYTES,
        )


def _shape(op: Attention) -> Attention:
    """The attention of any layer with these sizes."""
    return replace(op, name="", layer=OUTSIDE, deps=())


def _host(machine: MachineSpec) -> tuple[AsicLowering, str]:
    """The chip that runs what the banks cannot: the default engine."""
    name = machine.mapping.run["default"]
    spec = machine.engines[name]
    if not isinstance(spec, AsicSpec):
        raise MappingError(
            f"{machine.name}: computing banks need an asic engine as mapping.run.default, "
            f"{name!r} is a {spec.kind}"
        )
    return AsicLowering(spec), name
