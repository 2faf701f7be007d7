"""Four-bit weights in groups of 128 beside 16-bit ones, by batch (MARLIN, arXiv 2408.11743).

The paper's figure 1: close to 3.87 times faster, the ratio of the bits, up to a batch of 16 to 32,
then less and less, and nothing is gained where a product is bound by its arithmetic. The ratios
here are those of our own products; no parameter of the machines was fitted to the paper's.
"""

from __future__ import annotations

from functools import cache

import pytest

from bankwidth.operators import Block, Matmul, Trace, packed_bytes
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine

K = N = 18432  # the size that the paper shows has 4 times as many columns
FOUR_BITS = "int4_g128"
IDEAL = 16 / 4.125  # a scale of 16 bits for 128 weights


def product_ns(machine: str, batch: int, weights: str) -> float:
    """The second of two products, so that nothing is in the cache."""
    op = Matmul(
        name="x", layer=0, m=batch, n=N, k=K, dtype="fp16", weight_dtype=weights
    )  # fmt: skip
    trace = Trace(
        model="a layer", phase="decode", batch=batch, context=1, output_tokens=1,
        dtypes={"weight": weights, "activation": "fp16", "kv": "fp16"},
        blocks=(Block(name="layers", repeat=2, operators=(op,)),),
        weight_bytes=2 * packed_bytes(K * N, weights), kv_bytes=0, activation_bytes=1 << 28,
    )  # fmt: skip
    rows = simulate(load_machine(machine), trace).operators.rows()
    return float(rows[1]["duration_ns"])


@cache
def speedup(machine: str, batch: int) -> float:
    return product_ns(machine, batch, "fp16") / product_ns(machine, batch, FOUR_BITS)


@pytest.mark.slow
@pytest.mark.validation
@pytest.mark.parametrize("machine", ["a6000", "l40s"])
def test_about_four_times_up_to_a_batch_of_32_and_less_beyond(machine: str) -> None:
    """Graphics cards, as the paper's A10 is: much arithmetic for their bandwidth."""
    ratios = [speedup(machine, batch) for batch in (1, 16, 32, 64, 128, 256, 1024)]
    assert all(0.9 * IDEAL < ratio <= IDEAL for ratio in ratios[:3])
    assert ratios[2:] == sorted(ratios[2:], reverse=True)
    assert ratios[4] < 0.75 * IDEAL
    assert 0.85 < ratios[6] < 1.15


@pytest.mark.slow
@pytest.mark.validation
def test_a_server_chip_leaves_the_plateau_earlier() -> None:
    """An A100 has more bandwidth for its tensor cores: the weights' conversion shows sooner."""
    assert speedup("a100", 16) > 3.3
    assert 1.5 < speedup("a100", 64) < speedup("a6000", 64)
