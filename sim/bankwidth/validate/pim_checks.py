"""Single operators through the commands of computing banks, against numpy within their bounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bankwidth.devices.pim.functional import FunctionalMemory, shape_of
from bankwidth.devices.pim.numbers import Floats
from bankwidth.errors import MappingError
from bankwidth.mapping.kv_data import (
    append_operands,
    clear_values,
    context_operands,
    score_operands,
)
from bankwidth.mapping.kv_layout import HeadsApartLayout, KvLayout
from bankwidth.mapping.lower_pim import lower_matmul
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_data import load_weights, matmul_operands
from bankwidth.mapping.pim_geometry import geometry_of
from bankwidth.spec import MachineSpec, PimSpec
from bankwidth.validate.pim_block import softmax
from bankwidth.validate.pim_bounds import Doubles, chained_bound, product_bound
from bankwidth.validate.verdicts import Case

WORST = "the element farthest from numpy in units of its bound"
LAYOUTS: dict[str, type[KvLayout]] = {"concatenated": KvLayout, "per_channel": HeadsApartLayout}


class Check(NamedTuple):
    """Results of the banks beside numpy's, and how far apart the formats let them be."""

    ours: Floats
    exact: Doubles | Floats
    bound: Doubles

    @property
    def shares(self) -> Doubles:
        """Error in units of the bound; infinite for not-a-number."""
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.abs(self.ours - self.exact) / self.bound
        shares = np.where(self.ours == self.exact, 0.0, shares)
        return np.where(np.isnan(shares), np.inf, shares)

    @property
    def worst(self) -> float:
        """Largest error in units of the bound: at most 1 where all is well."""
        return float(self.shares.max())

    def case(self, name: str, bound: str) -> Case:
        """The worst element as a case, with the bound there as its tolerance."""
        index = int(np.argmax(self.shares))
        reference = float(np.ravel(self.exact)[index])
        return Case(
            id=f"functional {name}",
            quantity=WORST,
            reference=reference,
            ours=float(np.ravel(self.ours)[index]),
            tolerance_pct=100.0 * float(np.ravel(self.bound)[index]) / abs(reference),
            source="numpy",
            note=f"{self.worst:.2f} of the bound over {np.size(self.ours)} values; {bound}",
        )


