"""What the page and the terminal say about a drive's replay: title, headline, names, meanings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bankwidth.report.replay_words import count, exact_ns
from bankwidth.report.words import format_rate, format_share, short_energy, short_time
from bankwidth.units import format_bytes

Summary = Mapping[str, Any]  # the JSON of `bankwidth replay DRIVE --json`
_BITS_PER_BYTE: Final = 8
SIDES: Final = {"read": "reads", "write": "writes"}
LATENCIES: Final = {
    "mean_ns": "mean",
    "min_ns": "min",
    "p50_ns": "p50",
    "p90_ns": "p90",
    "p99_ns": "p99",
    "p99_9_ns": "p99.9",
    "max_ns": "max",
}
RESOURCES: Final = {
    "pcie_down": ("PCIe to the drive", "commands and data to write"),
    "pcie_up": ("PCIe to the host", "data read, and completions"),
    "controller": ("controller cores", "firmware, for each command of the host"),
    "dram": ("DRAM of the drive", "data on their way"),
    "bus": ("channel buses", "commands, and data in and out of the dies"),
    "ecc": ("ECC decoders", "one per channel, for data that were read"),
    "data": ("data on the buses", "of the channels' buses, data without commands and set-up"),
    "die": ("dies", "arrays that read, program or erase"),
    "filter": ("channel filters", "of the in-storage engine"),
    "compute": ("compute lanes", "of the in-storage engine"),
    "then": ("softmax and top-k", "of the in-storage engine"),
}
STAGES: Final = {
    "command": (
        "host and controller",
        "NVMe, firmware, look-up and completion, and waiting for each",
    ),
    "queue": ("waiting for the die", "and for the bus of its channel, behind other requests"),
    "array": ("command and array", "command on the bus, and cells to page register (tR)"),
    "bus": ("waiting for the bus", "the page is in its register, others move over the bus"),
    "data_out": ("data out", "over the bus of the channel"),
    "ecc": ("ECC", "waiting for the decoder, and decoding"),
    "link": ("PCIe", "waiting for the link, and over it to the host"),
}
COUNTS: Final = {
    "read": "commands that read pages of one plane",
    "read_multi_plane": "commands that read pages of several planes at once",
    "program": "commands that program a page of one plane",
    "program_multi_plane": "commands that program pages of several planes at once",
    "erase": "blocks erased",
    "gc_read": "pages read to make room (garbage collection)",
    "gc_program": "pages moved to make room (garbage collection)",
    "retry": "reads of the array again, as the code could not correct the page",
    "suspend": "programs and erases interrupted by a read",
    "buffer_hit": "pages read from the write buffer",
    "fill_read": "pages read because a request writes only a part of them",
    "pages_read": "pages read from cells",
    "pages_programmed": "pages written to cells",
    "pages_out": "pages moved from dies",
    "pages_in": "pages moved to dies",
    "pages_decoded": "pages through the decoders",
    "host_pages_read": "pages that requests of the host read",
    "host_pages_written": "pages that requests of the host write",
    "cache_move": "pages moved from the page register to the cache register",
    "engine_pages": "pages for the in-storage engine",
    "host_reads": "requests that read",
    "host_writes": "requests that write",
    "bus_bytes": "bytes over the buses of the channels, spare ones included",
    "ecc_bytes": "bytes through the decoders",
    "pcie_bytes": "bytes over PCIe, with those of packets and messages",
    "dram_bytes": "bytes into and out of the DRAM of the drive",
}
BOUNDS: Final = {
    "latency": "latency: more requests at once would be served faster",
    "arrivals": "arrivals: the requests come no faster",
}


def resource_name(name: str) -> str:
    """What a resource is called."""
    return RESOURCES[name][0] if name in RESOURCES else name.replace("_", " ")


def stage_name(name: str) -> str:
    """What a stage of a page read is called."""
    return STAGES[name][0] if name in STAGES else name.replace("_", " ")


def title(summary: Summary) -> str:
    """How much was replayed on what."""
    return f"{count(summary['requests'])} requests on {summary['title']}"


def headline(summary: Summary) -> str:
    """IOPS, bandwidth, time: one line."""
    rate = format_rate(summary["bandwidth_bytes_per_ns"])
    return f"{format_iops(summary['iops'])}, {rate}, {short_time(summary['time_ns'])}"


def format_iops(iops: float) -> str:
    """`812 k IOPS` and the like: three digits."""
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if iops >= factor:
            return f"{iops / factor:.3g} {unit} IOPS"
    return f"{iops:.3g} IOPS"


def offered(summary: Summary) -> str:
    """How the requests came, in a few words."""
    depth = summary["options"]["queue_depth"]
    how = "at their arrivals" if depth is None else f"{depth} at once (--qd)"
    reads, writes = count(summary["reads"]), count(summary["writes"])
    sizes = [format_bytes(summary[f"{side}_bytes"]) for side in SIDES]
    return f"reads {reads} ({sizes[0]}), writes {writes} ({sizes[1]}), {how}"


def bound_sentence(summary: Summary) -> str:
    """What limits, with how busy it is."""
    bound, busiest = summary["bound"], summary["busiest"]
    share = format_share(summary["busiest_utilisation"])
    if bound in BOUNDS:
        return f"{BOUNDS[bound]} (busiest: {resource_name(busiest)}, {share})"
    if bound == busiest:
        return f"{resource_name(bound)}, {share} busy"
    own = format_share(summary["utilisation"][bound]["max"])
    return f"{resource_name(bound)}: reads mostly wait for them ({own} busy, else held)"


def utilisations(summary: Summary) -> list[tuple[str, float, float, float, str]]:
    """(name, mean, least, most, meaning) of each resource that did anything, in a fixed order."""
    used = summary["utilisation"]
    order = sorted(used, key=lambda name: [*RESOURCES, name].index(name))
    return [
        (
            resource_name(name),
            used[name]["mean"],
            used[name]["min"],
            used[name]["max"],
            RESOURCES[name][1] if name in RESOURCES else "",
        )
        for name in order
        if used[name]["max"] > 0
    ]


def spread(least: float, most: float) -> str:
    """`12.0-14.1 %` where members of a resource differ."""
    if format_share(least) == format_share(most):
        return ""
    return f"{100 * least:.1f}-{format_share(most)}"


def stages(summary: Summary) -> list[tuple[str, float, float, str]]:
    """(name, time in ns, share, meaning) of each stage of a mean page read that took time."""
    found = {name: time for name, time in summary["read_stages_ns"].items() if time}
    total_ns = sum(found.values())
    return [
        (stage_name(name), time, time / total_ns, STAGES[name][1] if name in STAGES else "")
        for name, time in found.items()
    ]


def energy_shares(summary: Summary) -> list[tuple[str, float, float]]:
    """(component, energy in pJ, share of all), the largest first; empty where none is known."""
    total_pj = summary["energy_pj"]
    parts = sorted(summary["energy_by_component_pj"].items(), key=lambda part: -part[1])
    return [(name.replace("_", " "), pj, pj / total_pj) for name, pj in parts if total_pj]


def energy_per_bit(summary: Summary) -> str:
    """`41 pJ/bit`; nothing where no bit moved or no energy is known."""
    bits = (summary["read_bytes"] + summary["write_bytes"]) * _BITS_PER_BYTE
    total_pj = summary["energy_pj"]
    return f"{total_pj / bits:.3g} pJ/bit" if bits and total_pj else ""


def wear(summary: Summary) -> str:
    """What the writes cost, in a sentence; nothing where there were none."""
    if summary["write_amplification"] is None:
        return ""
    worn, factor = summary["wear"], f"{summary['write_amplification']:.3g}"
    return (
        f"{factor} pages programmed per page written; {count(worn['erases'])} erases, at most "
        f"{count(worn['most_erases_of_a_block'])} of one block ({count(worn['endurance_cycles'])} "
        "are its endurance)"
    )


def settling(summary: Summary) -> str:
    """For how long the drive went on after the last request; nothing if it did not."""
    rest_ns = summary["settled_ns"] - summary["time_ns"]
    if rest_ns <= 0:
        return ""
    return f"The drive went on for {short_time(rest_ns)} after the last request; shares include it."


def window_title(summary: Summary) -> str:
    """From when to when."""
    start_ns, end_ns = summary["window_ns"]
    return f"{exact_ns(start_ns)} to {exact_ns(end_ns)}"


def key_figures(summary: Summary) -> list[tuple[str, str]]:
    """(name, value with unit), the most asked for first; what is not known is left out."""
    amplification, wear = summary["write_amplification"], summary["wear"]
    figures = [
        ("throughput", format_iops(summary["iops"])),
        ("bandwidth", format_rate(summary["bandwidth_bytes_per_ns"])),
        ("time", short_time(summary["time_ns"])),
        *_latency_figures(summary),
        ("write amplification", "" if amplification is None else f"{amplification:.3g}"),
        ("blocks erased", count(wear["erases"]) if wear["erases"] else ""),
        ("energy", short_energy(summary["energy_pj"]) if summary["energy_pj"] else ""),
        ("energy per bit", energy_per_bit(summary)),
    ]
    return [(name, value) for name, value in figures if value]


def _latency_figures(summary: Summary) -> list[tuple[str, str]]:
    return [
        (f"{side}, {LATENCIES[key]}", short_time(found[key]))
        for side, found in summary["latency"].items()
        for key in ("mean_ns", "p99_ns")
    ]
