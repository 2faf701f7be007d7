"""Record a PyTorch profiler trace of a tiny Llama-like model: the file beside this script.

    python record.py [llama-tiny-cpu.pt.trace.json.gz]

Needs torch alone. The model is a Llama of 3 layers as inference engines run it: query, key and
value in one product, gate and up in one, a KV cache written in place, logits of the last token of
each sequence. Norms and rotary positions are written out in elementwise steps, as in eager code.
Each profiled step is a prompt (record_function "prefill") and one new token ("decode").
"""

from __future__ import annotations

import contextlib
import gzip
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile, record_function, schedule

VOCAB, HIDDEN, INTER, LAYERS = 512, 128, 352, 3
HEADS, KV_HEADS, HEAD_DIM = 8, 2, 16
BATCH, PROMPT = 2, 24
WAIT, WARMUP, ACTIVE = 1, 1, 2
DTYPE = torch.bfloat16
Cache = tuple[Tensor, Tensor]


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
        return self.weight * (wide * scale).to(x.dtype)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on x[batch, tokens, heads, head_dim], halves against each other."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD_DIM, bias=False)
        self.o = nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)

    def forward(self, x: Tensor, turn: Cache, cache: Cache, start: int) -> Tensor:
        batch, tokens, _ = x.shape
        heads = self.qkv(x).view(batch, tokens, HEADS + 2 * KV_HEADS, HEAD_DIM)
        turned, v = heads.split((HEADS + KV_HEADS, KV_HEADS), dim=2)
        q, k = rotated(turned, *turn).split((HEADS, KV_HEADS), dim=2)
        end = start + tokens
        cache[0][:, start:end].copy_(k)
        cache[1][:, start:end].copy_(v)
        y = functional.scaled_dot_product_attention(
            q.transpose(1, 2),
            cache[0][:, :end].transpose(1, 2),
            cache[1][:, :end].transpose(1, 2),
            is_causal=tokens > 1,
            enable_gqa=True,
        )
        return self.o(y.transpose(1, 2).reshape(batch, tokens, HEADS * HEAD_DIM))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up = nn.Linear(HIDDEN, 2 * INTER, bias=False)
        self.down = nn.Linear(INTER, HIDDEN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(), RmsNorm()
        self.attention, self.mlp = Attention(), Mlp()

    def forward(self, x: Tensor, turn: Cache, cache: Cache, start: int) -> Tensor:
        x = x + self.attention(self.norm1(x), turn, cache, start)
        return x + self.mlp(self.norm2(x))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RmsNorm()
        self.head = nn.Linear(HIDDEN, VOCAB, bias=False)

    def forward(self, tokens: Tensor, turns: Cache, caches: list[Cache], start: int) -> Tensor:
        end = start + tokens.shape[1]
        turn = (turns[0][start:end, None], turns[1][start:end, None])
        x = self.embed(tokens)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, turn, cache, start)
        return self.head(self.norm(x)[:, -1])


def turns() -> Cache:
    """Cosines and sines of every position."""
    speed = 10000.0 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    angle = torch.outer(torch.arange(PROMPT + 1), speed).repeat(1, 2)
    return angle.cos().to(DTYPE), angle.sin().to(DTYPE)


def empty_cache() -> Cache:
    shape = (BATCH, PROMPT + 1, KV_HEADS, HEAD_DIM)
    return torch.zeros(shape, dtype=DTYPE), torch.zeros(shape, dtype=DTYPE)


def record(path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, angles = Llama().to(DTYPE).eval(), turns()
    prompt, token = torch.randint(VOCAB, (BATCH, PROMPT)), torch.randint(VOCAB, (BATCH, 1))
    caches = [empty_cache() for _ in range(LAYERS)]
    plan = schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1)
    with (
        torch.inference_mode(),
        profile(activities=[ProfilerActivity.CPU], schedule=plan, record_shapes=True) as profiler,
    ):
        for _ in range(WAIT + WARMUP + ACTIVE):
            with record_function("prefill"):
                model(prompt, angles, caches, 0)
            with record_function("decode"):
                model(token, angles, caches, PROMPT)
            profiler.step()
    write(profiler, path)


def write(profiler: profile, path: Path) -> None:
    """Compressed without a time stamp; the file notes the name it was written under."""
    name = path.name.removesuffix(".gz")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        profiler.export_chrome_trace(name)
        plain = Path(name).read_bytes()
    path.write_bytes(gzip.compress(plain, mtime=0))


if __name__ == "__main__":
    default = Path(__file__).parent / "llama-tiny-cpu.pt.trace.json.gz"
    record(Path(sys.argv[1] if len(sys.argv) > 1 else default).resolve())
