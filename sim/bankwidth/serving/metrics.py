"""What became of requests and how a machine was used: tables and the summary of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.results import Table
from bankwidth.serving.iteration import Pricing
from bankwidth.serving.scheduler import Instance
from bankwidth.serving.sequence import Sequence as Served
from bankwidth.spec.serving import ServingSpec
from bankwidth.units import UNITS, ps_to_ns

QUANTILES: Final = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99}
# Times of a request: column of the table -> what it is called in the summary.
TIMES: Final = {
    "queue_ns": "queue",
    "ttft_ns": "ttft",
    "tpot_ns": "tpot",
    "tbt_max_ns": "tbt_max",
    "e2e_ns": "e2e",
}
_PS_PER_S: Final = 10**12


# ---------------------------------------------------------------------------- requests
def requests_table(sequences: Sequence[Served]) -> Table:
    """A row per request; a time that there is not (yet) is absent."""
    return Table(
        {
            "request": [each.index for each in sequences],
            "status": [_status(each) for each in sequences],
            "arrival_ns": [ps_to_ns(each.arrival_ps) for each in sequences],
            "queue_ns": [_since(each.start_ps, each.arrival_ps) for each in sequences],
            "ttft_ns": [_since(each.first_ps, each.arrival_ps) for each in sequences],
            "tpot_ns": [_per_token_ns(each) for each in sequences],
            "tbt_max_ns": [_longest_gap_ns(each) for each in sequences],
            "e2e_ns": [_whole_ns(each) for each in sequences],
            "prompt_tokens": [each.prompt for each in sequences],
            "output_tokens": [each.output for each in sequences],
            "produced_tokens": [each.produced for each in sequences],
            "prefilled_tokens": [each.prefilled for each in sequences],
            "reused_tokens": [each.reused for each in sequences],
            "preemptions": [each.preemptions for each in sequences],
            "reason": [each.reason for each in sequences],
        }
    )


def _status(sequence: Served) -> str:
    return sequence.status if sequence.status in ("finished", "rejected") else "unfinished"


def _since(end_ps: int, start_ps: int) -> float:
    return ps_to_ns(end_ps - start_ps) if end_ps >= 0 else math.nan


def _per_token_ns(sequence: Served) -> float:
    """Mean time of the tokens behind the first."""
    if sequence.produced < 2:
        return math.nan
    return ps_to_ns(sequence.last_ps - sequence.first_ps) / (sequence.produced - 1)


def _longest_gap_ns(sequence: Served) -> float:
    return ps_to_ns(sequence.longest_gap_ps) if sequence.produced > 1 else math.nan


def _whole_ns(sequence: Served) -> float:
    return _since(sequence.last_ps, sequence.arrival_ps) if sequence.is_done else math.nan


def percentiles(values_ns: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean, percentiles and most; a percentile is a time that a request had. None of no times."""
    known = values_ns[~np.isnan(values_ns)]
    if not len(known):
        return dict.fromkeys(("mean_ns", *QUANTILES, "max_ns"))
    found = np.quantile(known, list(QUANTILES.values()), method="inverted_cdf")
    return {
        "mean_ns": math.fsum(known) / len(known),
        **dict(zip(QUANTILES, found.tolist(), strict=True)),
        "max_ns": float(known.max()),
    }


# ---------------------------------------------------------------------------- the whole run
def summary_of(
    requests: Table, instances: Mapping[str, Instance], options: ServingSpec
) -> dict[str, Any]:
    """Figures of a run as plain data; `instances` are the machines by name."""
    end_ps = max(each.journal.end_ps for each in instances.values())
    counts = _counts(requests)
    done = int(requests["produced_tokens"].sum())
    energy_pj = math.fsum(_energy_pj(each, end_ps) for each in instances.values())
    slo = _slo(requests, options)
    return {
        "requests": counts,
        "time_ns": ps_to_ns(end_ps),
        "tokens": {
            "output": done,
            "prefilled": int(requests["prefilled_tokens"].sum()),
            "reused": int(requests["reused_tokens"].sum()),
            "recomputed": _recomputed(requests),
        },
        "output_tokens_per_s": _per_s(done, end_ps),
        "requests_per_s": _per_s(counts["finished"], end_ps),
        "latency": {name: percentiles(requests[column]) for column, name in TIMES.items()},
        "slo": slo,
        "goodput_requests_per_s": None if slo is None else _per_s(slo["attained"], end_ps),
        "energy_pj": energy_pj,
        "energy_per_token_pj": energy_pj / done if done else None,
        "tokens_per_joule": done * UNITS["energy"]["J"] / energy_pj if energy_pj else None,
        "preemptions": int(requests["preemptions"].sum()),
        "machines": {name: _machine(each, end_ps) for name, each in instances.items()},
        "rejected": _rejected(requests),
    }


def _counts(requests: Table) -> dict[str, int]:
    status = requests["status"]
    names = ("finished", "rejected", "unfinished")
    return {"total": len(requests)} | {name: int((status == name).sum()) for name in names}


