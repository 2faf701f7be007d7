from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.attention import (
    AttentionCost,
    AttentionShape,
    append_cost,
    attention_cost,
    call_of,
    cold_share,
    regroup_ns,
)
from bankwidth.devices.gpu.chip import Chip
from bankwidth.errors import MappingError
from bankwidth.spec import (
    AppendKernelSpec,
    AttentionKernelSpec,
    AttentionSpec,
    AttentionTileSpec,
    CaptureSpec,
    CombineSpec,
    GpuSpec,
    NarrowTilesSpec,
    load_device,
)

from .conftest import make_attention

MakeChip = Callable[..., Chip]


def shipped(device: str, library: str) -> AttentionSpec:
    gpu = load_device(device)
    assert isinstance(gpu, GpuSpec)
    return gpu.libraries[library].attention


VLLM, TRTLLM = (shipped("gpu/h200-sxm", name) for name in ("vllm", "tensorrt-llm"))
VLLM_AMPERE, SGLANG, TORCH = (shipped("gpu/a100-sxm", name) for name in ("vllm", "sglang", "torch"))
FLASH_ATTENTION_3 = VLLM.kernels["flash-attention-3"]
FLASH_ATTENTION_3_SM80 = SGLANG.kernels["flash-attention-3"]
LIBRARIES = (VLLM, TRTLLM, VLLM_AMPERE, SGLANG, TORCH)
KERNELS = tuple(kernel for library in LIBRARIES for kernel in library.kernels.values())
SPLIT_FURTHER = 0.6  # 0.78 is the least of 300 000 random shapes
# Tiles of 128 by 128 that lose no time beside their multiplies.
PLAIN = make_attention().kernels["plain"]
TILE_NS = 4 * 128 * 128 * 64 / 1000  # at 1000 FLOPs per ns, head_dim 64


def shape(q_len: int, kv_len: int, *, batch: int = 1, heads: int = 4, kv_heads: int = 4,
          head_dim: int = 64, causal: bool = True) -> AttentionShape:  # fmt: skip
    pairs = q_len * (kv_len - q_len) + q_len * (q_len + 1) // 2 if causal else q_len * kv_len
    return AttentionShape(
        batch=batch, q_len=q_len, kv_len=kv_len, n_heads=heads, n_kv_heads=kv_heads,
        head_dim=head_dim, causal=causal, flops=4 * batch * heads * pairs * head_dim,
        dtype="bf16", element_bytes=2, kv_bytes=2,
    )  # fmt: skip


def changed(kernel: AttentionKernelSpec, **values: object) -> AttentionKernelSpec:
    return kernel.model_copy(update=values)


def tile(rows: int, keys: int) -> AttentionTileSpec:
    return AttentionTileSpec(max_head_dim=256, rows=rows, keys=keys)


def capture_of(**values: object) -> CaptureSpec:
    return CaptureSpec.model_validate({"launch": "0 ns"} | values)


def whole_ns(cost: AttentionCost) -> float:
    return cost.compute_ns + cost.serial_ns


def test_prefill_is_never_shorter_than_its_last_block(chip: Chip) -> None:
    # 8 query tiles, 4 heads: 32 blocks on 100 SMs; the last sees 8 key tiles
    cost = attention_cost(chip, PLAIN, shape(1024, 1024))
    assert cost.blocks == 32
    assert cost.compute_ns == pytest.approx(8 * TILE_NS)


def test_causal_prefill_of_many_blocks_is_its_key_tiles_over_the_sms(chip: Chip) -> None:
    # 64 query tiles with 1..64 key tiles: 2080 a head, 25 heads and 4 sequences, 100 SMs; the last
    # wave idles for half of the shortest block: one key tile
    cost = attention_cost(chip, PLAIN, shape(8192, 8192, heads=25, kv_heads=25, batch=4))
    assert cost.compute_ns == pytest.approx((2080 + 0.5) * TILE_NS)


