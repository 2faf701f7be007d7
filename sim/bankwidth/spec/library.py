"""Which kernels of a library a GPU runs where libraries differ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bankwidth.spec.attention_kernels import AttentionSpec
from bankwidth.spec.base import NsOrZero, Spec
from bankwidth.spec.matmul_kernels import ScaledMatmulSpec


class LibrarySpec(Spec):
    """A kernel library on this device."""

    attention: AttentionSpec = Field(description="kernels and their choice by shape")
    matmul_start_ns: NsOrZero | None = Field(
        default=None, description="of its matrix products, where it is not `start` of `matmul`"
    )
    scaled: ScaledMatmulSpec | None = Field(
        default=None, description="8-bit products; absent: as those of other formats"
    )
    collectives: Literal["nccl", "vllm", "tensorrt_llm"] = Field(
        default="nccl", description="kernels for small messages; long ones are NCCL's"
    )
    vector: Literal["eager", "compiled"] = Field(
        default="eager",
        description="norms and functions: written by hand (vLLM before 0.3, torch), or compiled",
    )
