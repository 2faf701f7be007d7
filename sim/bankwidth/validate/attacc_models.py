"""The models of the AttAcc simulator, by its names, as configurations that we read.

From scale-snu/attacc_simulator at c600051, src/config.py: layers, width, heads, width of the
feed-forward part. It has every GPT-like model with full heads, no vocabulary and no positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

GATED: Final = "LLAMA"  # names that begin so have two products up and one down
RELU: Final = "OPT"
# Rows of the token table: GPT-2's. The simulator has none, and what is compared has no layer of it.
VOCABULARY: Final = 50257
DTYPES: Final = {"W16A16": "fp16", "W8A8": "int8"}


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one model: `inner` times the width is the width of its feed-forward part."""

    layers: int
    hidden: int
    heads: int
    inner: Fraction = Fraction(4)


SHAPES: Final = {
    "GPT-175B": Shape(96, 12288, 96),
    "GPT-89B": Shape(48, 12288, 96),
    "GPT-13B": Shape(40, 5120, 40),
    "LLAMA-7B": Shape(32, 4096, 32, Fraction(8, 3)),
    "LLAMA-65B": Shape(80, 8192, 64, Fraction(8, 3)),
    "MT-76B": Shape(60, 10240, 40),
    "MT-146B": Shape(80, 12288, 80),
    "MT-310B": Shape(96, 16384, 128),
    "MT-530B": Shape(105, 20480, 128),
    "MT-1008B": Shape(128, 25600, 160),
    "OPT-66B": Shape(64, 9216, 72),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A workload, as `make_trace` wants it."""

    name: str
    config: Mapping[str, Any]


def model_of(name: str, *, devices: int, tokens: int) -> Model:
    """One of SHAPES, with a table of `tokens` positions.

    A feed-forward part that does not divide over the devices is padded to one that does.
    """
    shape = SHAPES[name]
    inner = devices * -(-shape.hidden * shape.inner // devices)
    if name.startswith(GATED):
        return Model(name=name, config=_llama(shape, inner, tokens))
    function = "relu" if name.startswith(RELU) else "gelu"
    return Model(name=name, config=_gpt(shape, inner, tokens, function))


def _gpt(shape: Shape, inner: int, tokens: int, function: str) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "vocab_size": VOCABULARY,
        "n_positions": tokens,
        "n_embd": shape.hidden,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": inner,
        "activation_function": function,
    }


def _llama(shape: Shape, inner: int, tokens: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "max_position_embeddings": tokens,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": inner,
    }
