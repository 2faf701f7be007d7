"""Attention kernels of vLLM, SGLang, TensorRT-LLM and of an early FlashAttention: data only.

Tiles, packing and split rules are facts of the sources: Dao et al., flash-attention and vLLM's fork
of it (hopper/tile_size.h, heuristics.h, flash_prepare_scheduler.cu; csrc/flash_attn/flash_api.cpp),
TensorRT-LLM (decoderXQAImplCommon.h); tiles of FlashAttention 4, of TensorRT-LLM's kernels and of
Vidur's are those that fit best. The other numbers are calibrated on a seeded half of the attention
tables of ai-dynamo/aiconfigurator (095f58a) and microsoft/vidur (7d47513).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.devices.gpu.attention_kernels import (
    AppendKernel,
    AttentionBackend,
    AttentionKernel,
    Call,
    Capture,
    SplitRule,
    Tile,
)

# vLLM 0.24 on Hopper: pages of 64 keys are gathered by cp.async, so the tiles without TMA run.
FLASH_ATTENTION_3 = AttentionKernel(
    name="FlashAttention 3",
    tiles=(Tile(64, 192, 128), Tile(128, 128, 128), Tile(192, 128, 96), Tile(256, 128, 80)),
    narrow_tiles=(Tile(64, 64, 192), Tile(128, 64, 128)),
    narrow_rows=64,
    section_bytes=8 * 2**20,
    split_rule=SplitRule.EVEN,
    max_splits=32,
    exposed_exps=0.97,
    block_ck=4850,
    narrow_block_ck=3100,
    row_bytes_per_ck=24,
    feed_bytes_per_ck=23,
    overlap=0.59,
    scan_ck=750,
    combine_ck=3200,
    combine_bytes_per_ck=23,
)
# vLLM 0.24 sends heads of 512 here: every block walks the batch, splits without keys run as well.
FLASH_ATTENTION_4 = AttentionKernel(
    name="FlashAttention 4",
    tiles=(Tile(512, 64, 64),),
    split_rule=SplitRule.FIXED,
    max_splits=32,
    tensor_share=0.44,
    block_ck=13900,
    row_bytes_per_ck=500,
    feed_bytes_per_ck=25,
    overlap=0.53,
    scan_ck=640,
    scans_per_block=True,
    combine_ck=8800,
)
# vLLM 0.14 on Ampere: pages need the split-KV kernel, in prefill too.
FLASH_ATTENTION_2 = AttentionKernel(
    name="FlashAttention 2",
    tiles=(Tile(64, 64, 256), Tile(128, 64, 128), Tile(256, 64, 64)),
    packs_queries=False,
    packs_one_query=True,
    blocks_per_sm=2,
    longest_first=False,
    split_rule=SplitRule.FULL_WAVES,
    max_splits=128,
    tensor_share=0.9,
    exposed_exps=1.54,
    block_ck=4000,
    row_bytes_per_ck=28.7,
    feed_bytes_per_ck=22,
    overlap=0.41,
    power_share=0.67,
    combine_ck=6800,
    combine_split_ck=290,
    combine_bytes_per_ck=10.8,
)
# The FlashAttention 2 of 2023 that Vidur profiled: its chunks multiply all keys, masked or not.
FLASH_ATTENTION_2_CHUNK = replace(
    FLASH_ATTENTION_2,
    name="FlashAttention 2 chunk",
    tiles=(Tile(128, 64, 128),),
    packs_one_query=False,
    skips_masked=False,
    blocks_per_sm=1,
    split_rule=SplitRule.NONE,
    max_splits=1,
    tensor_share=0.65,
    block_ck=18400,
    row_bytes_per_ck=5.9,
    power_share=0.0,
)
# SGLang 0.5 on Ampere: FlashAttention 3 for sm_80, whose one stage hides little of the loads.
FLASH_ATTENTION_3_SM80_SPLIT = AttentionKernel(
    name="FlashAttention 3 sm_80 split",
    tiles=(Tile(64, 64, 128), Tile(128, 128, 112), Tile(192, 128, 64), Tile(256, 128, 64)),
    split_rule=SplitRule.EVEN,
    max_splits=128,
    always_combines=True,
    tensor_share=0.82,
    exposed_exps=1.13,
    block_ck=4350,
    row_bytes_per_ck=60,
    feed_bytes_per_ck=9.3,
    overlap=0.39,
    scan_ck=520,
    combine_ck=10100,
    combine_split_ck=180,
    combine_bytes_per_ck=15,
)
FLASH_ATTENTION_3_SM80 = replace(
    FLASH_ATTENTION_3_SM80_SPLIT,
    name="FlashAttention 3 sm_80",
    tiles=(Tile(64, 128, 128), Tile(128, 128, 64), Tile(192, 128, 64), Tile(256, 128, 64)),
    blocks_per_sm=2,
    split_rule=SplitRule.NONE,
    max_splits=1,
    always_combines=False,
    feed_bytes_per_ck=11.7,
    split_variant=FLASH_ATTENTION_3_SM80_SPLIT,
)
# TensorRT-LLM 1.3 on Hopper, prefill.
TRTLLM_FMHA = AttentionKernel(
    name="TensorRT-LLM FMHA",
    tiles=(Tile(64, 128, 256), Tile(256, 128, 128)),
    packs_queries=False,
    tensor_share=0.74,
    exposed_exps=0.94,
    block_ck=1600,
    row_bytes_per_ck=8.4,
    feed_bytes_per_ck=100,
    overlap=0.7,
)
# Decode of groups: warps of mma.sync with 16 or 32 queries.
TRTLLM_XQA = AttentionKernel(
    name="TensorRT-LLM XQA",
    tiles=(Tile(256, 32, 64),),
    narrow_tiles=(Tile(256, 16, 64),),
    narrow_rows=16,
    split_rule=SplitRule.HISTORY,
    tensor_share=0.13,
    exposed_exps=0.0,
    block_ck=7270,
    narrow_block_ck=7270,
    row_bytes_per_ck=3.7,
    feed_bytes_per_ck=22.9,
    overlap=0.575,
    combine_ck=1270,
    combine_split_ck=200,
)
# Decode of one query head at a time on the vector units; tiles of 16 KB of keys and values.
TRTLLM_MMHA = AttentionKernel(
    name="TensorRT-LLM MMHA",
    tiles=(Tile(64, 1, 64), Tile(128, 1, 32), Tile(256, 1, 16)),
    packs_queries=False,
    split_rule=SplitRule.FILL,
    block_ck=1980,
    row_bytes_per_ck=1000,
    feed_bytes_per_ck=28.1,
    overlap=0.2,
    combine_ck=11800,
)

VLLM_APPEND = AppendKernel(block_ck=4360, values_per_thread=2, max_threads=512)
SGLANG_APPEND = AppendKernel(block_ck=1230, values_per_thread=2, max_threads=512)
TRTLLM_APPEND = AppendKernel(
    block_ck=0, values_per_thread=8, max_threads=1024, with_queries=True
)  # RoPE of queries and keys; its bytes decide

_HOPPER = Capture(launch_ns=8600, warm_l2_share=0.57, append=VLLM_APPEND)
_HOPPER_LARGE = Capture(launch_ns=2200, warm_l2_share=0.53, append=VLLM_APPEND)
VLLM_HOPPER = AttentionBackend(
    name="vllm on Hopper",
    prefill=Call(FLASH_ATTENTION_3, _HOPPER),
    decode=Call(FLASH_ATTENTION_3, _HOPPER),
    large_prefill=Call(FLASH_ATTENTION_4, _HOPPER_LARGE),
    large_decode=Call(FLASH_ATTENTION_4, _HOPPER_LARGE),
)
VLLM_AMPERE = AttentionBackend(
    name="vllm on Ampere",
    prefill=Call(
        FLASH_ATTENTION_2,
        Capture(launch_ns=6420, warm_l2_share=0.43, append=VLLM_APPEND, regroup_ns=6400),
    ),
    decode=Call(
        FLASH_ATTENTION_2,
        Capture(launch_ns=7400, warm_l2_share=0.43, append=VLLM_APPEND, regroup_ns=6400),
    ),
)
_SGLANG = Capture(launch_ns=9000, warm_l2_share=0.49, append=SGLANG_APPEND)
SGLANG_AMPERE = AttentionBackend(
    name="sglang on Ampere",
    prefill=Call(FLASH_ATTENTION_3_SM80, _SGLANG),
    decode=Call(FLASH_ATTENTION_3_SM80, _SGLANG),
)
TRTLLM_HOPPER = AttentionBackend(
    name="trtllm on Hopper",
    prefill=Call(TRTLLM_FMHA, Capture(launch_ns=12200, warm_l2_share=0.2, append=TRTLLM_APPEND)),
    decode=Call(TRTLLM_XQA, Capture(launch_ns=5440, warm_l2_share=0.1)),
    lone_decode=Call(TRTLLM_MMHA, Capture(launch_ns=7410, warm_l2_share=0.41)),
)
# Kernel times of a profiler, with other work between them: no launches, nothing warm.
VIDUR_AMPERE = AttentionBackend(
    name="vidur on Ampere",
    prefill=Call(FLASH_ATTENTION_2_CHUNK, Capture(launch_ns=0)),
    decode=Call(FLASH_ATTENTION_2, Capture(launch_ns=4000)),
)
# Assumed: FlashAttention 2 multiplies with mma.sync, which reaches 62 % of Hopper's wgmma.
_MMA_SYNC = 0.62
TORCH_HOPPER = AttentionBackend(
    name="torch on Hopper",
    prefill=Call(
        replace(
            FLASH_ATTENTION_2_CHUNK, tensor_share=_MMA_SYNC * FLASH_ATTENTION_2_CHUNK.tensor_share
        ),
        Capture(launch_ns=0),
    ),
    decode=Call(
        replace(FLASH_ATTENTION_2, tensor_share=_MMA_SYNC * FLASH_ATTENTION_2.tensor_share),
        Capture(launch_ns=4000),
    ),
)
BACKENDS: Final[dict[str, AttentionBackend]] = {
    "flash-attention-2": VIDUR_AMPERE,
    "flash-attention-2 on hopper": TORCH_HOPPER,
    "sglang on ampere": SGLANG_AMPERE,
    "tensorrt-llm on hopper": TRTLLM_HOPPER,
    "vllm on ampere": VLLM_AMPERE,
    "vllm on hopper": VLLM_HOPPER,
}
