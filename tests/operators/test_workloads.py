"""The shipped workload files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bankwidth.operators import make_trace

from .conftest import ROOT, Model

FILES = sorted((ROOT / "workloads").glob("*.yaml"))


def test_the_promised_models_are_there() -> None:
    names = {path.stem for path in FILES}
    assert {"gpt2-xl", "gpt3-xl", "gpt3-175b", "opt-66b", "llama-2-7b", "llama-3.2-1b"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workload_is_named_as_its_file_and_makes_a_trace(path: Path) -> None:
    data = yaml.safe_load(path.read_text())
    assert data["name"] == path.stem
    assert data["source"]
    is_encoder = data["config"]["model_type"] in ("bert", "roberta")
    trace = make_trace(
        Model(data["name"], data["config"]), phase="prefill" if is_encoder else "decode", prompt=512
    )
    assert trace.model == path.stem
    assert trace.flops > 0