def _recomputed(requests: Table) -> int:
    """Tokens that went through the model as prompt more than once, or were outputs before."""
    begun = ~np.isnan(requests["ttft_ns"])
    needed = (requests["prompt_tokens"] - requests["reused_tokens"])[begun]
    return int((requests["prefilled_tokens"][begun] - needed).clip(min=0).sum())


def _per_s(number: int, time_ps: int) -> float:
    return number * _PS_PER_S / time_ps if time_ps else 0.0


def _slo(requests: Table, options: ServingSpec) -> dict[str, Any] | None:
    """How many of the requests that ended had what was promised; rejected ones had not."""
    limits = {"ttft_ns": options.slo_ttft_ns, "tpot_ns": options.slo_tpot_ns}
    asked = {name: limit for name, limit in limits.items() if limit is not None}
    if not asked:
        return None
    finished = requests["status"] == "finished"
    ended = finished | (requests["status"] == "rejected")
    met = {name: finished & ~(requests[name] > limit) for name, limit in asked.items()}
    both = np.logical_and.reduce(list(met.values()))
    share = {name: _share(int(which.sum()), int(ended.sum())) for name, which in met.items()}
    return {
        **{f"limit_{name}": limit for name, limit in asked.items()},
        **{f"attainment_{name.removesuffix('_ns')}": part for name, part in share.items()},
        "attained": int(both.sum()),
        "attainment": _share(int(both.sum()), int(ended.sum())),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _rejected(requests: Table) -> list[dict[str, Any]]:
    """Every request that could not be served, with the reason."""
    rows = requests.take(requests["status"] == "rejected").rows()
    names = ("request", "prompt_tokens", "output_tokens", "reason")
    return [{name: row[name] for name in names} for row in rows]


# ---------------------------------------------------------------------------- a machine
def _energy_pj(instance: Instance, end_ps: int) -> float:
    """Of its iterations, and of standing idle."""
    busy = math.fsum(row.energy_pj for row in instance.journal.rows)
    return busy + instance.pricing.idle_mw * ps_to_ns(_idle_ps(instance, end_ps))


def _idle_ps(instance: Instance, end_ps: int) -> int:
    return end_ps - sum(row.latency_ps for row in instance.journal.rows)


def _machine(instance: Instance, end_ps: int) -> dict[str, Any]:
    journal = instance.journal
    latency_ps = sum(row.latency_ps for row in journal.rows)
    idle_ps = end_ps - latency_ps
    return {
        "iterations": _iterations(instance),
        "busy_ns": ps_to_ns(latency_ps),
        "idle_ns": ps_to_ns(idle_ps),
        "idle_share": _share(idle_ps, end_ps),
        "bound_share": {
            name: _share(part_ps, latency_ps) for name, part_ps in journal.bound_ps.items()
        },
        "kv": _kv(instance, end_ps),
        "swap_bytes": journal.swap_bytes,
        "swap_ns": ps_to_ns(sum(row.swap_ps for row in journal.rows)),
        "preemptions": journal.preemptions,
        "energy_pj": _energy_pj(instance, end_ps),
        "energy_idle_pj": instance.pricing.idle_mw * ps_to_ns(idle_ps),
        "pricing": pricing_words(instance.pricing),
    }


def pricing_words(pricing: Pricing) -> dict[str, Any]:
    """How prices were made."""
    return dict(pricing.describe())


def _iterations(instance: Instance) -> dict[str, float]:
    rows = instance.journal.rows
    decodes = sum(row.decode_sequences for row in rows)
    with_decodes = sum(row.decode_sequences > 0 for row in rows)
    mixed = sum(row.decode_sequences > 0 and row.prefill_tokens > 0 for row in rows)
    return {
        "total": len(rows),
        "prefill": len(rows) - with_decodes,
        "decode": with_decodes - mixed,
        "mixed": mixed,
        "mean_decode_sequences": _share(decodes, with_decodes),
        "mean_tokens": _share(decodes + sum(row.prefill_tokens for row in rows), len(rows)),
    }


def _kv(instance: Instance, end_ps: int) -> dict[str, Any]:
    """Blocks over time; idle time counts, nothing is used then."""
    rows, paging = instance.journal.rows, instance.paging
    used = sum(row.used_blocks * row.latency_ps for row in rows)
    cached = sum(row.cached_blocks * row.latency_ps for row in rows)
    spare = sum(row.spare_tokens * row.latency_ps for row in rows)
    return {
        "blocks": paging.total,
        "block_tokens": paging.block_tokens,
        "block_bytes": paging.block_bytes,
        "mean_occupancy": _share(used, paging.total * end_ps),
        "peak_occupancy": max((row.used_blocks for row in rows), default=0) / paging.total,
        "mean_cached_share": _share(cached, paging.total * end_ps),
        "fragmentation": _share(spare, used * paging.block_tokens),
        "evicted_prefix_blocks": instance.blocks.tree.evicted * instance.blocks.node_blocks,
    }
