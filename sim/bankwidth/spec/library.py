"""Which kernels of a library a GPU runs where libraries differ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bankwidth.spec.base import Spec

# Named in devices/gpu/attention_libraries.py; a test holds both lists equal.
AttentionKernels = Literal[
    "flash-attention-2",
    "flash-attention-2 on hopper",
    "sglang on ampere",
    "tensorrt-llm on hopper",
    "vllm on ampere",
    "vllm on hopper",
]


class LibrarySpec(Spec):
    """A kernel library on this device."""

    attention: AttentionKernels = Field(description="kernels and their choice by shape")
    collectives: Literal["nccl", "vllm", "tensorrt_llm"] = Field(
        default="nccl", description="kernels for small messages; long ones are NCCL's"
    )
    vector: Literal["eager", "compiled"] = Field(
        default="eager",
        description="norms and functions: written by hand (vLLM before 0.3, torch), or compiled",
    )
