"""One iteration of a serving engine, and whoever says how long it takes: the face of pricing.

A scheduler makes a `Batch` (what goes through the model at once), a `Pricing` makes an `Iteration`
of it. Times are whole picoseconds, so that sums are exact and runs repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Phase = Literal["prefill", "decode"]


class Group(NamedTuple):
    """Equal sequences of one iteration."""

    batch: int  # sequences
    q_len: int  # new tokens of each
    kv_len: int  # tokens of each in the cache, the new ones among them
    phase: Phase


@dataclass(frozen=True, eq=False)
class Batch:
    """What goes through the model in one iteration: pieces of prompts, and sequences that decode.

    Decoding sequences differ in little but how long they are, so that they are kept as an array;
    `groups` has them grouped exactly, `decodes` and `decode_kv_tokens` are for those who need only
    sums. Batches with equal `key` take equally long.
    """

    chunks: tuple[Group, ...]  # of prompts, sorted; empty in an iteration that only decodes
    decode_kv: NDArray[np.int64]  # [decoding sequence] tokens in its cache, with the new one
    logits: int  # sequences that get a token of it: decodes, and prompts that end with their chunk

    @property
    def decodes(self) -> int:
        """Sequences that decode."""
        return len(self.decode_kv)

    @cached_property
    def decode_kv_tokens(self) -> int:
        """Tokens in the caches of all sequences that decode, the new ones among them."""
        return int(self.decode_kv.sum())

    @cached_property
    def prefill_tokens(self) -> int:
        """New tokens of prompts."""
        return sum(chunk.batch * chunk.q_len for chunk in self.chunks)

    @property
    def tokens(self) -> int:
        """New tokens: those of prompts, and one of each sequence that decodes."""
        return self.prefill_tokens + self.decodes

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All of it as groups of equal sequences: chunks, then decodes by length."""
        lengths, counts = np.unique(self.decode_kv, return_counts=True)
        pairs = zip(counts.tolist(), lengths.tolist(), strict=True)
        return (*self.chunks, *(Group(count, 1, kv_len, "decode") for count, kv_len in pairs))

    @property
    def key(self) -> tuple[tuple[Group, ...], int]:
        """Equal for batches of equal sequences."""
        return self.groups, self.logits


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one batch takes on a machine."""

    latency_ps: int  # above 0
    energy_pj: float  # of all devices that share the model
    # Share of the latency by what limited it: {"compute": ps, "hbm": ps, ...}; may stay empty.
    bound_ps: Mapping[str, int] = field(default_factory=dict)


class Pricing(Protocol):
    """Says what a batch takes. The same batch always takes the same."""

    def price(self, batch: Batch) -> Iteration:
        """Latency and energy of one iteration. Raises UserError where it cannot run."""
        ...

    @property
    def idle_mw(self) -> float:
        """Power of all devices while no iteration runs."""
        ...

    def describe(self) -> dict[str, Any]:
        """How prices were made, as plain data: method, grids, how many runs, assumptions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a machine holds of keys and values, of all devices that share the model."""

    kv_bytes: int  # memory less weights, activations and what is reserved
    kv_bytes_per_token: int  # of all layers
    sequence_bytes: int = 0  # of each running sequence, whatever its length (states of Mamba)
    swap_bytes_per_ns: float | None = None  # link to the host; None: swapping is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePricing:
    """Linear in tokens: for tests, and to time the scheduler alone."""

    base_ps: int = 10_000_000
    per_token_ps: int = 50_000
    per_kv_token_ps: int = 100
    per_token_pj: float = 1e6
    idle_mw: float = 0.0

    def price(self, batch: Batch) -> Iteration:
        """A base, and shares of new tokens and of tokens read from the cache."""
        kv_tokens = batch.decode_kv_tokens + sum(c.batch * c.kv_len for c in batch.chunks)
        latency_ps = self.base_ps + self.per_token_ps * batch.tokens
        latency_ps += self.per_kv_token_ps * kv_tokens
        return Iteration(latency_ps, self.per_token_pj * batch.tokens, {"fake": latency_ps})

    def describe(self) -> dict[str, Any]:
        """That it is made up."""
        return {"method": "linear in tokens, made up"}
