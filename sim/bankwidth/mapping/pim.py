"""Operators in computing banks: programs for the channels, the rest on the engine beside them."""

from __future__ import annotations

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.host import EngineLowering, host_of
from bankwidth.mapping.pim_geometry import RowAllocator
from bankwidth.mapping.pim_programs import programs_of
from bankwidth.mapping.plan import Task
from bankwidth.mapping.stages import Fused, InBanks, Stage
from bankwidth.operators import Operator
from bankwidth.spec import MachineSpec, PimSpec
from bankwidth.units import ns_to_ps


class PimLowering:
    """Programs of one PIM engine; weights, keys and values get rows of the banks as they come."""

    def __init__(self, spec: PimSpec, machine: MachineSpec, host: EngineLowering) -> None:
        self._programs, geometry = programs_of(spec, machine)
        self._memory = spec.memory or ""
        self._start_ps = ns_to_ps(spec.start_ns)
        self._host = host_of(machine, host)
        self._rows = RowAllocator(geometry)
        self._first_row: dict[str, int] = {}

    def supports(self, op: Operator) -> bool:
        """What the device's commands can compute."""
        return self._programs.supports(op)

    def repeats(self, op: Operator) -> bool:
        """Whether an operator's tasks are the same wherever it comes in a trace."""
        repeats = getattr(self._programs, "repeats", None)
        return repeats is not None and bool(repeats(op))

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Programs, and the host's tasks between and behind them.

        Raises MappingError for what the banks cannot take, or no longer hold.
        """
        first_row = self._row(*self._programs.tensor(op, index, context))
        stages = self._programs.stages(op, index, context)
        return [
            task
            for stage in stages
            for task in self._tasks(stage, op, index, engine, first_row, context)
        ]

    def _row(self, name: str, rows: int) -> int:
        """First row of a tensor, taken when it is first used."""
        if name not in self._first_row:
            self._first_row[name] = self._rows.take(name, rows)
        return self._first_row[name]

    def _tasks(
        self,
        stage: Stage,
        op: Operator,
        index: int,
        engine: str,
        first_row: int,
        context: LoweringContext,
    ) -> list[Task]:
        match stage:
            case InBanks():
                return [self._in_banks(stage, op, index, engine, first_row)]
            case Fused():
                return [Task(name=op.name, operator=index, engine=engine, deps=(), detail="fused")]
        return self._host.tasks(stage, op, index, context)

    def _in_banks(
        self, stage: InBanks, op: Operator, index: int, engine: str, first_row: int
    ) -> Task:
        program = stage.program.at(first_row)
        return Task(
            name=f"{op.name}{stage.suffix}",
            operator=index,
            engine=engine,
            deps=(),
            issue_ps=self._start_ps,
            ideal_ps=stage.ideal_ps,
            program=program,
            program_memory=self._memory,
            program_read_bytes=program.bank_bytes if stage.reads else 0,
            program_write_bytes=0 if stage.reads else program.bank_bytes,
            detail=f"{program.mac_commands} MAC commands",
        )
