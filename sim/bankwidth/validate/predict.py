"""Times of single operators, thousands a second: what comparing and calibrating need."""

from __future__ import annotations

from typing import NamedTuple

from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.kernel_cache import prepare
from bankwidth.operators import Operator
from bankwidth.spec import MachineSpec
from bankwidth.system.alone import IdleMachine
from bankwidth.validate.ops import simulate_operator


class OperatorTime(NamedTuple):
    """How long one operator takes on an idle machine, and what bounds it."""

    latency_s: float
    lower_bound_s: float
    bound: str


class Predictor:
    """One machine; an operator is timed once, however often it is asked for."""

    def __init__(self, machine: MachineSpec, timing: Timing = IN_A_MODEL) -> None:
        prepare()
        self._machine = machine
        self._idle = IdleMachine(machine, timing)
        self._known: dict[Operator, OperatorTime] = {}

    def time(self, op: Operator) -> OperatorTime:
        """Raises MappingError where the machine cannot run the operator."""
        if op not in self._known:
            self._known[op] = self._run(op)
        return self._known[op]

    def _run(self, op: Operator) -> OperatorTime:
        alone = self._idle.run(op)
        if alone is not None:
            return OperatorTime(alone.latency_ps * 1e-12, alone.lower_bound_ps * 1e-12, alone.bound)
        result = simulate_operator(self._machine, op)
        return OperatorTime(
            result.latency_ns * 1e-9,
            result.lower_bound_ns * 1e-9,
            str(result.operators["bound"][0]),
        )