def test_causal_mask_halves_the_multiplies(chip: Chip) -> None:
    masked = attention_cost(chip, PLAIN, shape(8192, 8192, heads=100, kv_heads=100))
    full = attention_cost(chip, PLAIN, shape(8192, 8192, heads=100, kv_heads=100, causal=False))
    # 65 of 128 halves: the tiles on the diagonal are multiplied whole
    assert masked.compute_ns / full.compute_ns == pytest.approx(65 / 128, rel=0.01)


def test_a_kernel_that_does_not_skip_masked_keys_multiplies_them(chip: Chip) -> None:
    all_keys = changed(PLAIN, skips_masked=False)
    masked, full = shape(4096, 4096), shape(4096, 4096, causal=False)
    cost = attention_cost(chip, all_keys, masked)
    assert cost.compute_ns == attention_cost(chip, all_keys, full).compute_ns


def test_blocks_of_equal_length_run_in_whole_waves(chip: Chip) -> None:
    one, two = (
        attention_cost(chip, PLAIN, shape(128, 128, heads=heads, kv_heads=heads))
        for heads in (100, 101)
    )
    assert (one.waves, two.waves) == (1, 2)
    assert two.compute_ns == pytest.approx(2 * one.compute_ns)


def test_starting_with_short_blocks_leaves_the_longest_for_last(chip: Chip) -> None:
    work = shape(8192, 8192, batch=4, heads=25, kv_heads=25)
    ascending = attention_cost(chip, changed(PLAIN, longest_first=False), work)
    # E[t^2] / 2 E[t] of 1..64 tiles: 89440 / 2080 / 2
    tail_tiles = 64 - 89440 / 2080 / 2
    assert ascending.compute_ns == pytest.approx((2080 + tail_tiles) * TILE_NS)


def test_exponentials_that_are_exposed_add_to_the_multiplies(make_chip: MakeChip) -> None:
    chip, work = make_chip(exp_per_ns=10.0), shape(128, 128)
    half = changed(PLAIN, exposed_exps=0.5)
    cost = attention_cost(chip, half, work)
    assert cost.compute_ns == pytest.approx(TILE_NS + 0.5 * 128 * 128 / 10)


def test_keys_come_no_faster_than_an_sm_is_fed(chip: Chip) -> None:
    fed = changed(PLAIN, feed_bytes_per_cycle=2.0)
    # 128 keys and values of 64 at 2 bytes, 2 bytes a ns at 1 GHz
    cost = attention_cost(chip, fed, shape(128, 128))
    assert cost.compute_ns == pytest.approx(2 * 128 * 64 * 2 / 2.0)


def test_cycles_are_of_the_chips_clock(make_chip: MakeChip) -> None:
    started = changed(PLAIN, block_cycles=1000)
    slow, fast = (
        attention_cost(make_chip(clock_ghz=ghz), started, shape(128, 128)) for ghz in (1.0, 2.0)
    )
    assert slow.compute_ns - fast.compute_ns == pytest.approx(500)


def test_decode_reads_keys_and_values_once() -> None:
    s = shape(1, 4096, heads=32, kv_heads=8)
    assert s.key_value_bytes == 2 * 4096 * 8 * 64 * 2
    assert s.query_bytes == 32 * 64 * 2


def test_query_heads_that_share_keys_share_a_tile(chip: Chip) -> None:
    work = shape(1, 4096, heads=32, kv_heads=1, batch=200)
    shared = attention_cost(chip, PLAIN, work)
    alone = attention_cost(chip, changed(PLAIN, packs_queries=False), work)
    assert (shared.blocks, alone.blocks) == (200, 6400)
    # 2 waves against 64
    assert shared.compute_ns * 30 < alone.compute_ns
    assert shared.l2_bytes < alone.l2_bytes


def test_even_splits_give_each_sm_its_share_and_a_tenth_more(chip: Chip) -> None:
    kernel = changed(PLAIN, split_rule="even", max_splits=32)
    # 4 heads x 100 key tiles x 1.1 over 100 SMs: 5 tiles a piece; 20 pieces
    assert attention_cost(chip, kernel, shape(1, 12_800)).splits == 20
    # one key tile a piece at least, and at most as many as the library allows
    assert attention_cost(chip, kernel, shape(1, 256)).splits == 2
    assert attention_cost(chip, kernel, shape(1, 12_800, heads=1, kv_heads=1)).splits == 32


