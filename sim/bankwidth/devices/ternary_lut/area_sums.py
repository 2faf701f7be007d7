"""What stands behind the tables, in gates: look-ups or multipliers, adders, accumulators."""

from __future__ import annotations

from bankwidth.devices.ternary_lut.area_core import Blocks
from bankwidth.devices.ternary_lut.area_tables import kept_sums


def products(blocks: Blocks) -> float:
    """One product: a group's sum looked up, or a single activation times its weight."""
    core = blocks.core
    if core.product == "lookup":
        words = kept_sums(core.group_size, halved=core.halved)
        return blocks.gates.selector(words, blocks.format.sum_bits(core.group_size))
    return _float_product(blocks) if blocks.format.is_float else _int_product(blocks)


def signs(blocks: Blocks) -> float:
    """Negation behind one look-up in a halved table."""
    core = blocks.core
    if core.product != "lookup" or not core.halved:
        return 0.0
    return blocks.negator(blocks.sum_bits(core.group_size))


def _int_product(blocks: Blocks) -> float:
    gates, bits = blocks.gates, blocks.format.bits
    if blocks.core.product == "sign_flip":
        return gates.sign_flip(blocks.sum_bits(1))
    return gates.multiplier(bits, 2 if blocks.core.product == "ternary_multiplier" else bits)


def _float_product(blocks: Blocks) -> float:
    units = blocks.format.units
    assert units is not None
    return {
        "sign_flip": blocks.format.bits * blocks.gates.and2 + blocks.gates.xor2,
        "ternary_multiplier": units.ternary_multiplier_gates,
        "flushing_multiplier": units.flushing_multiplier_gates,
        "multiplier": units.multiplier_gates,
    }[blocks.core.product]


def tree(blocks: Blocks) -> float:
    """Additions of all products of one output."""
    group, gates = blocks.core.group_size, 0.0
    terms = [group] * blocks.core.tables
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        gates += sum(blocks.adder(blocks.sum_bits(pair)) for pair in pairs)
        terms = pairs + terms[2 * len(pairs) :]
    return gates


def pipeline(blocks: Blocks) -> float:
    """Registers of one output: behind each product, and in front of each addition."""
    if not blocks.pipelined:
        return 0.0
    core = blocks.core
    products_bits = core.tables * blocks.sum_bits(core.group_size)
    additions_bits = (core.tables - 1) * blocks.sum_bits(core.group_size * core.tables)
    return (products_bits + additions_bits) * blocks.gates.register_bit


def accumulator(blocks: Blocks) -> float:
    """One output: its sum so far, and what adds to it."""
    bits = blocks.accumulator_bits
    register = blocks.gates.register_bit if blocks.pipelined else 0.0
    return blocks.adder(bits) + bits * (blocks.gates.held_bit + register)
