"""The kinds of devices. To add one: its model, and a line here."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from bankwidth.spec.asic import AsicSpec
from bankwidth.spec.cpu import CpuSpec
from bankwidth.spec.csd import CsdSpec
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.gpu import GpuSpec
from bankwidth.spec.nand import NandSpec
from bankwidth.spec.npu import NpuSpec
from bankwidth.spec.pim import PimSpec
from bankwidth.spec.roofline import RooflineSpec
from bankwidth.spec.sram_lut import SramLutSpec
from bankwidth.spec.ssd import SsdSpec
from bankwidth.spec.ternary_lut import TernaryLutSpec

Engine = (
    GpuSpec
    | AsicSpec
    | NpuSpec
    | PimSpec
    | CsdSpec
    | RooflineSpec
    | CpuSpec
    | SramLutSpec
    | TernaryLutSpec
)
EngineSpec = Annotated[Engine, Field(discriminator="kind")]
Memory = DramSpec | SsdSpec
MemorySpec = Annotated[Memory, Field(discriminator="kind")]
AnyDeviceSpec = Engine | DramSpec | NandSpec | SsdSpec

DEVICES: Final[dict[str, type[AnyDeviceSpec]]] = {
    "gpu": GpuSpec,
    "asic": AsicSpec,
    "npu": NpuSpec,
    "pim": PimSpec,
    "csd": CsdSpec,
    "roofline": RooflineSpec,
    "cpu": CpuSpec,
    "ternary_lut": TernaryLutSpec,
    "sram_lut": SramLutSpec,
    "dram": DramSpec,
    "nand": NandSpec,
    "ssd": SsdSpec,
}