def test_full_waves_split_grouped_decode_only(chip: Chip) -> None:
    kernel = changed(PLAIN, split_rule="full_waves", max_splits=128)
    # 48 tiles on 100 SMs: 2 splits fill 96 %, and no smaller number 85 % of that
    grouped = shape(1, 12_800, batch=12, heads=8, kv_heads=4)
    assert attention_cost(chip, kernel, grouped).splits == 2
    assert attention_cost(chip, kernel, replace(grouped, n_heads=4)).splits == 1


def test_history_splits_fill_eight_waves_at_most(chip: Chip) -> None:
    kernel = changed(PLAIN, split_rule="history")
    assert attention_cost(chip, kernel, shape(1, 127)).splits == 1
    assert attention_cost(chip, kernel, shape(1, 1024)).splits == 8
    # 32 pieces of 128 keys: no more than sqrt(8 x 32) = 16 of them
    assert attention_cost(chip, kernel, shape(1, 4096)).splits == 16
    # 128 heads x 16 are 20.5 waves: 16 x 8 / 20.48
    assert attention_cost(chip, kernel, shape(1, 4096, batch=32)).splits == 6


def test_filling_stops_at_two_blocks_per_sm(chip: Chip) -> None:
    kernel = changed(PLAIN, split_rule="fill")
    # 3 passes of 64 KiB are not split, 4 are; 8 heads on 100 SMs take 25 pieces at most
    assert attention_cost(chip, kernel, shape(1, 768, heads=8, kv_heads=8)).splits == 1
    assert attention_cost(chip, kernel, shape(1, 1024, heads=8, kv_heads=8)).splits == 4
    assert attention_cost(chip, kernel, shape(1, 65_536, heads=8, kv_heads=8)).splits == 25


def test_fixed_splits_run_blocks_without_keys(chip: Chip) -> None:
    kernel = changed(PLAIN, split_rule="fixed", max_splits=32)
    cost = attention_cost(chip, kernel, shape(1, 128))
    assert (cost.splits, cost.blocks) == (32, 4 * 32)
    # the library splits no batch of more than 32 x 31 sequences, and no prefill
    assert attention_cost(chip, kernel, shape(1, 128, batch=993)).splits == 1
    assert attention_cost(chip, kernel, shape(2, 128)).splits == 1


def test_the_split_variant_runs_only_where_a_lone_sequence_would_split(chip: Chip) -> None:
    # 64-key tiles: up to 4 of them never split; the variant then has tiles of 112 keys
    short = attention_cost(chip, FLASH_ATTENTION_3_SM80, shape(1, 256, head_dim=128))
    long = attention_cost(chip, FLASH_ATTENTION_3_SM80, shape(1, 4096, head_dim=128))
    assert short.label == "FlashAttention 3 sm_80 128x64, 1 splits"
    assert long.label.startswith("FlashAttention 3 sm_80 split 128x112")
    assert short.serial_ns == 0 < long.serial_ns


def test_the_split_variant_combines_even_what_the_batch_left_whole(chip: Chip) -> None:
    # 30 sequences of 4 heads cover the SMs: one piece each, but the kernel for pieces runs
    whole = attention_cost(chip, FLASH_ATTENTION_3_SM80, shape(1, 1024, batch=30, head_dim=128))
    assert whole.splits == 1
    variant = FLASH_ATTENTION_3_SM80.split_variant
    assert variant is not None
    assert variant.combine is not None
    fixed_cycles = variant.combine.cycles + variant.combine.split_cycles
    assert whole.serial_ns == pytest.approx(fixed_cycles)


