"""Microbenchmarks to a draft of a machine: a GPU file and the machine that has it.

Only what was measured is written; the rest comes from the nearest shipped GPU, by `device:`. To
add a field: a line in `gpu_fields`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from gpucap.micro_rows import Micro, MicroRow

# Compute capability x 10, at least -> the shipped GPU whose unmeasured values stand in.
BASES: Final = {
    100: "gpu/b200-sxm",
    90: "gpu/h200-sxm",
    89: "gpu/l40s",
    86: "gpu/rtx-a6000",
    80: "gpu/a100-sxm",
    75: "gpu/t4",
    70: "gpu/v100-sxm2",
}
_WMMA_IS_PEAK_BELOW: Final = 90  # later chips need other instructions for their full rate
_DRAM_NS: Final = 50.0  # of a dependent load are spent in the DRAM model itself


class Dram(NamedTuple):
    """A shipped memory: rate of a pin, width of a channel."""

    name: str
    mbps: float
    channel_bits: int


_HBM: Final = (
    Dram("dram/hbm2-1754", 1754, 128),
    Dram("dram/hbm2-2000", 2000, 128),
    Dram("dram/hbm2e-3190", 3190, 128),
    Dram("dram/hbm2e-3600", 3600, 128),
    Dram("dram/hbm3-5230", 5230, 64),
    Dram("dram/hbm3e-6250", 6250, 64),
    Dram("dram/hbm3e-7992", 7992, 64),
    Dram("dram/hbm3e-9200", 9200, 64),
)
_GDDR: Final = (
    Dram("dram/gddr6-10", 10000, 16),
    Dram("dram/gddr6-16x8", 16000, 16),
    Dram("dram/gddr6-18x8", 18000, 16),
)
_LEAST_HBM_BITS: Final = 1024


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the GPU's file (`tensor.bf16`), its value as YAML, where the value is from."""

    key: str
    value: str
    source: str


def base_of(micro: Micro) -> str:
    """Shipped GPU of the same generation, or of the one before."""
    capability = micro.value("device", "capability")
    return next((name for least, name in BASES.items() if capability >= least), BASES[70])


def dram_of(micro: Micro) -> Dram:
    """The shipped memory of this bus whose pins are nearest in rate."""
    known = _HBM if micro.value("device", "memory_bus") >= _LEAST_HBM_BITS else _GDDR
    mbps = pin_mbps(micro)
    return min(known, key=lambda dram: abs(math.log(dram.mbps / mbps)))


def pin_mbps(micro: Micro) -> float:
    """Two bits a clock, as the driver counts memory clocks."""
    return 2 * micro.value("device", "memory_clock")


def gpu_fields(micro: Micro) -> Iterator[Field]:
    """What the microbenchmarks say of the GPU, in the order of the file."""
    yield Field("sms", f"{micro.value('device', 'sms'):.0f}", "device: multiprocessors")
    ghz = clock_ghz(micro)
    yield Field("clock", quoted(f"{ghz:.3f} GHz"), "clock, idle: cycles over nanoseconds")
    yield from _tensor_fields(micro)
    for name in ("fp32", "bf16", "fp16"):
        rate = micro.middle("vector", name)
        if rate is not None:
            value = quoted(f"{rate:.1f} TFLOPS")
            yield Field(f"vector.{name}", value, f"vector, {name}: multiply-adds in registers")
    yield Field("exp_per_clock", str(exp_per_clock(micro, ghz)), "vector, exp2, over SMs and clock")
    yield from _memory_fields(micro)
    launch_ns = micro.value("launch", "graph")
    yield Field("launch", quoted(f"{launch_ns / 1e3:.2f} us"), "launch, graph: empty kernels")


