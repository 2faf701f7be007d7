from __future__ import annotations

from bankwidth.spec import LinkSpec
from bankwidth.system.link import Link


def make_link() -> Link:
    spec = LinkSpec.model_validate(
        {"name": "bus", "ends": ("a", "b"), "bandwidth": "2 GB/s", "latency": "5 ns",
         "energy": "1 pJ/bit"}
    )  # fmt: skip
    return Link(spec)


def test_bytes_leave_at_the_bandwidth() -> None:
    assert make_link().serialise(100, now_ps=1000) == 1000 + 50_000  # 100 B at 2 B/ns


def test_a_second_transfer_waits_for_the_first() -> None:
    link = make_link()
    link.serialise(100, now_ps=0)
    assert link.serialise(100, now_ps=10_000) == 100_000
    assert (link.busy_ps, link.moved_bytes) == (100_000, 200)


def test_an_idle_link_starts_at_once() -> None:
    link = make_link()
    link.serialise(100, now_ps=0)
    assert link.serialise(2, now_ps=80_000) == 81_000
