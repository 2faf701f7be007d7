"""How much activation memory a trace needs at once."""

from __future__ import annotations

from collections.abc import Sequence

from bankwidth.operators.base import PREVIOUS, Operator
from bankwidth.operators.trace import Block


def peak_activation_bytes(blocks: Sequence[Block]) -> int:
    """Peak bytes of live activations over a run.

    Rule: an output of role activation lives from the operator that makes it up to and including
    the last one that depends on it; the output of a block's last operator lives until the next
    block or iteration no longer needs it. Nothing is computed in place, and operators run in order.
    """
    peak = 0
    incoming = 0
    for block in blocks:
        outgoing = _made_bytes(block.operators[-1])
        if block.repeat > 1:
            incoming = max(incoming, outgoing)
        peak = max(peak, _block_peak(block.operators, incoming))
        incoming = outgoing
    return peak


def _made_bytes(operator: Operator) -> int:
    return sum(tensor.size_bytes for tensor in operator.outputs if tensor.role == "activation")


def _block_peak(operators: Sequence[Operator], incoming: int) -> int:
    last_use = _last_uses(operators)
    made = {PREVIOUS: incoming if PREVIOUS in last_use else 0}
    live = made[PREVIOUS]
    peak = live
    for position, operator in enumerate(operators):
        made[operator.name] = _made_bytes(operator)
        live += made[operator.name]
        peak = max(peak, live)
        for name in {operator.name, *operator.deps}:
            if last_use.get(name, position) == position:
                live -= made[name]
    return peak


def _last_uses(operators: Sequence[Operator]) -> dict[str, int]:
    """Position of the last operator that needs each output; the block's result is kept."""
    last_use: dict[str, int] = {}
    for position, operator in enumerate(operators):
        for dep in operator.deps:
            last_use[dep] = position
    last_use[operators[-1].name] = len(operators)
    return last_use
