"""Formats of a quantised checkpoint: `quantization_config` of a config.json as options.

Read are the fields of the methods below (transformers, docs of its quantization configs). Modules
that a checkpoint leaves out are named as in the model's code; of a fused product of ours that has
several of them (q, k and v; gate and up) one that is left out keeps all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bankwidth.errors import SpecError
from bankwidth.spec.techniques import TechniquesSpec
from bankwidth.spec.techniques.weights import KEEP, WeightQuantSpec

Config = Mapping[str, Any]
FIELD: Final = "quantization_config"
# Last part of a module's name -> names of operators here, with * for all that begin so.
_MODULES: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("q_proj", "k_proj", "v_proj", "qkv_proj", "c_attn", "query_key_value", "Wqkv"), ("qkv",)
    ),
    **dict.fromkeys(("o_proj", "out_proj", "dense"), ("o", "out_proj")),
    **dict.fromkeys(("gate_proj", "up_proj", "gate_up_proj"), ("gate_up",)),
    "down_proj": ("down",),
    **dict.fromkeys(("fc1", "c_fc", "dense_h_to_4h"), ("fc1",)),
    **dict.fromkeys(("fc2", "dense_4h_to_h"), ("fc2",)),
    **dict.fromkeys(("self_attn", "attention", "attn"), ("q", "qkv", "q_?", "kv_?", "?_up", "o")),
    "mlp": ("gate_up", "down", "fc1", "fc2", "moe", "shared_*"),
    **dict.fromkeys(("gate", "router"), ("router",)),
    "experts": ("moe",),
    **dict.fromkeys(("shared_expert", "shared_experts"), ("shared_*",)),
    "shared_expert_gate": ("shared_gate",),
    "q_a_proj": ("q_a",),
    "q_b_proj": ("q_b",),
    "kv_a_proj_with_mqa": ("kv_a",),
    "kv_b_proj": ("kv_b", "k_up", "v_up"),
    "in_proj": ("in_proj",),
    "x_proj": ("x_proj",),
    "dt_proj": ("dt_proj",),
    "lm_head": ("lm_head",),
    **dict.fromkeys(("embed_tokens", "wte"), ("embed",)),
}
_LAYER: Final = re.compile(r"(?:layers|h|blocks)\.(\d+)(?:\.|$)")


def with_own_formats(
    config: Mapping[str, object], techniques: TechniquesSpec | None
) -> TechniquesSpec | None:
    """Techniques, and the formats of the checkpoint's weights where none are given.

    Raises SpecError for a method that is not known.
    """
    if techniques is not None and techniques.weight_quant is not None:
        return techniques
    own = formats_of(config)
    if own is None:
        return techniques
    return (techniques or TechniquesSpec()).model_copy(update={"weight_quant": own})


def formats_of(config: Mapping[str, object]) -> WeightQuantSpec | None:
    """What `quantization_config` says; None without one.

    Raises SpecError for a method that is not known, and for fields that it lacks.
    """
    given = config.get(FIELD)
    if not isinstance(given, Mapping):
        return None
    method = str(given.get("quant_method", "")).replace("_", "-")
    make = _METHODS.get(method)
    if make is None:
        known = ", ".join(sorted(_METHODS))
        raise SpecError(
            f"{FIELD}: unknown quant_method {method!r} (known: {known}); say the format yourself: "
            f"weight_quant: {{format: int4_g128}}, or bf16 for plain weights"
        )
    modules, layers = _kept(given)
    head = make(given) if given.get("lm_head") is True else KEEP
    return WeightQuantSpec(
        format=make(given), head=head, modules=dict.fromkeys(modules, KEEP), keep_layers=layers
    )


def _kept(given: Config) -> tuple[list[str], list[int]]:
    """Operators and layers that a checkpoint leaves as they are; parts of other models are not."""
    names = given.get("modules_to_not_convert") or given.get("ignore") or []
    operators: list[str] = []
    layers: list[int] = []
    for name in map(str, names if isinstance(names, list) else []):
        number = _LAYER.search(name)
        last = name.removeprefix("re:").rstrip("$").split(".")[-1].strip("*")
        if number and last == number[1]:
            layers.append(int(number[1]))
        before = f"{number[1]}." if number else ""
        operators += [f"{before}{found}" for found in _MODULES.get(last, ())]
    return list(dict.fromkeys(operators)), sorted(set(layers))


def _number(given: Config, *names: str) -> int:
    for name in names:
        value = given.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    raise SpecError(f"{FIELD}: {names[0]} is missing or no whole number")


def _grouped(bits: int, group: int, has_zero: bool) -> str:
    """A group of -1 is a column: its scale is left out."""
    return f"int{bits}_g{group}{'z' if has_zero else ''}" if group > 0 else f"int{bits}"


def _gptq(given: Config) -> str:
    return _grouped(
        _number(given, "bits"), _number(given, "group_size"), not given.get("sym", True)
    )


def _awq(given: Config) -> str:
    bits, group = _number(given, "bits", "w_bit"), _number(given, "group_size", "q_group_size")
    return _grouped(bits, group, bool(given.get("zero_point", True)))


def _fp8(given: Config) -> str:
    block = given.get("weight_block_size")
    if not isinstance(block, list) or not block:
        return "fp8"
    if len(set(block)) > 1:
        raise SpecError(f"{FIELD}: weight_block_size {block}: blocks here are square")
    return f"fp8_b{block[0]}"


def _bitsandbytes(given: Config) -> str:
    """Four bits: NF4 in groups of 64 (QLoRA, arXiv 2305.14314)."""
    return "int8" if given.get("load_in_8bit") else "int4_g64"


def _compressed(given: Config) -> str:
    """compressed-tensors: the weights of its first group."""
    weights = next(_groups(given), None)
    if weights is None:
        raise SpecError(f"{FIELD}: config_groups have no weights")
    bits, group = _number(weights, "num_bits"), weights.get("group_size")
    if weights.get("type") == "float":
        return {8: "fp8", 4: "nvfp4"}.get(bits, f"fp{bits}")
    return _grouped(bits, group if isinstance(group, int) else -1, not weights.get("symmetric", 1))


def _groups(given: Config) -> Iterator[Config]:
    groups = given.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            yield weights


_METHODS: Final[dict[str, Callable[[Config], str]]] = {
    "gptq": _gptq,
    "awq": _awq,
    "marlin": _gptq,
    "fp8": _fp8,
    "fbgemm-fp8": _fp8,
    "mxfp4": lambda given: "mxfp4",
    "bitsandbytes": _bitsandbytes,
    "bitnet": lambda given: "ternary",
    "compressed-tensors": _compressed,
    "modelopt": lambda given: "nvfp4" if "4" in str(given.get("quant_algo", "")) else "fp8",
    "dfloat11": lambda given: "dfloat11",
}
