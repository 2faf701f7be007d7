"""Weights in a memory further away, streamed layer by layer or neuron by neuron.

FlexGen (Sheng et al. 2023, arXiv 2303.06865): a layer's weights come in while the layer before it
computes. With sparse activations only neurons that tokens use are read and multiplied: Deja Vu (Liu
et al. 2023, arXiv 2310.17157) predicts them by a product of two thin matrices, PowerInfer (Song et
al. 2023, arXiv 2312.12456) keeps those used most near, LLM in a flash (Alizadeh et al. 2023, arXiv
2312.11514) keeps those of the last tokens, so that only new ones are fetched, and lays what belongs
to a neuron together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.fetch import Fetch
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import ModelShape
from bankwidth.operators.moe import Moe
from bankwidth.operators.parallel import (
    SHARED_FIRST,
    WeightKey,
    stored_weights,
    weight_bytes_with,
    weights_of,
)
from bankwidth.operators.parallel_sizes import AGAIN
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.expert_cache import CACHED
from bankwidth.operators.techniques.rewrite import rewrite_block, rewrite_blocks
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise
from bankwidth.spec.flash_mapping import NeuronsSpec
from bankwidth.spec.techniques.weights import WeightStreamingSpec

STREAMS: Final = "streams_weights"  # key of Trace.meta
_NO_FUNCTION: Final = ("add", "mul", "merge")


def _trace(trace: Trace, options: WeightStreamingSpec, model: ModelShape) -> Trace:
    """Fetches before products, narrower products; near is what stays and the predictors.

    Raises SpecError for neurons of a model that has no feed-forward parts outside its experts.
    """
    streamed = _Neurons(options) if options.active is not None else _Layers(options, trace)
    made = rewrite_blocks(trace, streamed.block)
    near_bytes = streamed.near_bytes(trace)
    if near_bytes is None:
        raise SpecError(f"weight_streaming: {trace.model} has no feed-forward parts with neurons")
    meta = {**made.meta, STREAMS: True, SHARED_FIRST: "streams weights"}
    return replace(made, weight_bytes=near_bytes, meta=meta)


# ---- whole layers


class _Layers:
    """All products of a layer, fetched while the layer before it computes.

    Experts too, but those that have a cache of their own.
    """

    def __init__(self, options: WeightStreamingSpec, trace: Trace) -> None:
        self._far = 1 - options.near
        self._kinds = ("matmul",) if CACHED in trace.meta else ("matmul", "moe")

    def block(self, block: Block) -> Block:
        kept = self._layer_bytes(block)
        far = round(self._far * sum(kept.values()))
        if not far:
            return block
        products = [op for op in block.operators if op.kind in self._kinds and weights_of(op)]
        # Of experts only those that have a token are read.
        idle = sum(
            op.stored_weight_bytes - sum(t.size_bytes for t in op.weights)
            for op in products
            if isinstance(op, Moe)
        )
        fetch = Fetch(
            name="layer.fetch",
            layer=products[0].layer,
            size_bytes=max(1, far - round(self._far * idle)),
            what="weights",
            pieces=len(kept),
            kept_bytes=far,
        )
        names = {op.name for op in products}
        waiting = [
            replace(op, deps=(*(op.deps or (PREVIOUS,)), fetch.name)) if op.name in names else op
            for op in block.operators
        ]
        return replace(block, operators=(fetch, *waiting))

    def near_bytes(self, trace: Trace) -> int | None:
        """All weights but the share of the layers' products that is far."""
        return weight_bytes_with(trace, self._near)

    def _near(self, key: WeightKey, size_bytes: int) -> int:
        return size_bytes - (round(self._far * size_bytes) if self._is_streamed(key) else 0)

    def _layer_bytes(self, block: Block) -> dict[WeightKey, int]:
        """Of one iteration; what reads another operator's weights once more has none."""
        sizes = stored_weights((replace(block, repeat=1),))
        return {
            key: size
            for key, size in sizes.items()
            if self._is_streamed(key) and not key[1].endswith(AGAIN)
        }

    def _is_streamed(self, key: WeightKey) -> bool:
        return key[0] in self._kinds and key[2] != OUTSIDE


