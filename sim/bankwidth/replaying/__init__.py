"""Raw requests into one memory device, and what became of them: DRAM channels, and drives."""

from bankwidth.devices.nand.trace_file import check_trace_target
from bankwidth.replaying.dram import (
    Replayed,
    ReplayOptions,
    Source,
    check_commands,
    command_sink,
    load_dram,
    replay_device,
)
from bankwidth.replaying.drive import DriveSource, ReplayedDrive, load_drive, replay_drive

__all__ = [
    "DriveSource",
    "ReplayOptions",
    "Replayed",
    "ReplayedDrive",
    "Source",
    "check_commands",
    "check_trace_target",
    "command_sink",
    "load_dram",
    "load_drive",
    "replay_device",
    "replay_drive",
]