def _tensor_fields(micro: Micro) -> Iterator[Field]:
    library = {
        name: max(row.value for row in found)
        for name in ("bf16", "fp16")
        if (found := micro.rows("cublas", name))
    }
    for name, best in library.items():
        value = quoted(f"{best:.0f} TFLOPS")
        yield Field(f"tensor.{name}", value, "cublas: the best over K; the peak is above it")
    if micro.value("device", "capability") >= _WMMA_IS_PEAK_BELOW:
        return
    for name in ("fp16", "bf16", "tf32", "int8"):
        rate = micro.middle("tensor", name)
        if rate is not None and name not in library:
            unit = "TOPS" if name == "int8" else "TFLOPS"
            yield Field(f"tensor.{name}", quoted(f"{rate:.0f} {unit}"), f"tensor, {name}: WMMA")


def _memory_fields(micro: Micro) -> Iterator[Field]:
    kib = {
        name: micro.value("device", name) / 1024 for name in ("shared_per_sm", "registers_per_sm")
    }
    l2_mib = micro.value("device", "l2") / 2**20
    yield Field("l2", quoted(f"{l2_mib:g} MiB"), "device: as the driver says")
    rate = l2_gb_per_s(micro)
    if rate is not None:
        source = "bandwidth, read: median of footprints of 30 to 60 % of the L2"
        yield Field("l2_bandwidth", quoted(f"{rate / 1e3:.2f} TB/s"), source)
    yield Field("shared", quoted(f"{kib['shared_per_sm']:g} KiB"), "device: of each SM")
    yield Field("registers", quoted(f"{kib['registers_per_sm']:g} KiB"), "device: of each SM")


def clock_ghz(micro: Micro) -> float:
    """Measured with one warp on each SM; else what the driver says."""
    measured = micro.middle("clock", "idle")
    return (measured if measured is not None else micro.value("device", "clock")) / 1e3


def exp_per_clock(micro: Micro, ghz: float) -> int:
    """Units come in powers of two."""
    per_clock = micro.value("vector", "exp2") / (micro.value("device", "sms") * ghz)
    return int(2 ** max(0, round(math.log2(per_clock))))


def l2_gb_per_s(micro: Micro) -> float | None:
    l2_mib = micro.value("device", "l2") / 2**20
    rows = micro.rows("bandwidth", "read")
    inside = [row.value for row in rows if 0.3 * l2_mib <= row.x <= 0.6 * l2_mib]
    return median(inside) if inside else None


def load_ns(micro: Micro) -> float:
    """Of a dependent load at the largest footprint."""
    return _largest(micro.rows("latency", "load", "ns")).value


