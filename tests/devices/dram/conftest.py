"""Golden configurations, the reference index where it is at hand, and shorthands."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bankwidth.devices.dram import DramConfig, config_of
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT.parent / "shared" / "reference" / "dram"
GOLDEN_NAMES = (
    "DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3",
)  # fmt: skip

Load = Callable[[str], DramConfig]


@cache
def spec_at(path: Path) -> DramSpec:
    """A device file, read once."""
    spec = load_device(path)
    assert isinstance(spec, DramSpec)
    return spec


@pytest.fixture(scope="session")
def golden_config() -> Load:
    """A golden configuration by its name."""
    folder = ROOT / "validation" / "dram" / "devices"
    return lambda name: config_of(spec_at(folder / f"{name}.yaml"))


@pytest.fixture(scope="session")
def device_spec() -> Callable[[str], DramSpec]:
    """A shipped device by its name."""
    folder = ROOT / "arch" / "devices" / "dram"
    return lambda name: spec_at(folder / f"{name}.yaml")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the reference runs; skips where it is not at hand."""
    if not REFERENCE.is_dir():
        pytest.skip("no ../shared/reference/dram")
    return REFERENCE


@pytest.fixture(scope="session")
def golden_runs(reference: Path) -> list[dict[str, Any]]:
    """All runs of the reference index."""
    runs: list[dict[str, Any]] = json.loads((reference / "golden" / "index.json").read_text())
    return runs
