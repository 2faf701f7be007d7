"""Bankwidth: cycle-level simulation of memory-centric hardware for transformer inference.

>>> import bankwidth as bw
>>> arch = bw.load_arch("h200")
>>> workload = bw.load_workload("llama-2-7b")
>>> result = bw.simulate(arch, bw.make_trace(workload, phase="decode", context=2048))
>>> result.summary.to_pandas()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bankwidth.devices.dram.patterns import Pattern
    from bankwidth.devices.nand.patterns import DrivePattern
    from bankwidth.devices.ternary_lut.area import core_area as ternary_lut_area
    from bankwidth.devices.ternary_lut.area_core import CoreDesign as TernaryLutDesign
    from bankwidth.devices.ternary_lut.design_space import design_space as ternary_lut_designs
    from bankwidth.errors import (
        BankwidthError,
        MappingError,
        OutputError,
        SimulationError,
        SpecError,
        TraceError,
        UserError,
    )
    from bankwidth.operators import Trace, make_trace, read_trace, write_trace
    from bankwidth.operators.formats import export_trace, import_trace
    from bankwidth.replaying import ReplayOptions, replay_device, replay_drive
    from bankwidth.report import write_run
    from bankwidth.results import Result, Table
    from bankwidth.serving.requests import read_requests, with_arrivals
    from bankwidth.serving.run import ServingResult, serve
    from bankwidth.simulation import simulate
    from bankwidth.spec import MachineSpec, WorkloadSpec, load_workload, with_techniques
    from bankwidth.spec import load_machine as load_arch
    from bankwidth.spec.serving import serving_spec
    from bankwidth.validate import compare, run_ops

# name -> (module, attribute): imported when first used, so that `import bankwidth` is instant.
_LAZY = {
    **dict.fromkeys(
        (
            *("BankwidthError", "MappingError", "OutputError", "SimulationError"),
            *("SpecError", "TraceError", "UserError"),
        ),
        "bankwidth.errors",
    ),
    **dict.fromkeys(("Trace", "make_trace", "read_trace", "write_trace"), "bankwidth.operators"),
    **dict.fromkeys(("export_trace", "import_trace"), "bankwidth.operators.formats"),
    **dict.fromkeys(("Result", "Table"), "bankwidth.results"),
    **dict.fromkeys(
        ("MachineSpec", "WorkloadSpec", "load_workload", "with_techniques"), "bankwidth.spec"
    ),
    **dict.fromkeys(("read_requests", "with_arrivals"), "bankwidth.serving.requests"),
    **dict.fromkeys(("ServingResult", "serve"), "bankwidth.serving.run"),
    **dict.fromkeys(("compare", "run_ops"), "bankwidth.validate"),
    **dict.fromkeys(("ReplayOptions", "replay_device", "replay_drive"), "bankwidth.replaying"),
    "DrivePattern": "bankwidth.devices.nand.patterns",
    "Pattern": "bankwidth.devices.dram.patterns",
    "TernaryLutDesign": "bankwidth.devices.ternary_lut.area_core",
    "load_arch": "bankwidth.spec",
    "serving_spec": "bankwidth.spec.serving",
    "simulate": "bankwidth.simulation",
    "ternary_lut_area": "bankwidth.devices.ternary_lut.area",
    "ternary_lut_designs": "bankwidth.devices.ternary_lut.design_space",
    "write_run": "bankwidth.report",
}
_RENAMED = {
    "TernaryLutDesign": "CoreDesign",
    "load_arch": "load_machine",
    "ternary_lut_area": "core_area",
    "ternary_lut_designs": "design_space",
}

__all__ = [
    "BankwidthError",
    "DrivePattern",
    "MachineSpec",
    "MappingError",
    "OutputError",
    "Pattern",
    "ReplayOptions",
    "Result",
    "ServingResult",
    "SimulationError",
    "SpecError",
    "Table",
    "TernaryLutDesign",
    "Trace",
    "TraceError",
    "UserError",
    "WorkloadSpec",
    "__version__",
    "compare",
    "export_trace",
    "import_trace",
    "load_arch",
    "load_workload",
    "make_trace",
    "read_requests",
    "read_trace",
    "replay_device",
    "replay_drive",
    "run_ops",
    "serve",
    "serving_spec",
    "simulate",
    "ternary_lut_area",
    "ternary_lut_designs",
    "with_arrivals",
    "with_techniques",
    "write_run",
    "write_trace",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bankwidth' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
