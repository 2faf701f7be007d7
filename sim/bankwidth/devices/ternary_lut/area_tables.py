"""Tables: the sums of a group of activations, their additions and their registers, in gates."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

from bankwidth.devices.ternary_lut.area_core import Blocks


def halved_sums(group: int) -> int:
    """Sums of which none is another's negative, and none is 0."""
    return (int(3**group) - 1) // 2


def kept_sums(group: int, *, halved: bool) -> int:
    """Sums in a table; 0 is what a selector gives without one."""
    return halved_sums(group) * (1 if halved else 2)


def sums_by_terms(group: int) -> Iterator[tuple[int, int]]:
    """Of the halved sums: number of terms, and how many have so many."""
    for terms in range(1, group + 1):
        yield terms, comb(group, terms) << (terms - 1)


def shared_additions(group: int) -> int:
    """Additions where each sum is another one and a term: all but the single terms."""
    return halved_sums(group) - group


def separate_additions(group: int) -> int:
    """Additions where each sum is made of its terms alone."""
    return sum(count * (terms - 1) for terms, count in sums_by_terms(group))


def additions(blocks: Blocks) -> float:
    """Gates that make the sums of one table."""
    core = blocks.core
    if core.build == "stored":
        return 0.0
    return sum(_made(blocks, terms) * n for terms, n in sums_by_terms(core.group_size))


def _made(blocks: Blocks, terms: int) -> float:
    """A sum of so many terms: half of its additions subtract. Without halving, its negative too."""
    times = min(terms - 1, 1) if blocks.core.build == "shared" else terms - 1
    bits = blocks.format.sum_bits(terms)
    added = times * (blocks.adder(bits) + blocks.subtractor(bits)) / 2
    return added if blocks.core.halved else added + blocks.negator(bits)


def registers(blocks: Blocks) -> float:
    """Gates that keep the sums of one table; those written from outside are held."""
    core = blocks.core
    sums = 1 if core.halved else 2
    bits = sum(blocks.format.sum_bits(t) * n for t, n in sums_by_terms(core.group_size))
    stored = core.build == "stored"
    bit = blocks.gates.register_bit + (blocks.gates.mux2 if stored else 0.0)
    return sums * bits * bit
