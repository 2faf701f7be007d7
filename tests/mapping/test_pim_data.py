"""The numbers of mapped programs are numpy's, for every mapping; a wrong address shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.functional import FunctionalMemory, shape_of
from bankwidth.devices.pim.program import PimProgram
from bankwidth.errors import SimulationError
from bankwidth.mapping.kv_data import (
    append_operands,
    clear_values,
    context_operands,
    score_operands,
    stored_keys,
    stored_values,
)
from bankwidth.mapping.kv_layout import HeadsApartLayout, KvLayout
from bankwidth.mapping.lower_pim import AS_PUBLISHED, lower_matmul
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_data import load_weights, matmul_operands
from bankwidth.mapping.pim_geometry import PimGeometry, geometry_of
from bankwidth.spec import PimMappingSpec, PimSpec

Changed = Callable[[PimProgram], PimProgram]
ROUNDING = 2.0**-8  # of one bf16


def whole(rng: np.random.Generator, *shape: int) -> Any:
    """Small whole numbers: products and sums of them are exact in fp32, so order plays no part."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def product(
    geometry: PimGeometry,
    spec: PimSpec,
    options: PimMappingSpec,
    shape: tuple[int, int, int],
    change: Changed = lambda program: program,
    first_row: int = 0,
    seed: int = 0,
) -> tuple[Any, Any]:
    """y of the banks, and of numpy with the same roundings where nothing cancels."""
    m, n, k = shape
    rng = np.random.default_rng(seed)
    # Each column of W has one element: y picks single elements of x, so nothing is rounded.
    x, picked = whole(rng, m, k), rng.integers(0, k, n)
    weights = np.zeros((k, n), dtype=np.float32)
    weights[picked, np.arange(n)] = rng.integers(1, 4, n)
    bias = whole(rng, n)
    memory = FunctionalMemory(shape_of(spec), geometry.channels)
    load_weights(memory, geometry, weights, first_row, options)
    program = change(lower_matmul(geometry, m=m, n=n, k=k, options=options).at(first_row))
    found = memory.run(program, matmul_operands(geometry, x, n, bias, options), m * n)
    return found.reshape(m, n), x @ weights + bias


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 3),
    n=st.integers(1, 300),
    k=st.integers(1, 700),
    channels=st.sampled_from([1, 3, 8]),
    banks=st.sampled_from([4, 16]),
    buffer_bytes=st.sampled_from([128, 2048]),
    accumulators=st.sampled_from([1, 2, 5]),
    layout=st.sampled_from([("vector", "packed"), ("result", "packed"), ("result", "own")]),
    partial_sums=st.sampled_from(["host", "bank"]),
)
def test_products_read_the_right_bytes(
    spec: PimSpec,
    m: int,
    n: int,
    k: int,
    channels: int,
    banks: int,
    buffer_bytes: int,
    accumulators: int,
    layout: tuple[Any, Any],
    partial_sums: Any,
) -> None:
    """Exactly: each output is one element of x times a whole number, plus a whole bias."""
    sizes = {"banks": banks, "buffer_bytes": buffer_bytes, "accumulators": accumulators}
    changed = spec.model_copy(update=sizes)
    options = PimMappingSpec(reuse=layout[0], rows=layout[1], partial_sums=partial_sums)
    found, exact = product(geometry_of(changed, channels), changed, options, (m, n, k))
    assert (found == exact).all()


def test_layers_lie_on_rows_of_their_own(geometry: PimGeometry, spec: PimSpec) -> None:
    found, exact = product(geometry, spec, AS_PUBLISHED, (1, 300, 1500), first_row=77)
    assert (found == exact).all()


def _with_macros(program: PimProgram, edit: Callable[[Any], None]) -> PimProgram:
    channels = []
    for channel in program.channels:
        macros = channel.macros.copy()
        edit(macros)
        channels.append(replace(channel, macros=macros))
    return replace(program, channels=tuple(channels))


def _swap_rows(geometry: PimGeometry) -> Changed:
    """Rows 0 and 1 of every MAC."""
    mac = geometry.config.index("MAC_ABK")

    def edit(macros: Any) -> None:
        is_mac = (macros[:, 0] == mac) & (macros[:, 2] < 2)
        macros[is_mac, 2] = 1 - macros[is_mac, 2]

    return lambda program: _with_macros(program, edit)


def test_swapped_rows_are_found(geometry: PimGeometry, spec: PimSpec) -> None:
    shape = (1, 512, 1024)
    found, exact = product(geometry, spec, AS_PUBLISHED, shape, _swap_rows(geometry))
    assert (found != exact).mean() > 0.4  # two of a channel's four groups


