"""What is shipped with the package: machines, devices and workloads, found by name."""

from __future__ import annotations

from pathlib import Path

from bankwidth.spec import find, shipped_names
from bankwidth.spec.heading import heading_of


def find_machine(name: str | Path) -> Path:
    """File of a machine by its shipped name or a path. Raises SpecError with the known names."""
    return find("machine", name)


def find_device(name: str | Path) -> Path:
    """File of a device (`gpu/h200-sxm`) by its shipped name or a path. Raises SpecError."""
    return find("device", name)


def find_workload(name: str | Path) -> Path:
    """File of a workload by its shipped name or a path. Raises SpecError with the known names."""
    return find("workload", name)


def list_presets() -> dict[str, list[dict[str, str]]]:
    """Name, kind and title of everything shipped, in the order of names."""
    return {f"{what}s": _listed(what) for what in ("machine", "device", "workload")}


def _listed(what: str) -> list[dict[str, str]]:
    return [{"name": name, **heading_of(find(what, name))} for name in shipped_names(what)]
