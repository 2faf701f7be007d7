"""Models for the tests: the shipped ones, and one small enough for sums by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Model:
    """What make_trace needs of a workload."""

    name: str
    config: Mapping[str, object]


@pytest.fixture(scope="session")
def shipped() -> Callable[[str], Model]:
    """A shipped workload by name."""

    def load(name: str) -> Model:
        data = yaml.safe_load((ROOT / "workloads" / f"{name}.yaml").read_text())
        return Model(data["name"], data["config"])

    return load


@pytest.fixture
def tiny_llama() -> Model:
    """Hidden 8, 2 layers, 4 query heads and 2 KV heads of 2, feed-forward 6, vocabulary 10."""
    return Model(
        "tiny-llama",
        {
            "model_type": "llama",
            "vocab_size": 10,
            "hidden_size": 8,
            "intermediate_size": 6,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
    )


@pytest.fixture
def tiny_gpt2() -> Model:
    """Hidden 8, 2 layers, 2 heads of 4, feed-forward 32, vocabulary 10, 16 positions."""
    return Model(
        "tiny-gpt2",
        {
            "model_type": "gpt2",
            "vocab_size": 10,
            "n_positions": 16,
            "n_embd": 8,
            "n_layer": 2,
            "n_head": 2,
        },
    )
