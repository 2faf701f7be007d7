"""Forward passes: which sequences go through the model together, each with how many new tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtypes:
    """Matrices and embeddings are in `weight`, norms and biases in `activation`."""

    weight: str
    activation: str
    kv: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`batch` equal sequences: `q_len` new tokens each; `kv_len` in the cache, with them."""

    batch: int
    q_len: int
    kv_len: int
    phase: Phase

    @property
    def tokens(self) -> int:
        return self.batch * self.q_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass of one or several groups of sequences.

    `logits` are the rows that the head computes: by default the last token of each sequence; of a
    prompt's chunk that is not its last, none are needed.
    """

    phase: Phase
    groups: tuple[Group, ...]
    logits: int | None = None

    @property
    def tokens(self) -> int:
        return sum(group.tokens for group in self.groups)

    @property
    def batch(self) -> int:
        return sum(group.batch for group in self.groups)

    @property
    def kv_len(self) -> int:
        """Of the longest sequence."""
        return max(group.kv_len for group in self.groups)

    @property
    def logits_rows(self) -> int:
        return self.batch if self.logits is None else self.logits


def uniform_pass(phase: Phase, *, batch: int, q_len: int, kv_len: int) -> Pass:
    """A pass of equal sequences."""
    return Pass(phase=phase, groups=(Group(batch=batch, q_len=q_len, kv_len=kv_len, phase=phase),))
