"""`bankwidth run --requests`: recorded requests of every kind, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bankwidth.spec.base import yaml_key
from bankwidth.spec.serving import ServingSpec

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "chat-requests.csv"
SHARED = ROOT.parent / "shared" / "request_traces"
RECORDED = sorted(SHARED.glob("*.gz")) if SHARED.is_dir() else []
TINY = json.dumps(
    {
        "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 2, "vocab_size": 1000,
        "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 1024,
    }
)  # fmt: skip


def served(bankwidth: Any, *arguments: object) -> Any:
    ran = bankwidth("run", "h100", TINY, "--json", *arguments)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_recorded_requests_are_replayed(file: Path, bankwidth: Any) -> None:
    found = served(bankwidth, "--requests", file, "--limit", 12)
    assert found["complete"]
    assert found["offered"]["requests"] == 12


def test_there_are_recorded_requests_where_there_are_shared_files() -> None:
    assert len(RECORDED) >= 8 or not SHARED.is_dir()


def test_files_are_written_and_not_overwritten(tmp_path: Path, bankwidth: Any) -> None:
    out = tmp_path / "run"
    served(bankwidth, "--requests", EXAMPLE, "--limit", 10, "--out", out)
    names = {path.name for path in out.iterdir()}
    assert {"summary.json", "requests.csv", "iterations.csv", "report.html"} <= names
    ran = bankwidth("run", "h100", TINY, "--requests", EXAMPLE, "--out", out)
    assert ran.code == 2
    assert "--force" in ran.err


def test_two_pools(bankwidth: Any) -> None:
    split = "decode_on=a100,decode=2,bandwidth=50 GB/s"
    found = served(bankwidth, "--requests", EXAMPLE, "--limit", 10, "--split", split)
    assert found["provenance"]["split"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:02,5,5\n"
         "2023-11-16 18:00:01,5,5\n", ":3"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:02,-5,5\n", ":2"),
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:00:02,5\n", ":1"),
        ('{"timestamp": 0, "input_length": 6, "output_length"\n', ":1"),
        ("", "no requests"),
    ],
)  # fmt: skip
def test_requests_that_are_wrong_are_shown_where_they_stand(
    lines: str, message: str, tmp_path: Path, bankwidth: Any
) -> None:
    file = tmp_path / "requests.csv"
    file.write_text(lines)
    ran = bankwidth("run", "h100", TINY, "--requests", file)
    assert (ran.code, ran.out) == (2, "")
    assert f"{file}{message}" in ran.err or f"{file}: {message}" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--requests", EXAMPLE, "--context", 5), "--context: requests say that themselves"),
        (("--limit", 5), "--limit: is for runs with --requests"),
        (("--requests", EXAMPLE, "--serving", "polcy=vllm"), "did you mean 'policy'"),
        (("--requests", EXAMPLE, "--serving", "policy"), "is not NAME=VALUE"),
        (("--requests", EXAMPLE, "--split", "decode=2"), "bandwidth"),
        (("--requests", EXAMPLE, "--split", "decode_on=a1000,bandwidth=1 GB/s"), "a1000"),
        (("--requests", EXAMPLE, "--concurrency", 2, "--rate", 3), "--rate: not with"),
        (("--requests", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_options_that_are_wrong_are_named(
    arguments: tuple[object, ...], message: str, bankwidth: Any
) -> None:
    ran = bankwidth("run", "h100", TINY, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_every_option_is_in_the_page_about_serving() -> None:
    page = (ROOT / "docs" / "serving.md").read_text()
    keys = [yaml_key(field) for field in ServingSpec.model_fields if field != "source"]
    assert [key for key in keys if f"`{key}`" not in page] == []
