"""JSON schema of the files, for completion and checks in editors."""

from __future__ import annotations

from typing import Any, Final

from bankwidth.errors import SpecError
from bankwidth.spec.base import KIND, unknown
from bankwidth.spec.load import MODELS
from bankwidth.spec.version import SCHEMA_VERSION, VERSION_KEY
from bankwidth.units import UNITS

SCHEMA_KINDS: Final = tuple(MODELS)
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SOURCE: Final = {
    "type": "string",
    "description": "document and table, 'calibrated on ...', or 'assumed: ...'",
}
_COMPOSED: Final = {
    "device": {"type": "string", "description": "shipped device or file; keys beside it win"},
    "include": {
        "type": ["string", "array"],
        "items": {"type": "string"},
        "description": "file merged in below this mapping; keys beside it win",
    },
}


def json_schema(kind: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the files of a kind. Raises SpecError for an unknown kind."""
    if kind not in MODELS:
        raise SpecError(unknown("kind", kind, list(SCHEMA_KINDS)))
    schema = MODELS[kind].model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    definitions = {name: _description(found) for name, found in definitions.items()}
    root = _description(schema) | _whole(schema)
    root["properties"] = {VERSION_KEY: {"const": SCHEMA_VERSION}, **root["properties"]}
    root["required"] = [VERSION_KEY, "kind"]
    return {"$schema": _DIALECT, "title": f"bankwidth {kind}", **root, "$defs": definitions}


def _description(schema: dict[str, Any]) -> dict[str, Any]:
    """An object whose keys are known; none is required, a composed file may bring it from above."""
    properties = {key: _entry(key, found) for key, found in schema["properties"].items()}
    described = {k: v for k, v in schema.items() if k not in ("required", "properties", "title")}
    return described | {"properties": {**properties, **_COMPOSED}}


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """The keys that a file has, unless it is composed of others."""
    composed = [{"required": [key]} for key in _COMPOSED]
    return {"anyOf": [{"required": schema.get("required", [])}, *composed]}


def _entry(key: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A value, or `{value:, source:}` where the value describes the part."""
    if key == "source":
        return dict(_SOURCE)
    if "oneOf" in schema:  # `device:` alone fits every member, so more than one may hold
        return {"anyOf": schema["oneOf"]} | {
            k: v for k, v in schema.items() if k not in ("oneOf", "discriminator")
        }
    if _is_table(schema):
        return _table(schema)
    is_choice = "const" in schema and key != KIND  # of words there is but one so far
    return _sourced(_with_units(schema)) if is_choice or _is_physical(schema) else schema


def _with_units(schema: dict[str, Any]) -> dict[str, Any]:
    """A field's own description hides that of its quantity: say the units again."""
    dimension, text = schema.get("title"), schema.get("description", "")
    if dimension not in UNITS or "with its unit" in text:
        return schema
    return schema | {"description": f"{text}; with its unit: {', '.join(UNITS[dimension])}"}


def _is_physical(schema: dict[str, Any]) -> bool:
    """Whether it describes the part, and so may have a source."""
    if schema.get("type") == "string":  # a quantity, a text with a unit; or one of some words
        return "examples" in schema or "enum" in schema
    members = schema.get("anyOf", [])
    is_value = schema.get("type") in ("integer", "number", "boolean", "array")
    return is_value or any(_is_physical(member) for member in members)


def _is_table(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict)


def _table(schema: dict[str, Any]) -> dict[str, Any]:
    """A mapping with free keys: its entries may carry sources, and it may have one itself."""
    entries = _entry("", schema["additionalProperties"])
    found = {k: v for k, v in schema.items() if k != "propertyNames"}
    return found | {"additionalProperties": entries, "properties": {"source": dict(_SOURCE)}}


def _sourced(schema: dict[str, Any]) -> dict[str, Any]:
    bare = {k: v for k, v in schema.items() if k != "description"}
    fit = {"fit": _bounds(bare)} if _is_single(bare) else {}
    wrapped = {
        "type": "object",
        "properties": {"value": bare, "source": dict(_SOURCE)} | fit,
        "required": ["value"],
        "additionalProperties": False,
    }
    described = {"description": schema["description"]} if "description" in schema else {}
    return described | {"anyOf": [bare, wrapped]}


def _is_single(schema: dict[str, Any]) -> bool:
    """Whether a physical value is one number or quantity, and no list."""
    is_number = schema.get("type") in ("integer", "number", "string") and "enum" not in schema
    return is_number or any(map(_is_single, schema.get("anyOf", [])))


def _bounds(value: dict[str, Any]) -> dict[str, Any]:
    """`fit: [low, high]` beside a value: calibration may change it between these."""
    words = "calibration may change the value between these two, the lower one first"
    return {"type": "array", "items": value, "minItems": 2, "maxItems": 2, "description": words}
