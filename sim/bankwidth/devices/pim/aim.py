"""Programs of the AiM instruction set, as the AiM simulator's micro-benchmarks run them.

An instruction of `opsize` columns is one macro command. The simulator's `memory_system_cycles` end
two cycles after the last command's data: its end-of-command instruction waits for them, is served
one cycle later and counted in the next.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.errors import TraceError

END_CK: Final = 2
_OPCODES: Final = {  # case -> command; all take opsize or a number of instructions n
    "wr_gb": "WR_GB", "wr_bias": "WR_BIAS", "rd_mac": "RD_MAC", "ewmul": "EWMUL", "af": "AF",
    "copy_bkgb": "COPY_BKGB", "copy_gbbk": "COPY_GBBK",
}  # fmt: skip


def micro_cycles(case: str, params: str, config: PimConfig) -> int:
    """Cycles of one row of the golden table, refresh off: that simulator inserts none either."""
    channel = PimChannel(config, refresh=False)
    macros = micro_program(case, params, config)
    return channel.run(ChannelProgram(macros=macros, channels=1)) + END_CK


def micro_program(case: str, params: str, config: PimConfig) -> NDArray[np.int64]:
    """The macros of a case. Raises TraceError for a case that is not known."""
    given = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", params)}
    macros = MacroList(config)
    if case.startswith("mac_abk"):
        is_same = "row" in given
        for i in range(given.get("rows", given.get("n", 1))):
            macros.add("MAC_ABK", given["opsize"], given["row"] if is_same else i)
    elif case.startswith("gemv"):
        _gemv(macros, given, config, each_chunk="each" in case)
    elif case in _OPCODES:
        name = _OPCODES[case]
        bank = 0 if case.startswith("copy") else -1
        macros.add(name, given.get("opsize", given.get("n", 1)), bank=bank)
    else:
        raise TraceError(f"unknown case {case!r}: mac_abk..., gemv..., {', '.join(_OPCODES)}")
    return macros.build()


def _gemv(macros: MacroList, given: dict[str, int], config: PimConfig, *, each_chunk: bool) -> None:
    """out x in on `ch` channels: per 16 outputs of a channel a bias, chunks of a row, a result."""
    columns = config.columns
    chunks = given["in"] // (columns * config.burst_bytes // 2)
    if not each_chunk:
        macros.add("WR_GB", columns)
    for group in range(given["out"] // (config.banks * given["ch"])):
        macros.add("WR_BIAS")
        for chunk in range(chunks):
            if each_chunk:
                macros.add("WR_GB", columns)
            macros.add("MAC_ABK", columns, row=group * chunks + chunk)
        macros.add("RD_MAC")
