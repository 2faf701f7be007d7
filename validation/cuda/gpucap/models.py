"""The models whose layers and decode steps are timed; weights are random, shapes are real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gpucap.problems import CaptureError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """`style` gpt2: layer norm, biases, gelu, learned positions; llama: rms norm, rope, gated silu.

    `experts` above 0 makes the feed-forward a mixture of which `topk` serve each token.
    """

    name: str
    style: Literal["gpt2", "llama"]
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inter: int
    vocab: int
    positions: int
    source: str
    experts: int = 0
    topk: int = 0

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def layer_weights(self) -> int:
        """Weights of the products of one layer; norms and biases are left out."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        per_expert = (2 if self.style == "gpt2" else 3) * self.hidden * self.inter
        return attention + max(1, self.experts) * per_expert

    @property
    def kv_values_per_token(self) -> int:
        """Keys and values of one token in one layer."""
        return 2 * self.kv_heads * self.head_dim


_ALL: Final = (
    Model(
        name="gpt2-xl", style="gpt2", layers=48, hidden=1600, heads=25, kv_heads=25, inter=6400,
        vocab=50257, positions=1024, source="huggingface.co/openai-community/gpt2-xl, config.json",
    ),
    Model(
        name="llama-2-7b", style="llama", layers=32, hidden=4096, heads=32, kv_heads=32,
        inter=11008, vocab=32000, positions=4096,
        source="huggingface.co/meta-llama/Llama-2-7b-hf, config.json",
    ),
    Model(
        name="llama-3-8b", style="llama", layers=32, hidden=4096, heads=32, kv_heads=8,
        inter=14336, vocab=128256, positions=8192,
        source="huggingface.co/meta-llama/Meta-Llama-3-8B, config.json",
    ),
    Model(
        name="mixtral-8x7b", style="llama", layers=32, hidden=4096, heads=32, kv_heads=8,
        inter=14336, vocab=32000, positions=32768, experts=8, topk=2,
        source="huggingface.co/mistralai/Mixtral-8x7B-v0.1, config.json",
    ),
)  # fmt: skip
MODELS: Final = {model.name: model for model in _ALL}


def find_model(name: str) -> Model:
    """Raises CaptureError with the known names."""
    if name not in MODELS:
        hint = did_you_mean(name, MODELS)
        raise CaptureError(f"unknown model {name!r}{hint} (known: {', '.join(MODELS)})")
    return MODELS[name]
