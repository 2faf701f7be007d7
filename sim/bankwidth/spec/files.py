"""Reading text files, and finding those that are shipped."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.spec.problems import Mark, Unreadable

# Library folders below the root of a checkout, or below presets_data/ of an installed wheel.
FOLDERS: Final[dict[str, str]] = {
    "machine": "arch",
    "device": "arch/devices",
    "workload": "workloads",
}
SUFFIXES: Final = (".yaml", ".yml", ".json")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def library_root(package: Path) -> Path:
    """Where arch/ and workloads/ are: in the wheel's presets_data, else in the checkout."""
    shipped = package / "presets_data"
    return shipped if shipped.is_dir() else package.parent.parent


ROOT: Final = library_root(Path(__file__).resolve().parent.parent)


def shipped_names(what: str) -> list[str]:
    """Names of the shipped machines, devices (`gpu/h200-sxm`) or workloads, sorted."""
    folder = ROOT / FOLDERS[what]
    found = folder.glob("*/*.yaml" if what == "device" else "*.yaml")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in found)


def shipped(what: str, name: str) -> Path:
    """File of a shipped machine, device or workload. Raises SpecError with the known names."""
    names = shipped_names(what)
    if name not in names:
        hint = did_you_mean(name, names)
        raise SpecError(f"unknown {what} {name!r}{hint} (known: {', '.join(names)}, or a file)")
    return ROOT / FOLDERS[what] / f"{name}.yaml"


def is_path(name: str) -> bool:
    """Whether an argument is a path by its looks: `x.yaml`, `./x`, `/x`; else it is a name."""
    return name.endswith(SUFFIXES) or name.startswith((".", os.sep))


def find(what: str, name: str | Path) -> Path:
    """File of a shipped name or of a path. A shipped name wins over a file of the same name.

    A device may be named without its kind (`hbm2-2000` for `dram/hbm2-2000`) where that is clear.
    """
    if isinstance(name, Path):
        return name
    if is_path(name):
        return Path(name)
    names = shipped_names(what)
    short = [full for full in names if full.rpartition("/")[2] == name]
    if name not in names and len(short) == 1:
        return shipped(what, short[0])
    if name not in names and Path(name).exists():
        return Path(name)
    return shipped(what, name)


def read_text(path: Path, shown: str) -> str:
    """Text of a file. Raises Unreadable with a plain reason where there is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(Mark(shown, 1, 1), _reason(error, path)) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = Mark(shown, data.count(b"\n", 0, error.start) + 1, 1)
        raise Unreadable(mark, f"not UTF-8 text (byte {error.start})") from error
    control = _CONTROL.search(text)
    if control:
        mark = mark_at(text, control.start(), shown)
        raise Unreadable(mark, f"control character {control.group()!r}, not a text file")
    return text


def mark_at(text: str, index: int, shown: str) -> Mark:
    """Place of a character of a text."""
    line = text.count("\n", 0, index) + 1
    return Mark(shown, line, index - text.rfind("\n", 0, index))


def _reason(error: OSError, path: Path) -> str:
    if path.is_dir():
        return "is a directory, need a YAML file"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror or str(error)).lower()
