"""A drive that nobody built, small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.spec.ssd import SsdSpec

# One channel of two dies of two planes; 1000 ps per byte, so a page takes 4096 ns.
DRIVE: dict[str, Any] = {
    "kind": "ssd",
    "name": "invented",
    "channels": 1,
    "chips_per_channel": 2,
    "dies_per_chip": 1,
    "nand": {
        "kind": "nand",
        "name": "invented-die",
        "cell": "TLC",
        "page": "4096 B",
        "spare": "0 B",
        "planes": 2,
        "blocks_per_plane": 16,
        "pages_per_block": 8,
        "multi_plane": "same_page",
        "endurance": 1000,
        "interface": {"least_rate": "10 MT/s", "most_rate": "3600 MT/s"},
        "timing": {
            "read": "20 us",
            "program": "200 us",
            "erase": "1 ms",
            "t_cs": "20 ns",
            "t_wc": "25 ns",
            "t_wb": "100 ns",
            "t_rr": "20 ns",
            "t_dbsy": "500 ns",
            "t_adl": "70 ns",
            "t_wpst": "6 ns",
            "t_wpsth": "15 ns",
            "t_cals": "15 ns",
            "t_dqsre": "15 ns",
            "t_rpre": "15 ns",
            "t_rhw": "100 ns",
            "t_ccs": "300 ns",
            "read_cache_busy": "3 us",
            "program_cache_busy": "3 us",
            "suspend": "10 us",
        },
        "energy": {
            "read": "1 uJ",
            "program": "10 uJ",
            "erase": "100 uJ",
            "bus": "2 pJ/bit",
            "idle": "1 mW",
        },
    },
    "channel_rate": "1000 MT/s",
    "host": {
        "lanes": 4,
        "rate_per_lane": "2 GB/s",
        "max_payload": "256 B",
        "packet_overhead": "28 B",
        "command_latency": "1 us",
        "queue_depth": 1024,
    },
    "controller": {"cores": 4, "command_time": "200 ns"},
    "ftl": {
        "striping": ["channel", "chip", "die", "plane"],
        "over_provisioning": 0.5,
        "gc_threshold_blocks": 2,
        "lookup_time": "100 ns",
    },
    "dram": {"capacity": "64 MiB", "bandwidth": "16 GB/s"},
    "policy": {"multi_plane_read": False, "multi_plane_program": False},
    "energy": {"controller": "1 W", "ecc": "1 pJ/bit", "pcie": "5 pJ/bit", "dram": "4 pJ/bit"},
}
ECC: dict[str, Any] = {"codeword": "1024 B", "latency": "2 us", "rate_per_decoder": "2 GB/s"}


def drive_of(**changes: Any) -> DriveConfig:
    """The drive with some fields changed; `nand={"planes": 4}` changes one of the part's."""
    return config_of(SsdSpec.model_validate(_merged(DRIVE, changes)))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(old))
    for key, value in new.items():
        is_section = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if is_section else value
    return merged
