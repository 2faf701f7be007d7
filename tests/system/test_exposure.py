from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bankwidth.system.exposure import operator_times
from bankwidth.system.record import PARTS, TaskRecord


def record(start_ps: int, *parts: tuple[str, int]) -> TaskRecord:
    end_ps = start_ps + sum(ps for _, ps in parts)
    return TaskRecord(start_ps=start_ps, end_ps=end_ps, parts=list(parts))


def test_operators_one_after_the_other_own_their_whole_time() -> None:
    times = operator_times([[record(0, ("bound", 10))], [record(10, ("launch", 2), ("bound", 5))]])
    assert [t.owned_ps for t in times] == [10, 7]
    assert times[1].parts_ps["launch"] == 2


def test_hidden_time_is_taken_off_from_the_front() -> None:
    # The second runs from 6 to 14; 4 of it are hidden behind the first: its launch and 1 of fill.
    times = operator_times(
        [[record(0, ("bound", 10))], [record(6, ("launch", 3), ("fill", 2), ("bound", 3))]]
    )
    assert times[1].owned_ps == 4
    assert (times[1].parts_ps["launch"], times[1].parts_ps["fill"]) == (0, 1)
    assert times[1].parts_ps["bound"] == 3


def test_an_operator_hidden_altogether_owns_nothing() -> None:
    times = operator_times([[record(0, ("bound", 10))], [record(2, ("bound", 5))]])
    assert times[1].owned_ps == 0
    assert sum(times[1].parts_ps.values()) == 0


def test_a_pause_of_everything_is_the_next_operators_wait() -> None:
    times = operator_times([[record(0, ("bound", 4))], [record(9, ("bound", 1))]])
    assert times[1].owned_ps == 6
    assert times[1].parts_ps["wait"] == 5


def test_pauses_between_an_operators_tasks_are_its_wait() -> None:
    times = operator_times([[record(0, ("bound", 4)), record(6, ("bound", 1))]])
    assert times[0].parts_ps["wait"] == 2
    assert times[0].owned_ps == 7


spans = st.lists(
    st.tuples(
        st.integers(0, 1000),
        st.lists(st.tuples(st.sampled_from(PARTS), st.integers(0, 300)), max_size=6),
    ),
    min_size=1,
    max_size=20,
)


@given(spans)
def test_owned_times_and_their_parts_sum_to_the_latency(
    spans: list[tuple[int, list[tuple[str, int]]]],
) -> None:
    in_order = [(start, sorted(parts, key=lambda p: PARTS.index(p[0]))) for start, parts in spans]
    groups = [[record(start, *parts)] for start, parts in in_order]
    times = operator_times(groups)
    assert sum(t.owned_ps for t in times) == max(group[0].end_ps for group in groups)
    for time in times:
        assert sum(time.parts_ps.values()) == time.owned_ps
        assert min(time.parts_ps.values()) >= 0
