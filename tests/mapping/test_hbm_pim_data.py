"""The numbers of HBM-PIM's programs are numpy's; a wrong address shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim import hbm_pim
from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.functional import FunctionalChannel, FunctionalMemory, shape_of
from bankwidth.devices.pim.program import ChannelProgram, PimProgram
from bankwidth.mapping.hbm_pim_data import (
    elementwise_operands,
    gemv_operands,
    gemv_tree_operands,
    load_matmul,
    load_weights,
    matmul_operands,
)
from bankwidth.mapping.lower_hbm_pim import lower_matmul
from bankwidth.mapping.pim_geometry import geometry_of
from bankwidth.spec import PimSpec, load_device

ROW = 50


@pytest.fixture(scope="module")
def hbm() -> PimSpec:
    spec = load_device("pim/hbm2-pim")
    assert isinstance(spec, PimSpec)
    return spec


@pytest.fixture(scope="module")
def config(hbm: PimSpec) -> PimConfig:
    return config_of(hbm)


def signs(seed: int, *shape: int) -> Any:
    """-1, 0 and 1: sums of up to 2048 of them are exact in fp16."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 200), k=st.integers(1, 900))
def test_a_pseudo_channel_multiplies_exactly(
    hbm: PimSpec, config: PimConfig, n: int, k: int
) -> None:
    channel = FunctionalChannel(shape_of(hbm))
    x, weights = signs(k, k), signs(n, k, n)
    load_weights(channel, config, weights, ROW)
    macros = hbm_pim.gemv(config, outputs=n, inputs=k, reads_results=True)
    found = np.zeros(n, dtype=np.float32)
    operands = gemv_operands(config, x, n, np.arange(n))
    channel.run(ChannelProgram(macros=macros.build(), channels=1), operands, found, ROW)
    assert (found == x @ weights).all()


@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 2),
    n=st.integers(1, 700),
    k=st.integers(1, 700),
    channels=st.sampled_from([1, 3, 16]),
)
def test_channels_share_a_product(hbm: PimSpec, m: int, n: int, k: int, channels: int) -> None:
    found, exact = product(hbm, channels, (m, n, k))
    assert (found == exact).all()


def product(
    hbm: PimSpec,
    channels: int,
    shape: tuple[int, int, int],
    change: Callable[[PimProgram], PimProgram] = lambda program: program,
) -> tuple[Any, Any]:
    m, n, k = shape
    geometry = geometry_of(hbm, channels)
    memory = FunctionalMemory(shape_of(hbm), channels)
    x, weights = signs(1, m, k), signs(2, k, n)
    load_matmul(memory, geometry, weights, ROW)
    program = change(lower_matmul(geometry, m=m, n=n, k=k).at(ROW))
    found = memory.run(program, matmul_operands(geometry, x, n), m * n)
    return found.reshape(m, n), x @ weights


def _with_macros(program: PimProgram, edit: Callable[[Any], None]) -> PimProgram:
    channels = []
    for channel in program.channels:
        macros = channel.macros.copy()
        edit(macros)
        channels.append(replace(channel, macros=macros))
    return replace(program, channels=tuple(channels))


def test_even_for_odd_banks_are_found(hbm: PimSpec, config: PimConfig) -> None:
    mac = config.index("MAC")

    def edit(macros: Any) -> None:
        is_mac = macros[:, 0] == mac
        macros[is_mac, 3] = 1 - macros[is_mac, 3]

    found, exact = product(hbm, 1, (1, 64, 512), lambda program: _with_macros(program, edit))
    assert (found != exact).mean() > 0.8


def test_swapped_rows_are_found(hbm: PimSpec, config: PimConfig) -> None:
    mac = config.index("MAC")

    def edit(macros: Any) -> None:
        is_mac = (macros[:, 0] == mac) & (macros[:, 2] < 2)
        macros[is_mac, 2] = 1 - macros[is_mac, 2]

    found, exact = product(hbm, 1, (1, 64, 512), lambda program: _with_macros(program, edit))
    assert (found != exact).mean() > 0.8


@pytest.mark.parametrize("kind", ["add", "mul", "relu"])
def test_vectors_element_by_element(hbm: PimSpec, config: PimConfig, kind: str) -> None:
    """3000 elements: two tiles of 16 banks x 8 columns x 16 lanes."""
    channel = FunctionalChannel(shape_of(hbm))
    shape = (config.banks, 16, 16)  # bank, column, lane
    left, right = (np.random.default_rng(s).integers(-9, 9, shape) for s in (1, 2))
    one_row = config.columns
    channel.store(0, left.astype(np.float32), ROW)
    if kind != "relu":
        channel.store(one_row, right.astype(np.float32), ROW)
    macros = hbm_pim.elementwise(config, kind, elements=3000).build()
    operands = elementwise_operands(config, kind, elements=3000)
    program = ChannelProgram(macros=macros, channels=1)
    channel.run(program, operands, np.zeros(0, np.float32), ROW)
    found = channel.stored(one_row if kind == "relu" else 2 * one_row, 16, ROW)
    exact = {"add": left + right, "mul": left * right, "relu": np.maximum(left, 0)}[kind]
    assert (found == exact).all()


@pytest.mark.parametrize(("n", "k"), [(64, 128), (100, 700)])
def test_a_tree_keeps_the_sums_of_every_tile(
    hbm: PimSpec, config: PimConfig, n: int, k: int
) -> None:
    channel = FunctionalChannel(shape_of(hbm))
    x, weights = signs(3, k), signs(4, k, n)
    load_weights(channel, config, weights, ROW)
    macros = hbm_pim.gemv_tree(config, outputs=n, inputs=k).build()
    program = ChannelProgram(macros=macros, channels=1)
    channel.run(program, gemv_tree_operands(config, x, n), np.zeros(0, np.float32), ROW)
    passes, tiles = hbm_pim.tiles_of(config, n, k)
    first, _ = hbm_pim.gemv_columns(config, n, k)
    held = channel.stored(first, passes * tiles * 8, ROW)[config.touched("MAC", hbm_pim.ODD)]
    # [unit, pass, tile, register, lane] to [pass, unit, register]
    found = held.reshape(8, passes, tiles, 8, 16).sum(axis=(2, 4)).transpose(1, 0, 2)
    assert (found.reshape(-1)[:n] == x @ weights).all()


def test_each_addition_is_rounded(hbm: PimSpec, config: PimConfig) -> None:
    """2048 + 1 is 2048 in fp16: 1 is lost in the lane of the 2048, not in the next lane."""
    channel = FunctionalChannel(shape_of(hbm))
    weights = np.ones((64, 1), dtype=np.float32)
    load_weights(channel, config, weights, ROW)
    x = np.zeros(64, dtype=np.float32)
    x[[0, 16, 33]] = [2048, 1, 1]
    macros = hbm_pim.gemv(config, outputs=1, inputs=64, reads_results=True)
    found = np.zeros(1, dtype=np.float32)
    program = ChannelProgram(macros=macros.build(), channels=1)
    channel.run(program, gemv_operands(config, x, 1, np.arange(1)), found, ROW)
    assert found.tolist() == [2049.0]


def test_numbers_leave_the_time_alone(hbm: PimSpec) -> None:
    geometry = geometry_of(hbm, 2)

    def ticks(program: PimProgram) -> list[int]:
        return [PimChannel(geometry.config).run(c, first_row=ROW) for c in program.channels]

    seen: list[Any] = []

    def keep(program: PimProgram) -> PimProgram:
        seen.extend((program, ticks(program)))
        return program

    product(hbm, 2, (1, 128, 256), keep)
    assert ticks(seen[0]) == seen[1]
