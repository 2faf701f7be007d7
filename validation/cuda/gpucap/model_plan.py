"""Which steps of which models to time, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpucap.assumed import AssumedGpu
from gpucap.dtypes import size_bytes
from gpucap.models import Model

PARTS: Final = ("layer", "step")
PHASES: Final = ("decode", "prefill")
STACK: Final = 4  # layers that are run in a row to time one; together beyond any L2
_SETUP_S: Final = 10.0  # weights, check, compilation: guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`context` counts the new token of a decode step; in a prefill it is the prompt."""

    model: Model
    part: str
    phase: str
    batch: int
    context: int
    dtype: str = "bf16"

    @property
    def tokens(self) -> int:
        """New tokens of each sequence."""
        return 1 if self.phase == "decode" else self.context

    @property
    def layers(self) -> int:
        return min(STACK, self.model.layers) if self.part == "layer" else self.model.layers

    @property
    def weight_bytes(self) -> int:
        """Of all layers that run, and of embedding and head for a step."""
        tables = 1 if self.model.style == "gpt2" else 2
        ends = tables * self.model.vocab * self.model.hidden if self.part == "step" else 0
        return size_bytes(self.layers * self.model.layer_weights + ends, self.dtype)

    @property
    def kv_bytes(self) -> int:
        values = self.layers * self.batch * self.context * self.model.kv_values_per_token
        return size_bytes(values, self.dtype)

    @property
    def memory_bytes(self) -> int:
        """With the widest activation three times, and one layer in float64 for the check."""
        widest = self.batch * self.tokens * max(2 * self.model.inter, 4 * self.model.hidden)
        activations = 3 * size_bytes(widest * max(1, self.model.topk), self.dtype)
        check = size_bytes(self.model.layer_weights, "fp64")
        return self.weight_bytes + self.kv_bytes + activations + check

    def label(self) -> str:
        sizes = f"batch={self.batch} context={self.context}"
        return f"{self.model.name} {self.part} {self.phase} {sizes} {self.dtype}"

    def refusal(self, memory_bytes: int) -> str | None:
        """Why it cannot run."""
        if self.context > self.model.positions:
            return f"the model has {self.model.positions} positions"
        if self.part == "step" and self.model.experts:
            return "of a mixture of experts, layers alone are run"
        if self.memory_bytes > memory_bytes:
            needed, there = self.memory_bytes / 1e9, memory_bytes / 1e9
            return f"needs {needed:.1f} GB of memory, the device has {there:.1f}"
        return None

    def rough_seconds(self, gpu: AssumedGpu, power_seconds: float) -> float:
        moved_s = (self.weight_bytes + self.kv_bytes) / gpu.bandwidth_bytes_per_s
        flops = 2 * self.batch * self.tokens * self.weight_bytes / 2
        return _SETUP_S + power_seconds + 10 * max(moved_s, flops / gpu.tensor_flops_per_s)


def make_points(
    models: Sequence[Model], parts: Sequence[str], phases: Sequence[str],
    batches: Sequence[int], contexts: Sequence[int],
) -> list[Point]:  # fmt: skip
    """Every combination that makes sense: prefill in batches of at most 4, models in turn."""
    return [
        Point(model=model, part=part, phase=phase, batch=batch, context=context)
        for model in models
        for part in parts
        for phase in phases
        for batch in batches
        for context in contexts
        if phase == "decode" or batch <= 4
    ]