def test_a_lone_sequence_wants_no_pieces_shorter_than_four_tiles(chip: Chip) -> None:
    variant = changed(PLAIN, split_rule="fixed", max_splits=128)
    kernel = changed(PLAIN, split_variant=variant)
    # 42 heads of 9 tiles: 2 pieces fill 84 % of a wave; 7 fill 98 % of three, but of one tile each
    # they count 15 % less
    lone = shape(1, 9 * 128, heads=42, kv_heads=42)
    assert attention_cost(chip, kernel, lone).splits == 2


def test_blocks_that_share_an_sm_take_turns(chip: Chip) -> None:
    pair = changed(PLAIN, blocks_per_sm=2, block_cycles=1000)
    few = attention_cost(chip, pair, shape(128, 128, heads=100, kv_heads=100))
    many = attention_cost(chip, pair, shape(128, 128, heads=200, kv_heads=200))
    assert (few.waves, many.waves) == (1, 1)
    # two blocks start together and then multiply at half the rate
    assert few.compute_ns == pytest.approx(TILE_NS + 1000)
    assert many.compute_ns == pytest.approx(2 * TILE_NS + 1000)


def test_the_last_section_starts_with_its_longest_block(chip: Chip) -> None:
    # 6 heads of 30 query tiles with 1..30 key tiles, 15.5 on average, on 100 SMs: 27.9 tiles each
    work = shape(3840, 3840, heads=6, kv_heads=6)
    head_bytes = 2 * 3840 * 64 * 2
    for section_bytes, earlier in (
        (None, 0),
        (1, 150),
        (2 * head_bytes, 120),
        (4 * head_bytes, 60),
    ):
        kernel = changed(PLAIN, section_bytes=section_bytes)
        waits = max(0.0, earlier / 100 - 1) * 15.5
        assert attention_cost(chip, kernel, work).compute_ns == pytest.approx(
            (30 + waits) * TILE_NS
        )


def test_few_queries_take_the_narrow_tile_and_its_start(chip: Chip) -> None:
    narrow = NarrowTilesSpec(max_rows=64, tiles=[tile(64, 128)], block_cycles=100)
    kernel = changed(PLAIN, narrow=narrow, block_cycles=500)
    assert attention_cost(chip, kernel, shape(64, 128)).compute_ns == pytest.approx(
        TILE_NS / 2 + 100
    )
    assert attention_cost(chip, kernel, shape(65, 128)).compute_ns == pytest.approx(TILE_NS + 500)


def test_combining_splits_costs_by_split_and_byte(chip: Chip) -> None:
    combine = CombineSpec(cycles=1000, split_cycles=10, bytes_per_cycle=2)
    kernel = changed(PLAIN, split_rule="even", max_splits=2, combine=combine)
    cost = attention_cost(chip, kernel, shape(1, 12_800))
    # two fp32 outputs of 4 heads x 64, out and in, 2 bytes a ns on each of 100 SMs
    assert cost.serial_ns == pytest.approx(1000 + 2 * 10 + 2 * (2 * 4 * 64 * 4) / 200)


def test_the_scheduler_walks_the_batch_by_31_sequences(chip: Chip) -> None:
    kernel = changed(PLAIN, scan_cycles=100)
    walks = [attention_cost(chip, kernel, shape(1, 128, batch=b)).serial_ns for b in (31, 32, 63)]
    assert walks == [0, 100, 200]
    each = changed(kernel, scans_per_block=True)
    assert attention_cost(chip, each, shape(1, 128, batch=32)).serial_ns == 0


def test_a_sum_over_many_query_tiles_equals_the_series(chip: Chip) -> None:
    # 65 query tiles are summed in closed form, 64 one by one: both by hand here
    for tiles in (64, 65):
        heads = 100
        cost = attention_cost(chip, PLAIN, shape(128 * tiles, 128 * tiles, heads=heads,
                                                 kv_heads=heads))  # fmt: skip
        series = tiles * (tiles + 1) / 2
        assert cost.compute_ns == pytest.approx((series + 0.5) * TILE_NS)


