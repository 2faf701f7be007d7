"""What the page and the terminal say about a request-level run: titles, names, meanings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bankwidth.report.replay_words import count
from bankwidth.report.words import format_count, format_share, short_energy, short_time
from bankwidth.units import format_bytes

Summary = Mapping[str, Any]  # the JSON of `bankwidth run --requests --json`
TIMES: Final = {
    "queue": ("queue", "from arrival to the first iteration that a request is in"),
    "ttft": ("TTFT", "time to the first token, from arrival"),
    "tpot": ("TPOT", "mean time per further token of a request"),
    "tbt_max": ("longest TBT", "longest time between two tokens of a request"),
    "e2e": ("E2E", "from arrival to the last token"),
}
STATISTICS: Final = {
    "mean_ns": "mean",
    "p50_ns": "p50",
    "p90_ns": "p90",
    "p99_ns": "p99",
    "max_ns": "max",
}
POLICIES: Final = {
    "vllm": "prompts first, alone",
    "sarathi": "pieces of prompts beside decodes",
    "orca": "whole prompts beside decodes, room reserved",
    "static": "one batch after the other",
}
KV: Final = {
    "mean_occupancy": ("in use, mean", "share of the blocks of keys and values, over all time"),
    "peak_occupancy": ("in use, peak", "the same, at its most"),
    "mean_cached_share": ("prefixes kept", "of prompts that are over, for those to come"),
    "fragmentation": ("of those unused", "room in blocks in use that no token is in"),
}
ITERATIONS: Final = {
    "prefill": ("prompts only", "iterations in which nothing decodes"),
    "mixed": ("both", "iterations with prompts and decodes"),
    "decode": ("decodes only", "iterations without prompts"),
}


def title(summary: Summary) -> str:
    """How many requests on what."""
    number = count(summary["requests"]["total"])
    return f"{number} requests, {summary['workload']} on {summary['machine']}"


def headline(summary: Summary) -> str:
    """Throughput, energy, time: one line."""
    parts = [
        f"{format_count(summary['output_tokens_per_s'])} tokens/s",
        f"{summary['requests_per_s']:.3g} requests/s",
    ]
    if summary["energy_per_token_pj"]:
        parts.append(f"{short_energy(summary['energy_per_token_pj'])}/token")
    return ", ".join([*parts, long_time(summary["time_ns"])])


def long_time(time_ns: float) -> str:
    """As `short_time`, minutes and hours too."""
    seconds = time_ns / 1e9
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return short_time(time_ns)


def long_energy(energy_pj: float) -> str:
    """As `short_energy`, larger units too."""
    joules = energy_pj / 1e12
    for size, unit in ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")):
        if joules >= size:
            return f"{joules / size:.3g} {unit}"
    return short_energy(energy_pj)


def offered(summary: Summary) -> str:
    """What the requests were, in a few words."""
    asked = summary["offered"]
    prompt, output = (big(asked[name]) for name in ("prompt_tokens", "output_tokens"))
    arrivals = "arrivals as recorded" if asked["arrivals"] == "recorded" else asked["arrivals"]
    return f"{prompt} prompt tokens, {output} output tokens, {arrivals}"


def big(number: float) -> str:
    """`12.4 M` and the like: three digits."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if number >= factor:
            return f"{number / factor * (10 if unit == ' k' else 1):.3g}{unit}"
    return count(int(number))


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before any number: an interruption, requests not served."""
    counts, said = summary["requests"], []
    if not summary["complete"]:
        done, total = count(counts["finished"]), count(counts["total"])
        said.append(f"PARTIAL: interrupted when {done} of {total} requests were finished")
    if counts["rejected"]:
        first = summary["rejected"][0]
        example = f"request {first['request']} {first['reason']}"
        said.append(f"{count(counts['rejected'])} requests rejected, can never run: {example}")
    return said


def policy(summary: Summary) -> str:
    """The policy and its limits."""
    options = summary["options"]
    budget = "chunk_tokens" if options["policy"] == "sarathi" else "max_batched_tokens"
    return (
        f"{options['policy']}: {POLICIES[options['policy']]}; at most "
        f"{count(options['max_sequences'])} sequences, {count(options[budget])} tokens at once"
    )


def promised(summary: Summary) -> str:
    """How many requests had what was promised; empty where nothing was."""
    slo = summary["slo"]
    if slo is None:
        return ""
    parts = [
        f"{TIMES[name][0]} within {short_time(slo[f'limit_{name}_ns'])}: "
        f"{format_share(slo[f'attainment_{name}'])}"
        for name in ("ttft", "tpot")
        if f"limit_{name}_ns" in slo
    ]
    both = f"; both: {format_share(slo['attainment'])}" if len(parts) > 1 else ""
    return f"{', '.join(parts)}{both}; goodput {summary['goodput_requests_per_s']:.3g} requests/s"


def key_figures(summary: Summary) -> Iterator[tuple[str, str]]:
    """Cards of the page."""
    latency = summary["latency"]
    yield "output tokens per s", format_count(summary["output_tokens_per_s"])
    yield "requests per s", f"{summary['requests_per_s']:.3g}"
    if summary["slo"] is not None:
        yield "within their promises", format_share(summary["slo"]["attainment"])
    for name in ("ttft", "tpot"):
        for statistic in ("p50_ns", "p99_ns"):
            yield (
                f"{TIMES[name][0]}, {STATISTICS[statistic]}",
                time_or_none(latency[name][statistic]),
            )
    if summary["energy_per_token_pj"]:
        yield "energy per token", short_energy(summary["energy_per_token_pj"])
    machines = summary["machines"].values()
    of = " of any" if len(machines) > 1 else ""
    peak = max(machine["kv"]["peak_occupancy"] for machine in machines)
    yield f"keys and values, peak{of}", format_share(peak)
    idle = sum(machine["idle_share"] for machine in machines) / len(machines)
    yield "idle", format_share(idle)
    yield "preemptions", count(summary["preemptions"])


def time_or_none(time_ns: float | None) -> str:
    """A time, or a dash where there is none."""
    return "-" if time_ns is None else short_time(time_ns)


def latency_rows(summary: Summary) -> Iterator[tuple[str, list[str], str]]:
    """Name, one text per statistic, meaning."""
    for key, (name, meaning) in TIMES.items():
        found = summary["latency"][key]
        yield name, [time_or_none(found[each]) for each in STATISTICS], meaning


def bound_rows(machine: Summary) -> list[tuple[str, str, float]]:
    """What limited a machine, with the time and its share of all time, idle time with it."""
    whole = machine["busy_ns"] + machine["idle_ns"]
    busy = machine["busy_ns"] / whole if whole else 0.0
    parts = [(name, share * busy) for name, share in machine["bound_share"].items()]
    parts.sort(key=lambda part: -part[1])
    known = sum(share for _, share in parts)
    if machine["swap_ns"]:
        parts.append(("swapping", machine["swap_ns"] / whole))
        known += machine["swap_ns"] / whole
    if busy - known > 5e-4:
        parts.append(("other", busy - known))
    parts.append(("idle", machine["idle_share"]))
    return [(name, long_time(share * whole), share) for name, share in parts if share > 0]


def kv_rows(machine: Summary) -> list[tuple[str, str, float, str]]:
    """Shares of the blocks of a machine, with their size and meaning."""
    kv, rows = machine["kv"], []
    whole = kv["blocks"] * kv["block_bytes"]
    used = {"mean_occupancy": whole, "peak_occupancy": whole, "mean_cached_share": whole}
    used["fragmentation"] = whole * kv["mean_occupancy"]
    for key, (name, meaning) in KV.items():
        if kv[key] or key != "mean_cached_share":
            rows.append((name, format_bytes(kv[key] * used[key]), kv[key], meaning))
    return rows


def iteration_rows(machine: Summary) -> list[tuple[str, str, float, str]]:
    """Iterations by what was in them."""
    counts = machine["iterations"]
    total = max(1, counts["total"])
    return [
        (name, count(int(counts[key])), counts[key] / total, meaning)
        for key, (name, meaning) in ITERATIONS.items()
        if counts[key]
    ]


def token_words(summary: Summary) -> str:
    """What went through the model, and what did not have to."""
    found = summary["tokens"]
    parts = [f"{big(found['prefilled'])} prompt tokens computed"]
    if found["reused"]:
        parts.append(f"{big(found['reused'])} found in the prefix cache")
    if found["recomputed"]:
        parts.append(f"{big(found['recomputed'])} of the computed ones again, after preemption")
    return f"{', '.join(parts)}; {big(found['output'])} tokens produced"


def pricing_words(machine: Summary) -> str:
    """How iterations were priced."""
    return ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in machine["pricing"].items())


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
