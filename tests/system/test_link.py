from __future__ import annotations

from bankwidth.spec import LinkSpec
from bankwidth.system.link import Link, Path


def make_link(bandwidth: str = "2 GB/s") -> Link:
    spec = LinkSpec.model_validate(
        {"name": "bus", "ends": ("a", "b"), "bandwidth": bandwidth, "latency": "5 ns",
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


def test_the_slowest_link_of_a_path_decides_and_latencies_add() -> None:
    for bandwidths in (("2 GB/s", "8 GB/s"), ("8 GB/s", "2 GB/s")):
        path = Path([make_link(bandwidth) for bandwidth in bandwidths])
        assert path.send(100, now_ps=1000) == 1000 + 50_000
        assert path.latency_ps == 10_000
        assert sorted(link.busy_ps for link in path.links) == [12_500, 50_000]


def test_paths_that_share_a_link_contend_in_it() -> None:
    shared, own = make_link("2 GB/s"), make_link("2 GB/s")
    Path([shared]).send(100, now_ps=0)
    assert Path([shared, own]).send(100, now_ps=10_000) == 100_000
    assert (shared.moved_bytes, own.moved_bytes) == (200, 100)


def test_the_fast_link_of_a_slow_transfer_is_free_for_others() -> None:
    fast, slow = make_link("8 GB/s"), make_link("2 GB/s")
    Path([fast, slow]).send(100, now_ps=0)
    assert Path([fast]).send(100, now_ps=0) == 25_000


def test_no_links_take_no_time() -> None:
    assert (Path([]).send(100, now_ps=7), Path([]).latency_ps) == (7, 0)
