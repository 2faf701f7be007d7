"""The kinds of devices. To add one: its model, and a line here."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from bankwidth.spec.asic import AsicSpec
from bankwidth.spec.csd import CsdSpec
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.nand import NandSpec
from bankwidth.spec.npu import NpuSpec
from bankwidth.spec.pim import PimSpec
from bankwidth.spec.roofline import RooflineSpec
from bankwidth.spec.ssd import SsdSpec

Engine = GpuSpec | AsicSpec | NpuSpec | PimSpec | CsdSpec | RooflineSpec
EngineSpec = Annotated[Engine, Field(discriminator="kind")]
Memory = DramSpec | SsdSpec
MemorySpec = Annotated[Memory, Field(discriminator="kind")]
AnyDeviceSpec = (
    GpuSpec | AsicSpec | NpuSpec | PimSpec | CsdSpec | RooflineSpec | DramSpec | NandSpec | SsdSpec
)

DEVICES: Final[dict[str, type[AnyDeviceSpec]]] = {
    "gpu": GpuSpec,
    "asic": AsicSpec,
    "npu": NpuSpec,
    "pim": PimSpec,
    "csd": CsdSpec,
    "roofline": RooflineSpec,
    "dram": DramSpec,
    "nand": NandSpec,
    "ssd": SsdSpec,
}