# ---- neurons


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A feed-forward part: each neuron has a column of `up` or two, and a row of `down`."""

    up: Matmul
    function: Elementwise
    down: Matmul

    @property
    def width(self) -> int:
        return self.down.k

    @property
    def matrices(self) -> int:
        return self.up.n // self.width + 1

    @property
    def size_bytes(self) -> int:
        return packed_bytes(self.up.k * self.up.n, self.up.weight_dtype) + packed_bytes(
            self.down.k * self.down.n, self.down.weight_dtype
        )


class _Neurons:
    """Feed-forward parts by neurons; everything else of a layer is near."""

    def __init__(self, options: WeightStreamingSpec) -> None:
        self._options = options
        active = options.active if options.active is not None else 1.0
        self._used = NeuronsSpec(
            active=active, growth=options.growth, window=options.window, bundled=options.bundled
        )
        hits = options.near if options.near_hits is None else options.near_hits
        self._misses = 0.0 if options.near == 1 else 1 - hits

    def block(self, block: Block) -> Block:
        parts = list(_parts(block.operators))
        by_up = {part.up.name: part for part in parts}
        narrow = {part.function.name: part for part in parts}
        narrow |= {part.down.name: part for part in parts}

        def streamed(op: Operator) -> list[Operator]:
            if op.name in by_up:
                return self._up(op, by_up[op.name])
            return [self._narrow(op, narrow[op.name])] if op.name in narrow else [op]

        return rewrite_block(block, streamed)

    def near_bytes(self, trace: Trace) -> int | None:
        """All weights and predictors, neurons less; None where there are none."""
        sizes = {
            (part.up.name, part.up.layer + iteration): self._near_of(part)
            for block in trace.blocks
            for part in _parts(block.operators)
            for iteration in range(block.repeat)
        }
        return trace.weight_bytes + sum(sizes.values()) if sizes else None

    def _near_of(self, part: _Part) -> int:
        stays = self._options.near + self._misses * self._used.used(self._options.window)
        predictors = sum(
            tensor.size_bytes
            for op in self._predictor(part.up, part)
            for tensor in op.inputs
            if tensor.role == "weight"
        )
        return predictors - round(part.size_bytes * (1 - min(1.0, stays)))

    def _up(self, op: Operator, part: _Part) -> list[Operator]:
        """Which neurons, those that are not here yet, then the product with all that are used."""
        predictor = self._predictor(op, part)
        known = (predictor[-1].name,) if predictor else op.deps[:1] or (PREVIOUS,)
        new = self._misses * self._used.read(part.up.m)
        made: list[Operator] = list(predictor)
        if self._options.near < 1:
            made.append(self._fetch(op, part, new, known))
            known = (made[-1].name,)
        up = self._narrow(op, part)
        return [*made, replace(up, deps=(*(op.deps or (PREVIOUS,)), *known))]

    def _predictor(self, op: Operator, part: _Part) -> list[Operator]:
        rank, up = self._options.rank, part.up
        if not rank:
            return []
        thin = replace(up, name=f"{up.name}.rank", deps=op.deps, n=rank, bias=False)
        name = f"{up.name}.predictor"
        return [thin, replace(thin, name=name, deps=(thin.name,), n=part.width, k=rank)]

    def _fetch(self, op: Operator, part: _Part, share: float, deps: tuple[str, ...]) -> Fetch:
        size_bytes = max(1, round(part.size_bytes * share))
        pieces = max(1, round(part.width * share))
        pieces *= 1 if self._options.bundled else part.matrices
        return Fetch(
            name=f"{op.name}.fetch",
            layer=op.layer,
            deps=deps,
            size_bytes=size_bytes,
            what="neurons",
            pieces=min(pieces, size_bytes),
            kept_bytes=round(part.size_bytes * (1 - self._options.near)),
        )

    def _narrow(self, op: Operator, part: _Part) -> Operator:
        """An operator with the neurons that any of the pass's tokens uses."""
        neurons = max(1, round(part.width * self._used.used(part.up.m)))
        if isinstance(op, Elementwise):
            return replace(op, elements=op.elements // part.width * neurons)
        if isinstance(op, Matmul) and op.name == part.up.name:
            return replace(op, n=neurons * (part.matrices - 1))
        return replace(op, k=neurons) if isinstance(op, Matmul) else op


def _parts(operators: Sequence[Operator]) -> Iterator[_Part]:
    """Product, function of it alone, product: with one norm at most before the second one."""
    by_name = {op.name: op for op in operators}
    for down in operators:
        if not isinstance(down, Matmul) or not down.has_weight or not down.deps:
            continue
        function = by_name.get(down.deps[0])
        if function is not None and function.kind == "norm":
            function = by_name.get(function.deps[0])
        if isinstance(function, Elementwise) and function.function not in _NO_FUNCTION:
            up = by_name.get(function.deps[0]) if len(set(function.deps)) == 1 else None
            if isinstance(up, Matmul) and up.has_weight and up.batch == 1:
                yield _Part(up=up, function=function, down=down)


TECHNIQUE: Final = Technique(
    name="weight_streaming",
    paper="FlexGen, arXiv 2303.06865; Deja Vu, arXiv 2310.17157; PowerInfer, arXiv 2312.12456; LLM "
    "in a flash, arXiv 2312.11514",
    example="--with weight_streaming:active=0.1,window=5,rank=256,bundled=true",
    trace=_trace,
)
