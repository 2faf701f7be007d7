from __future__ import annotations

from dataclasses import replace

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.placement import GIB, needed_bytes, place
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload


@pytest.fixture(scope="module")
def h200() -> MachineSpec:
    return load_machine("h200")


@pytest.fixture(scope="module")
def trace() -> Trace:
    return make_trace(load_workload("llama-2-7b"), context=2048)


def test_regions_lie_one_behind_the_other(h200: MachineSpec, trace: Trace) -> None:
    placements = place(h200, trace)
    needed = needed_bytes(trace)
    assert placements["weights"].base == 0
    assert placements["kv"].base == needed["weights"]
    assert placements["activations"].base == needed["weights"] + needed["kv"]
    assert {p.memory for p in placements.values()} == {"hbm"}


def test_a_trace_that_just_fits_fits_and_one_byte_more_does_not(
    h200: MachineSpec, trace: Trace
) -> None:
    capacity = h200.memories["hbm"].capacity_bytes
    assert capacity is not None
    kv = capacity - trace.weight_bytes - trace.activation_bytes
    place(h200, replace(trace, kv_bytes=kv))
    with pytest.raises(MappingError, match=r"does not fit h200: weights .* 0\.00 GiB too"):
        place(h200, replace(trace, kv_bytes=kv + 1))


def test_the_message_says_by_how_much(h200: MachineSpec, trace: Trace) -> None:
    capacity = h200.memories["hbm"].capacity_bytes
    assert capacity is not None
    kv = capacity - trace.weight_bytes - trace.activation_bytes + int(3 * GIB)
    with pytest.raises(MappingError, match=r"memory 'hbm' of .* GiB, 3\.00 GiB too much"):
        place(h200, replace(trace, kv_bytes=kv))
