"""The kinds of devices. To add one: its model, and a line here."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from bankwidth.spec.asic import AsicSpec
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.npu import NpuSpec
from bankwidth.spec.pim import PimSpec
from bankwidth.spec.roofline import RooflineSpec

Engine = GpuSpec | AsicSpec | NpuSpec | PimSpec | RooflineSpec
EngineSpec = Annotated[Engine, Field(discriminator="kind")]
MemorySpec = DramSpec
AnyDeviceSpec = GpuSpec | AsicSpec | NpuSpec | PimSpec | RooflineSpec | DramSpec

DEVICES: Final[dict[str, type[AnyDeviceSpec]]] = {
    "gpu": GpuSpec,
    "asic": AsicSpec,
    "npu": NpuSpec,
    "pim": PimSpec,
    "roofline": RooflineSpec,
    "dram": DramSpec,
}