def test_a_wrong_first_row_reads_nothing(geometry: PimGeometry, spec: PimSpec) -> None:
    found, _ = product(geometry, spec, AS_PUBLISHED, (1, 128, 64), lambda p: p.at(1))
    assert np.isnan(found).all()


def test_another_order_is_refused(geometry: PimGeometry, spec: PimSpec) -> None:
    def reverse(macros: Any) -> None:
        macros[:] = macros[::-1].copy()

    with pytest.raises(SimulationError, match="the program says RD_MAC"):
        product(geometry, spec, AS_PUBLISHED, (1, 512, 64), lambda p: _with_macros(p, reverse))


def test_one_mapping_does_not_fit_the_numbers_of_another(
    geometry: PimGeometry, spec: PimSpec
) -> None:
    results_stay = lower_matmul(
        geometry, m=1, n=512, k=2000, options=PimMappingSpec(reuse="result")
    )
    with pytest.raises(SimulationError, match="the program says WR_BIAS"):
        product(geometry, spec, AS_PUBLISHED, (1, 512, 2000), lambda p: results_stay)


@pytest.mark.parametrize("choices", [{"reuse": "result"}, {"partial_sums": "bank"}])
@pytest.mark.parametrize("k", [40, 1100])
def test_functions_in_the_banks(
    geometry: PimGeometry, spec: PimSpec, choices: dict[str, Any], k: int
) -> None:
    """Of whole results: a longer input has pieces, whose sums are no results yet."""
    options = PimMappingSpec(activation_function="bank", **choices)
    rng = np.random.default_rng(2)
    x, weights = whole(rng, 1, k), whole(rng, k, 50)
    memory = FunctionalMemory(shape_of(spec), geometry.channels)
    load_weights(memory, geometry, weights, options=options)
    program = lower_matmul(geometry, m=1, n=50, k=k, options=options, activates=True)
    operands = matmul_operands(geometry, x, 50, options=options, function="relu")
    found = memory.run(program, operands, 50)
    exact, first_piece = (x @ weights)[0], (x[:, :1024] @ weights[:1024])[0]
    bound = ROUNDING * (np.abs(first_piece) + 2 * np.abs(exact))
    assert (np.abs(found - np.maximum(exact, 0)) <= bound).all()


# ---- attention ----------------------------------------------------------------------------------


