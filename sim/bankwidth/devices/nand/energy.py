"""Energy of a drive: counts times a table, and idle power over time."""

from __future__ import annotations

from collections.abc import Mapping

from bankwidth.devices.nand.config import DriveConfig

BITS = 8
PS_PER_NS = 1000  # a mW is a pJ per ns


def energy_pj(counts: Mapping[str, int], elapsed_ps: int, config: DriveConfig) -> dict[str, float]:
    """pJ by item, of one drive that was on for `elapsed_ps`."""
    elapsed_ns = elapsed_ps / PS_PER_NS
    return {
        "read": (counts["pages_read"]) * config.read_pj,
        "program": counts["pages_programmed"] * config.program_pj,
        "erase": counts["erase"] * config.erase_pj,
        "bus": counts["bus_bytes"] * BITS * config.bus_pj_per_bit,
        "ecc": counts["ecc_bytes"] * BITS * config.ecc_pj_per_bit,
        "pcie": counts["pcie_bytes"] * BITS * config.pcie_pj_per_bit,
        "dram": counts["dram_bytes"] * BITS * config.dram_pj_per_bit,
        "die_idle": config.dies * config.die_idle_mw * elapsed_ns,
        "controller": config.controller_mw * elapsed_ns,
    }
