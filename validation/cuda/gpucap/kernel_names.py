"""Names of the kernels that a call starts, from the profiler of torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from gpucap.machine import Machine

_MOST: Final = 160  # characters of one name


def cuda_kernels(machine: Machine, call: Callable[[], Any]) -> str:
    """Distinct names in the order of their start, joined by ` + `; empty off a GPU."""
    if not machine.is_cuda:
        return ""
    profiler = importlib.import_module("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as profile:
        call()
        machine.synchronize()
    cuda = importlib.import_module("torch").autograd.DeviceType.CUDA
    return joined_names(event.name for event in profile.events() if event.device_type == cuda)


def joined_names(names: Iterable[str]) -> str:
    """Long template arguments are cut."""
    return " + ".join(name[:_MOST] for name in dict.fromkeys(names))
