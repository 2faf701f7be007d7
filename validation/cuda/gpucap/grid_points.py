"""Ready-made operator tables: the points that a GPU is described by.

Products of real layers (each model's, whole and split over GPUs), squares and slices that find
tiles, waves and split-K; decode and prefill over batch, length and grouping; vectors from cache to
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

Row = dict[str, str | int]
Rows = Iterator[Row]

# (n, k) of a projection: model, which
# fmt: off
_PROJECTIONS: Final = (
    (4800, 1600), (1600, 1600), (6400, 1600), (1600, 6400),      # GPT-2 XL: qkv, o, up, down
    (12288, 4096), (4096, 4096), (22016, 4096), (4096, 11008),   # Llama-2-7B: qkv, o, up, down
    (6144, 4096), (28672, 4096), (4096, 14336), (128256, 4096),  # Llama-3-8B: qkv, up, down, head
    (10240, 8192), (8192, 8192), (57344, 8192), (8192, 28672),   # Llama-3-70B, whole
    (2560, 8192), (8192, 2048), (14336, 8192), (8192, 7168),     # Llama-3-70B over four GPUs
)
# (n, k): few columns, few and many steps of k, odd sizes
_PROBES: Final = (
    (64, 4096), (128, 4096), (256, 4096), (512, 4096), (1024, 1024), (2048, 2048),
    (4096, 64), (4096, 128), (4096, 256), (4096, 512), (4096, 1024), (4096, 2048), (4096, 65536),
    (256, 16384), (512, 65536), (1000, 1000), (4104, 4104), (5120, 5120), (16384, 16384),
)
_TOKENS: Final = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
_FEW_TOKENS: Final = (1, 16, 64, 256, 1024, 4096)
_OFF_TILE: Final = (17, 33, 65, 129, 257, 513, 1025, 1792, 2049, 3584)  # just past a tile or a wave
# heads, KV heads, head size: GPT-2 XL, Llama-2-7B, Llama-3-8B, -70B, one KV head
_HEADS: Final = ((25, 25, 64), (32, 32, 128), (32, 8, 128), (64, 8, 128), (32, 1, 128))
_WIDTHS: Final = (1600, 4096, 8192, 16384)
# fmt: on


def gemm() -> Rows:
    """bf16 over all shapes; the other formats at fewer of them."""
    for (n, k), m in product((*_PROJECTIONS, *_PROBES), _TOKENS):
        yield _gemm(m, n, k, "bf16")
    for (n, k), m in product(((4096, 4096), (28672, 4096), (4096, 14336)), _OFF_TILE):
        yield _gemm(m, n, k, "bf16")
    for dtype, (n, k), m in product(("fp16", "fp8", "fp32"), _PROJECTIONS[4:12], _FEW_TOKENS):
        yield _gemm(m, n, k, dtype)
    for (n, k), m in product(_PROJECTIONS[4:12], (32, 64, 256, 1024, 4096)):
        yield _gemm(m, n, k, "int8")  # torch._int_mm takes no fewer than 17 rows


def gemm_tf32() -> Rows:
    """float32 through the tensor cores: in a table of its own."""
    for (n, k), m in product(_PROJECTIONS[4:12], _FEW_TOKENS):
        yield _gemm(m, n, k, "tf32")


def gemm_small() -> Rows:
    """Enough to see that all is well, in a minute."""
    for (n, k), m in product(((4096, 4096), (28672, 4096)), (1, 16, 256, 4096)):
        yield _gemm(m, n, k, "bf16")


def _gemm(m: int, n: int, k: int, dtype: str) -> Row:
    return {"operator": "gemm", "m": m, "n": n, "k": k, "dtype": dtype}


def attention_decode() -> Rows:
    """One new token. Up to 16 GB of cache."""
    lengths = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
    batches = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    for heads, kv_len, batch in product(_HEADS, lengths, batches):
        if 4 * batch * kv_len * heads[1] * heads[2] <= 16 * 10**9:
            yield _attention("decode", heads, batch, 1, kv_len)


def attention_prefill() -> Rows:
    """Whole prompts, and chunks of 512 on a cache. Up to 65 536 new tokens in all."""
    lengths = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
    for heads, length, batch in product(_HEADS, lengths, (1, 2, 4, 8, 16)):
        if batch * length <= 65536:
            yield _attention("prefill", heads, batch, length, length)
    for heads, kv_len in product(_HEADS[:4], (1024, 4096, 16384, 65536)):
        yield _attention("prefill", heads, 1, 512, kv_len)


def _attention(phase: str, heads: tuple[int, int, int], batch: int, q_len: int, kv_len: int) -> Row:
    return {
        "operator": f"attention_{phase}", "batch": batch, "q_len": q_len, "kv_len": kv_len,
        "n_heads": heads[0], "n_kv_heads": heads[1], "head_dim": heads[2], "dtype": "bf16",
    }  # fmt: skip


def norm() -> Rows:
    """Norms by width and tokens; softmax of scores."""
    for operator, width, rows in product(("rmsnorm", "layernorm"), _WIDTHS, _vector_tokens()):
        yield {"operator": operator, "rows": rows, "width": width, "dtype": "bf16"}
    for width, rows in product((128, 1024, 8192, 32768), (32, 256, 2048, 16384)):
        yield {"operator": "softmax", "rows": rows, "width": width, "dtype": "bf16"}


def elementwise() -> Rows:
    """Residual and activation by elements, 8 thousand to 500 million; rope, look-up by tokens."""
    for operator in ("add", "mul", "gelu", "silu", "silu_mul", "relu"):
        for power in range(13, 30):
            yield {"operator": operator, "elements": 2**power, "dtype": "bf16"}
    for heads, tokens in product((40, 64, 72), _vector_tokens()):
        row: Row = {"operator": "rope", "tokens": tokens, "heads": heads, "head_dim": 128}
        yield row | {"dtype": "bf16"}
    for (width, vocab), tokens in product(((1600, 50257), (4096, 128256)), _vector_tokens()):
        row = {"operator": "embedding", "tokens": tokens, "width": width, "vocab": vocab}
        yield row | {"dtype": "bf16"}


def _vector_tokens() -> tuple[int, ...]:
    return (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


def kv_append() -> Rows:
    for (_, kv_heads, head_dim), tokens in product(_HEADS[:4], (1, 8, 32, 128, 512, 2048, 8192)):
        row: Row = {"operator": "kv_append", "tokens": tokens, "kv_heads": kv_heads}
        yield row | {"head_dim": head_dim, "dtype": "bf16"}


def moe() -> Rows:
    """Mixtral 8x7B and a layer of many small experts, balanced and not."""
    sizes = ((4096, 14336, 2, 8), (2048, 1408, 8, 64))
    spreads = ("balanced", "power_law_1.2")
    for (hidden, inter, topk, experts), tokens, spread in product(
        sizes, (1, 4, 16, 64, 256, 1024, 4096), spreads
    ):
        yield {
            "operator": "moe", "num_tokens": tokens, "hidden_size": hidden, "inter_size": inter,
            "topk": topk, "num_experts": experts, "distribution": spread, "dtype": "bf16",
        }  # fmt: skip


def power() -> Rows:
    """Few rows, run for long: power, energy and clock of each kind of work."""
    for m in (1, 16, 256, 1024, 4096, 16384):
        yield _gemm(m, 8192, 8192, "bf16")
    yield _gemm(4096, 8192, 8192, "fp8")
    yield _gemm(4096, 8192, 8192, "fp32")
    yield _attention("decode", _HEADS[2], 32, 1, 8192)
    yield _attention("prefill", _HEADS[2], 1, 8192, 8192)
    yield {"operator": "rmsnorm", "rows": 16384, "width": 8192, "dtype": "bf16"}
    yield {"operator": "add", "elements": 2**28, "dtype": "bf16"}
    yield {"operator": "gelu", "elements": 2**28, "dtype": "bf16"}


# Name of the file -> its rows. The four first are what an accuracy is published for.
GRIDS: Final[dict[str, Callable[[], Rows]]] = {
    "gemm": gemm,
    "attention_decode": attention_decode,
    "attention_prefill": attention_prefill,
    "norm": norm,
    "elementwise": elementwise,
    "kv_append": kv_append,
    "moe": moe,
    "gemm_tf32": gemm_tf32,
    "power": power,
    "gemm_small": gemm_small,
}
