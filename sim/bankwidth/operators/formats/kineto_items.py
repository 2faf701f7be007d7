"""Calls as operators: the outermost call that is understood stands for all within it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bankwidth.errors import TraceError
from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import DTYPE_BITS
from bankwidth.operators.formats.aten import KNOWN, Call, aten_operator, torch_dtype
from bankwidth.operators.formats.aten_names import (
    ATTENTIONS,
    FUSED_ADD_NORMS,
    MATH_ATTENTION,
    PRODUCTS,
    SETTERS,
)
from bankwidth.operators.formats.kineto_calls import Calls, Kernel, Ran
from bankwidth.operators.formats.kineto_file import Comms, Signature
from bankwidth.operators.formats.kineto_names import COLLECTIVE, COPIES
from bankwidth.operators.movement import Collective
from bankwidth.operators.vector import Elementwise, Norm

# As record_param_comms names them -> ours; None: nothing is exchanged.
_COLLECTIVES: Final[dict[str, str | None]] = {
    **{name: "all_reduce" for name in ("allreduce", "all_reduce", "allreduce_coalesced")},
    **{name: "all_gather" for name in ("all_gather", "_allgather_base", "all_gather_into_tensor",
       "all_gather_into_tensor_out", "allgather", "allgather_into_tensor_coalesced")},
    **{name: "reduce_scatter" for name in ("reduce_scatter", "_reduce_scatter_base",
       "reduce_scatter_tensor", "reduce_scatter_tensor_coalesced")},
    **{name: "all_to_all" for name in ("all_to_all", "all_to_allv", "alltoall", "alltoall_base")},
    **{name: "send_recv" for name in ("send", "recv", "isend", "irecv")},
    **{name: None for name in ("barrier", "wait", "init", "monitored_barrier")},
}  # fmt: skip
_SHORT_DTYPES: Final = {"Float": "fp32", "Double": "fp64", "Byte": "int8", "Char": "int8"}
_POINT_TO_POINT: Final = 2
# Nodes of the backward graph: what they do is in the calls within them, views in the file no more.
_OF_AUTOGRAD: Final = re.compile(r"\w+Backward\d*|detach|.*AccumulateGrad|autograd::.*")
# Operators that may be understood by the calls within them where they are not by themselves.
_MADE_OF_OTHERS: Final = frozenset({*PRODUCTS, *ATTENTIONS})


@dataclass(frozen=True, slots=True)
class Item:
    """Calls that are one operator; None where it is not understood."""

    calls: tuple[Ran, ...]
    operator: Operator | None

    @property
    def call(self) -> Ran:
        return self.calls[0]

    @property
    def short(self) -> str:
        """Name of the call without library and `_` of in-place ones."""
        return self.call.name.rpartition("::")[2].removesuffix("_")

    def dims(self, index: int) -> tuple[int, ...]:
        return as_call(self.call.signature).dims(index)

    def dtype(self, index: int) -> str | None:
        return as_call(self.call.signature).dtype(index)

    @property
    def kernels(self) -> list[Kernel]:
        return [kernel for call in self.calls for kernel in call.all_kernels()]

    def measured_ns(self, *, on_device: bool) -> int:
        """Time of its kernels, or on a CPU of its calls with all within them."""
        if on_device:
            return sum(kernel.duration_ns for kernel in self.kernels)
        return sum(call.duration_ns for call in self.calls)


@dataclass(slots=True)
class Items:
    """Operators in order; how often calls were set aside, and why, by name."""

    found: list[Item] = field(default_factory=list)
    counting: Counter[str] = field(default_factory=Counter)
    unfused_attention: int = 0
    masked_attention: int = 0


def as_call(signature: Signature, list_dtype: str | None = None) -> Call:
    return Call(
        signature.name, signature.dims or (), signature.dtypes, signature.values, list_dtype
    )


def items_of(calls: Calls, path: Path) -> Items:
    """Every call that does work, in order.

    Raises TraceError with the line of a call that has no shapes.
    """
    return _Collector(path, has_kernels=calls.has_kernels).collect(calls.roots)


class _Collector:
    def __init__(self, path: Path, *, has_kernels: bool) -> None:
        self._path = path
        self._has_kernels = has_kernels
        self._items = Items()
        self._dtype: str | None = None  # of the last operator: what a list of tensors will have
        self._made: dict[tuple[Signature, str | None], list[Operator] | None] = {}

    def collect(self, roots: Sequence[Ran]) -> Items:
        for root in roots:
            self._take(root)
        return self._items

    def _take(self, ran: Ran) -> None:
        """Note the operator of a call, or look within it."""
        if ran.name in SETTERS:
            self._items.counting[ran.name] += 1
        elif ran.name == COLLECTIVE:
            self._note(ran, self._collective(ran))
        elif ran.name in KNOWN or ran.name in FUSED_ADD_NORMS:
            self._take_known(ran)
        else:
            self._look_within(ran)

    def _take_known(self, ran: Ran) -> None:
        signature = ran.signature
        if signature.dims is None:
            raise TraceError(
                f"{self._path}:{ran.line}: {ran.name!r} has no 'Input Dims': shapes were not "
                "recorded; profile with record_shapes=True"
            )
        call = as_call(signature)
        if call.counts_only:
            self._items.counting[ran.name] += any(map(bool, signature.dims))
            return
        made = self._operators(signature)
        if made is None and ran.children and ran.name in _MADE_OF_OTHERS:
            self._look_within(ran)
        elif any(map(bool, signature.dims)):
            self._note(ran, made)
            self._note_attention(ran)

    def _look_within(self, ran: Ran) -> None:
        """Of a call that is not understood those within it; itself, if there are none."""
        for child in ran.children:
            self._take(child)
        has_own_work = bool(ran.kernels) if self._has_kernels else not ran.children
        is_idle = self._has_kernels and all(k.name.startswith(COPIES) for k in ran.kernels)
        if not has_own_work or is_idle or (not ran.kernels and _OF_AUTOGRAD.fullmatch(ran.name)):
            return
        if as_call(ran.signature).counts_only and ran.signature.dims is not None:
            self._items.counting[ran.name] += 1
        else:
            self._items.found.append(Item((_alone(ran),), None))

    def _note(self, ran: Ran, operators: list[Operator] | None) -> None:
        if operators is None:
            self._items.found.append(Item((ran,), None))
            return
        for number, operator in enumerate(operators):
            # A call that is two operators: its time belongs to the last.
            calls = (ran,) if number == len(operators) - 1 else ()
            self._items.found.append(Item(calls, operator))
            self._dtype = getattr(operator, "dtype", self._dtype)

    def _note_attention(self, ran: Ran) -> None:
        where = ATTENTIONS.get(ran.name)
        if where is not None:
            within = ran.names_within() | {ran.name}
            self._items.unfused_attention += MATH_ATTENTION in within
            mask = where.mask
            self._items.masked_attention += mask is not None and bool(
                as_call(ran.signature).dims(mask)
            )

    def _operators(self, signature: Signature) -> list[Operator] | None:
        key = (signature, self._dtype)
        if key not in self._made:
            make = _fused_add_norm if signature.name in FUSED_ADD_NORMS else _single
            self._made[key] = make(signature, self._dtype)
        return self._made[key]

    def _collective(self, ran: Ran) -> list[Operator] | None:
        comms = ran.signature.comms
        if comms is None:
            raise TraceError(
                f"{self._path}:{ran.line}: {COLLECTIVE} without 'Collective name' and 'In msg "
                "nelems': written by a torch before 2.2? Record again with a newer one"
            )
        return _collective(comms)


def _alone(ran: Ran) -> Ran:
    """A call without those within it, which were taken on their own."""
    within = sum(child.duration_ns for child in ran.children)
    return replace(ran, duration_ns=ran.duration_ns - within, children=[])


def _single(signature: Signature, list_dtype: str | None) -> list[Operator] | None:
    call = as_call(signature, list_dtype)
    made = aten_operator("?", call.op, call.shapes, call.types, call.values, list_dtype=list_dtype)
    return None if made is None else [made]


def _fused_add_norm(signature: Signature, _: str | None) -> list[Operator] | None:
    """vLLM: x += residual; norm of the sum."""
    call = as_call(signature)
    x, dtype = call.dims(0), call.dtype(0)
    if not x or dtype is None:
        return None
    rows, width = math.prod(x[:-1]), x[-1]
    add = Elementwise(
        name="?", function="add", elements=rows * width, num_inputs=2, dtype=dtype, rows=rows
    )
    return [add, Norm(name="?", rows=rows, width=width, style="rms", dtype=dtype)]


def _collective(comms: Comms) -> list[Operator] | None:
    """A message's bytes; nothing for a barrier; None for what is no collective here."""
    function = _COLLECTIVES.get(comms.name.lower(), "")
    dtype = _SHORT_DTYPES.get(comms.dtype) or torch_dtype(comms.dtype)
    elements = max(comms.elements_in, comms.elements_out)
    if function is None or (function and not elements):
        return []
    if not function or dtype is None:
        return None
    return [
        Collective(
            name="?",
            function=function,  # type: ignore[arg-type]  # a value of _COLLECTIVES
            size_bytes=elements * DTYPE_BITS[dtype] // 8,
            ways=_POINT_TO_POINT if function == "send_recv" else comms.ways,
            dtype=dtype,
        )
    ]