class Cache:
    """Keys and values of small whole numbers, appended in parts."""

    def __init__(
        self,
        layout: KvLayout,
        spec: PimSpec,
        tokens: int,
        *,
        change: Changed = lambda program: program,
        clears: bool = True,
    ) -> None:
        rng = np.random.default_rng(tokens)
        shape = (layout.batch, tokens, layout.n_kv_heads, layout.head_dim)
        self.layout, self.tokens = layout, tokens
        self.keys, self.values = whole(rng, *shape), whole(rng, *shape)
        self.queries = whole(rng, layout.batch, layout.n_heads, layout.head_dim)
        self.memory = FunctionalMemory(shape_of(spec), layout.geometry.channels)
        if clears:
            clear_values(self.memory, layout, 0)
        for part in np.array_split(np.arange(tokens), min(tokens, 3)):
            first, count = int(part[0]), len(part)
            program = change(lower_kv_append(layout, first_token=first, tokens=count))
            new = slice(first, first + count)
            operands = append_operands(layout, self.keys[:, new], self.values[:, new], first)
            self.memory.run(program, operands, 0)

    def scores(self, change: Changed = lambda program: program) -> tuple[Any, Any]:
        """q K^T of the banks and of numpy, [sequence, head, token]."""
        program = change(lower_attention(self.layout, kv_len=self.tokens).score)
        shape = (self.layout.batch, self.layout.n_heads, self.tokens)
        operands = score_operands(self.layout, list(self.queries), self._steps)
        found = self.memory.run(program, operands, int(np.prod(shape))).reshape(shape)
        keys = np.repeat(self.keys, self.layout.shared, axis=2)
        return found, np.einsum("shd,sthd->sht", self.queries, keys)

    def context(self, options: PimMappingSpec = AS_PUBLISHED) -> tuple[Any, Any]:
        """p V of the banks and of numpy, [sequence, head, element]; p is one-hot."""
        layout = self.layout
        p = np.zeros((layout.batch, layout.n_heads, self.tokens), dtype=np.float32)
        p[..., self.tokens // 2] = 1.0
        program = lower_attention(layout, kv_len=self.tokens, options=options).context
        shape = (layout.batch, layout.n_heads, layout.head_dim)
        operands = context_operands(layout, list(p), self._steps, options)
        found = self.memory.run(program, operands, int(np.prod(shape))).reshape(shape)
        return found, np.repeat(self.values[:, self.tokens // 2], layout.shared, axis=1)

    @property
    def _steps(self) -> list[tuple[int, int]]:
        return [(sequence, self.tokens) for sequence in range(self.layout.batch)]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([KvLayout, HeadsApartLayout]),
    kv_heads=st.integers(1, 9),
    shared=st.sampled_from([1, 1, 3]),
    head_dim=st.sampled_from([8, 16, 24, 80]),
    tokens=st.integers(1, 120),
    spare=st.integers(0, 40),
    batch=st.integers(1, 2),
    channels=st.sampled_from([1, 3, 8]),
    banks=st.sampled_from([4, 16]),
    buffer_bytes=st.sampled_from([192, 2048]),
    partial_sums=st.sampled_from(["host", "bank"]),
)
def test_attention_reads_what_was_appended(
    spec: PimSpec,
    kind: type[KvLayout],
    kv_heads: int,
    shared: int,
    head_dim: int,
    tokens: int,
    spare: int,
    batch: int,
    channels: int,
    banks: int,
    buffer_bytes: int,
    partial_sums: Any,
) -> None:
    changed = spec.model_copy(update={"banks": banks, "buffer_bytes": buffer_bytes})
    layout = kind(
        geometry=geometry_of(changed, channels),
        n_heads=kv_heads * shared,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        reserved_tokens=tokens + spare,
        batch=batch,
    )
    cache = Cache(layout, changed, tokens)
    found, exact = cache.scores()
    assert (np.abs(found - exact) <= ROUNDING * np.abs(exact)).all()
    found, exact = cache.context(PimMappingSpec(partial_sums=partial_sums))
    assert (found == exact).all()
    assert (stored_keys(cache.memory, layout, 0, tokens) == cache.keys[0]).all()
    assert (stored_values(cache.memory, layout, 0, tokens) == cache.values[0]).all()


@pytest.fixture(scope="module")
def layout(geometry: PimGeometry) -> KvLayout:
    return KvLayout(geometry=geometry, n_heads=20, n_kv_heads=20, head_dim=80, reserved_tokens=300)


def test_a_key_in_the_wrong_bank_is_found(layout: KvLayout, spec: PimSpec) -> None:
    write = layout.geometry.config.index("WR_SBK")

    def edit(macros: Any) -> None:
        is_write = macros[:, 0] == write
        macros[is_write, 3] = (macros[is_write, 3] + 1) % 16

    cache = Cache(layout, spec, 290, change=lambda p: _with_macros(p, edit))
    found, exact = cache.scores()
    assert (found != exact).mean() > 0.9


def test_keys_in_swapped_rows_are_found(layout: KvLayout, spec: PimSpec) -> None:
    found, exact = Cache(layout, spec, 290).scores(_swap_rows(layout.geometry))
    wrong = np.abs(found - exact) > ROUNDING * np.abs(exact)
    assert wrong.mean() > 0.3


def test_values_need_space_that_was_cleared(layout: KvLayout, spec: PimSpec) -> None:
    """0 times a cell that was never written is no number: the last column of V ends in such."""
    found, _ = Cache(layout, spec, 290, clears=False).context()
    assert np.isnan(found).all()
    cleared, exact = Cache(layout, spec, 288, clears=False).context()
    assert (cleared == exact).all()  # 288 tokens fill their columns


# ---- timing -------------------------------------------------------------------------------------


def _ticks(geometry: PimGeometry, program: PimProgram) -> list[int]:
    return [PimChannel(geometry.config).run(c, first_row=9) for c in program.channels]


def test_numbers_leave_programs_and_their_time_alone(geometry: PimGeometry, spec: PimSpec) -> None:
    seen: dict[str, Any] = {}

    def keep(program: PimProgram) -> PimProgram:
        seen["program"] = program
        seen["ticks"] = _ticks(geometry, program)
        seen["macros"] = [channel.macros.tobytes() for channel in program.channels]
        return program

    product(geometry, spec, AS_PUBLISHED, (2, 700, 1500), keep)
    program = seen["program"]
    assert _ticks(geometry, program) == seen["ticks"]
    assert [channel.macros.tobytes() for channel in program.channels] == seen["macros"]
