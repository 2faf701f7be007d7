"""Tensors: what an operator reads and writes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bankwidth.operators.dtypes import packed_bytes

Role = Literal["weight", "activation", "kv", "far"]  # far: what a technique keeps elsewhere
KvRole = Literal["kv", "far", "activation"]  # where keys and values can be


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A dense, packed array. The role decides in which memory the mapping puts it.

    An activation is named after the operator that makes it, a weight after the one that reads it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return packed_bytes(self.elements, self.dtype)


def activation(name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype, role="activation")


def weight(name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype, role="weight")


def stored(name: str, shape: tuple[int, ...], dtype: str, role: KvRole) -> Tensor:
    """Keys and values, wherever they are."""
    return Tensor(name=name, shape=shape, dtype=dtype, role=role)


def cached(name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    return stored(name, shape, dtype, "kv")
