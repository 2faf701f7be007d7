"""Figures of a drive's replay: latencies and their percentiles, how busy each resource was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bankwidth.results import Table

Times = NDArray[np.int64]
QUANTILES: Final = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99, "p99_9_ns": 0.999}
# Where the curve of latencies is sampled: evenly, and ever closer to 100 %.
CURVE: Final = (*np.linspace(0, 99, 100).tolist(), *(100 - 10.0 ** -np.linspace(0, 4, 41)), 100.0)
CORES: Final = "controller"
NOT_IN_A_REPLAY: Final = ("filter", "compute", "then")  # the in-storage engine
LIMIT: Final = 0.9  # a resource that is busy for this share of the time is what limits
MOSTLY: Final = 0.75  # or one that reads wait for during this share of theirs
WAITED_FOR: Final = {"queue": "die", "bus": "bus", "ecc": "ecc", "link": "pcie_up"}


def split(latency_ps: Times, is_write: NDArray[np.bool_]) -> dict[str, Times]:
    """Latencies by direction; a direction that no request took is left out."""
    sides = {"read": latency_ps[~is_write], "write": latency_ps[is_write]}
    return {name: values for name, values in sides.items() if len(values)}


def latency(latency_ps: Times) -> dict[str, float]:
    """Mean, least, percentiles and most. A percentile is a latency that a request had."""
    found = np.quantile(latency_ps, list(QUANTILES.values()), method="inverted_cdf")
    return {
        "mean_ns": int(latency_ps.sum()) / len(latency_ps) / 1000,
        "min_ns": int(latency_ps.min()) / 1000,
        **dict(zip(QUANTILES, (found / 1000).tolist(), strict=True)),
        "max_ns": int(latency_ps.max()) / 1000,
    }


def latency_table(sides: Mapping[str, Times]) -> Table:
    """The curve of latencies: what share of the reads, or writes, took no longer."""
    rows: dict[str, list[Any]] = {"direction": [], "percentile_pct": [], "latency_ns": []}
    for name, latency_ps in sides.items():
        values = np.percentile(latency_ps, CURVE, method="inverted_cdf") / 1000
        rows["direction"] += [name] * len(CURVE)
        rows["percentile_pct"] += [float(f"{percent:.6g}") for percent in CURVE]
        rows["latency_ns"] += values.tolist()
    return Table(rows, {"latency_ns": "ns"})


def resource_table(busy_ps: Mapping[str, ArrayLike], whole_ps: int, cores: int) -> Table:
    """Busy time of each resource, and its share of `whole_ps`; `index` counts those of one name.

    The cores of the controller have one sum, and one utilisation.
    """
    rows = [
        (name, index, busy, 1 if name != CORES else cores)
        for name, values in busy_ps.items()
        if name not in NOT_IN_A_REPLAY
        for index, busy in enumerate(np.atleast_1d(values).tolist())
    ]
    return Table(
        {
            "resource": [name for name, *_ in rows],
            "index": [index for _, index, *_ in rows],
            "busy_ns": [busy / 1000 for *_, busy, _ in rows],
            "utilisation": [_share(busy, whole_ps * number) for *_, busy, number in rows],
        }
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def utilisation(resources: Table) -> dict[str, dict[str, float]]:
    """Mean, least and most over the resources of one name."""
    return {
        name: {
            "mean": float(each.mean()),
            "min": float(each.min()),
            "max": float(each.max()),
        }
        for name, each in _by_name(resources).items()
    }


def _by_name(resources: Table) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(resources["resource"].tolist())
    return {name: resources["utilisation"][resources["resource"] == name] for name in names}


def busiest(used: Mapping[str, Mapping[str, float]]) -> tuple[str, float]:
    """The resource with the busiest member, and how busy that is."""
    name = max(used, key=lambda name: used[name]["max"])
    return name, used[name]["max"]


def bound(
    used: Mapping[str, Mapping[str, float]], stages: Mapping[str, float], *, is_open: bool
) -> str:
    """What limits: a resource that is nearly always busy, or that reads mostly wait for.

    Else it is the requests themselves. (A die that waits for the bus is not busy, but not free.)
    """
    name, share = busiest(used)
    if share >= LIMIT:
        return name
    total_ns = sum(stages.values())
    for stage, waited_for in WAITED_FOR.items():
        if total_ns and stages.get(stage, 0.0) >= MOSTLY * total_ns:
            return waited_for
    return "arrivals" if is_open else "latency"


def per_second(number: int, end_ps: int) -> float:
    """Of a number in `end_ps`."""
    return number / end_ps * 1e12 if end_ps else 0.0


def per_ns(number: int, end_ps: int) -> float:
    """Of a number in `end_ps`, per ns."""
    return number / end_ps * 1e3 if end_ps else 0.0


def stages_ns(
    waits_ps: Mapping[str, int], counts: Mapping[str, int], read_latency_ps: Times | None
) -> dict[str, float]:
    """Mean time of a page read in each stage of its way, from the die to the host.

    Where every read request is one page, and nothing else was read, what is left of its latency is
    `command`, what happens before the die and after the link.
    """
    if not counts["pages_read"]:
        return {}
    number = 0 if read_latency_ps is None else len(read_latency_ps)
    reads_else = counts["gc_read"] + counts["fill_read"]
    if read_latency_ps is None or reads_else or number != counts["host_pages_read"]:
        return _each_ns(waits_ps, counts["pages_read"])
    rest_ps = int(read_latency_ps.sum()) - sum(waits_ps.values())
    return _each_ns({"command": rest_ps, **waits_ps}, number)


def _each_ns(total_ps: Mapping[str, int], number: int) -> dict[str, float]:
    return {name: total / number / 1000 for name, total in total_ps.items()}
