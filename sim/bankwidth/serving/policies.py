"""Scheduling policies as data: who shares an iteration, who keeps what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTraits:
    """What tells one policy from another."""

    mixes: bool  # prompts and decodes share an iteration; else prompts go first, alone
    chunks: bool  # prompts are cut so that an iteration has no more than chunk_tokens
    reserves: bool  # blocks for all tokens of a request are taken at its start
    waits: bool  # a batch begins when the last has ended; its sequences keep their places


# fmt: off
POLICIES: Final = {
    "vllm":    PolicyTraits(mixes=False, chunks=False, reserves=False, waits=False),
    "sarathi": PolicyTraits(mixes=True,  chunks=True,  reserves=False, waits=False),
    "orca":    PolicyTraits(mixes=True,  chunks=False, reserves=True,  waits=False),
    "static":  PolicyTraits(mixes=False, chunks=False, reserves=True,  waits=True),
}
# fmt: on
