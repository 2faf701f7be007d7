"""The kinds of devices that `replay` takes, and which options belong to one kind only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.spec import load_device

NAMES: Final = {"dram": "DRAM devices", "ssd": "drives"}
# option, as in Python -> the only kind that has it
ONLY: Final = {
    **dict.fromkeys(("block", "qd"), "ssd"),
    **dict.fromkeys(("mapper", "refresh", "scheduler", "row_policy"), "dram"),
    **dict.fromkeys(("rate", "gap", "channels"), "dram"),
}


def kind_of(device: str | Path) -> str:
    """`dram` or `ssd`. Raises SpecError for a device of another kind."""
    kind = load_device(device).kind
    if kind not in NAMES:
        raise SpecError(f"{device}: is a {kind} device; replay takes dram devices and drives (ssd)")
    return kind


def check_options(device: str | Path, kind: str, given: Iterable[str]) -> None:
    """Raises SpecError where an option was given that belongs to the other kind of device."""
    for name in given:
        other = ONLY.get(name, kind)
        if other != kind:
            option = f"--{name.replace('_', '-')}"
            raise SpecError(f"{option} is for {NAMES[other]}; {device} is one of the {NAMES[kind]}")
