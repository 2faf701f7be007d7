"""CENT's block: every weight is multiplied once, every command is legal, the port is respected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.mapping.cent_block import BlockPlace, CentBlock, LlamaShape
from bankwidth.mapping.cent_steps import Bursts, Commands, Step, StepList, Wait
from bankwidth.spec import PimSpec
from bankwidth.system.pim_port import run_steps

TINY = LlamaShape(hidden=1024, heads=8, kv_heads=8, ffn=2560, vocab=2048)
ONE = BlockPlace(channels=4, device_channels=8)


@pytest.fixture(scope="module")
def config(spec: PimSpec) -> PimConfig:
    return config_of(spec)


def commands(steps: tuple[Step, ...], config: PimConfig, name: str) -> int:
    """How often the followed channel runs a command of the programs."""
    macros = np.concatenate([step.macros for step in steps if isinstance(step, Commands)])
    return int(macros[macros[:, 0] == config.index(name), 1].sum())


def weights(shape: LlamaShape) -> int:
    kv = shape.kv_heads * shape.head_dim
    attention = shape.hidden * (2 * shape.hidden + 2 * kv)
    return attention + 3 * shape.hidden * shape.ffn


@given(
    heads=st.sampled_from([8, 16, 24]),
    shared=st.sampled_from([1, 2, 4]),
    ffn=st.integers(2, 40).map(lambda n: n * 64),
    channels=st.sampled_from([1, 2, 4, 8]),
    devices=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=20)
def test_products_multiply_every_weight(
    config: PimConfig, heads: int, shared: int, ffn: int, channels: int, devices: int
) -> None:
    shape = LlamaShape(
        hidden=heads * 128, heads=heads, kv_heads=heads // shared, ffn=ffn, vocab=100
    )
    place = BlockPlace(channels=channels, device_channels=8, devices=devices)
    steps = CentBlock(config, shape, place).products()
    products = commands(steps, config, "MAC_ABK") * 16 * config.banks * channels * devices
    assert products >= weights(shape)
    results = commands(steps, config, "RD_MAC")
    assert results == commands(steps, config, "WR_BIAS")
    assert commands(steps, config, "AF") == commands(steps, config, "RD_AF")


def test_a_product_that_fills_the_banks_wastes_nothing(config: PimConfig) -> None:
    steps = CentBlock(config, TINY, ONE).products()
    # 64 banks: 16 outputs a bank for q, k, v, o; 40 for gate and up; down has 2560 inputs
    macs = commands(steps, config, "MAC_ABK")
    assert macs * 16 * 64 == weights(TINY)
    assert commands(steps, config, "AF") == 40
    # one load of the buffer for each row of the input: 1024 elements, but 2560 for down
    assert commands(steps, config, "WR_GB") == 6 * 64 + 160


def test_a_longer_cache_costs_more(config: PimConfig) -> None:
    ticks = [
        run_steps(config, CentBlock(config, TINY, ONE).block(tokens)).ticks
        for tokens in (1, 2, 128, 1024, 1025, 4096)
    ]
    assert ticks == sorted(ticks)
    assert ticks[0] < ticks[-1]


def test_devices_that_share_products_take_less(config: PimConfig) -> None:
    shape, ticks = replace(TINY, ffn=8192), []
    for devices in (1, 2, 4):
        place = replace(ONE, devices=devices)
        ticks.append(run_steps(config, CentBlock(config, shape, place).products()).ticks)
    assert ticks[0] > ticks[1] > ticks[2]


@pytest.mark.slow
def test_every_command_is_legal_and_skipping_changes_nothing(
    spec: PimSpec, config: PimConfig
) -> None:
    steps = CentBlock(config, TINY, ONE).block(40)
    logged = PimChannel(config, refresh=False, log=True)
    run = run_steps(config, steps, logged)
    assert run == run_steps(config, steps)
    log = logged.log
    assert len(log) > 5000
    every = range(0, len(log), 2000)  # the checker looks at all pairs: windows of the log
    assert [v for first in every for v in gaps_broken(log[first : first + 400], spec)] == []
    assert [v for v in violations(log[:400], spec)] == []


def gaps_broken(log: list, spec: PimSpec) -> list[str]:  # type: ignore[type-arg]
    """Of a window of a log only distances can be judged: what was open before is not known."""
    return [line for line in violations(log, spec) if " legal from " in line]


# ---- steps


def test_bursts_open_their_rows_while_others_are_opened(config: PimConfig) -> None:
    steps = StepList(config)
    steps.command("MAC_ABK", 1, 7, channels=1)
    steps.bursts([0, 4, 8], 9, rounds=2, requests=6, is_write=True)
    _, bursts = steps.build()
    assert isinstance(bursts, Bursts)
    names = [config.names[row[0]] for row in bursts.opening]
    assert names == ["PRE", "PRE", "ACT", "PRE", "ACT", "ACT", "WR_SBK", "WR_SBK", "WR_SBK"]
    assert list(bursts.opening[:, 3]) == [0, 4, 0, 8, 4, 8, 0, 4, 8]
    assert [config.names[row[0]] for row in bursts.further] == ["WR_SBK"] * 3


def test_rows_that_are_open_are_not_opened_again(config: PimConfig) -> None:
    steps = StepList(config)
    steps.bursts([2], 5, rounds=1, requests=1, is_write=True)
    steps.bursts([2], 5, rounds=1, requests=1, is_write=False)
    steps.command("WR_ABK", 1, 5, channels=1)  # closes its rows
    steps.bursts([2], 5, rounds=1, requests=1, is_write=False)
    opening = [
        [config.names[row[0]] for row in step.opening]
        for step in steps.build()
        if isinstance(step, Bursts)
    ]
    assert opening == [["ACT", "WR_SBK"], ["RD_SBK"], ["ACT", "RD_SBK"]]


def test_a_tensor_keeps_its_rows(config: PimConfig) -> None:
    steps = StepList(config)
    assert [steps.row("a", 3), steps.row("b"), steps.row("a", 3), steps.row("c")] == [0, 3, 0, 4]


def test_a_wait_stands_between(config: PimConfig) -> None:
    steps = StepList(config)
    steps.command("WR_GB", 1, channels=1)
    steps.wait()
    steps.command("WR_GB", 1, channels=1)
    assert [type(step) for step in steps.build()] == [Commands, Wait, Commands]
