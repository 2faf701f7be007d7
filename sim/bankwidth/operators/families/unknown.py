"""What to say of a `model_type` that no family reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bankwidth.errors import did_you_mean
from bankwidth.operators.families.structural import STRUCTURAL
from bankwidth.operators.fields import Config

# What a Llama-like decoder needs: field, and the other names it is known by.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "hidden_size": ("n_embd", "d_model", "dim"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "n_kv_heads"),
    "head_dim": ("attention_head_dim",),
    "intermediate_size": ("ffn_hidden_size", "ffn_dim", "n_inner", "d_ff"),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
}


def unknown_family(config: Config, where: str, families: Iterable[str]) -> str:
    """The known families, the fields that are there and those that are missing, and the way out."""
    family = config.get("model_type")
    known = sorted(families)
    lines = [
        f"{where}: unknown model_type {family!r}{did_you_mean(str(family), known)} "
        f"(known families: {', '.join(known)})",
        *_fields(config),
        "if a known family has the same layers, give its name as model_type, and its fields;",
        "else list the layers yourself, in a workload file (docs/workloads.md):",
        f"  config: {_template(config)}",
    ]
    return "\n  ".join(lines)


def _fields(config: Config) -> list[str]:
    """Which fields of a Llama-like decoder are there, which are not, which say more."""
    found = [_shown(config, name) for name in _NEEDED if _name(config, name)]
    missing = [name for name in _NEEDED if not _name(config, name)]
    more = [f"{name} ({STRUCTURAL[name]})" for name in STRUCTURAL if config.get(name)]
    return [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("of the fields of a Llama-like decoder it has", found),
            ("it lacks", missing),
            ("it sets fields that change layers", more),
        )
        if names
    ]


def _name(config: Config, name: str) -> str | None:
    names = (name, *_NEEDED[name])
    return next((other for other in names if config.get(other) is not None), None)


def _shown(config: Config, name: str) -> str:
    found = _name(config, name)
    return f"{name} {_value(config, name)}" + (f" (as {found})" if found != name else "")


def _value(config: Config, name: str) -> str:
    found = _name(config, name)
    return "?" if found is None else str(config[found])


def _template(config: Config) -> str:
    """The description of a plain decoder with the values found; `?` for the others."""
    values = {name: _value(config, name) for name in _NEEDED}
    kv_heads = values["num_key_value_heads"]
    heads = values["num_attention_heads"]
    return (
        f"{{model_type: decoder, hidden_size: {values['hidden_size']}, "
        f"vocab_size: {values['vocab_size']}, layers: [{{repeat: {values['num_hidden_layers']}, "
        f"attention: {{n_heads: {heads}, n_kv_heads: {heads if kv_heads == '?' else kv_heads}, "
        f"head_dim: {_head_dim(values)}}}, "
        f"mlp: {{width: {values['intermediate_size']}, function: silu_mul}}}}]}}"
    )


def _head_dim(values: dict[str, str]) -> str:
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    if values["head_dim"] != "?" or not (hidden.isdigit() and heads.isdigit() and int(heads)):
        return values["head_dim"]
    return str(int(hidden) // int(heads))
