"""Number formats a rate or an energy is given for."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from bankwidth.errors import SpecError
from bankwidth.spec.base import unknown

DTYPES: Final = (
    "fp64", "fp32", "tf32", "bf16", "fp16", "fp8",
    "int8", "int7", "int6", "int5", "int4", "int3", "int2", "int1", "ternary",
    "q8_0", "q6_k", "q5_0", "q4_0", "q3_k", "q2_k", "mxfp8", "mxfp4", "nvfp4", "dfloat11",
)  # fmt: skip


def _known_dtype(name: str) -> str:
    if name not in DTYPES:
        raise SpecError(unknown("dtype", name, list(DTYPES)))
    return name


Dtype = Annotated[str, AfterValidator(_known_dtype)]
