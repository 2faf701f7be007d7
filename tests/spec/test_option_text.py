from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from bankwidth.errors import SpecError
from bankwidth.operators import make_trace
from bankwidth.spec import load_workload, with_techniques
from bankwidth.spec.base import Count, Spec
from bankwidth.spec.option_text import parse_options


class Paged(Spec):
    block: Count = 16
    sizes: list[int] | None = None
    style: Literal["lru", "lfu"] = "lru"


class Options(Spec):
    paged: Paged | None = None
    other: Paged | None = None


def parse(*texts: str, base: Options | None = None) -> Options:
    return parse_options("--with", texts, Options, base or Options())


def test_a_name_alone_has_the_defaults() -> None:
    assert parse("paged").paged == Paged()


def test_values_are_scalars_or_lists() -> None:
    found = parse("paged:block=32,sizes=[1, 2],style=lfu").paged
    assert found == Paged(block=32, sizes=[1, 2], style="lfu")


def test_what_is_given_replaces_an_entry_and_leaves_the_others() -> None:
    base = Options(paged=Paged(block=8), other=Paged(block=4))
    found = parse("paged:style=lfu", base=base)
    assert (found.paged, found.other) == (Paged(style="lfu"), Paged(block=4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pagd", "1:8: pagd: unknown key 'pagd'"),
        ("paged:blok=3", "1:14: paged.blok: unknown key 'blok'"),
        ("paged:block=0", "1:20: paged.block"),
        ("paged:style=mru", "1:20: paged.style"),
        ("paged:block", "1:14: need key=value, found 'block'"),
        ("paged:block=3,", "1:22: need key=value, found ''"),
        ("paged:block=3,block=4", "1:22: 'block' is given twice"),
        (":block=3", "1:8: need NAME or NAME:key=value,key=value"),
        ("paged:sizes=[1", "1:20: not YAML"),
    ],
)
def test_a_mistake_is_shown_with_its_column(text: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse(text)
    assert f"--with {text}:{message}" in str(raised.value)


def test_all_mistakes_come_together_and_a_name_may_come_once() -> None:
    with pytest.raises(SpecError) as raised:
        parse("paged:block=0", "paged", "pagd")
    assert "given twice" in str(raised.value)
    assert "unknown key 'pagd'" in str(raised.value)


def test_a_pasted_configuration_is_a_workload() -> None:
    text = '{"model_type": "llama", "_name_or_path": "org/tiny", "hidden_size": 8}'
    workload = load_workload(text)
    assert (workload.name, workload.config["hidden_size"]) == ("tiny", 8)
    assert with_techniques(workload, []) == workload


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": }', "pasted configuration:1:16: not JSON"),
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ('{"hidden_size": 8}', "'model_type' is missing"),
    ],
)
def test_a_pasted_configuration_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=r".*") as raised:
        load_workload(text)
    assert message in str(raised.value)


def test_fields_that_are_wrong_are_shown_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{\n  "model_type": "llama",\n  "vocab_size": 8,\n    "hidden_size": "x"\n}\n')
    with pytest.raises(SpecError) as raised:
        make_trace(load_workload(file))
    lines = str(raised.value).splitlines()
    assert lines[0].startswith(f"{file}:1:1: ")
    assert f"  {file}:4:5: hidden_size must be a whole number of at least 1, got 'x'" in lines
    assert "  num_hidden_layers is missing" in lines


def test_fields_of_a_yaml_file_are_shown_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "schema_version: 1\nkind: workload\nname: mine\ntitle: mine\nsource: mine\n"
        "config:\n  model_type: lama\n  hidden_size: 8\n"
    )
    with pytest.raises(SpecError, match=f"{file}:7:3: mine: unknown model_type 'lama'"):
        make_trace(load_workload(file))
