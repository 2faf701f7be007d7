"""The base of every description, and the quantity types its fields are made of.

A field's Python name carries its canonical unit (`latency_ns`); in YAML the key is the same
without the suffix and the value carries the unit (`latency: "500 ns"`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.units import (
    EXAMPLES,
    INTEGER_DIMENSIONS,
    UNITS,
    article,
    parse_quantity,
    unit_pattern,
)

# Longest first: `bandwidth_bytes_per_ns` must lose all of its unit.
UNIT_SUFFIXES: Final = (
    "_bytes_per_ns", "_pj_per_bit", "_tflops", "_bytes", "_gbps", "_bits",
    "_ghz", "_ns", "_pj", "_mw", "_ma", "_ck", "_v",
)  # fmt: skip
KIND: Final = "kind"  # the key that picks the model
RELATION: Final = "relation"  # type of the errors that `Spec.relations` reports

Relation = tuple[tuple[str | int, ...], str]  # where, below this description, and what is wrong


def yaml_key(field_name: str) -> str:
    """`latency_ns` -> `latency`: the key of a field in YAML."""
    for suffix in UNIT_SUFFIXES:
        if field_name.endswith(suffix):
            return field_name.removesuffix(suffix)
    return field_name


def pick(data: object, field_name: str) -> Any:
    """A field of a description, be it built already or still raw (by YAML key or field name)."""
    if isinstance(data, Mapping):
        return data.get(yaml_key(field_name), data.get(field_name))
    return getattr(data, field_name, None) if isinstance(data, BaseModel) else None


def pick_mapping(data: object, field_name: str) -> Mapping[str, Any]:
    """A field that is a mapping; empty when it is absent or not a mapping (said elsewhere)."""
    found = pick(data, field_name)
    return found if isinstance(found, Mapping) else {}


def pick_bytes(data: object, field: str) -> int:
    """A size of a description, raw or built; 0 when it is absent or wrong (said elsewhere)."""
    value = pick(data, field)
    try:
        return value if isinstance(value, int) else int(parse_quantity(value, "size"))
    except SpecError:
        return 0


class Spec(BaseModel):
    """A frozen description; a misspelt key is an error. `source` covers every value below it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,  # "off" is no boolean and "12" no number
        alias_generator=yaml_key,
        populate_by_name=True,
    )
    source: str | None = Field(default=None, description="where the values below come from")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """What is wrong between fields. `data` may be raw, so that all errors come in one go."""
        yield from ()

    def contradictions(self) -> Iterator[Relation]:
        """What is wrong where every field and relation is right: it takes the parsed values."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _check_relations(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, cls):
            return data
        try:
            spec = handler(data)
        except ValidationError as error:
            _raise_with(error, cls._relations_of_wrong(data))
            raise
        broken = list(cls.relations(data)) or list(spec.contradictions())
        if broken:
            raise ValidationError.from_exception_data(cls.__name__, _details(broken))
        return spec

    @classmethod
    def _relations_of_wrong(cls, data: object) -> list[Relation]:
        """Of data that are wrong already: where they have a shape no rule expects, that is said."""
        try:
            return list(cls.relations(data))
        except (AttributeError, TypeError):
            return []


def _details(relations: list[Relation]) -> list[InitErrorDetails]:
    return [
        InitErrorDetails(
            type=PydanticCustomError(RELATION, "{message}", {"message": message}),
            loc=loc,
            input=None,
        )
        for loc, message in relations
    ]


def _kept(error: ValidationError) -> list[InitErrorDetails]:
    kept = []
    for found in error.errors(include_url=False):
        if found["type"] == RELATION:  # of a description below this one
            kept += _details([(found["loc"], found["msg"])])
        else:
            details = InitErrorDetails(type=found["type"], loc=found["loc"], input=found["input"])
            if "ctx" in found:
                details["ctx"] = found["ctx"]
            kept.append(details)
    return kept


def _raise_with(error: ValidationError, relations: list[Relation]) -> None:
    if relations:
        details = _kept(error) + _details(relations)
        raise ValidationError.from_exception_data(error.title, details) from None


class DeviceSpec(Spec):
    """What every device file has; `kind` picks the class."""

    name: str = Field(min_length=1)
    title: str | None = None


def _parser(dimension: str, *, positive: bool) -> Callable[[Any], float | int]:
    def parse(value: Any) -> float | int:
        number = parse_quantity(value, dimension)
        if number < 0 or (positive and number == 0):
            least = "above" if positive else "at least"
            raise SpecError(f"{value!r}: {article(dimension)} here must be {least} 0")
        if dimension in INTEGER_DIMENSIONS:
            if number != int(number):
                raise SpecError(f"{value!r}: {article(dimension)} here must be whole")
            return int(number)
        return number

    return parse


def _words(dimension: str, *, positive: bool) -> str:
    """What a quantity must be, with all units it may have."""
    least = "above" if positive else "at least"
    return f"{article(dimension)} {least} 0, with its unit: {', '.join(UNITS[dimension])}"


def _schema(dimension: str, *, positive: bool) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "string",
            "title": dimension,
            "description": _words(dimension, positive=positive),
            "pattern": unit_pattern(dimension),
            "examples": [EXAMPLES[dimension]],
        }
    )


def _v(dimension: str, positive: bool = True) -> tuple[BeforeValidator, WithJsonSchema]:
    parser = BeforeValidator(_parser(dimension, positive=positive))
    return parser, _schema(dimension, positive=positive)


Ns = Annotated[float, *_v("time")]
NsOrZero = Annotated[float, *_v("time", False)]
Bytes = Annotated[int, *_v("size")]
BytesOrZero = Annotated[int, *_v("size", False)]
Bits = Annotated[int, *_v("width")]
BytesPerNs = Annotated[float, *_v("bandwidth")]
Gbps = Annotated[float, *_v("pin rate")]
Ghz = Annotated[float, *_v("frequency")]
Tflops = Annotated[float, *_v("compute rate")]
Pj = Annotated[float, *_v("energy", False)]
PjPerBit = Annotated[float, *_v("energy per bit", False)]
Mw = Annotated[float, *_v("power", False)]
Volt = Annotated[float, *_v("voltage")]
MilliAmp = Annotated[float, *_v("current", False)]
Ck = Annotated[int, *_v("cycles", False)]
Count = Annotated[int, Field(gt=0)]


def unknown(what: str, found: object, known: list[str]) -> str:
    """`unknown <what> 'x', allowed: a, b, did you mean 'y'?`"""
    hint = did_you_mean(str(found), known)
    return f"unknown {what} {found!r}, allowed: {', '.join(known) or 'none'}{hint}"
