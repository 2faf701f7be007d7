"""A decoder that no family has, described layer by layer (`model_type: decoder`).

    config:
      model_type: decoder
      hidden_size: 4096
      vocab_size: 32000
      layers:
        - repeat: 8
          layers:
            - repeat: 3
              attention: {n_heads: 32, n_kv_heads: 8, head_dim: 128, window: 4096}
              mlp: {width: 14336, function: silu_mul}
            - attention: {n_heads: 32, n_kv_heads: 8, head_dim: 128, has_rope: false}
              mlp: {kind: moe, experts: 8, topk: 2, expert: {width: 14336, function: silu_mul}}

The keys of a layer and its parts are the fields of `bankwidth.operators.model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from bankwidth.errors import did_you_mean
from bankwidth.operators.fields import Fields, is_integer
from bankwidth.operators.model import (
    AttentionShape,
    LatentShape,
    LayerShape,
    MlpShape,
    ModelShape,
    MoeShape,
    ScanShape,
)

Entry = Mapping[str, object]
_MIXERS: Final = {"attention": AttentionShape, "latent": LatentShape, "scan": ScanShape}
_FEEDS: Final = {"mlp": MlpShape, "moe": MoeShape}
_NORMS: Final[dict[str, Literal["rms", "layer"]]] = {"rms": "rms", "layer": "layer"}
# What a file may leave out though the shape has no default.
_USUAL: Final[dict[str, object]] = {"has_bias": False, "has_rope": True}
_MOST_LAYERS: Final = 10_000


def described_shape(source: Fields) -> ModelShape:
    """The model of `layers`, with what is around them. Any other field is a problem."""
    hidden = source.integer("hidden_size")
    positions = source.integer("position_rows", default=0, least=0)
    model = ModelShape(
        family=source.family,
        hidden=hidden,
        vocab=source.integer("vocab_size"),
        layers=tuple(_layers(source, source.raw("layers"), "layers")),
        norm_style=source.choice("norm", known=_NORMS, default="rms"),
        has_final_norm=source.flag("has_final_norm", default=True),
        embed_width=source.integer("embed_width", default=hidden),
        position_rows=positions,
        max_tokens=source.optional("max_tokens", default=positions or None),
        has_tied_head=source.flag("tie_word_embeddings", default=False),
        has_head_bias=source.flag("has_head_bias", default=False),
    )
    source.refuse_unknown("model_type", "torch_dtype", "dtype")
    return model


def _layers(source: Fields, entries: object, where: str) -> list[LayerShape]:
    """The layers of a list of which each entry is a layer, or `layers`, `repeat` times."""
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        source.problem(f"{where} must be a list of layers, each with attention and mlp")
        return []
    found: list[LayerShape] = []
    for index, entry in enumerate(entries):
        found += _repeated(source, entry, f"{where}[{index}]")
        if len(found) > _MOST_LAYERS:
            source.problem(f"{where} are more than {_MOST_LAYERS} layers")
            return []
    return found


def _repeated(source: Fields, entry: object, where: str) -> list[LayerShape]:
    if not isinstance(entry, Mapping):
        source.problem(f"{where} must have attention and mlp, or layers; got {entry!r}")
        return []
    repeat = entry.get("repeat", 1)
    if not is_integer(repeat) or not 1 <= repeat <= _MOST_LAYERS:
        source.problem(f"{where}.repeat must be 1 to {_MOST_LAYERS}, got {repeat!r}")
        return []
    once = {key: value for key, value in entry.items() if key != "repeat"}
    if set(once) == {"layers"}:
        return _layers(source, once["layers"], f"{where}.layers") * repeat
    layer = _layer(source, once, where)
    return [] if layer is None else [layer] * repeat


def _layer(source: Fields, entry: Entry, where: str) -> LayerShape | None:
    mixer = _kind(source, entry.get("attention"), f"{where}.attention", _MIXERS)
    feed = entry.get("mlp")
    part = None if feed is None else _kind(source, feed, f"{where}.mlp", _FEEDS)
    rest = {key: value for key, value in entry.items() if key not in ("attention", "mlp")}
    made: LayerShape | None = _make(source, LayerShape, rest, where, attention=mixer, mlp=part)
    return made if mixer is not None else None


def _kind(source: Fields, entry: object, where: str, kinds: Mapping[str, type[Any]]) -> Any:
    """The part that `kind` says, the first of `kinds` where it is absent; None if it is wrong."""
    if not isinstance(entry, Mapping):
        source.problem(f"{where} must be the fields of one of {', '.join(kinds)}; got {entry!r}")
        return None
    kind = entry.get("kind", next(iter(kinds)))
    if kind not in kinds:
        hint = did_you_mean(str(kind), kinds)
        source.problem(f"{where}.kind must be one of {', '.join(kinds)}, got {kind!r}{hint}")
        return None
    made = _make(source, kinds[kind], {k: v for k, v in entry.items() if k != "kind"}, where)
    if isinstance(made, AttentionShape) and made.n_heads % made.n_kv_heads:
        source.problem(f"{where}.n_heads must be a multiple of n_kv_heads {made.n_kv_heads}")
    return made


def _make(source: Fields, make: type[Any], entry: Entry, where: str, **given: object) -> Any:
    """An instance of `make` from the entry; None, and problems, where the entry does not fit."""
    known = {field.name: field for field in fields(make) if field.name not in given}
    hints = get_type_hints(make)
    wrong = [key for key in entry if key not in known]
    for key in wrong:
        hint = did_you_mean(key, known)
        source.problem(f"{where}.{key} is not known{hint} (known: {', '.join(known)})")
    usual = {name: value for name, value in _USUAL.items() if name in known}
    values = dict(given)
    for name, field in known.items():
        value = entry.get(name, usual.get(name, field.default))
        values[name] = _value(source, value, hints[name], field, f"{where}.{name}")
    missing = any(value is MISSING for value in values.values())
    return None if wrong or missing else make(**values)


def _value(source: Fields, value: object, hint: Any, field: Field[Any], where: str) -> Any:
    """The value as the field takes it; MISSING, and a problem, where it does not fit."""
    if value is MISSING:
        source.problem(f"{where} is missing")
        return MISSING
    if value is None and NoneType in get_args(hint):
        return None
    if isinstance(value, Mapping) and MlpShape in (hint, *get_args(hint)):
        made = _make(source, MlpShape, value, where)
        return MISSING if made is None else made
    least = 0 if field.default == 0 else 1
    text = _unfit(value, hint, least)
    if text is not None:
        source.problem(f"{where} must be {text}, got {value!r}")
        return MISSING
    return tuple(value) if isinstance(value, list) else value


def _unfit(value: object, hint: Any, least: int) -> str | None:
    """What a value must be, if it is not."""
    if get_origin(hint) is Literal:
        return None if value in get_args(hint) else f"one of {', '.join(map(str, get_args(hint)))}"
    if bool in (hint, *get_args(hint)):
        return None if isinstance(value, bool) else "true or false"
    if get_origin(hint) is tuple:
        fits = isinstance(value, list | tuple) and all(is_integer(item) for item in value)
        return None if fits else "a list of whole numbers"
    if int in (hint, *get_args(hint)):
        return None if is_integer(value) and value >= least else f"a whole number from {least} on"
    return None if isinstance(value, MlpShape | None) else "the fields of a feed-forward part"
