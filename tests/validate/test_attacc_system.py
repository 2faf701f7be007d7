"""DGX and AttAcc put together from simulated parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.operators import Attention, Collective, Matmul
from bankwidth.validate.attacc_system import Job, figures_of, layer_operators, makespan

JOB = Job(gpu="A100a", devices=8, model="GPT-13B", dtype="W16A16", batch=4, prompt=128, output=64)
TIMES = st.lists(st.floats(0.1, 100.0), min_size=3, max_size=3)


def test_heads_hide_behind_the_longest_stage() -> None:
    """Ten pieces: one of each of the shorter stages is left."""
    assert makespan((1.0, 50.0, 2.0), 10) == pytest.approx(0.1 + 50.0 + 0.2)


def test_products_of_one_engine_do_not_hide_each_other() -> None:
    """The GPU is never idle: attention of a head runs while it computes for others."""
    assert makespan((30.0, 0.0, 10.0, 0.0, 20.0), 10, last_from=30.0) == pytest.approx(30.0 + 20.0)


def test_long_attention_hides_all_but_a_head_of_the_products() -> None:
    assert makespan((30.0, 0.0, 100.0, 0.0, 20.0), 10, last_from=30.0) == pytest.approx(
        3.0 + 100.0 + 2.0
    )


@given(times=TIMES, pieces=st.integers(1, 40))
def test_no_pipeline_beats_its_longest_stage_or_loses_to_none(
    times: list[float], pieces: int
) -> None:
    end = makespan(times, pieces)
    assert max(times) - 1e-9 <= end <= sum(times) + 1e-9
    assert makespan(times, 1) == pytest.approx(sum(times))


def test_lengths_are_spread_over_the_decode() -> None:
    assert replace(JOB, prompt=2048, output=2048).lengths() == [2304, 2816, 3328, 3840]
    assert replace(JOB, prompt=10, output=2).lengths() == [11]
    assert replace(JOB, prompt=10, output=4).lengths() == [11, 12, 13]


def test_a_layer_is_one_devices_share() -> None:
    operators = layer_operators(JOB, 150)
    products = {op.name: (op.m, op.n, op.k) for op in operators if isinstance(op, Matmul)}
    assert products == {
        "qkv": (4, 1920, 5120), "o": (4, 5120, 640), "fc1": (4, 2560, 5120),
        "fc2": (4, 5120, 2560),
    }  # fmt: skip
    assert [op.kv_len for op in operators if isinstance(op, Attention)] == [150]
    assert sum(isinstance(op, Collective) for op in operators) == 2


@pytest.mark.parametrize("model", ["LLAMA-7B", "OPT-66B", "MT-530B"])
def test_models_of_every_family_are_shared_out(model: str) -> None:
    assert layer_operators(replace(JOB, model=model), 100)


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(MappingError, match="kv_heads 40 cannot be shared out equally over 16"):
        layer_operators(replace(JOB, devices=16), 100)


def test_figures_are_those_of_all_layers_and_devices() -> None:
    """Weights of 40 layers of 12 x 5120^2 x 2 B over 8 GPUs: no less than at 85 % of 3352 GB/s."""
    figures = figures_of(JOB)
    at_peak_ms = 40 * 12 * 5120**2 * 2 / 8 / (0.85 * 3352e6)
    assert at_peak_ms < figures.fc_ms < 1.6 * at_peak_ms
    assert figures.comm_ms == pytest.approx(
        40 * 2 * 7 * (6060 + 4 * 5120 * 2 / 8 / 111.1) * 1e-6, rel=1e-4
    )
    parts = (figures.matmul_ms, figures.fc_ms, figures.comm_ms, figures.etc_ms)
    assert figures.time_ms == pytest.approx(sum(parts))
    weights_nj = 40 * 12 * 5120**2 * 16 * 3.59e-3  # cells, interposer and what lies between
    assert figures.energy_nj > weights_nj
