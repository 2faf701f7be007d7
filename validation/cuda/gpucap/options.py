"""How operators are run: the choices that end up in the columns `kernel`, `cold` and `timing`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ATTENTION: Final = ("sdpa", "sdpa-cudnn", "sdpa-efficient", "flash_attn", "flash_attn_3")
FUSED: Final = ("compile", "eager")
MOE: Final = ("grouped", "loop")
COLD: Final = ("weights", "all")
TIMING: Final = ("graph", "events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`cold` says what comes from device memory: weights and KV, or activations as well.

    `power_seconds` is how long a row runs on to measure power and sustained clock; 0 leaves it out.
    """

    attention: str = "sdpa"
    fused: str = "compile"
    moe: str = "grouped"
    cold: str = "weights"
    timing: str = "graph"
    repeats: int = 50
    warmup_seconds: float = 0.05
    power_seconds: float = 0.5
    kernel_names: bool = False
    seed: int = 1
