"""A description's parts as the engine of devices/ternary_lut takes them: plain numbers."""

from __future__ import annotations

from bankwidth.devices.ternary_lut.attention import DecodeUnit, PrefillUnit
from bankwidth.devices.ternary_lut.core import Core, sums_of
from bankwidth.devices.ternary_lut.fills import Buffer
from bankwidth.devices.ternary_lut.stream import Stream
from bankwidth.spec import TernaryLutSpec

BITS = 8


def core_of(spec: TernaryLutSpec) -> Core:
    """One core; it looks up no more per clock than its buffer's banks give."""
    buffer, stream = spec.weight_buffer, spec.input
    return Core(
        group=spec.group_size,
        tables=spec.tables,
        lookups=min(spec.lookups_per_table, buffer.banks * buffer.reads_per_bank),
        sums=sums_of(spec.group_size, halved=spec.table.halved),
        writes=spec.table.writes_per_clock,
        doubled=spec.table.doubled,
        fill_ck=spec.lookup_fill_ck,
        stream=Stream(
            per_clock=stream.per_clock,
            block=stream.block,
            block_fill_ck=stream.block_fill_ck,
            queue=stream.queue,
            pads=stream.pads,
        ),
    )


def buffer_of(spec: TernaryLutSpec) -> Buffer:
    """The weight buffers of all cores as one: a core has the columns that it computes."""
    buffer = spec.weight_buffer
    return Buffer(
        regions=buffer.regions,
        rows=buffer.rows,
        columns=buffer.columns * spec.cores,
        beat_bytes=-(-buffer.beat_bits // BITS),
        entries_per_beat=buffer.entries_per_beat,
        double=buffer.double_buffered,
    )


def prefill_of(spec: TernaryLutSpec) -> PrefillUnit:
    """Attention of prompts; keys and values have ports of their own, the fewer count."""
    unit = spec.prefill
    return PrefillUnit(
        queries=unit.queries,
        lanes=unit.lanes,
        score_ck=unit.score_ck,
        sum_ck=unit.sum_ck,
        weigh_ck=unit.weigh_ck,
        fill_ck=unit.fill_ck,
        skips_masked=unit.skips_masked,
        port_bytes=_port_bytes(spec),
    )


def decode_of(spec: TernaryLutSpec) -> DecodeUnit:
    """Attention of one token."""
    unit = spec.decode
    return DecodeUnit(
        lanes=unit.lanes,
        lane_ck=unit.lane_ck,
        score_head_ck=unit.score_head_ck,
        value_head_ck=unit.value_head_ck,
        fill_ck=unit.fill_ck,
        port_bytes=_port_bytes(spec),
    )


def _port_bytes(spec: TernaryLutSpec) -> int:
    ports = spec.ports
    return min(ports.keys, ports.values) * ports.width_bits // BITS
