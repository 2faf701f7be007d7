"""What every operator has: a place in the graph, tensors in and out, and work.

An operator knows shapes and dtypes; it knows nothing of hardware. Its tensors follow from its
sizes, so the two cannot contradict each other and a trace file holds the sizes alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final, TypeVar

from bankwidth.errors import TraceError
from bankwidth.operators.dtypes import DTYPE_BITS, unknown_dtype
from bankwidth.operators.tensor import Tensor

PREVIOUS: Final = "@prev"  # dependency on the last operator of the previous block or iteration
OUTSIDE: Final = -1  # `layer` of an operator that belongs to no layer


OperatorT = TypeVar("OperatorT", bound="Operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator(ABC):
    """One node of the graph.

    `deps` name earlier operators of the same block, or `@prev`. The first ones give the activation
    inputs, in order; any further ones only order the execution.
    """

    kind: ClassVar[str]
    size_fields: ClassVar[tuple[str, ...]]  # fields that must be at least 1
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype",)  # hold a canonical dtype, or None
    rare_fields: ClassVar[tuple[str, ...]] = ()  # which files leave out at their default

    name: str
    layer: int = OUTSIDE
    deps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_sizes(self, self.size_fields)
        check_dtypes(self, self.dtype_fields)
        self.check()

    def check(self) -> None:  # noqa: B027 - most kinds have no further rule
        """Further rules of a kind; raises TraceError."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Tensor, ...]: ...

    @property
    @abstractmethod
    def outputs(self) -> tuple[Tensor, ...]: ...

    @property
    @abstractmethod
    def flops(self) -> int:
        """Arithmetic operations: a multiply-add is two, an exponential or a root is one."""

    @property
    def read_bytes(self) -> int:
        """Every input once."""
        return sum(tensor.size_bytes for tensor in self.inputs)

    @property
    def write_bytes(self) -> int:
        """Every output once."""
        return sum(tensor.size_bytes for tensor in self.outputs)

    @property
    def stored_bytes(self) -> int:
        """What it keeps in the cache from one step to the next."""
        return 0

    @property
    def far_stored_bytes(self) -> int:
        """What it keeps in the memory that is further away."""
        return 0

    @property
    def output_name(self) -> str:
        return f"{self.name}.out"

    def input_name(self, index: int) -> str:
        """Name of the activation that dependency `index` gives.

        The last dependency also gives the inputs beyond it: the halves of a fused matmul's output.
        """
        return f"{self.deps[min(index, len(self.deps) - 1)]}.out" if self.deps else f"in{index}"


def in_layer(operator: OperatorT, layer: int) -> OperatorT:
    """The same operator of another layer; as `dataclasses.replace`, in a tenth of its time."""
    if operator.layer == layer:
        return operator
    kind = type(operator)
    twin = object.__new__(kind)
    for name, fill in _slots(kind):
        fill(twin, getattr(operator, name))
    object.__setattr__(twin, "layer", layer)
    return twin


@cache
def _slots(kind: type[Operator]) -> tuple[tuple[str, Callable[[Any, Any], None]], ...]:
    """Each field of a kind with its slot, which can be filled although the class is frozen."""
    owners = {name: owner for owner in reversed(kind.__mro__) for name in vars(owner)}
    return tuple((f.name, vars(owners[f.name])[f.name].__set__) for f in fields(kind))


def check_sizes(operator: Operator, fields: tuple[str, ...]) -> None:
    """Raises TraceError for a size below 1."""
    for field in fields:
        size = getattr(operator, field)
        if size < 1:
            raise invalid(operator, f"{field} must be at least 1, got {size}")


def check_dtypes(operator: Operator, fields: tuple[str, ...]) -> None:
    """Raises TraceError for a dtype that is given and not canonical."""
    for field in fields:
        dtype = getattr(operator, field)
        if dtype is not None and dtype not in DTYPE_BITS:
            raise invalid(operator, f"{field}: {unknown_dtype(dtype)}")


def check_choice(operator: Operator, field: str, allowed: tuple[str, ...]) -> None:
    """Raises TraceError for a value that is not among the allowed ones."""
    value = getattr(operator, field)
    if value not in allowed:
        raise invalid(operator, f"{field} must be one of {', '.join(allowed)}, got {value!r}")


def invalid(operator: Operator, problem: str) -> TraceError:
    return TraceError(f"{operator.kind} {operator.name!r}: {problem}")
