"""Workloads: our own files, and pasted Hugging Face configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bankwidth.errors import SpecError
from bankwidth.spec import check_file, load_workload, sources_of

from .conftest import Said, Write

HEAD = "schema_version: 1\nkind: workload\nname: w\ntitle: W\n"


def test_the_configuration_is_kept_verbatim(write: Write) -> None:
    config = (
        "config: {model_type: llama, rope: {value: 1, source: x}, device: cpu, include: y, "
        "n: null}\n"
    )
    assert load_workload(write("w.yaml", HEAD + config)).config == {
        "model_type": "llama",
        "rope": {"value": 1, "source": "x"},
        "device": "cpu",
        "include": "y",
        "n": None,
    }


def test_a_family_is_needed(said: Said) -> None:
    assert said(HEAD + "config: {hidden_size: 1}\n") == [
        "f.yaml:5:1: config: 'model_type' is missing: the family, such as 'llama' or 'gpt2'"
    ]


def test_other_keys_are_checked(said: Said) -> None:
    assert said(HEAD + "confg: {model_type: llama}\n") == [
        "f.yaml:5:1: confg: unknown key 'confg', did you mean 'config'?"
    ]


@pytest.mark.parametrize(
    ("file", "extra", "name"),
    [
        ("tiny.json", {}, "tiny"),
        ("my-model/config.json", {}, "my-model"),
        ("config.json", {"_name_or_path": "org/model-7b"}, "model-7b"),
    ],
)
def test_a_hugging_face_configuration_is_a_workload(
    tmp_path: Path, file: str, extra: dict[str, object], name: str
) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "rope_scaling": None, "tie": True} | extra
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config, indent="\t"), encoding="utf-8")
    workload = load_workload(str(path))
    assert workload.name == name
    assert workload.config == config
    assert check_file(path) == []
    assert set(sources_of(path)) == {"config.hidden_size"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "llama",}', "c.json:1:24: not JSON: "),
        ('{\n "a": 1\n "b": 2}', "c.json:3:2: not JSON: "),
        ('{"a": 1, "a": 2}', "c.json:1:1: not a configuration: key 'a' is there twice"),
        ("[1]", "c.json:1:1: need the fields of a Hugging Face config.json here"),
        ("[" * 100_000, "c.json:1:1: not a configuration: "),
        ('{"hidden_size": 3}', "c.json:1:1: config: 'model_type' is missing"),
    ],
)
def test_a_broken_configuration_is_one_message(write: Write, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_workload(write("c.json", text))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_one_message(write: Write) -> None:
    write("x", "")
    with pytest.raises(SpecError, match=r"^gone/config\.json:1:1: no such file$"):
        load_workload("gone/config.json")
