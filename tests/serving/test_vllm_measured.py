"""Runs beside measured ones: vLLM on H100 and H200, as validation/serving/README.md tells."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "validation" / "serving" / "vllm.py"
TPOT = (0.8, 1.2)  # ours over the measured; all points with room are within 0.81 and 1.15
TTFT = (0.5, 1.0)  # we leave out the server around the model
QUICK = {  # machine, GPUs, users; 1024 + 1024 tokens
    ("h100", 2, 32),
    ("h100", 4, 8),
    ("h200", 1, 16),
    ("h200", 4, 16),
    ("h200", 8, 32),
}


def script() -> Any:
    spec = importlib.util.spec_from_file_location("serving_vllm", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


vllm = script()


@pytest.mark.slow
@pytest.mark.validation
@pytest.mark.skipif(not (vllm.MEASURED / vllm.FILE).is_file(), reason="no ../shared/measured")
def test_times_per_token_are_those_of_vllm_and_first_tokens_come_no_later() -> None:
    points = [
        each
        for each in vllm.read_points()
        if (each.prompt, each.output) == (1024, 1024)
        and (each.machine, each.tensor, each.users) in QUICK
    ]
    assert len(points) == len(QUICK)
    for point in points:
        found = vllm.compare(point, rounds=10)
        assert found.has_room
        assert TPOT[0] < found.tpot_ratio < TPOT[1], found
        assert TTFT[0] < found.ttft_ratio < TTFT[1], found


@pytest.mark.skipif(not (vllm.MEASURED / vllm.FILE).is_file(), reason="no ../shared/measured")
def test_the_measured_points_are_all_there() -> None:
    points = vllm.read_points()
    assert len(points) == 61
    assert len(set(points)) == 61
    assert {each.machine for each in points} == {"h100", "h200"}


def test_lengths_are_drawn_as_the_client_draws_them() -> None:
    point = vllm.Point("h200", 1000, 200, 8, 1, 1.0, 1.0)
    asked = vllm.requests_like(point)
    assert len(asked) == 80
    assert 800 <= asked.prompt_tokens.min() < 850 < 950 < asked.prompt_tokens.max() <= 1000
    assert 160 <= asked.output_tokens.min() < 170 < 190 < asked.output_tokens.max() <= 200


def test_points_that_wait_for_blocks_are_not_judged() -> None:
    row = vllm.Compared("h200", 1, 1, 4, 1, 100.0, 70.0, 10.0, 9.0, 0.5)
    full = vllm.Compared("h200", 1, 1, 64, 1, 100.0, 7000.0, 10.0, 30.0, 1.0)
    assert list(vllm.table([row, full]))[2:] == ["| 1 x h200 | 1 | 10.0% | -10.0% | 0.70 to 0.70 |"]
    assert "1 points with room" in next(vllm.sentences([row, full]))
    assert vllm.line(full).endswith("waits for blocks")
