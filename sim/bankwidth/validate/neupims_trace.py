"""The trace that NeuPIMs is compared on: decoder layers of a batch, in one or two sub-batches.

Everything is of one device of a tensor-parallel group, as in the simulator of NeuPIMs; the
all-reduce between devices is in neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bankwidth.operators import (
    Attention,
    Block,
    Elementwise,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Trace,
)

DTYPE: Final = "bf16"
BYTES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device's share of a model: `ways` devices share its heads and columns."""

    hidden: int
    heads: int
    ways: int

    @property
    def own_heads(self) -> int:
        return self.heads // self.ways

    @property
    def own_width(self) -> int:
        return self.hidden // self.ways

    @property
    def layer_bytes(self) -> int:
        """Weights of one layer on one device."""
        return 12 * self.hidden * self.own_width * BYTES


def layers_trace(
    device: Device, *, lengths: Sequence[int], sequences: int, layers: int, sub_batches: int
) -> Trace:
    """`layers` layers of one decode step: per length of context, `sequences` sequences.

    Sub-batches take an equal share of the sequences of each length; they do not wait for each
    other. Sequences of one length are one attention: the heads of all of them.
    """
    share = sequences // sub_batches
    chains = [
        [_layer(device, layer, part, lengths, share) for layer in range(layers)]
        for part in range(sub_batches)
    ]
    # Layer by layer, the sub-batches in turn: the order in which the engines take what is ready.
    operators = [op for layer in zip(*chains, strict=True) for chain in layer for op in chain]
    tokens = sequences * len(lengths)
    return Trace(
        model=f"gpt3-{device.hidden}/{device.ways}",
        phase="decode",
        batch=tokens,
        context=max(lengths),
        output_tokens=1,
        dtypes={"weight": DTYPE, "activation": DTYPE, "kv": DTYPE},
        blocks=(Block(name="layers", operators=tuple(operators)),),
        weight_bytes=layers * device.layer_bytes,
        kv_bytes=layers * 2 * sequences * sum(lengths) * device.own_width * BYTES,
        activation_bytes=tokens * 8 * device.hidden * BYTES,
    )


def _layer(
    device: Device, layer: int, part: int, lengths: Sequence[int], share: int
) -> list[Operator]:
    return list(_Layer(device, layer, part, share * len(lengths)).operators(lengths, share))


class _Layer:
    """Operators of one layer and sub-batch; each waits for what the one before left."""

    def __init__(self, device: Device, layer: int, part: int, tokens: int) -> None:
        self._device = device
        self._layer = layer
        self._part = part
        self._tokens = tokens

    def operators(self, lengths: Sequence[int], share: int) -> Iterator[Operator]:
        device = self._device
        before = (f"{self._layer - 1}.{self._part}.add2",) if self._layer else ()
        yield self._norm("norm1", before)
        yield self._product("qkv", "norm1", 3 * device.own_width, device.hidden)
        for number, length in enumerate(lengths):
            yield from self._attend(number, length, share)
        heads = tuple(self._name(f"attention{number}") for number in range(len(lengths)))
        yield self._product("o", heads, device.hidden, device.own_width)
        yield self._function("add1", "add", ("o",), device.hidden)
        yield self._norm("norm2", (self._name("add1"),))
        yield self._product("fc1", "norm2", 4 * device.own_width, device.hidden)
        yield self._function("gelu", "gelu", ("fc1",), 4 * device.own_width)
        yield self._product("fc2", "gelu", device.hidden, 4 * device.own_width)
        yield self._function("add2", "add", ("fc2", "add1"), device.hidden)

    def _attend(self, number: int, length: int, share: int) -> Iterator[Operator]:
        heads = share * self._device.own_heads
        head_dim = self._device.hidden // self._device.heads
        append, qkv = self._name(f"append{number}"), self._name("qkv")
        common: dict[str, Any] = {"layer": self._layer, "dtype": DTYPE, "kv_dtype": DTYPE}
        yield KvAppend(
            name=append, deps=(qkv,), tokens=1, kv_heads=heads, head_dim=head_dim, **common
        )
        # Banks hold a sequence in one channel: to them all heads of all sequences are alike.
        yield Attention(
            name=self._name(f"attention{number}"),
            deps=(qkv, append),
            phase="decode",
            batch=1,
            q_len=1,
            kv_len=length,
            n_heads=heads,
            n_kv_heads=heads,
            head_dim=head_dim,
            **common,
        )

    def _name(self, name: str) -> str:
        return f"{self._layer}.{self._part}.{name}"

    def _product(self, name: str, x: str | tuple[str, ...], n: int, k: int) -> Matmul:
        return Matmul(
            name=self._name(name),
            layer=self._layer,
            deps=x if isinstance(x, tuple) else (self._name(x),),
            m=self._tokens,
            n=n,
            k=k,
            dtype=DTYPE,
            weight_dtype=DTYPE,
        )

    def _norm(self, name: str, deps: tuple[str, ...]) -> Norm:
        return Norm(
            name=self._name(name),
            layer=self._layer,
            deps=deps,
            rows=self._tokens,
            width=self._device.hidden,
            style="layer",
            dtype=DTYPE,
        )

    def _function(self, name: str, function: Any, deps: Sequence[str], width: int) -> Elementwise:
        return Elementwise(
            name=self._name(name),
            layer=self._layer,
            deps=tuple(self._name(dep) for dep in deps),
            function=function,
            elements=self._tokens * width,
            num_inputs=2 if function == "add" else 1,
            dtype=DTYPE,
            rows=self._tokens,
        )
