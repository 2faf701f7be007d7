"""Weights in fewer bits, by operator.

GPTQ (Frantar et al. 2022, arXiv 2210.17323) and AWQ (Lin et al. 2023, arXiv 2306.00978): groups of
values with a scale; MARLIN (Frantar et al. 2024, arXiv 2408.11743) reads such weights in a product
of 16-bit activations. SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774): n of m values.
DFloat11 (Zhang et al. 2025, arXiv 2504.11651): bf16 with coded exponents, without loss; a layer's
weights are unpacked into a buffer before it.

Norms, biases and parameters of recurrences stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.dtypes import canonical_dtype, unknown_dtype
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import ModelShape
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Embedding
from bankwidth.operators.parallel import SHARED_FIRST, weight_bytes_after
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import cut, rewrite, rewrite_blocks
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.unpack import Unpack
from bankwidth.spec.techniques.weights import KEEP, WeightQuantSpec

LOSSLESS: Final = "dfloat11"
# Weights that a block of threads unpacks: DFloat11's kernel gives 8 bytes to each of 256 threads,
# about 1500 weights of 11 bits; here a power of two, so that matrices are whole pieces.
PIECE: Final = 1024
DRAFT: Final = "draft."  # how the operators of a drafting model begin (speculative.py)


def _trace(trace: Trace, options: WeightQuantSpec, model: ModelShape) -> Trace:
    """Products with weights in their new formats; where it is asked for, unpacked before."""
    formats = _Formats(options, model.has_tied_head, trace.dtypes["weight"])
    for layer in formats.layers_apart:
        if not 0 <= layer < len(model.layers):
            raise SpecError(
                f"weight_quant: {layer} is no layer, {trace.model} has 0 to {len(model.layers) - 1}"
            )
        trace = cut(cut(trace, layer), layer + 1)
    made = rewrite(trace, lambda op: [_converted(op, formats.of(op), options.activations)])
    formats.check_patterns(trace)
    size_bytes = weight_bytes_after(trace, made.blocks)
    made = replace(
        made,
        weight_bytes=size_bytes,
        dtypes={**made.dtypes, "weight": formats.layers},
    )
    if not formats.is_unpacked:
        return made
    unpacked = rewrite_blocks(made, lambda block: _unpacked(block, formats.layers))
    return replace(unpacked, meta={**made.meta, SHARED_FIRST: "unpacks weights"})


class _Formats:
    """Which operator's weights have which format."""

    def __init__(self, options: WeightQuantSpec, is_tied: bool, plain: str) -> None:
        self._options = options
        self.layers = self._known("format", options.format) or plain
        self._head = self._known("head", options.head)
        # A tied table of tokens is the head.
        self._table = self._head if is_tied else self._known("embedding", options.embedding)
        self._tables = self._known("embedding", options.embedding)
        self._router = self._known("router", options.router)
        self._modules = [
            (pattern, self._known(f"modules: {pattern}", name))
            for pattern, name in options.modules.items()
        ]
        if options.activations is not None:
            self._known("activations", options.activations)
        self._matched: set[str] = set()

    @property
    def layers_apart(self) -> list[int]:
        """Layers of which something else is said than of the others."""
        named = (pattern.partition(".")[0] for pattern, _ in self._modules)
        return [*self._options.keep_layers, *(int(n) for n in named if n.isdecimal())]

    @property
    def is_unpacked(self) -> bool:
        way = self._options.unpack or ("block" if self.layers == LOSSLESS else "fused")
        return way == "block"

    def of(self, op: Operator) -> str | None:
        """A format, or None for an operator that stays as it is."""
        if op.layer != OUTSIDE and op.layer in self._options.keep_layers:
            return None
        name = op.name.removeprefix(DRAFT)
        for pattern, found in self._modules:
            if fnmatchcase(name, pattern) or fnmatchcase(f"{op.layer}.{name}", pattern):
                self._matched.add(pattern)
                return found
        return self._by_place(op, name)

    def check_patterns(self, trace: Trace) -> None:
        """Raises SpecError for a pattern that no operator with weights has.

        What is to be kept may be of a part of the checkpoint that is not here.
        """
        for pattern, found in self._modules:
            if pattern not in self._matched and found is not None:
                names = {op.name for block in trace.blocks for op in block.operators if _has(op)}
                raise SpecError(
                    f"weight_quant: modules: {pattern!r} is no operator of {trace.model} "
                    f"(known: {', '.join(sorted(names))})"
                )

    def _by_place(self, op: Operator, name: str) -> str | None:
        if isinstance(op, Embedding):
            return self._table if name == "embed" else self._tables
        if name == "router":
            return self._router
        if op.layer == OUTSIDE:
            return self._head if name == "lm_head" else None
        return self.layers

    def _known(self, field: str, name: str) -> str | None:
        """Raises SpecError for a name that is no number format."""
        if name == KEEP:
            return None
        found = canonical_dtype(name)
        if found is None:
            raise SpecError(f"weight_quant: {field}: {unknown_dtype(name)}, or {KEEP}")
        return found


def _has(op: Operator) -> bool:
    """Whether an operator has weights that can be packed."""
    return isinstance(op, Embedding | Moe) or (isinstance(op, Matmul) and op.has_weight)


def _converted(op: Operator, name: str | None, activations: str | None) -> Operator:
    if name is None or not _has(op):
        return op
    packed = replace(op, weight_dtype=name)  # type: ignore[call-arg]
    if activations is None or not isinstance(packed, Matmul):
        return packed
    computed = canonical_dtype(activations) or activations
    return replace(packed, dtype=computed, out_dtype=packed.out_dtype or packed.dtype)


# ---- unpacked before use


def _unpacked(block: Block, name: str) -> Block:
    """All weights of a layer unpacked into a buffer first, then its operators."""
    first = list(_unpackers(block.operators, name))
    packed = {op.name.removesuffix(".unpack"): op for op in first}
    rest = [_fed(op, packed[op.name]) if op.name in packed else op for op in block.operators]
    return replace(block, operators=(*first, *rest))


def _unpackers(operators: Sequence[Operator], packed: str) -> Iterator[Unpack]:
    """A piece of packed weights in, one of plain weights out."""
    for op in operators:
        if isinstance(op, Matmul) and op.has_weight and op.weight_dtype == packed:
            pieces = -(-op.k * op.n * op.batch // PIECE)
            yield Unpack(
                name=f"{op.name}.unpack",
                layer=op.layer,
                deps=(PREVIOUS,),
                rows=pieces,
                width=PIECE,
                dtype=op.dtype,
                weight_dtype=op.weight_dtype,
            )


def _fed(op: Operator, unpacker: Unpack) -> Operator:
    assert isinstance(op, Matmul)
    deps = (op.deps[0] if op.deps else PREVIOUS, unpacker.name, *op.deps[1:])
    return replace(op, deps=deps, has_weight=False, weight_dtype=unpacker.dtype)


TECHNIQUE: Final = Technique(
    name="weight_quant",
    paper="GPTQ, arXiv 2210.17323; AWQ, arXiv 2306.00978; MARLIN, arXiv 2408.11743; SparseGPT, "
    "arXiv 2301.00774; DFloat11, arXiv 2504.11651",
    example="--with weight_quant:format=int4_g128",
    trace=_trace,
)