class Banks:
    """The computing banks of a machine, empty."""

    def __init__(self, machine: MachineSpec) -> None:
        _, spec = pim_engine(machine)
        self.options = machine.mapping.pim
        channels = machine.memories[spec.memory or ""].channels
        self.geometry = geometry_of(spec, channels)
        self.memory = FunctionalMemory(shape_of(spec), channels)
        self.arithmetic = self.memory.channels[0].shape.arithmetic

    def numbers(self, seed: int, *shape: int) -> Floats:
        """Random numbers of the banks' format."""
        rng = np.random.default_rng([seed, *shape])
        return self.arithmetic.operand.round(rng.standard_normal(shape))

    def bound(self, x: Floats, weights: Floats, bias: Floats, *, most: int) -> Doubles:
        """Of x W + bias in pieces of at most `most` elements."""
        k = x.shape[-1]
        partials = []
        for first in range(0, k, most):
            piece = slice(first, first + most)
            added = bias if first == 0 else np.zeros_like(bias)
            terms, factors = x[..., piece].astype(float), weights[..., piece, :].astype(float)
            magnitude = np.abs(terms) @ np.abs(factors) + np.abs(added)
            partials.append((terms @ factors + added, magnitude))
        columns = -(-min(k, most) // self.geometry.lanes)
        bound = chained_bound if self.options.partial_sums == "bank" else product_bound
        return bound(partials, columns, self.geometry.lanes, self.arithmetic)


def pim_engine(machine: MachineSpec) -> tuple[str, PimSpec]:
    """The engine whose banks compute, and its name. Raises MappingError if there is none."""
    for name, engine in machine.engines.items():
        if isinstance(engine, PimSpec):
            return name, engine
    raise MappingError(f"{machine.name}: no engine of kind pim")


def check_product(machine: MachineSpec, *, m: int, n: int, k: int, seed: int = 0) -> Check:
    """y[m, n] = x[m, k] W[k, n] + bias of random numbers, on a machine with AiM's commands."""
    banks = Banks(machine)
    x, weights, bias = (banks.numbers(seed, *shape) for shape in ((m, k), (k, n), (n,)))
    load_weights(banks.memory, banks.geometry, weights, options=banks.options)
    program = lower_matmul(banks.geometry, m=m, n=n, k=k, options=banks.options)
    operands = matmul_operands(banks.geometry, x, n, bias, banks.options)
    ours = banks.memory.run(program, operands, m * n).reshape(m, n)
    most = k if banks.options.reuse == "result" else banks.geometry.buffer_elements
    bound = banks.bound(x, weights, bias, most=most)
    return Check(ours, x.astype(float) @ weights + bias, bound)


def check_attention(
    machine: MachineSpec,
    *,
    n_heads: int,
    n_kv_heads: int,
    head_dim: int,
    tokens: int,
    batch: int = 1,
    seed: int = 0,
) -> tuple[Check, Check]:
    """Scores q K^T and context p V of one new token per sequence, over keys and values that were
    appended in two parts; p is the softmax of the scores that the banks gave."""
    banks = Banks(machine)
    layout = LAYOUTS[banks.options.heads](
        geometry=banks.geometry,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        reserved_tokens=tokens + 3,
        batch=batch,
    )
    keys, values = (banks.numbers(s, batch, tokens, n_kv_heads, head_dim) for s in (seed, seed + 1))
    queries = banks.numbers(seed + 2, batch, n_heads, head_dim)
    _append(banks, layout, keys, values)
    programs = lower_attention(layout, kv_len=tokens, options=banks.options)
    steps = [(sequence, tokens) for sequence in range(batch)]
    shape = (batch, n_heads, tokens)
    operands = score_operands(layout, list(queries), steps)
    scores = banks.memory.run(programs.score, operands, int(np.prod(shape))).reshape(shape)
    p = banks.arithmetic.operand.round(softmax(scores / np.float32(np.sqrt(head_dim)), tokens))
    operands = context_operands(layout, list(p), steps, banks.options)
    size = batch * n_heads * head_dim
    context = banks.memory.run(programs.context, operands, size).reshape(batch, n_heads, head_dim)
    return (
        _rows_check(banks, scores, queries, _of_queries(layout, keys, (0, 2, 3, 1))),
        _rows_check(banks, context, p, _of_queries(layout, values, (0, 2, 1, 3))),
    )


def _append(banks: Banks, layout: KvLayout, keys: Floats, values: Floats) -> None:
    """A prompt, then the rest."""
    clear_values(banks.memory, layout, 0)
    tokens = keys.shape[1]
    for first, end in ((0, tokens // 2), (tokens // 2, tokens)):
        if first < end:
            program = lower_kv_append(layout, first_token=first, tokens=end - first)
            new = slice(first, end)
            operands = append_operands(layout, keys[:, new], values[:, new], first)
            banks.memory.run(program, operands, 0)


def _of_queries(layout: KvLayout, cached: Floats, axes: tuple[int, ...]) -> Floats:
    """K or V of each head of q, [sequence, head, ...]."""
    return np.repeat(cached.transpose(axes), layout.shared, axis=1)


def _rows_check(banks: Banks, ours: Floats, rows: Floats, matrices: Floats) -> Check:
    """One row per head against a matrix of its own."""
    x = rows[..., None, :]
    bias = np.zeros((1, matrices.shape[-1]), dtype=np.float32)
    bound = banks.bound(x, matrices, bias, most=banks.geometry.buffer_elements)
    exact = (x.astype(float) @ matrices.astype(float))[..., 0, :]
    return Check(ours, exact, bound[..., 0, :])
