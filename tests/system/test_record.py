from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bankwidth.system.record import split_body


def split(**changes: int) -> dict[str, int]:
    values = {
        "body_ps": 100, "compute_ps": 0, "ideal_ps": 0, "memory_ps": 0, "bytes_ps": 0,
        "refresh_ps": 0,
    }  # fmt: skip
    return dict(split_body(**(values | changes)))


def test_a_memory_bound_body_is_bytes_rows_refresh_and_what_nothing_overlapped() -> None:
    parts = split(memory_ps=90, bytes_ps=70, refresh_ps=8, compute_ps=20)
    assert parts == {"fill": 10, "bound": 70, "row_miss": 12, "refresh": 8}


def test_a_compute_bound_body_is_the_peak_and_what_tiles_waste() -> None:
    parts = split(compute_ps=95, ideal_ps=60, memory_ps=40, bytes_ps=30, refresh_ps=8)
    assert parts == {"fill": 5, "bound": 60, "quantisation": 35}


def test_refresh_is_no_more_than_what_was_lost() -> None:
    assert split(memory_ps=75, bytes_ps=70, refresh_ps=50)["refresh"] == 5


@given(*(st.integers(0, 1000) for _ in range(6)))
def test_parts_sum_to_the_body(
    body: int, compute: int, ideal: int, memory: int, size: int, refresh: int
) -> None:
    parts = split_body(
        body_ps=max(body, compute, memory), compute_ps=compute, ideal_ps=min(ideal, compute),
        memory_ps=memory, bytes_ps=min(size, memory), refresh_ps=refresh,
    )  # fmt: skip
    assert sum(ps for _, ps in parts) == max(body, compute, memory)
    assert min(ps for _, ps in parts) >= 0
