"""What the vector kernels of torch and vLLM do, as far as it takes time.

Threads and passes are read from the sources: vLLM before 0.3 (`csrc/layernorm_kernels.cu`,
`activation_kernels.cu`, `pos_encoding_kernels.cu`, as copied by Sarathi-Serve, whose kernels Vidur
timed), and torch 2 (`vectorized_elementwise_kernel`, `vectorized_layer_norm_kernel`,
`indexSelectLargeIndex`; recalled). Issue slots (instructions and stalls that no other warp fills)
and waits per pass are calibrated on Vidur's A100 and H100 tables (half of the shapes, drawn by a
seed); those of the softmax and of compiled kernels are set by hand to LLMCompass's A100 tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.devices.gpu.cost import ceil_div

FEW_ROWS: Final = 16  # torch looks up this many rows with blocks that own columns, not elements


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorKernel:
    """One kernel. A thread takes `vector` elements in a pass; `slots` are per element.

    In each pass it waits `rounds` times for new data and `rereads` times for data in the caches.
    `overlap` as in KernelCost: blocks with barriers load and compute in turns.
    """

    threads: int  # of a block, at most
    vector: int = 1
    block_elements: int = 0  # 0: a block owns a row
    most_blocks_per_sm: int = 0  # 0: as many blocks as it takes
    slots: float
    rounds: float = 1.0
    rereads: float = 0.0
    chain_cycles: float = 0.0  # dependent instructions of a pass
    barrier_cycles: float = 0.0  # reductions over a block
    overlap: float
    is_gather: bool = False  # rows from all over a table that no cache holds


# fmt: off
RMS_NORM: Final = VectorKernel(
    threads=1024, slots=25.0, rereads=0.65, barrier_cycles=270.0, overlap=2.0)
# Welford's means take a division per element, one after the other.
LAYER_NORM: Final = VectorKernel(
    threads=128, vector=4, slots=52.0, chain_cycles=1000.0, overlap=2.0)
# assumed: loads of 16 B, three passes over a row of which the caches serve two
SOFTMAX: Final = VectorKernel(
    threads=1024, vector=8, slots=60.0, rereads=2.0, barrier_cycles=600.0, overlap=2.0)
SILU_MUL: Final = VectorKernel(threads=1024, slots=68.0, overlap=3.0)
# A pass turns two elements; the head is found by divisions. Positions lead to the cosines.
ROPE: Final = VectorKernel(threads=512, vector=2, slots=61.5, rounds=1.35, overlap=3.0)
# assumed: as the rotation, whose addresses it computes alike
KV_APPEND: Final = VectorKernel(threads=512, vector=2, slots=61.5, rounds=1.35, overlap=3.0)
# An addition never waits for its instructions: slots are estimated.
ADD: Final = VectorKernel(threads=128, vector=4, block_elements=512, slots=10.0, overlap=4.0)
GELU: Final = VectorKernel(threads=128, vector=4, block_elements=512, slots=44.0, overlap=4.0)
# Assumed: of each state a load, a decay, an update, its part of the output and a store.
SCAN_STEP: Final = VectorKernel(threads=128, vector=4, block_elements=512, slots=16.0, overlap=4.0)
# Assumed: as an addition, and a multiply-add with its index for each of four taps.
CONV: Final = VectorKernel(threads=128, vector=4, block_elements=512, slots=18.0, overlap=4.0)
# Assumed: radix selection by digits of 8 bits (Zhang et al., SC 2023): a row is gone through for
# each digit of 16-bit values, of which the first time is fresh, and once to write; histograms and
# their sums by a block.
SELECT: Final = VectorKernel(
    threads=1024, vector=4, slots=40.0, rereads=2.0, barrier_cycles=1800.0, overlap=2.0)
# What torch.compile makes of the same, as LLMCompass timed it: few instructions, no chain.
COMPILED_NORM: Final = VectorKernel(threads=512, vector=8, slots=20.0, rereads=1.0, overlap=4.0)
COMPILED_GELU: Final = VectorKernel(
    threads=128, vector=8, block_elements=1024, slots=22.0, overlap=6.0)
# The number of a row, which the L2 holds, leads to the row; each element divides in 64 bits.
LOOK_UP: Final = VectorKernel(
    threads=128, block_elements=128, most_blocks_per_sm=8, slots=145.0, rereads=1.0, overlap=4.0,
    is_gather=True)
LOOK_UP_FEW: Final = VectorKernel(
    threads=128, slots=145.0, rounds=1.1, overlap=4.0, is_gather=True)

# By kind of operator, function or style of norm.
KERNELS: Final[dict[str, VectorKernel]] = {
    "rms": RMS_NORM, "layer": LAYER_NORM, "norm": RMS_NORM, "softmax": SOFTMAX,
    "elementwise": ADD, "add": ADD, "mul": ADD, "relu": ADD,
    "gelu": GELU, "silu": GELU, "silu_mul": SILU_MUL,
    # assumed: as the function that is most like it
    "sigmoid": GELU, "tanh": GELU, "softplus": GELU, "relu2": ADD, "merge": ADD,
    "copy": ADD, "unary": ADD, "binary": ADD,
    "gelu_mul": SILU_MUL, "relu2_mul": SILU_MUL, "sigmoid_mul": SILU_MUL,
    "conv": CONV, "select": SELECT, "kv_read": ADD, "unpack": ADD,
    "compiled layer": COMPILED_NORM, "compiled gelu": COMPILED_GELU,
    "rope": ROPE, "kv_append": KV_APPEND, "embedding": LOOK_UP,
}
# fmt: on


def kernel_of(name: str) -> VectorKernel:
    """The kernel of a kind, function or norm style; an unknown name runs like an addition."""
    return KERNELS.get(name, ADD)


def compiled_name(name: str) -> str:
    """What torch.compile makes of a kernel: `compiled gelu`, or the same where none is known."""
    compiled = f"compiled {name}"
    return compiled if compiled in KERNELS else name


def look_up(tokens: int, width: int) -> tuple[VectorKernel, int, int]:
    """(kernel, its rows, their width) of a look-up: few tokens are walked one after the other."""
    if tokens > FEW_ROWS:
        return LOOK_UP, tokens, width
    return LOOK_UP_FEW, ceil_div(width, LOOK_UP_FEW.threads), tokens * LOOK_UP_FEW.threads
