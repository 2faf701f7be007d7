"""The shipped computing banks, eight channels of them."""

from __future__ import annotations

import pytest

from bankwidth.mapping.pim_geometry import PimGeometry, geometry_of
from bankwidth.spec import PimSpec, load_device


@pytest.fixture(scope="session")
def spec() -> PimSpec:
    spec = load_device("pim/gddr6-aim")
    assert isinstance(spec, PimSpec)
    return spec


@pytest.fixture(scope="session")
def geometry(spec: PimSpec) -> PimGeometry:
    return geometry_of(spec, 8)
