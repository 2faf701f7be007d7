"""Mixtures of experts on a chip of round numbers: blocks, bytes and times by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.grouped import MoeShape, moe_costs
from bankwidth.errors import MappingError
from bankwidth.spec import MoeKernelsSpec

MakeChip = Callable[..., Chip]
LABELS = ["route", "up", "activation", "down", "sum"]
KERNELS: dict[str, Any] = {
    "tile_rule": "by_tokens", "shared": "1 MiB", "route": "1 us", "choice": "2 ns",
    "share_out": "500 ns", "tensor_efficiency": 1.0, "small_tensor_efficiency": 0.5,
    "feed_bytes_per_cycle": 1e9, "feed_share": 1.0, "step_cycles": 0.0, "block_cycles": 0.0,
    "unaligned_slowdown": 4.0, "move_share": 1.0, "overlap": 4.0,
}  # fmt: skip
SHAPE = MoeShape(
    tokens=1024, topk=2, hidden=256, inter=128, gated=True, loads=(1000, 600, 448, 0),
    is_shared_out=False, function_flops=5, dtype="bf16", x_bytes=2.0, w_bytes=2.0,
)  # fmt: skip
LOADS = st.lists(st.integers(0, 1024), min_size=1, max_size=16).map(tuple)


def kernels(**changes: Any) -> MoeKernelsSpec:
    return MoeKernelsSpec.model_validate(KERNELS | changes)


def times(chip: Chip, shape: MoeShape, **changes: Any) -> list[float]:
    return [cost.compute_ns for cost in moe_costs(chip, kernels(**changes), shape)]


def test_a_layer_is_five_kernels(chip: Chip) -> None:
    assert [cost.label.split()[0] for cost in moe_costs(chip, kernels(), SHAPE)] == LABELS


def test_every_expert_fills_whole_tiles_of_its_own(chip: Chip) -> None:
    _, up, _, down, _ = moe_costs(chip, kernels(), SHAPE)
    assert up.label == "up 128x128x64"  # more than 512 tokens
    # rows of tiles: 8 + 5 + 4 + 0; 256 columns of gate and up are 2 tiles, 256 of the result too
    assert (up.blocks, down.blocks) == (34, 34)
    assert up.waves == 1


def test_a_wave_takes_its_steps_at_the_tensor_rate(chip: Chip) -> None:
    _, up, _, down, _ = moe_costs(chip, kernels(), SHAPE)
    # 128 x 128 x 64 is 2 097 152 FLOPs at 1000 per ns: 4 steps of 256, 2 steps of 128
    assert up.compute_ns == pytest.approx(4 * 2097.152)
    assert down.compute_ns == pytest.approx(2 * 2097.152)


def test_one_block_more_than_the_chip_has_sms_is_another_wave(make_chip: MakeChip) -> None:
    full, over = (times(make_chip(sms=sms), SHAPE)[1] for sms in (34, 33))
    assert over == pytest.approx(2 * full)


def test_weights_of_experts_without_tokens_stay_in_memory(chip: Chip) -> None:
    _, up, _, down, _ = moe_costs(chip, kernels(), replace(SHAPE, tokens=8))
    assert up.read_bytes == 3 * 256 * 256 * 2
    assert down.read_bytes == 3 * 128 * 256 * 2


def test_activations_come_from_memory_when_the_l2_cannot_hold_them(chip: Chip) -> None:
    # half of 1 MB stays: x has 0.5 MB, up's results 1 MB
    _, up, activation, down, total = moe_costs(chip, kernels(), SHAPE)
    rows = 2048
    assert up.read_bytes == 3 * 256 * 256 * 2 + 1024 * 256 * 2
    assert activation.read_bytes == rows * 256 * 2
    assert down.read_bytes == 3 * 128 * 256 * 2 + rows * 128 * 2
    assert total.read_bytes == rows * 256 * 2
    assert [c.write_bytes for c in (up, activation, down, total)] == [
        rows * 256 * 2, rows * 128 * 2, rows * 256 * 2, 1024 * 256 * 2,
    ]  # fmt: skip


@given(LOADS)
def test_flops_follow_from_the_loads(loads: tuple[int, ...]) -> None:
    shape = replace(SHAPE, loads=loads)
    costs = moe_costs(make_default(), kernels(), shape)
    assert sum(cost.tensor_flops for cost in costs) == 2 * sum(loads) * 256 * 3 * 128


@given(LOADS, st.integers(0, 15))
def test_a_token_more_never_takes_less(loads: tuple[int, ...], expert: int) -> None:
    more = tuple(n + (i == expert % len(loads)) for i, n in enumerate(loads))
    chip = make_default(l2_bytes_per_ns=2.0)
    changes = {"block_cycles": 1000.0, "step_cycles": 50.0}
    few, many = (
        moe_costs(chip, kernels(**changes), replace(SHAPE, loads=n)) for n in (loads, more)
    )
    for less, longer in zip(few, many, strict=True):
        assert less.compute_ns <= longer.compute_ns * (1 + 1e-12)
        assert less.read_bytes <= longer.read_bytes


@given(LOADS, st.integers(1, 300))
def test_more_sms_are_never_slower(loads: tuple[int, ...], sms: int) -> None:
    shape, changes = replace(SHAPE, loads=loads), {"block_cycles": 1000.0, "step_cycles": 50.0}
    small, large = (
        times(make_default(sms=n, l2_bytes_per_ns=2.0), shape, **changes) for n in (sms, 2 * sms)
    )
    assert all(b <= a * (1 + 1e-12) for a, b in zip(small, large, strict=True))


@pytest.mark.parametrize(
    ("tokens", "tile"),
    [
        (32, "16x64x128"),
        (33, "32x64x128"),
        (64, "32x64x128"),
        (65, "32x128x64"),
        (96, "32x128x64"),
        (97, "64x128x64"),
        (512, "64x128x64"),
        (513, "128x128x64"),
    ],
)
def test_the_newer_rule_goes_by_the_tokens(tokens: int, tile: str, chip: Chip) -> None:
    costs = moe_costs(chip, kernels(), replace(SHAPE, tokens=tokens))
    assert costs[1].label == f"up {tile}"


def test_the_older_rule_compares_tokens_with_experts(chip: Chip) -> None:
    labels = [
        moe_costs(chip, kernels(tile_rule="by_experts"), replace(SHAPE, tokens=n))[1].label
        for n in (4, 5)
    ]
    assert labels == ["up 16x32x64", "up 64x64x32"]


def test_tuned_shapes_get_the_fastest_tile(make_chip: MakeChip) -> None:
    chip = make_chip(l2_bytes_per_ns=1.0)  # large tiles load less
    rule, tuned = {"tile_rule": "by_experts"}, {"tuned": [{"experts": 4, "inter": 128}]}
    assert times(chip, SHAPE, **rule, **tuned)[1] < times(chip, SHAPE, **rule)[1]
    other = replace(SHAPE, inter=256)
    assert times(chip, other, **rule, **tuned) == times(chip, other, **rule)


def test_small_tiles_have_their_own_tensor_rate(chip: Chip) -> None:
    shape = replace(SHAPE, tokens=32, loads=(16, 16, 16, 16))
    half, whole = (times(chip, shape, small_tensor_efficiency=share)[1] for share in (0.5, 1.0))
    assert half == pytest.approx(2 * whole)


def test_operands_come_no_faster_than_the_l2_gives_them(make_chip: MakeChip) -> None:
    # one step of a 128 x 128 x 64 tile is 32 768 bytes; 34 blocks share 100 bytes per ns
    chip = make_chip(l2_bytes_per_ns=1.0)
    assert times(chip, SHAPE)[1] == pytest.approx(4 * 32_768 * 34 / 100)
    # an SM by itself gets 10 bytes per cycle
    assert times(chip, SHAPE, feed_bytes_per_cycle=1.0)[1] == pytest.approx(4 * 32_768)


def test_rows_that_are_not_aligned_load_slower(make_chip: MakeChip) -> None:
    chip = make_chip(l2_bytes_per_ns=0.1)
    for inter, slowdown in ((128, 1.0), (120, 4.0)):
        down = times(chip, replace(SHAPE, inter=inter))[3]
        assert down == pytest.approx(slowdown * times(chip, SHAPE)[3])


def test_blocks_that_share_an_sm_hide_each_others_start(make_chip: MakeChip) -> None:
    chip = make_chip(sms=17)  # two waves
    alone = times(chip, SHAPE, block_cycles=1000.0, shared="100 kB")[1]
    pair = times(chip, SHAPE, block_cycles=1000.0, shared="200 kB")[1]
    assert alone - pair == pytest.approx(1000.0)


def test_sorting_grows_with_the_choices_and_with_experts_elsewhere(chip: Chip) -> None:
    assert times(chip, SHAPE)[0] == pytest.approx(1000 + 2 * 2048)
    shared_out = times(chip, replace(SHAPE, is_shared_out=True))
    assert shared_out[0] == pytest.approx(1000 + 2 * 2048 + 500)


def test_rows_of_experts_elsewhere_are_written_all_the_same(chip: Chip) -> None:
    here = moe_costs(chip, kernels(), SHAPE)
    elsewhere = moe_costs(chip, kernels(), replace(SHAPE, loads=(0, 0), is_shared_out=True))
    assert [c.write_bytes for c in elsewhere] == [c.write_bytes for c in here]
    assert [c.tensor_flops for c in elsewhere] == [0] * 5
    assert elsewhere[1].blocks == 0


def test_without_gate_the_first_product_is_half_as_wide(chip: Chip) -> None:
    gated, plain = (moe_costs(chip, kernels(), replace(SHAPE, gated=g)) for g in (True, False))
    assert plain[1].tensor_flops * 2 == gated[1].tensor_flops
    assert plain[3].tensor_flops == gated[3].tensor_flops


def test_a_dtype_without_tensor_rate_is_refused(chip: Chip) -> None:
    with pytest.raises(MappingError, match="no tensor rate for dtype 'fp8'"):
        moe_costs(chip, kernels(), replace(SHAPE, dtype="fp8"))


_MAKERS: list[MakeChip] = []


@pytest.fixture(autouse=True)
def _keep_maker(make_chip: MakeChip) -> None:
    _MAKERS[:] = [make_chip]


def make_default(**changes: Any) -> Chip:
    """A chip for hypothesis, which takes no function-scoped fixtures."""
    return _MAKERS[0](**changes)
