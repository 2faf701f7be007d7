"""The base of every description, and the quantity types its fields are made of.

A field's Python name carries its canonical unit (`latency_ns`); in YAML the key is the same
without the suffix and the value carries the unit (`latency: "500 ns"`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from bankwidth.errors import SpecError
from bankwidth.units import EXAMPLES, INTEGER_DIMENSIONS, parse_quantity

# Longest first: `bandwidth_bytes_per_ns` must lose all of its unit.
UNIT_SUFFIXES: Final = (
    "_bytes_per_ns", "_pj_per_bit", "_tflops", "_bytes", "_gbps", "_bits",
    "_ghz", "_ns", "_pj", "_mw", "_ma", "_ck", "_v",
)  # fmt: skip


def yaml_key(field_name: str) -> str:
    """`latency_ns` -> `latency`: the key of a field in YAML."""
    for suffix in UNIT_SUFFIXES:
        if field_name.endswith(suffix):
            return field_name.removesuffix(suffix)
    return field_name


class Spec(BaseModel):
    """A frozen description; a misspelt key is an error. `source` covers every value below it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=yaml_key, populate_by_name=True
    )
    source: str | None = Field(default=None, description="where the values below come from")


def _parser(dimension: str, *, positive: bool) -> Callable[[Any], float | int]:
    def parse(value: Any) -> float | int:
        number = parse_quantity(value, dimension)
        if number < 0 or (positive and number == 0):
            least = "above" if positive else "at least"
            raise SpecError(f"{value!r}: a {dimension} here must be {least} 0")
        if dimension in INTEGER_DIMENSIONS:
            if number != int(number):
                raise SpecError(f"{value!r}: a {dimension} here must be whole")
            return int(number)
        return number

    return parse


def _schema(dimension: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "title": dimension, "examples": [EXAMPLES[dimension]]}
    )


def _v(dimension: str, positive: bool = True) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(_parser(dimension, positive=positive)), _schema(dimension)


Ns = Annotated[float, *_v("time")]
NsOrZero = Annotated[float, *_v("time", False)]
Bytes = Annotated[int, *_v("size")]
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