def test_closed_form_rounds_up_as_the_series_does(make_chip: MakeChip) -> None:
    kernel = changed(PLAIN, tiles=[tile(128, 80)])
    s = shape(128 * 80, 128 * 80 + 7, heads=100, kv_heads=100)
    tiles = sum(math.ceil((128 * (i + 1) + 7) / 80) for i in range(80))
    cost = attention_cost(make_chip(), kernel, s)
    one = 4 * 128 * 80 * 64 / 1000
    assert cost.compute_ns == pytest.approx((tiles + 0.5 * math.ceil(135 / 80)) * one, rel=0.003)


def test_nothing_to_attend_to_takes_no_time(chip: Chip) -> None:
    for empty in (shape(0, 0), shape(1, 16, batch=0)):
        for kernel in KERNELS:
            cost = attention_cost(chip, kernel, empty)
            assert (whole_ns(cost), cost.blocks, cost.l2_bytes) == (0, 0, 0)


def test_a_head_that_no_tile_takes_is_said_with_the_largest(chip: Chip) -> None:
    with pytest.raises(MappingError, match=r"FlashAttention 3 has no kernel for head_dim 512.*256"):
        attention_cost(chip, FLASH_ATTENTION_3, shape(1, 128, head_dim=512))


def test_power_slows_long_kernels_by_the_share_they_draw(make_chip: MakeChip) -> None:
    chip = make_chip(sustained_slowdown=0.5)
    work = shape(16_384, 16_384, heads=100, kv_heads=100)
    idle, half, full = (
        attention_cost(chip, changed(PLAIN, power_share=share), work).compute_ns
        for share in (0.0, 0.5, 1.0)
    )
    assert full == pytest.approx(chip.sustained_ns(idle))
    assert half == pytest.approx((idle + full) / 2)


def test_loads_overlap_better_the_more_key_tiles_an_sm_has(chip: Chip) -> None:
    short = attention_cost(chip, PLAIN, shape(1, 128, batch=25))
    long = attention_cost(chip, PLAIN, shape(1, 128 * 16, batch=25))
    assert short.overlap == pytest.approx(2)
    assert long.overlap == pytest.approx(1 + math.sqrt(16))


def test_tokens_are_appended_by_blocks_of_up_to_512_threads(chip: Chip) -> None:
    kernel = AppendKernelSpec(block_cycles=1000, values_per_thread=2, max_threads=512)
    # 4 KV heads x 64: 256 threads, 8 blocks an SM, 800 on the chip
    narrow = append_cost(chip, kernel, shape(1600, 1600))
    assert narrow.compute_ns == pytest.approx(2000)
    # 64 x 64 values each: 512 threads and no more, 400 blocks at a time
    wide = append_cost(chip, kernel, shape(1600, 1600, heads=64, kv_heads=64))
    assert wide.compute_ns == pytest.approx(4000)
    assert wide.read_bytes == wide.write_bytes == 1600 * 2 * 64 * 64 * 2


def test_an_append_that_turns_queries_moves_them_too(chip: Chip) -> None:
    kernel = AppendKernelSpec(
        block_cycles=0, values_per_thread=8, max_threads=512, with_queries=True
    )
    cost = append_cost(chip, kernel, shape(16, 16, heads=32, kv_heads=4))
    assert cost.read_bytes == 16 * (32 + 2 * 4) * 64 * 2


def test_a_library_dispatches_by_group_and_blocks(chip: Chip) -> None:
    grouped = shape(1, 1024, batch=64, heads=32, kv_heads=4)
    for s, kernel in (
        (grouped, "xqa"),
        (replace(grouped, n_kv_heads=32), "mmha"),  # groups of one
        (replace(grouped, n_heads=132), "mmha"),  # of 33
        (replace(grouped, batch=1, kv_len=6 * 128 + 127), "mmha"),  # 24 blocks on 100 SMs
        (replace(grouped, batch=1, kv_len=7 * 128), "xqa"),  # 28
    ):
        assert call_of(TRTLLM, s, chip.sms, decode=True).kernel is TRTLLM.kernels[kernel]
    prefill = call_of(TRTLLM, grouped, chip.sms, decode=False)
    assert prefill.kernel is TRTLLM.kernels["fmha"]
    assert prefill.capture is TRTLLM.captures["prefill"]
    large = replace(grouped, head_dim=512)
    for decode in (False, True):
        kernel_of_large = call_of(VLLM, large, chip.sms, decode=decode).kernel
        assert kernel_of_large is VLLM.kernels["flash-attention-4"]
    # a library without kernels for large heads has its own say no
    assert call_of(SGLANG, large, chip.sms, decode=True).kernel is FLASH_ATTENTION_3_SM80


