"""The JSON schema that editors complete and check with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import SpecError
from bankwidth.spec import SCHEMA_KINDS, json_schema
from bankwidth.spec.files import ROOT
from bankwidth.spec.load import MODELS
from bankwidth.spec.tree import parse_yaml, plain

jsonschema = pytest.importorskip("jsonschema")

SHIPPED = sorted([*(ROOT / "arch").rglob("*.yaml"), *(ROOT / "workloads").glob("*.yaml")])


def data_of(path: Path) -> Any:
    root, _ = parse_yaml(path.read_text(encoding="utf-8"), path.name)
    assert root is not None
    return plain(root)


def mistakes(kind: str, data: Any) -> list[str]:
    checker = jsonschema.Draft202012Validator(json_schema(kind))
    return [error.message for error in checker.iter_errors(data)]


@pytest.mark.parametrize("kind", SCHEMA_KINDS)
def test_it_is_a_json_schema(kind: str) -> None:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_shipped_file_holds_it(path: Path) -> None:
    data = data_of(path)
    assert mistakes(data["kind"], data) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clok": "1 GHz"}, "'clok' was unexpected"),
        ({"clock": 3}, "3 is not valid"),
        ({"clock": "3 ns"}, "'3 ns' is not valid"),
        ({"clock": {"value": "3 GHz", "sorce": "x"}}, "is not valid"),
        ({"schema_version": 2}, "1 was expected"),
        ({"sms": "many"}, "'many' is not valid"),
    ],
)
def test_it_finds_what_the_loader_finds(change: dict[str, Any], message: str) -> None:
    data = data_of(ROOT / "arch/devices/gpu/h200-sxm.yaml") | change
    found = mistakes("gpu", data)
    assert len(found) == 1
    assert message in found[0]


def test_keys_and_units_are_documented() -> None:
    clock = json_schema("gpu")["properties"]["clock"]
    assert clock["description"] == "a frequency above 0, with its unit: GHz, MHz, kHz, Hz"
    launch = json_schema("gpu")["properties"]["launch"]
    assert launch["description"].startswith("gap between dependent kernels")
    assert launch["description"].endswith("with its unit: ns, ps, us, ms, s")


def test_a_device_reference_stands_for_the_needed_keys() -> None:
    assert mistakes("gpu", {"schema_version": 1, "kind": "gpu", "device": "gpu/h200-sxm"}) == []
    assert mistakes("gpu", {"schema_version": 1, "kind": "gpu"}) != []


@pytest.mark.parametrize("kind", SCHEMA_KINDS)
def test_it_has_the_keys_of_the_model(kind: str) -> None:
    from bankwidth.spec.annotations import keys_of

    extra = {"schema_version", "device", "include"}
    assert set(json_schema(kind)["properties"]) == {*keys_of(MODELS[kind]), *extra}


def test_an_unknown_kind_gets_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"unknown kind 'machin'.*did you mean 'machine'\?"):
        json_schema("machin")
