"""One row: operands, check against float64, timing."""

from __future__ import annotations

import datetime
import zlib
from dataclasses import dataclass

from gpucap.cases import Case
from gpucap.kernel_names import cuda_kernels
from gpucap.machine import Machine, torch_module
from gpucap.make_case import make_case
from gpucap.options import Options
from gpucap.plan import Planned
from gpucap.problems import DeviceFailure
from gpucap.timing import Timing, time_case

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Failed:
    """A row without a time. `is_wrong`: the result differs from the reference."""

    problem: str
    is_wrong: bool = False


def head(planned: Planned, machine: Machine) -> Row:
    """The cells that are known before anything runs."""
    return {
        "device": machine.name,
        "library": machine.library,
        **planned.shape.columns(),
        "kernel": planned.kernel,
        "cold": planned.cold,
        "name": planned.wanted.name,
    }


def now_utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def measure(planned: Planned, machine: Machine, options: Options) -> Row | Failed:
    """The cells of a measured row, or why there are none.

    Raises DeviceFailure when the device itself is lost.
    """
    torch = torch_module()
    torch.manual_seed(options.seed + zlib.crc32(planned.shape.label().encode()))
    try:
        with torch.inference_mode():
            return _measured(planned, machine, options)
    except torch.cuda.OutOfMemoryError:
        return Failed(f"out of memory, {planned.memory_bytes / 1e9:.1f} GB were planned")
    except Exception as error:  # whatever a library says of a shape that it does not run
        _check_alive(machine, planned, error)
        return Failed(f"{type(error).__name__}: {str(error)[:300]}")
    finally:
        _free(machine)


def _measured(planned: Planned, machine: Machine, options: Options) -> Row | Failed:
    case = make_case(planned.shape, options, planned.copies, machine.torch_device)
    error = worst_error(case)
    if not error <= case.tolerance:
        problem = f"differs from float64 by {error:.3g}, allowed {case.tolerance:g}"
        return Failed(problem, is_wrong=True)
    names = cuda_kernels(machine, case.calls[0]) if options.kernel_names else ""
    timing = time_case(machine, case, options)
    return {
        **head(planned, machine),
        **timing_cells(timing),
        "copies": planned.copies,
        "error": error,
        "cuda_kernels": names,
        "count": planned.wanted.count,
        "driver": machine.driver,
        "cuda": machine.cuda,
        "time_utc": now_utc(),
    }


def worst_error(case: Case) -> float:
    """Of the first call and the last: the copies must hold different operands."""
    calls = {0, len(case.calls) - 1}
    return max(case.check(index) for index in calls)


def timing_cells(timing: Timing) -> Row:
    """The columns that say how long, how sure, and in what state of the device."""
    power, reading = timing.power, timing.reading
    return {
        "latency_s": timing.quantile_s(0.5),
        "latency_p10_s": timing.quantile_s(0.1),
        "latency_p90_s": timing.quantile_s(0.9),
        "repeats": len(timing.samples_s),
        "calls_per_repeat": timing.calls,
        "timing": timing.timing,
        "sustained_latency_s": power.latency_s if power else None,
        "sm_mhz": reading.sm_mhz,
        "mem_mhz": reading.mem_mhz,
        "power_w": power.power_w if power else None,
        "energy_j": power.energy_j if power else None,
        "temperature_c": reading.temperature_c,
        "throttle": reading.throttle,
    }


def _check_alive(machine: Machine, planned: Planned, error: Exception) -> None:
    """An illegal access ends the CUDA context: every later call would fail as well."""
    try:
        machine.synchronize()
    except Exception as again:
        where = f"line {planned.wanted.line}, {planned.shape.label()}"
        problem = f"the device failed at {where}: {error}"
        raise DeviceFailure(f"{problem}; the same command goes on behind it") from again


def _free(machine: Machine) -> None:
    if machine.is_cuda:
        torch_module().cuda.empty_cache()
