"""Parameter counts and caches of shipped workloads against published figures and closed forms."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bankwidth.operators import kv_bytes, model_shape, parameter_count
from bankwidth.operators.families import FAMILIES
from bankwidth.operators.weights import active_parameter_count, state_bytes

ROOT = Path(__file__).parents[3]
TABLES = ROOT / "validation" / "workloads"
Shipped = Callable[[str], Any]


def _rows(name: str) -> list[dict[str, str]]:
    with (TABLES / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


PARAMETERS = _rows("parameters")
KV_BYTES = _rows("kv_bytes")


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: f"{row['workload']} {row['quantity']}")
def test_parameters_are_the_published_ones(row: dict[str, str], shipped: Shipped) -> None:
    model = model_shape(shipped(row["workload"]).config, "x")
    count = parameter_count if row["quantity"] == "total" else active_parameter_count
    ours = count(model) + int(row["beside"])
    if row["embedding"] == "left out":
        ours -= model.vocab * model.embed_width
    published = float(row["published"])
    assert abs(ours - published) <= float(row["tolerance_pct"]) / 100 * published
    assert row["source"]


@pytest.mark.parametrize("row", KV_BYTES, ids=lambda row: f"{row['workload']} {row['tokens']}")
def test_cache_is_the_closed_form(row: dict[str, str], shipped: Shipped) -> None:
    model = model_shape(shipped(row["workload"]).config, "x")
    assert kv_bytes(model, int(row["tokens"]), "bf16") == int(row["kv_bytes"])


def test_every_family_has_a_published_figure(shipped: Shipped) -> None:
    """Names that only stand for another family's reading need none of their own."""
    read = {FAMILIES[shipped(row["workload"]).config["model_type"]] for row in PARAMETERS}
    others = {FAMILIES["decoder"], FAMILIES["ministral3"]}
    assert set(FAMILIES.values()) - others == read


def test_there_are_enough_published_figures() -> None:
    exact = [row for row in PARAMETERS if row["tolerance_pct"] == "0"]
    assert len(PARAMETERS) >= 33
    assert len(exact) >= 50


def test_an_exact_figure_is_a_whole_number() -> None:
    for row in PARAMETERS:
        assert row["tolerance_pct"] != "0" or row["published"].isdigit(), row


@pytest.mark.parametrize(
    ("name", "layers", "state", "conv"),
    [
        # layers x (fp32 state, three taps of the convolution in bf16)
        ("mamba-2.8b", 64, 5120 * 16, 5120),
        ("mamba2-2.7b", 64, 80 * 64 * 128, 5120 + 2 * 128),
        ("qwen3-next-80b-a3b", 36, 32 * 128 * 128, 2 * 2048 + 4096),
        ("jamba-v0.1", 28, 8192 * 16, 8192),
        ("matmul-free-2.7b", 32, 2560, 0),
    ],
)
def test_a_recurrence_keeps_the_same_at_any_context(
    name: str, layers: int, state: int, conv: int, shipped: Shipped
) -> None:
    model = model_shape(shipped(name).config, "x")
    assert state_bytes(model, 1) == layers * (4 * state + 2 * 3 * conv)


def test_latent_attention_keeps_576_elements_a_layer(shipped: Shipped) -> None:
    for name in ("deepseek-v2", "deepseek-v2-lite", "deepseek-v3", "kimi-k2"):
        model = model_shape(shipped(name).config, "x")
        assert kv_bytes(model, 1, "fp8") == 576 * len(model.layers)
