from __future__ import annotations

import pytest

from bankwidth.devices.cpu.chip import Chip, chip_of
from bankwidth.spec import CpuSpec, load_device


@pytest.fixture(scope="session")
def n1() -> CpuSpec:
    spec = load_device("cpu/neoverse-n1")
    assert isinstance(spec, CpuSpec)
    return spec


@pytest.fixture(scope="session")
def chip(n1: CpuSpec) -> Chip:
    return chip_of(n1)
