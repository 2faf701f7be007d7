"""The experts of a mixture-of-experts layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from bankwidth.errors import TraceError
from bankwidth.operators.base import Operator, invalid
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.routing import BALANCED, check_routing, expert_loads
from bankwidth.operators.tensor import Tensor, activation, weight
from bankwidth.operators.vector import FUNCTIONS

# A result of an expert is multiplied by the token's weight for it and added to the others.
COMBINE_FLOPS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Moe(Operator):
    """y = sum over the `topk` experts of a token of w_e down_e(f(gate_e x) * up_e x), on one GPU.

    The layer is shared out over `moe_tp` GPUs by the experts' inner width or over `moe_ep` GPUs by
    whole experts; this is the GPU with the most work, before results of GPUs are added up. With
    `gated` False there is one projection in place of gate and up. The choice of experts by the
    router's logits belongs to it, the router itself does not. `routing` says how tokens spread over
    the experts (see operators/routing.py): only weights of experts that have a token are read.
    """

    kind: ClassVar[str] = "moe"
    size_fields: ClassVar[tuple[str, ...]] = (
        "tokens", "hidden", "inter", "topk", "experts", "moe_tp", "moe_ep",
    )  # fmt: skip
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "weight_dtype")
    rare_fields: ClassVar[tuple[str, ...]] = ("has_bias",)

    tokens: int
    hidden: int
    inter: int
    topk: int
    experts: int
    moe_tp: int = 1
    moe_ep: int = 1
    routing: str = BALANCED
    gated: bool = True
    dtype: str
    weight_dtype: str
    has_bias: bool = False

    def check(self) -> None:
        if self.topk > self.experts:
            raise invalid(self, f"topk {self.topk} is more than the {self.experts} experts")
        for whole, parts in (("inter", "moe_tp"), ("experts", "moe_ep")):
            if getattr(self, whole) % getattr(self, parts):
                sizes = f"{whole} {getattr(self, whole)}", f"{parts} {getattr(self, parts)}"
                raise invalid(self, f"{sizes[0]} must be a multiple of {sizes[1]}")
        try:
            check_routing(self.routing, self.experts)
        except TraceError as error:
            raise invalid(self, str(error)) from error

    @property
    def loads(self) -> tuple[int, ...]:
        """Tokens of each expert of this GPU."""
        return expert_loads(self.tokens, self.experts, self.topk, self.moe_ep, self.routing)

    @property
    def local_inter(self) -> int:
        """This GPU's part of an expert's inner width."""
        return self.inter // self.moe_tp

    @property
    def up_width(self) -> int:
        """Results of an expert's first product: gate and up side by side."""
        return self.local_inter * (2 if self.gated else 1)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        x = activation(self.input_name(0), (self.tokens, self.hidden), self.dtype)
        logits = activation(self.input_name(1), (self.tokens, self.experts), self.dtype)
        return (x, logits, *self.weights, *self._biases)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Of the experts that have a token, first and second product."""
        busy = sum(load > 0 for load in self.loads)
        up, down = (busy, self.hidden, self.up_width), (busy, self.local_inter, self.hidden)
        return (
            weight(f"{self.name}.up", up, self.weight_dtype),
            weight(f"{self.name}.down", down, self.weight_dtype),
        )

    @property
    def expert_bytes(self) -> int:
        """Weights and biases of one expert, of this GPU's part of its inner width."""
        elements = self.hidden * (self.up_width + self.local_inter)
        biases = self.up_width + self.hidden if self.has_bias else 0
        return packed_bytes(elements, self.weight_dtype) + packed_bytes(biases, self.dtype)

    @property
    def stored_weight_bytes(self) -> int:
        """Weights of all experts of this GPU, those without a token too."""
        return self.experts // self.moe_ep * self.expert_bytes

    @property
    def _biases(self) -> tuple[Tensor, ...]:
        """Of the experts that have a token, of both products; their additions are not counted."""
        if not self.has_bias:
            return ()
        busy = sum(load > 0 for load in self.loads)
        return (weight(f"{self.name}.bias", (busy, self.up_width + self.hidden), self.dtype),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.tokens, self.hidden), self.dtype),)

    @property
    def flops(self) -> int:
        function = FUNCTIONS["silu_mul" if self.gated else "silu"][1] * self.local_inter
        products = 2 * self.hidden * (self.up_width + self.local_inter)
        return sum(self.loads) * (products + function + COMBINE_FLOPS * self.hidden)
