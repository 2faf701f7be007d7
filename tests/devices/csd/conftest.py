"""A small head in small pages, and InstInfer's sizes."""

from __future__ import annotations

import pytest

from bankwidth.devices.csd.layout import KvLayout
from bankwidth.devices.csd.rates import EngineRates, rates_of
from bankwidth.spec import CsdSpec, load_device


@pytest.fixture(scope="session")
def spec() -> CsdSpec:
    spec = load_device("csd/instinfer")
    assert isinstance(spec, CsdSpec)
    return spec


@pytest.fixture(scope="session")
def rates(spec: CsdSpec) -> EngineRates:
    return rates_of(spec)


@pytest.fixture(scope="session")
def published() -> KvLayout:
    """OPT-13B, batch 2: 40 heads of 128 channels in pages of 4 KiB, two copies of K."""
    return KvLayout(
        page_bytes=4096,
        element_bytes=2,
        head_dim=128,
        groups=80,
        tokens=2048,
        flash_channels=8,
        key_channels=8,
        period_pages=512,
    )
