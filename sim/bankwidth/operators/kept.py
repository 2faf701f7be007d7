"""What a trace keeps at its end: the cache, layer by layer, from the operators that own it."""

from __future__ import annotations

from collections.abc import Sequence

from bankwidth.operators.trace import Block


def kept_bytes(blocks: Sequence[Block]) -> tuple[int, int]:
    """(bytes in the cache, bytes kept further away) after the last pass.

    Each pass goes through every layer once, in one block; the last pass says what a layer holds.
    """
    near: dict[int, int] = {}
    far: dict[int, int] = {}
    for block in blocks:
        sums: dict[int, tuple[int, int]] = {}
        for op in block.operators:
            before = sums.get(op.layer, (0, 0))
            sums[op.layer] = (before[0] + op.stored_bytes, before[1] + op.far_stored_bytes)
        for layer, (in_cache, away) in sums.items():
            for iteration in range(block.repeat):
                near[layer + iteration] = in_cache
                far[layer + iteration] = away
    return sum(near.values()), sum(far.values())
