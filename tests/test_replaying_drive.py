"""Replays on drives: figures, windows and options, on a made-up engine whose times are known."""

from __future__ import annotations

import heapq
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from bankwidth.devices.nand.kernel_state import TRACE, TRACE_KINDS
from bankwidth.devices.nand.patterns import DrivePattern
from bankwidth.devices.nand.requests import Requests
from bankwidth.errors import SimulationError, SpecError, TraceError
from bankwidth.replaying import drive_summary as summary
from bankwidth.replaying import load_drive, replay_drive
from bankwidth.replaying.drive_timeline import timeline_of
from bankwidth.replaying.kinds import check_options, kind_of
from bankwidth.results import Table

DRIVE = "mqsim-stock"
TRACE_DTYPE = np.dtype([(name, np.int64) for name in TRACE])
DIES, READ_PS, WRITE_PS = 4, 50_000_000, 200_000_000


def event(kind: str, start: int, end: int, channel: int = -1, die: int = -1) -> tuple[int, ...]:
    return (start, end, TRACE_KINDS.index(kind), channel, die, 0, 0, 0, 0)


class FakeDrive:
    """Four dies in turn, and nothing else: a read takes 50 us of its die, a write 200 us."""

    lengths: ClassVar[list[int]] = []

    def __init__(self, config: Any, *, skip: bool, trace: bool) -> None:
        self._keeps_trace = trace

    def replay(
        self, requests: Requests, queue_depth: int | None = None, progress: Any = None
    ) -> SimpleNamespace:
        FakeDrive.lengths.append(len(requests))
        free, busy = [0] * DIES, [0] * DIES
        under_way: list[int] = []
        now, latency, events = 0, [], []
        for i in range(len(requests)):
            if requests.arrival_ps is not None:
                now = int(requests.arrival_ps[i])
            elif len(under_way) == queue_depth:
                now = heapq.heappop(under_way)
            die = int(requests.offset_bytes[i]) // 4096 % DIES
            is_write = bool(requests.is_write[i])
            start = max(now, free[die])
            free[die] = start + (WRITE_PS if is_write else READ_PS)
            busy[die] += free[die] - start
            latency.append(free[die] - now)
            heapq.heappush(under_way, free[die])
            events.append(
                event("DIE_PROGRAM" if is_write else "DIE_READ", start, free[die], 0, die)
            )
        if progress is not None:
            progress(len(requests), len(requests))
        reads = int((~requests.is_write).sum())
        return SimpleNamespace(
            end_ps=max(free),
            settled_ps=max(free),
            latency_ps=np.array(latency, dtype=np.int64),
            counts={
                "pages_read": reads, "host_pages_read": reads,
                "host_pages_written": len(requests) - reads, "gc_read": 0, "fill_read": 0,
            },
            busy_ps={"die": busy, "controller": max(free) // 2, "filter": [0]},
            waits_ps={"array": READ_PS * reads},
            erases=3,
            most_erases=2,
            write_amplification=1.5,
            energy_pj=lambda: {"read": 2.0, "idle": 3.0},
            trace=np.array(sorted(events), dtype=TRACE_DTYPE) if self._keeps_trace else None,
        )  # fmt: skip


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The made-up engine in place of the true one; the lengths of the lists that it ran."""
    module = ModuleType("bankwidth.devices.nand.drive")
    module.Drive = FakeDrive  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    FakeDrive.lengths.clear()
    return FakeDrive.lengths


def pattern(count: int = 400, **fields: Any) -> DrivePattern:
    return DrivePattern(**{"kind": "seq", "count": count, **fields})


# ---------------------------------------------------------------------------- figures
def test_figures_of_sequential_reads(lengths: list[int]) -> None:
    data = replay_drive(DRIVE, pattern(), 4).to_json()
    time_ns = 400 / DIES * READ_PS / 1000
    assert data["time_ns"] == time_ns
    assert data["iops"] == data["read_iops"] == pytest.approx(DIES / (READ_PS * 1e-12))
    assert data["write_iops"] == 0
    assert data["read_bytes"] == 400 * 4096
    assert data["bandwidth_bytes_per_ns"] == pytest.approx(400 * 4096 / time_ns)
    assert set(data["latency"]) == {"read"}
    assert set(data["latency"]["read"].values()) == {50_000.0}
    assert data["utilisation"]["die"] == {"mean": 1.0, "min": 1.0, "max": 1.0}
    assert data["utilisation"]["controller"]["mean"] == 0.5  # of one core
    assert "filter" not in data["utilisation"]
    assert (data["bound"], data["busiest_utilisation"]) == ("die", 1.0)
    assert data["write_amplification"] is None
    assert data["read_stages_ns"] == {"command": 0.0, "array": 50_000.0}
    assert data["energy_pj"] == 5.0
    assert data["options"]["queue_depth"] == 4
    assert data["options"]["kind"] == "seq"
    assert data["window_ns"] is None


def test_reads_and_writes_are_told_apart(lengths: list[int]) -> None:
    data = replay_drive(DRIVE, pattern(write_share=0.5), 1).to_json()
    assert data["reads"] + data["writes"] == data["requests"] == 400
    assert data["latency"]["read"]["max_ns"] == 50_000.0
    assert data["latency"]["write"]["min_ns"] == 200_000.0
    assert data["read_iops"] + data["write_iops"] == pytest.approx(data["iops"])
    assert data["read_bytes"] + data["write_bytes"] == 400 * 4096
    assert data["write_amplification"] == 1.5
    assert data["wear"] == {"erases": 3, "most_erases_of_a_block": 2, "endurance_cycles": 10000}


def test_tables_hold_every_resource_and_the_curve_of_latencies(lengths: list[int]) -> None:
    tables = replay_drive(DRIVE, pattern(write_share=0.5), 3).tables()
    assert set(tables) == {"resources", "latencies"}
    assert tables["resources"]["resource"].tolist() == ["die"] * DIES + ["controller"]
    latencies = tables["latencies"]
    for side in ("read", "write"):
        part = latencies.take(latencies["direction"] == side)
        assert (np.diff(part["latency_ns"]) >= 0).all()
        assert part["percentile_pct"][0] == 0
        assert part["percentile_pct"][-1] == 100


def test_progress_is_told(lengths: list[int]) -> None:
    told: list[tuple[int, int]] = []
    replay_drive(DRIVE, pattern(50), progress=lambda done, of: told.append((done, of)))
    assert told == [(50, 50)]


# ---------------------------------------------------------------------------- windows
@pytest.mark.parametrize("depth", [1, 3, 8, 32])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_window_shows_what_a_trace_of_all_would(
    lengths: list[int], depth: int, share: float
) -> None:
    source = pattern(4000, kind="random", write_share=share)
    window_ns = (100_000.0, 700_000.0)
    all_traced = replay_drive(DRIVE, source, depth, with_trace=True, window_ns=window_ns)
    assert lengths == [4000], "one run is enough where all is kept"
    lengths.clear()
    quick = replay_drive(DRIVE, source, depth, window_ns=window_ns)
    assert len(lengths) >= 2
    assert max(lengths[1:]) < 1500, "only a part is run again"
    assert quick.timeline == all_traced.timeline
    assert quick.timeline is not None
    assert len(quick.timeline) >= DIES
    assert quick.run.trace is None


@pytest.mark.parametrize("end_us", range(9000, 12_000, 250))
def test_a_window_where_requests_come_faster_than_on_average(
    lengths: list[int], end_us: int
) -> None:
    """Reads first, then writes: more requests come within the window than its length suggests."""
    dies = np.random.default_rng(end_us).integers(0, DIES, 4000).tolist()
    lines = "".join(f"{'RW'[i >= 2000]} {4096 * die} 4k\n" for i, die in enumerate(dies))
    runs = [
        replay_drive(
            DRIVE,
            io.BytesIO(lines.encode()),
            32,
            with_trace=with_trace,
            window_ns=(end_us * 1e3 - 50_000, end_us * 1e3),
        )
        for with_trace in (True, False)
    ]
    assert runs[0].timeline == runs[1].timeline
    assert max(lengths[2:]) < 4000


def test_a_window_of_requests_that_arrive(lengths: list[int]) -> None:
    lines = "".join(f"R {4096 * (7 * i % 64)} 4k {i * 20} us\n" for i in range(3000))
    window_ns = (0.0, 500_000.0)
    runs = [
        replay_drive(DRIVE, io.BytesIO(lines.encode()), with_trace=with_trace, window_ns=window_ns)
        for with_trace in (True, False)
    ]
    assert runs[0].timeline == runs[1].timeline
    assert max(lengths[2:]) < 500
    assert runs[0].to_json()["bound"] == "arrivals"
    assert runs[0].to_json()["options"] == {"queue_depth": None, "requests": "file"}


def test_a_window_ends_with_the_replay(lengths: list[int]) -> None:
    run = replay_drive(DRIVE, pattern(8), 4, window_ns=(20_000.0, 1e9))
    assert run.window_ns == (20_000.0, 100_000.0)
    assert run.timeline is not None
    assert run.timeline["start_ns"].min() == 20_000.0
    assert run.tables()["timeline"] is run.timeline
    with pytest.raises(SpecError, match="--window: from 100000 ns, but all is done at 100000 ns"):
        replay_drive(DRIVE, pattern(8), 4, window_ns=(100_000.0, 1e9))


@pytest.mark.parametrize("window_ns", [(5.0, 2.0), (-1.0, 2.0), (0.0, float("inf"))])
def test_a_window_is_a_span_of_time(lengths: list[int], window_ns: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="is no span of time"):
        replay_drive(DRIVE, pattern(8), window_ns=window_ns)


# ---------------------------------------------------------------------------- options
def test_options_that_cannot_be(lengths: list[int]) -> None:
    with pytest.raises(SpecError, match="--qd: 0, at least 1"):
        replay_drive(DRIVE, pattern(), 0)
    with pytest.raises(SpecError, match="--qd: the requests have arrivals"):
        replay_drive(DRIVE, io.BytesIO(b"R 0 512 0\n"), 4)
    with pytest.raises(TraceError, match=r"<stream>:1: LBA .* beyond the capacity"):
        replay_drive(DRIVE, io.BytesIO(b"R 1000TiB 512\n"))
    with pytest.raises(SpecError, match=r"hbm2-2000: is a dram device, need a drive \(kind: ssd\)"):
        load_drive("hbm2-2000")
    assert lengths == []


def test_a_trace_that_was_not_kept_cannot_be_written(lengths: list[int], tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no events were kept"):
        replay_drive(DRIVE, pattern(8)).write_trace(tmp_path / "t.csv")
    kept = replay_drive(DRIVE, pattern(8), with_trace=True)
    kept.write_trace(tmp_path / "t.csv")
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 9


def test_kinds_and_the_options_of_the_other_kind() -> None:
    assert (kind_of(DRIVE), kind_of("hbm2-2000")) == ("ssd", "dram")
    with pytest.raises(SpecError, match=r"is a gpu device; replay takes dram devices and drives"):
        kind_of("gpu/h200-sxm")
    check_options("d", "ssd", ["qd", "block", "seed"])
    check_options("d", "dram", ["row_policy", "seed"])
    with pytest.raises(SpecError, match="--row-policy is for DRAM devices; d is one of the drives"):
        check_options("d", "ssd", ["seed", "row_policy"])
    with pytest.raises(SpecError, match="--qd is for drives; d is one of the DRAM devices"):
        check_options("d", "dram", ["qd"])


# ---------------------------------------------------------------------------- the parts
def test_percentiles_are_latencies_that_a_request_had() -> None:
    found = summary.latency(np.arange(1, 1001, dtype=np.int64)[::-1] * 1000)
    assert found == {
        "mean_ns": 500.5, "min_ns": 1.0, "p50_ns": 500.0, "p90_ns": 900.0, "p99_ns": 990.0,
        "p99_9_ns": 999.0, "max_ns": 1000.0,
    }  # fmt: skip
    assert set(summary.latency(np.array([7000])).values()) == {7.0}


def test_cores_share_their_time() -> None:
    table = summary.resource_table({"controller": 600, "bus": [100, 300]}, 400, 2)
    assert table["utilisation"].tolist() == [0.75, 0.25, 0.75]
    assert table["index"].tolist() == [0, 0, 1]
    assert table["busy_ns"].tolist() == [0.6, 0.1, 0.3]
    used = summary.utilisation(table)
    assert used["bus"] == {"mean": 0.5, "min": 0.25, "max": 0.75}
    assert summary.utilisation(summary.resource_table({"bus": [0]}, 0, 1))["bus"]["max"] == 0


@pytest.mark.parametrize(
    ("bus", "is_open", "expected"),
    [(0.95, False, "bus"), (0.95, True, "bus"), (0.5, False, "latency"), (0.5, True, "arrivals")],
)
def test_what_limits(bus: float, is_open: bool, expected: str) -> None:
    used = {"bus": {"mean": 0.2, "max": bus}, "die": {"mean": 0.3, "max": 0.3}}
    assert summary.busiest(used) == ("bus", bus)
    assert summary.bound(used, {"queue": 7.0, "array": 3.0}, is_open=is_open) == expected


def test_what_reads_mostly_wait_for_limits_though_it_is_not_busy() -> None:
    used = {"bus": {"mean": 0.6, "max": 0.6}, "die": {"mean": 0.5, "max": 0.5}}
    assert summary.bound(used, {"queue": 8.0, "array": 2.0}, is_open=False) == "die"
    assert summary.bound(used, {"queue": 1.0, "ecc": 8.0, "array": 1.0}, is_open=True) == "ecc"
    busy = used | {"bus": {"mean": 0.6, "max": 0.95}}
    assert summary.bound(busy, {"queue": 8.0, "array": 2.0}, is_open=False) == "bus"
    assert summary.bound(used, {}, is_open=False) == "latency"


def test_the_rest_of_a_read_is_its_command_only_where_a_read_is_a_page() -> None:
    latency_ps, waits = np.array([9000, 11_000]), {"array": 6000, "link": 2000}
    counts = {"pages_read": 2, "host_pages_read": 2, "gc_read": 0, "fill_read": 0}
    stages = summary.stages_ns(waits, counts, latency_ps)
    assert stages == {"command": 6.0, "array": 3.0, "link": 1.0}
    again = counts | {"pages_read": 3}  # one of the two was read again
    assert summary.stages_ns(waits, again, latency_ps) == stages
    for several in ({"host_pages_read": 4}, {"gc_read": 2}, {"fill_read": 2}):
        found = summary.stages_ns(waits, counts | {"pages_read": 4} | several, latency_ps)
        assert found == {"array": 1.5, "link": 0.5}
    assert summary.stages_ns(waits, counts | {"pages_read": 0}, None) == {}


def test_a_timeline_cuts_events_at_its_ends_and_orders_lanes() -> None:
    rows = [
        event("DIE_READ", 0, 10_000, 1, 3),
        event("BUS_COMMAND", 1000, 2000, 10, 20),
        event("BUS_DATA_OUT", 11_000, 13_000, 1, 3),
        event("ECC", 13_000, 15_000, 1, 3),
        event("PCIE_UP", 14_500, 30_000),
        event("PCIE_DOWN", 0, 1500),
        event("CORE", 2000, 3000, 1),
        event("CORE", 2000, 3000, 0),
        event("PCIE_DOWN", 500, 1000),  # ends where the window starts
        event("DIE_ERASE", 20_000, 30_000, 1, 2),  # starts where it ends
    ]
    table = timeline_of(np.array(rows, dtype=TRACE_DTYPE), TRACE_KINDS, (1.0, 20.0))
    shown = list(zip(*(table[name].tolist() for name in list(table)[:4]), strict=True))
    assert shown == [
        ("PCIe to drive", "PCIE_DOWN", 1.0, 1.5),
        ("PCIe to host", "PCIE_UP", 14.5, 20.0),
        ("core0", "CORE", 2.0, 3.0),
        ("core1", "CORE", 2.0, 3.0),
        ("ch1 bus", "BUS_DATA_OUT", 11.0, 13.0),
        ("ch1 ECC", "ECC", 13.0, 15.0),
        ("ch1 die3", "DIE_READ", 1.0, 10.0),
        ("ch10 bus", "BUS_COMMAND", 1.0, 2.0),
    ]
    nothing = timeline_of(np.array(rows, dtype=TRACE_DTYPE), TRACE_KINDS, (40.0, 50.0))
    assert len(nothing) == 0
    assert isinstance(nothing, Table)
