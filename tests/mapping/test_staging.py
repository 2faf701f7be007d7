"""Weights fetched ahead of their products, as far as there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bankwidth.mapping.plan import STREAM, Task, Transfer
from bankwidth.mapping.staging import with_streams


def task(name: str, size_bytes: int, deps: tuple[int, ...]) -> Task:
    load = Transfer(memory="m", address=0, size_bytes=size_bytes, is_write=False, ahead=True)
    return Task(name=name, operator=0, engine="lut", deps=deps, compute_ps=10, loads=(load,))


def chain(sizes: list[int]) -> list[Task]:
    return [task(f"t{i}", size, (i - 1,) if i else ()) for i, size in enumerate(sizes)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_no_more_is_held_than_there_is_room_for(sizes: list[int]) -> None:
    """A stream begins when the products that it waits for are over: what is not used up fits."""
    plan = with_streams(chain(sizes), {"lut": 100})
    users = [i for i, t in enumerate(plan) if t.unit != STREAM]
    for index, each in enumerate(plan):
        if each.unit != STREAM:
            continue
        over = [user for user in users if each.deps and user <= max(each.deps)]
        before = [user for user in users if user < index]
        held = sum(sizes[users.index(user)] for user in before if user not in over)
        assert held + each.loads[0].size_bytes <= 100


def test_streams_follow_one_another_and_products_wait_for_theirs() -> None:
    plan = with_streams(chain([40, 40, 40]), {"lut": 100})
    assert [t.name for t in plan] == ["t0.stream", "t0", "t1.stream", "t1", "t2.stream", "t2"]
    assert [t.deps for t in plan] == [(), (0,), (0,), (1, 2), (2, 1), (3, 4)]
    assert not any(load.ahead for t in plan for load in t.loads)
    assert sum(load.size_bytes for t in plan for load in t.loads) == 120


def test_what_is_larger_than_the_room_waits_for_all_of_it() -> None:
    plan = with_streams(chain([40, 200, 40]), {"lut": 100})
    assert plan[2].deps == (0, 1)
    assert plan[4].deps == (2, 3)


def test_other_engines_are_left_alone() -> None:
    tasks = chain([40, 40])
    assert with_streams(tasks, {"other": 100}) == tasks
