"""Marked parameters of a machine fitted to measured operator times.

Half of the shapes, chosen by a seed, is fitted to; the other half only says how good the result
is. The cost is the mean of |ln(ours / measured)|: it weighs a kernel of 2 us like one of 20 ms, and
twice as slow like twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import MappingError, SpecError, TraceError
from bankwidth.spec import FitParameter, MachineSpec, find, fit_parameters, load_machine
from bankwidth.spec.edit import Fitted
from bankwidth.spec.load import fittable
from bankwidth.validate.calibration import ALL, Calibration, Errors, Outcome, RowCounts
from bankwidth.validate.calibration_file import text_with
from bankwidth.validate.calibration_model import Model, Predict
from bankwidth.validate.calibration_rows import Floats, MeasuredRows, read_measured, sample
from bankwidth.validate.calibration_search import Point, minimise
from bankwidth.validate.comparison import error_figures
from bankwidth.validate.gpu_captures import predict_by_library

DEFAULT_ROWS: Final = 600
EVALUATIONS_PER_PARAMETER: Final = 120
# A parameter whose whole range changes the times by less than this on average is left as it is.
_LEAST_EFFECT: Final = 1e-3
# What a move over the whole range costs beside the error, and what a new value must gain at least:
# less than any error that matters, enough to keep a parameter where it was when rows do not tell.
_PULL: Final = 1e-4
_NAMED: Final = 20  # parameters that a message names

Progress = Callable[[int, int, float], None]  # evaluations, their limit, least cost so far


def calibrate(
    arch: str | Path,
    tables: Sequence[Path],
    *,
    out: Path | None = None,
    seed: int = 0,
    rows: int = DEFAULT_ROWS,
    evaluations: int | None = None,
    device: str | None = None,
    predict: Predict = predict_by_library,
    progress: Progress | None = None,
) -> Calibration:
    """Fits the marked parameters of a machine; `out` is where its text is to stand.

    At most `rows` of the half to fit make the fit, of a `device` where the tables have several;
    `predict` gives the times in ns. Raises SpecError for a machine without marked parameters, and
    TraceError for tables that are wrong or too short.
    """
    path = find("machine", arch)
    machine, parameters = load_machine(path), _parameters(path)
    target = out or path
    text_with(path, target, [Fitted(p, p.text(p.value), "") for p in parameters])  # or refuse now
    measured = read_measured(tables, seed=seed, device=device)
    before_ns = _first_times(predict, machine, measured)
    chosen = sample(measured, rows, seed)
    model = Model(machine, parameters, measured, chosen, predict)
    budget = evaluations or EVALUATIONS_PER_PARAMETER * len(parameters)
    outcomes = _fit(model, seed=seed, budget=budget, progress=progress)
    values = [outcome.after for outcome in outcomes]
    fitted = model.machine(values)
    errors = _errors(
        measured, before=before_ns, after=predict(fitted, measured.operators, measured.libraries)
    )
    counts = RowCounts(all=len(measured), fit=int(measured.is_fit.sum()), sampled=len(chosen))
    source = _source(tables, seed, counts, errors["held_out"]["after"][ALL]["mape_pct"])
    changed = [outcome for outcome in outcomes if outcome.is_fitted]
    lines = [Fitted(o.parameter, o.parameter.text(o.after), source) for o in changed]
    return Calibration(
        machine=fitted,
        text=text_with(path, target, lines),
        tables=tuple(tables),
        seed=seed,
        rows=counts,
        evaluations=model.evaluations,
        cost=(model.error(model.start), model.error(values)),
        outcomes=tuple(outcomes),
        errors=errors,
    )


def _parameters(path: Path) -> list[FitParameter]:
    parameters = fit_parameters(path)
    if parameters:
        return parameters
    names = fittable(path)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise SpecError(
        f"{path}: no parameter is marked with bounds to fit it in, as in "
        "'launch: {value: 1 us, fit: [0.1 us, 5 us]}'; "
        f"these could be: {', '.join(names[:_NAMED])}{more}"
    )


def _first_times(predict: Predict, machine: MachineSpec, rows: MeasuredRows) -> Floats:
    """Times of all shapes. Raises TraceError with the first row that the machine cannot run."""
    try:
        return predict(machine, rows.operators, rows.libraries)
    except MappingError:
        for shape, op in enumerate(rows.operators):
            try:
                predict(machine, [op], [rows.libraries[shape]])
            except MappingError as error:
                where = rows.where[int(np.flatnonzero(rows.shape_of == shape)[0])]
                raise TraceError(f"{where}: {error}") from error
        raise


def _fit(model: Model, *, seed: int, budget: int, progress: Progress | None) -> list[Outcome]:
    """Searches over the parameters that the rows depend on; the others keep their values."""
    everything = range(len(model.axes))
    active = [i for i in everything if model.effect(i, model.start) >= _LEAST_EFFECT]
    if not active:
        names = ", ".join(axis.parameter.name for axis in model.axes)
        raise TraceError(f"no time of the measured rows depends on any of {names}: nothing to fit")
    values = _searched(model, active, model.start, seed, budget, progress)
    late = [i for i in everything if i not in active and model.effect(i, values) >= _LEAST_EFFECT]
    if late:  # they matter now that others have moved
        active += late
        values = _searched(model, active, values, seed, budget, progress)
    active = _kept(model, active, values)
    return [
        Outcome(
            parameter=axis.parameter,
            after=values[i],
            sensitivity_pct=model.sensitivity_pct(i, values),
            is_fitted=i in active,
        )
        for i, axis in enumerate(model.axes)
    ]


def _kept(model: Model, active: Sequence[int], values: list[float]) -> list[int]:
    """Those parameters whose old value is worse; the others get it back, in `values`."""
    kept = []
    for i in active:
        old = [*values[:i], model.start[i], *values[i + 1 :]]
        if model.error(old) > model.error(values) + _PULL:
            kept.append(i)
        else:
            values[i] = model.start[i]
    return kept


def _searched(
    model: Model,
    active: Sequence[int],
    start: Sequence[float],
    seed: int,
    budget: int,
    progress: Progress | None,
) -> list[float]:
    """Best values of the active parameters, as they will be written."""
    axes = [model.axes[i] for i in active]
    origin = np.array([axis.position(model.start[i]) for i, axis in zip(active, axes, strict=True)])
    first = np.array([axis.position(start[i]) for i, axis in zip(active, axes, strict=True)])
    limit, least = model.evaluations + budget, np.inf

    def values_at(point: Point) -> list[float]:
        moved = dict(
            zip(active, (a.value(p) for a, p in zip(axes, point, strict=True)), strict=True)
        )
        return [moved.get(i, value) for i, value in enumerate(start)]

    def cost(point: Point) -> float:
        nonlocal least
        found = model.error(values_at(point)) + _PULL * float(((point - origin) ** 2).mean())
        least = min(least, found)
        if progress is not None:
            progress(model.evaluations, limit, least)
        return found

    best, _ = minimise(cost, first, seed=seed, evaluations=budget)
    return [
        axis.parameter.parsed(axis.parameter.text(value)) if i in active else value
        for i, (axis, value) in enumerate(zip(model.axes, values_at(best), strict=True))
    ]


def _errors(rows: MeasuredRows, **times_ns: Floats) -> dict[str, Errors]:
    """Figures of both halves by time and family."""
    halves = {"fit": rows.is_fit, "held_out": ~rows.is_fit}
    return {
        half: {time: _by_family(rows, ours_ns, mask) for time, ours_ns in times_ns.items()}
        for half, mask in halves.items()
    }


def _by_family(
    rows: MeasuredRows, ours_ns: Floats, mask: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    ours = ours_ns[rows.shape_of]
    masks = {str(name): mask & (rows.families == name) for name in sorted(set(rows.families))}
    return {
        name: error_figures(ours[chosen], rows.measured_ns[chosen])
        for name, chosen in {**masks, ALL: mask}.items()
        if chosen.any()
    }


def _source(tables: Iterable[Path], seed: int, rows: RowCounts, mape_pct: float) -> str:
    names = ", ".join(path.name for path in tables)
    used = f"seed {seed}, {rows.sampled} of {rows.all} rows"
    return f"calibrated on {names} ({used}; held-out MAPE {mape_pct:.3g} %)"
