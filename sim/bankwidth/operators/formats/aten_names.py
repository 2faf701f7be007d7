"""Operators of torch by name: what each is here, and where its inputs lie.

Positions are those of the schemas in pytorch's native_functions.yaml; those of flash-attn and vLLM
are of their registered torch operators (flash_attn_interface.py; vLLM's torch_bindings.cpp).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Product(NamedTuple):
    """Positions of the factors and the bias; `transposed`: the second factor is [n, k]."""

    first: int
    second: int
    bias: int | None = None
    transposed: bool = False


class AttentionInputs(NamedTuple):
    """Layout of q, K and V, and positions of what else is said of them.

    `heads_first`: [batch, heads, tokens, head_dim]; `tokens_first`: [batch, tokens, heads,
    head_dim]; `packed`: [tokens of all sequences, heads, head_dim] with their lengths.
    """

    layout: Literal["heads_first", "tokens_first", "packed"]
    causal: int
    mask: int | None = None
    lengths: int | None = None  # cumulated lengths of the queries: one more than sequences
    longest_q: int | None = None
    longest_kv: int | None = None


PRODUCTS: Final[dict[str, Product]] = {
    "aten::mm": Product(0, 1),
    "aten::bmm": Product(0, 1),
    "aten::matmul": Product(0, 1),
    "aten::_int_mm": Product(0, 1),
    "aten::_scaled_mm": Product(0, 1),
    "aten::addmm": Product(1, 2, bias=0),
    "aten::_addmm_activation": Product(1, 2, bias=0),
    "aten::baddbmm": Product(1, 2),
    "aten::linear": Product(0, 1, bias=2, transposed=True),
}
ATTENTIONS: Final[dict[str, AttentionInputs]] = {
    "aten::scaled_dot_product_attention": AttentionInputs("heads_first", causal=5, mask=3),
    "aten::_scaled_dot_product_flash_attention": AttentionInputs("heads_first", causal=4),
    "aten::_scaled_dot_product_flash_attention_for_cpu": AttentionInputs(
        "heads_first", causal=4, mask=5
    ),
    "aten::_scaled_dot_product_efficient_attention": AttentionInputs(
        "heads_first", causal=6, mask=3
    ),
    "aten::_scaled_dot_product_cudnn_attention": AttentionInputs("heads_first", causal=6, mask=3),
    "aten::_scaled_dot_product_attention_math": AttentionInputs("heads_first", causal=5, mask=3),
    "aten::_flash_attention_forward": AttentionInputs(
        "tokens_first", causal=8, lengths=3, longest_q=5, longest_kv=6
    ),
    "aten::_efficient_attention_forward": AttentionInputs(
        "tokens_first", causal=9, mask=3, lengths=4, longest_q=6, longest_kv=7
    ),
    "flash_attn::_flash_attn_forward": AttentionInputs("tokens_first", causal=5),
    "flash_attn::_flash_attn_varlen_forward": AttentionInputs(
        "packed", causal=9, lengths=3, longest_q=5, longest_kv=6
    ),
}
MATH_ATTENTION: Final = "aten::_scaled_dot_product_attention_math"
# name -> style, position of x, position of the width or None where the weight says it
NORMS: Final[dict[str, tuple[Literal["rms", "layer"], int, int]]] = {
    "aten::layer_norm": ("layer", 0, 1),
    "aten::native_layer_norm": ("layer", 0, 1),
    "aten::rms_norm": ("rms", 0, 1),
    "aten::_fused_rms_norm": ("rms", 0, 1),
    "_C::rms_norm": ("rms", 1, 2),
    "vllm::rms_norm": ("rms", 1, 2),
}
SOFTMAXES: Final = frozenset(
    f"aten::{name}"
    for name in ("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
)
FUSED_ADD_NORMS: Final = frozenset({"_C::fused_add_rms_norm", "vllm::fused_add_rms_norm"})
# name -> function; one input of twice the width
GATED: Final[dict[str, str]] = {
    f"{library}::{name}": function
    for library in ("_C", "vllm")
    for name, function in (
        ("silu_and_mul", "silu_mul"),
        ("gelu_and_mul", "gelu_mul"),
        ("gelu_tanh_and_mul", "gelu_mul"),
    )
}
ROTARY: Final = frozenset({"_C::rotary_embedding", "vllm::rotary_embedding"})
CACHE_WRITES: Final = frozenset(
    {"_C_cache_ops::reshape_and_cache", "_C_cache_ops::reshape_and_cache_flash"}
)
EXPERTS: Final = frozenset({"vllm::inplace_fused_experts", "vllm::outplace_fused_experts"})
LOOK_UPS: Final = frozenset({"aten::embedding"})
SUMS: Final = frozenset({"aten::sum", "aten::mean", "aten::amax"})
SELECTIONS: Final = frozenset({"aten::argmax", "aten::topk"})
# Values set, drawn or counted up: no operator of a model. Their bytes are not in a trace.
SETTERS: Final = frozenset(
    f"aten::{name}"
    for name in (
        "fill_", "zero_", "arange", "normal_", "uniform_", "random_", "randperm", "randint", "rand",
        "randn", "eye", "tril", "triu", "scalar_tensor", "bernoulli_", "exponential_", "linspace",
        "multinomial", "one_hot",
    )
)  # fmt: skip
# Elementwise functions; a name with `_` at its end works in place and is the same.
GENERAL: Final = frozenset({"copy", "unary", "binary"})  # functions that say only how many inputs
FUNCTIONS_OF_ONE: Final[dict[str, str]] = {
    "gelu": "gelu", "silu": "silu", "relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh",
    "softplus": "softplus",
    **dict.fromkeys(
        ("neg", "exp", "rsqrt", "sqrt", "pow", "square", "reciprocal", "cos", "sin", "log", "abs",
         "clamp", "clamp_min", "clamp_max", "erf", "exp2", "log2", "dropout", "native_dropout",
         "logical_not", "bitwise_not", "masked_fill", "_transform_bias_rescale_qkv"), "unary"),
}  # fmt: skip
FUNCTIONS_OF_TWO: Final[dict[str, str]] = {
    "add": "add", "mul": "mul",
    **dict.fromkeys(("sub", "rsub", "div", "true_divide", "maximum", "minimum", "lerp"), "binary"),
}  # fmt: skip
# Moves: position of the input that has as many elements as are written; None: all of a list.
MOVES: Final[dict[str, int]] = {
    "copy_": 0, "_to_copy": 0, "clone": 0, "cat": 0, "stack": 0, "flip": 0, "roll": 0,
    "index_copy_": 3, "index_put_": 2, "scatter_": 3, "index_add_": 3,
}  # fmt: skip
