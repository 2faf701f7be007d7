"""Operators of a Kineto file as a trace: blocks, sizes, and what each execution took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.formats.aten_names import GENERAL
from bankwidth.operators.formats.base import Measured
from bankwidth.operators.formats.folding import Part, folded_blocks
from bankwidth.operators.formats.kineto_file import Recording
from bankwidth.operators.formats.kineto_items import Item
from bankwidth.operators.formats.kineto_window import Window
from bankwidth.operators.formats.one_block import of_blocks, stored_weights
from bankwidth.operators.movement import Embedding
from bankwidth.operators.trace import Block, Scalar, Trace
from bankwidth.operators.vector import Elementwise

_MODEL_SUFFIXES: Final = (".gz", ".json", ".trace", ".pt")


def trace_of(
    recording: Recording,
    window: Window,
    items: Sequence[Item],
    annotation: str | None,
    *,
    on_device: bool,
) -> tuple[Trace, tuple[Measured, ...]]:
    """The trace, and the times in the order of its unrolled operators.

    `items` are those that are understood; their times are of their kernels, or not `on_device`.
    """
    operators = [item.operator for item in items if item.operator is not None]
    blocks, parts = folded_blocks(operators, [_own_name(item) for item in items])
    measured = tuple(_measured(blocks, parts, items, on_device=on_device))
    meta = _meta(recording, window, annotation, measured, blocks)
    trace = of_blocks(_model(recording.path), blocks, meta=meta)
    return _described(trace, _passes(operators)), measured


@dataclass(frozen=True, slots=True)
class _Pass:
    """The operators from one look-up of tokens to the next: one forward pass."""

    operators: tuple[Operator, ...]

    @property
    def attentions(self) -> list[Attention]:
        return [op for op in self.operators if isinstance(op, Attention)]

    @property
    def weight_bytes(self) -> int:
        return sum(map(stored_weights, self.operators))

    @property
    def kv_bytes(self) -> int:
        return sum(op.stored_bytes for op in self.operators)

    @property
    def phase(self) -> str | None:
        phases = {attention.phase for attention in self.attentions}
        return phases.pop() if len(phases) == 1 else None


def _passes(operators: Sequence[Operator]) -> list[_Pass]:
    """An Embedding begins a pass, unless it follows another without an attention in between."""
    passes: list[list[Operator]] = [[]]
    for operator in operators:
        attended = any(isinstance(op, Attention) for op in passes[-1])
        if isinstance(operator, Embedding) and attended:
            passes.append([])
        passes[-1].append(operator)
    return [_Pass(tuple(members)) for members in passes]


def _described(trace: Trace, passes: Sequence[_Pass]) -> Trace:
    """What the attentions say of phase, batch and context; weights are those of one pass."""
    attentions = passes[-1].attentions
    phases = [each.phase for each in passes if each.attentions]
    kinds = set(phases)
    phase = trace.phase if not kinds or None in kinds else (phases[0] or trace.phase)
    if len(kinds) > 1 and None not in kinds:
        phase = "generate"
    return replace(
        trace,
        phase=phase,
        batch=attentions[0].batch if attentions else 1,
        context=max((each.kv_len for each in attentions), default=0),
        output_tokens=max(1, sum(each == "decode" for each in phases)),
        weight_bytes=max(each.weight_bytes for each in passes),
        kv_bytes=passes[-1].kv_bytes,
    )


def _measured(
    blocks: Sequence[Block], parts: Sequence[Part], items: Sequence[Item], *, on_device: bool
) -> Iterator[Measured]:
    for block, part in zip(blocks, parts, strict=True):
        for index in range(part.period * part.repeat):
            iteration, place = divmod(index, part.period)
            item = items[part.first + index]
            yield Measured(
                f"{block.name}[{iteration}].{block.operators[place].name}",
                item.measured_ns(on_device=on_device),
                tuple(kernel.name for kernel in item.kernels),
            )


def _meta(
    recording: Recording,
    window: Window,
    annotation: str | None,
    measured: Sequence[Measured],
    blocks: Sequence[Block],
) -> dict[str, Scalar]:
    meta: dict[str, Scalar] = {
        "source": "kineto",
        "file": recording.path.name,
        "device": _device(recording),
        "layers": sum(block.repeat for block in blocks if block.repeat > 1),
        "measured_us": sum(each.measured_ns for each in measured) / 1000,
    }
    if window.step is not None:
        meta["step"] = window.step
    if annotation is not None:
        meta["annotation"] = annotation
    return meta


def _device(recording: Recording) -> str:
    devices: Any = recording.header.get("deviceProperties")
    if not recording.kernels.start_ns or not isinstance(devices, list) or not devices:
        return "CPU"
    return str(devices[0].get("name", "GPU")) if isinstance(devices[0], dict) else "GPU"


def _model(path: Path) -> str:
    name = path.name
    for suffix in _MODEL_SUFFIXES:
        name = name.removesuffix(suffix)
    return name or path.name


def _own_name(item: Item) -> str | None:
    """What torch calls a function that has no name of its own here."""
    op = item.operator
    is_general = isinstance(op, Elementwise) and op.function in GENERAL
    return item.short.lstrip("_") if is_general and item.calls else None
