"""Clocks of attention on the units beside the cores, executed key by key.

Prefill: queries in blocks, and for each block the keys and values that one of its queries sees.
The tokens lie in reverse order, so that those are the block itself and what follows it (TeLLMe's
"reversed" attention); where masked keys are not skipped all of them come in. Decode: scores of all
keys first, then the values.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Attention of one sequence."""

    q_len: int
    kv_len: int
    heads: int
    width: int  # elements of all heads of a query
    kv_bytes: int  # of the keys of one token
    causal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillUnit:
    """Clocks of one key against a block of queries."""

    queries: int
    lanes: int
    score_ck: int  # of `lanes` elements
    sum_ck: int  # of a head
    weigh_ck: int  # of a head of a query
    fill_ck: int
    skips_masked: bool
    port_bytes: int  # of keys, and as many of values, per clock

    def key_ck(self, shape: Shape) -> int:
        """A key and its value: in, scores, softmax, weighed."""
        elements_ck = -(-shape.width // self.lanes) * self.score_ck
        arrives_ck = -(-shape.kv_bytes // self.port_bytes)
        heads_ck = shape.heads * (self.sum_ck + self.queries * self.weigh_ck)
        return max(elements_ck, arrives_ck) + heads_ck + self.fill_ck


def keys_of_blocks(unit: PrefillUnit, shape: Shape) -> list[int]:
    """Keys that come in for each block of queries."""
    skips = unit.skips_masked and shape.causal
    return [
        shape.kv_len - first if skips else shape.kv_len
        for first in range(0, shape.q_len, unit.queries)
    ]


def prefill_ck(unit: PrefillUnit, shape: Shape) -> int:
    """All blocks of queries, and their outputs on the way out."""
    keys = sum(keys_of_blocks(unit, shape))
    outputs_ck = shape.q_len * -(-shape.width // unit.lanes)
    return keys * unit.key_ck(shape) + outputs_ck


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeUnit:
    """Clocks of one key, then of one value, for one query."""

    lanes: int
    lane_ck: int
    score_head_ck: int
    value_head_ck: int
    fill_ck: int
    port_bytes: int

    def token_ck(self, shape: Shape) -> int:
        """A key against the query, and later its value weighed."""
        elements_ck = -(-shape.width // self.lanes) * self.lane_ck
        arrives_ck = -(-shape.kv_bytes // self.port_bytes)
        heads_ck = shape.heads * (self.score_head_ck + self.value_head_ck)
        return 2 * (max(elements_ck, arrives_ck) + self.fill_ck) + heads_ck


def decode_ck(unit: DecodeUnit, shape: Shape) -> int:
    """Both passes, for each new token, and its output on the way out."""
    seen = range(shape.kv_len - shape.q_len + 1, shape.kv_len + 1)
    keys = sum(seen) if shape.causal else shape.q_len * shape.kv_len
    outputs_ck = shape.q_len * -(-shape.width // unit.lanes)
    return keys * unit.token_ck(shape) + outputs_ck
