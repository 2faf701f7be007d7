"""DRAM channels, command by command: HBM, DDR, LPDDR and GDDR over one engine."""

from bankwidth.devices.dram.channel import DramChannel, Snapshot, Stream
from bankwidth.devices.dram.config import DramConfig, config_of
from bankwidth.devices.dram.energy import energy_pj
from bankwidth.devices.dram.policies import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.devices.dram.replay import Replay, replay, words_of

__all__ = [
    "DramChannel",
    "DramConfig",
    "Mapper",
    "Refresh",
    "Replay",
    "RowPolicy",
    "Scheduler",
    "Snapshot",
    "Stream",
    "config_of",
    "energy_pj",
    "replay",
    "words_of",
]
