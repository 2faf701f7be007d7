"""InstInfer's figures: what must hold whatever the drive does, and that each miss says why."""

from __future__ import annotations

import csv
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.spec.files import ROOT
from bankwidth.validate import flash_instinfer
from bankwidth.validate.flash_instinfer import (
    BATCHES,
    DEEPSPEED,
    DENSE,
    FLEXGEN,
    WHY,
    covered_ps,
    generation,
)
from bankwidth.validate.flash_suite import FLASH
from bankwidth.validate.offload_runs import (
    best,
    first_refused,
    layer_job_ps,
    refusal,
    step_s,
    tokens_per_s,
)

KNOWN = ROOT / "validation" / "flash" / "other_than_published.csv"


def test_deepspeed_falls_where_its_allocations_outgrow_the_host() -> None:
    """Row 6: from batch 16 to 32, by about thirty times."""
    fall = step_s(generation(DEEPSPEED, 16), 1536) / step_s(generation(DEEPSPEED, 32), 1536)
    assert 0.5 / fall == pytest.approx(32.6, rel=0.15)


def test_flexgen_ends_at_128_prompts() -> None:
    """Row 7."""
    assert first_refused(generation(FLEXGEN, 1), BATCHES) == 128
    assert "scores" in (refusal(generation(FLEXGEN, 128)) or "")


def test_flexgen_is_best_where_all_is_in_the_page_cache() -> None:
    """Row 8's batch."""
    batch, rate = best(generation(FLEXGEN, 1), (16, 32, 64))
    assert batch == 32
    assert rate == pytest.approx(1.613e9 / (1536 * 2 * 40 * 5120 * 2), rel=0.02)


def test_zero_inference_is_predicted_on_the_model_that_it_was_not_calibrated_on() -> None:
    (case,) = flash_instinfer._zero_inference()
    assert case.ok


def test_deepspeed_streams_its_weights_for_every_token() -> None:
    assert tokens_per_s(generation(DEEPSPEED, 8)) < 2 * tokens_per_s(generation(DEEPSPEED, 4))
    assert step_s(generation(DEEPSPEED, 4), 1100) > 25.7e9 / 16.7e9


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=8).map(
        lambda found: sorted((start, start + length) for start, length in found)
    )
)
def test_time_that_attentions_share_counts_once(spans: list[tuple[int, int]]) -> None:
    """Row 13: keys and values of the next layer come while those of this one are used."""
    within = {ps for start, end in spans for ps in range(start, end)}
    assert covered_ps(spans) == len(within)


def test_pages_read_again_cost_little() -> None:
    """Row 20: 3 per mille of the pages, on a few heads."""
    few = generation(DENSE, 1)
    clean_ps, again_ps = (layer_job_ps(few, 400, mean) for mean in (0.0, 0.1))
    assert clean_ps * 1.05 < again_ps < clean_ps * 2


def test_every_design_of_the_suite_brings_rows_or_figures() -> None:
    assert FLASH.folder.is_dir()
    for design in FLASH.designs:
        module = import_module(f"bankwidth.validate.{design}")
        assert hasattr(module, "REFERENCES") or hasattr(module, "published"), design


@pytest.mark.skipif(not KNOWN.is_file(), reason="no table of known misses")
def test_each_known_miss_of_the_paper_says_why() -> None:
    lines = [line for line in KNOWN.read_text().splitlines() if not line.startswith("#")]
    rows = [row["id"] for row in csv.DictReader(lines) if row["id"].startswith("row ")]
    assert rows
    assert {row.removeprefix("row ") for row in rows} <= {*WHY, "11"}  # 11 has a note of its own
