"""A machine as a function of its marked parameters: times of the sampled rows, and their error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from bankwidth.operators import Operator
from bankwidth.spec import FitParameter, MachineSpec
from bankwidth.spec.values import broken_rules, with_values
from bankwidth.validate.calibration_axes import Axis
from bankwidth.validate.calibration_rows import Floats, MeasuredRows, Numbers

# Times in ns of operators, each run by the library named beside it.
Predict = Callable[[MachineSpec, Sequence[Operator], Sequence[str]], Floats]

_PROBES: Final = (-0.1, 0.1)  # positions to look at beside a point, and both ends
_NUDGES: Final = (1.1, 0.9)  # of a value; the first that breaks no rule


class Model:
    """Values of the parameters in, ln of the sampled rows' times out."""

    def __init__(
        self,
        machine: MachineSpec,
        parameters: Sequence[FitParameter],
        rows: MeasuredRows,
        chosen: Numbers,
        predict: Predict,
    ) -> None:
        shapes, self._shape_of = np.unique(rows.shape_of[chosen], return_inverse=True)
        self._operators = [rows.operators[shape] for shape in shapes]
        self._libraries = [rows.libraries[shape] for shape in shapes]
        self._ln_measured = np.log(rows.measured_ns[chosen])
        self._machine = machine
        self._predict = predict
        self.axes = [Axis(parameter) for parameter in parameters]
        self.start = tuple(parameter.value for parameter in parameters)
        self.evaluations = 0

    def machine(self, values: Sequence[float]) -> MachineSpec:
        """The machine with other values; those at their start are not touched."""
        return with_values(self._machine, self._changed(values))

    def ln_times(self, values: Sequence[float]) -> Floats | None:
        """ln of each sampled row's time in ns; None where the values break a rule."""
        machine = self.machine(values)
        if broken_rules(machine, self._changed(values)):
            return None
        self.evaluations += 1
        return np.log(self._predict(machine, self._operators, self._libraries))[self._shape_of]

    def error(self, values: Sequence[float]) -> float:
        """Mean of |ln(ours / measured)|; infinite where the values break a rule."""
        ln_times = self.ln_times(values)
        return np.inf if ln_times is None else float(np.abs(ln_times - self._ln_measured).mean())

    def effect(self, index: int, values: Sequence[float]) -> float:
        """By how much ln of the times differs over the range of one parameter, on average."""
        axis = self.axes[index]
        here = axis.position(values[index])
        probes = [axis.value(position) for position in (0.0, 1.0, *(here + p for p in _PROBES))]
        found = [self.ln_times(_with(values, index, value)) for value in (values[index], *probes)]
        return float(np.ptp([times for times in found if times is not None], axis=0).mean())

    def sensitivity_pct(self, index: int, values: Sequence[float]) -> float:
        """By how much the times change on average when a parameter grows by a tenth."""
        here = self.ln_times(values)
        for factor in _NUDGES:
            value = self._nudged(index, values[index], factor)
            there = self.ln_times(_with(values, index, value))
            if here is not None and there is not None:
                return float(100.0 * np.expm1(np.abs(there - here)).mean())
        return float("nan")

    def _nudged(self, index: int, value: float, factor: float) -> float:
        parameter = self.axes[index].parameter
        new = value * factor if value else (factor - 1.0) * parameter.high
        if not parameter.is_whole:
            return new
        return float(np.ceil(new) if factor > 1.0 else np.floor(new))

    def _changed(self, values: Sequence[float]) -> Mapping[tuple[str | int, ...], float]:
        return {
            axis.parameter.path: value
            for axis, value in zip(self.axes, values, strict=True)
            if value != axis.parameter.value
        }


def _with(values: Sequence[float], index: int, value: float) -> tuple[float, ...]:
    return (*values[:index], value, *values[index + 1 :])
