"""Traces with techniques on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bankwidth.operators import Trace, make_trace
from bankwidth.spec.techniques import TechniquesSpec

MakeWith = Callable[..., Trace]


@pytest.fixture(scope="session")
def make_with() -> MakeWith:
    """`make_with(workload, {"paged": {}}, batch=4)`: a trace with these techniques."""

    def make(workload: Any, techniques: dict[str, Any], **arguments: Any) -> Trace:
        return make_trace(
            workload, techniques=TechniquesSpec.model_validate(techniques), **arguments
        )

    return make