def test_a_replay_finds_what_fits_its_share_of_the_l2(chip: Chip) -> None:
    capture = capture_of(warm_l2_share=0.5)  # of 1 MB
    assert cold_share(chip, capture, 500_000) == 0
    assert cold_share(chip, capture, 562_500) == pytest.approx(0.5)
    assert cold_share(chip, capture, 625_000) == 1
    assert cold_share(chip, capture_of(), 1) == 1


def test_heads_are_regrouped_only_where_no_view_does_it() -> None:
    capture = capture_of(regroup="5 ns")
    copied = shape(1, 64, batch=2, heads=8, kv_heads=2)
    assert regroup_ns(capture, copied) == 5
    for view in (replace(copied, batch=1), replace(copied, n_kv_heads=1),
                 replace(copied, n_kv_heads=8), replace(copied, q_len=2)):  # fmt: skip
        assert regroup_ns(capture, view) == 0


SHAPES = st.builds(
    lambda q, before, batch, group, kv_heads, dim: shape(
        q, q + before, batch=batch, heads=group * kv_heads, kv_heads=kv_heads, head_dim=dim
    ),
    st.one_of(st.just(1), st.integers(1, 3000)),
    st.integers(0, 20_000),
    st.integers(1, 200),
    st.sampled_from([1, 2, 4, 7, 16]),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([64, 128]),
)


@given(s=SHAPES, kernel=st.sampled_from(KERNELS))
def test_no_kernel_beats_the_peak(
    make_chip: MakeChip, s: AttentionShape, kernel: AttentionKernelSpec
) -> None:
    chip = make_chip()
    ideal_ns = s.flops / (chip.tensor_rate("bf16") * chip.sms)
    assert attention_cost(chip, kernel, s).compute_ns >= ideal_ns * (1 - 1e-9)


@given(s=SHAPES, kernel=st.sampled_from(KERNELS))
def test_splits_never_exceed_key_tiles_unless_they_are_fixed(
    make_chip: MakeChip, s: AttentionShape, kernel: AttentionKernelSpec
) -> None:
    if kernel.split_rule == "fixed":
        return
    cost = attention_cost(make_chip(), kernel, s)
    least_keys = min(tile.keys for tile in _tiles_of(kernel))
    assert 1 <= cost.splits <= max(1, math.ceil(s.kv_len / least_keys))


def _tiles_of(kernel: AttentionKernelSpec) -> list[AttentionTileSpec]:
    return [*kernel.tiles, *(kernel.narrow.tiles if kernel.narrow else [])]


def doubled(s: AttentionShape) -> tuple[AttentionShape, AttentionShape]:
    return replace(s, batch=2 * s.batch), replace(s, kv_len=2 * s.kv_len)


@given(s=SHAPES, kernel=st.sampled_from(KERNELS))
def test_more_sequences_or_keys_are_faster_only_by_other_splits(
    make_chip: MakeChip, s: AttentionShape, kernel: AttentionKernelSpec
) -> None:
    chip = make_chip()
    cost = attention_cost(chip, kernel, s)
    for more in (replace(s, batch=2 * s.batch), replace(s, kv_len=2 * s.kv_len)):
        longer = attention_cost(chip, kernel, more)
        saved_ns = max(0.0, cost.serial_ns - longer.serial_ns)
        # a rule that starts to split, or splits further, puts idle SMs to work
        least = SPLIT_FURTHER if longer.splits > cost.splits else 1 - 1e-9
        assert whole_ns(longer) >= (whole_ns(cost) - saved_ns) * least
