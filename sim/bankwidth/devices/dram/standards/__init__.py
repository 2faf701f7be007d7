"""The DRAM standards. To add one: its table, its timing record in spec/dram.py, and a line here."""

from __future__ import annotations

from typing import Any, Final

from bankwidth.devices.dram.standards.ddr4 import DDR4
from bankwidth.devices.dram.standards.ddr5 import DDR5
from bankwidth.devices.dram.standards.gddr6 import GDDR6
from bankwidth.devices.dram.standards.hbm2 import HBM2
from bankwidth.devices.dram.standards.hbm3 import HBM3
from bankwidth.devices.dram.standards.lpddr5 import LPDDR5
from bankwidth.devices.dram.table import Standard

STANDARDS: Final[dict[str, Standard[Any]]] = {
    standard.name: standard for standard in (DDR4, DDR5, LPDDR5, GDDR6, HBM2, HBM3)
}