def remarks(micro: Micro) -> Iterator[str]:
    """Measured, and of use to whoever completes the file; no field of their own."""
    for kind in ("read", "write", "copy"):
        rows = micro.rows("bandwidth", kind)
        if rows:
            largest = _largest(rows)
            yield f"{kind} of {largest.x:.0f} MiB: {largest.value:.0f} GB/s"
    for where in ("l2", "memory"):
        one = [row.value for row in micro.rows("blocks", where) if row.x == 1]
        if one:
            yield f"one block of 512 threads draws {one[0]:.0f} GB/s from {where}"
    idle = clock_ghz(micro)
    for kind in ("fma", "tensor"):
        rows = micro.rows("clock", kind)
        late = [row.value for row in rows[len(rows) // 2 :]]
        if late:
            yield f"clock under {kind}: {median(late) / 1e3:.3f} GHz, idle {idle:.3f} GHz"
    for name in ("fp16", "bf16", "tf32", "int8"):
        rate = micro.middle("tensor", name)
        if rate is not None:
            yield f"WMMA {name} in registers: {rate:.0f} TFLOPS"
    stream_ns = micro.middle("launch", "stream")
    if stream_ns is not None:
        yield f"empty kernels on a stream: {stream_ns / 1e3:.2f} us each"


def _largest(rows: list[MicroRow]) -> MicroRow:
    return max(rows, key=lambda row: row.x)


def gpu_yaml(micro: Micro, name: str, base: str, date: str) -> str:
    """Text of the GPU's file."""
    about = f"validation/cuda/microbench on {micro.about}, {date}"
    lines = [
        f"# Draft from microbenchmarks: {micro.about}, {date}.",
        f"# What is not here was not measured and is that of {base}: see the datasheet.",
        *(f"# Measured: {remark}." for remark in remarks(micro)),
        "schema_version: 1",
        "kind: gpu",
        f"name: {quoted(name)}",
        f"title: {quoted(micro.about.split(',')[0])}",
        f"source: {quoted(about)}",
        f"device: {base}",
        "",
        *_field_lines(list(gpu_fields(micro))),
    ]
    return "\n".join(lines) + "\n"


def _field_lines(fields: list[Field]) -> Iterator[str]:
    """Fields with a dot in their key stand below their group, which is opened once."""
    group = ""
    for field in fields:
        above, _, key = field.key.rpartition(".")
        if above != group and above:
            yield f"{above}:"
        group = above
        indent = "  " if above else ""
        yield f"{indent}{key}: {_sourced(field.value, f'microbench {field.source}')}"


def machine_yaml(micro: Micro, name: str, gpu_file: str, date: str) -> str:
    """Text of the machine's file; `gpu_file` stands beside it."""
    memory = "hbm" if dram_of(micro) in _HBM else "gddr6"
    lines = [
        f"# Draft from microbenchmarks: {micro.about}, {date}.",
        "# Compare every value with the datasheet.",
        "schema_version: 1",
        "kind: machine",
        f"name: {quoted(name)}",
        f"title: {quoted(micro.about.split(',')[0])}",
        f"source: {quoted(f'validation/cuda/microbench on {micro.about}, {date}')}",
        "",
        "engines:",
        f"  gpu: {{device: {quoted(gpu_file)}}}",
        "",
        *_memory_lines(micro, memory),
        "",
        *_link_lines(micro, memory),
        "",
        "mapping:",
        f"  place: {{weights: {memory}, kv: {memory}, activations: {memory}}}",
        "  run: {default: gpu}",
    ]
    return "\n".join(lines) + "\n"


def _memory_lines(micro: Micro, memory: str) -> list[str]:
    dram, bits = dram_of(micro), micro.value("device", "memory_bus")
    channels = _sourced(
        f"{bits / dram.channel_bits:.0f}",
        f"microbench device: {bits:.0f} bit in channels of {dram.channel_bits}",
    )
    capacity = f"{micro.value('device', 'memory') / 1e9:.1f} GB"
    return [
        "memories:",
        f"  {memory}:",
        f"    device: {dram.name}  # the nearest of the shipped ones: {_rate(micro)}",
        f"    channels: {channels}",
        f"    capacity: {_sourced(quoted(capacity), 'microbench device: as the driver says')}",
    ]


def _link_lines(micro: Micro, memory: str) -> list[str]:
    """The latency is what the DRAM model does not spend itself."""
    gb_per_s = micro.value("device", "memory_bus") * pin_mbps(micro) / 8e3
    bandwidth, taken_ns = quoted(f"{gb_per_s:.1f} GB/s"), load_ns(micro)
    latency = f"{max(0.0, taken_ns - _DRAM_NS):.1f} ns"
    reason = f"{taken_ns:.1f} ns for a dependent load, less {_DRAM_NS:.0f} in the DRAM, assumed"
    pj = {"hbm": "0.5", "gddr6": "1"}[memory]
    shipped = f"assumed: as of the shipped machines with {memory.upper()}"
    return [
        "links:",
        f"  - name: {memory}-phy",
        f"    ends: [gpu, {memory}]",
        f"    bandwidth: {_sourced(bandwidth, f'microbench device: {_rate(micro)}')}",
        f"    latency: {_sourced(quoted(latency), f'microbench latency: {reason}')}",
        f"    energy: {_sourced(quoted(f'{pj} pJ/bit'), shipped)}",
    ]


def _rate(micro: Micro) -> str:
    bits = micro.value("device", "memory_bus")
    return f"{bits:.0f} bit at {pin_mbps(micro):.0f} Mbps a pin"


def _sourced(value: str, source: str) -> str:
    return f"{{value: {value}, source: {quoted(source)}}}"


def quoted(text: str) -> str:
    """A double-quoted scalar: JSON's are YAML's."""
    return json.dumps(text, ensure_ascii=False)
