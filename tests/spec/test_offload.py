"""Tensors away from the engine: what a mapping may say of them, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.errors import SpecError
from bankwidth.spec import load_machine

NAMES = ("deepspeed-host", "flexgen-ssd", "flexgen-ssd-2", "flexgen-gds", "recompute")


@pytest.mark.parametrize("name", NAMES)
def test_the_baselines_load(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name
    assert machine.mapping.place["activations"] == "gddr6"


def test_a_variant_says_only_what_differs() -> None:
    one, two = (load_machine(name) for name in ("flexgen-ssd", "flexgen-ssd-2"))
    assert two.mapping == one.mapping
    assert two.memories["flash"].capacity_bytes == 2 * (one.memories["flash"].capacity_bytes or 0)
    assert load_machine("flexgen-gds").mapping.offload.page_cache is None


@pytest.mark.parametrize(
    ("offload", "message"),
    [
        ("{spill: {of: gddr6, to: gddr6}}", "cannot be its own 'of'"),
        ("{spill: {of: gddr6, to: flsh}}", "unknown memory 'flsh', allowed: gddr6, flash"),
        ("{page_cache: {memory: hots, of: flash}}", "unknown memory 'hots'"),
        ("{page_cache: {memory: gddr6, within: x, of: flash}}", "unknown memory 'x'"),
        ("{rounding: {gdr6: power_of_two}}", "unknown memory 'gdr6'"),
        ("{rounding: {gddr6: power_of_three}}", "power_of_two"),
        ("{kv_share: 0}", "kv_share"),
        ("{keeps: lru}", "keeps"),
        ("{spill: {of: gddr6, to: flash, keeps: fifo}}", "lru"),
        ("{recompute: true, spill: {of: gddr6, to: flash}}", "choose one"),
    ],
)
def test_a_wrong_choice_is_told(tmp_path: Path, offload: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"""
schema_version: 1
kind: machine
include: {Path("arch/a6000.yaml").resolve()}
name: mine
title: mine
memories:
  flash: {{device: ssd/samsung-980-pro}}
mapping:
  offload: {offload}
"""
    )
    with pytest.raises(SpecError, match=r"mine\.yaml:\d+") as error:
        load_machine(str(file))
    assert message in str(error.value)
