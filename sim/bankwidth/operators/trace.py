"""A trace: operators in blocks, blocks repeated. One transformer layer, N times, is one block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator, in_layer
from bankwidth.operators.dtypes import DTYPE_BITS, unknown_dtype

Scalar = str | int | float | bool | None
TOKENS_PER_STEP: Final = (
    "tokens_per_step"  # key of `meta`: what a step yields per sequence, expected
)


class Step(NamedTuple):
    """An operator of the unrolled trace; `deps` are the positions of earlier steps."""

    operator: Operator
    deps: tuple[int, ...]


def graph_problem(operators: Sequence[Operator]) -> tuple[int, str] | None:
    """First (position, problem) in a block's names and dependencies, None when there is none."""
    seen: set[str] = set()
    for position, operator in enumerate(operators):
        if operator.name in seen or operator.name == PREVIOUS:
            return position, f"the name {operator.name!r} is taken"
        for dep in operator.deps:
            if dep != PREVIOUS and dep not in seen:
                hint = did_you_mean(dep, seen)
                return position, (
                    f"{operator.name!r} depends on {dep!r}, which is no earlier operator of this "
                    f"block and not {PREVIOUS!r}{hint}"
                )
        seen.add(operator.name)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Operators executed `repeat` times; `layer` counts up from theirs with each iteration."""

    name: str
    repeat: int = 1
    operators: tuple[Operator, ...]

    def __post_init__(self) -> None:
        if self.repeat < 1:
            raise TraceError(f"block {self.name!r}: repeat must be at least 1, got {self.repeat}")
        if not self.operators:
            raise TraceError(f"block {self.name!r} has no operators")
        problem = graph_problem(self.operators)
        if problem is not None:
            raise TraceError(f"block {self.name!r}: {problem[1]}")

    @property
    def flops(self) -> int:
        return self.repeat * sum(operator.flops for operator in self.operators)

    @property
    def read_bytes(self) -> int:
        return self.repeat * sum(operator.read_bytes for operator in self.operators)

    @property
    def write_bytes(self) -> int:
        return self.repeat * sum(operator.write_bytes for operator in self.operators)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The operators of one run of a model, and the memory that they need.

    `context` is the length of the KV cache that decode attends to, the prompt in the other phases;
    `output_tokens` counts the decode steps per sequence (1 for a prefill: its logits). `dtypes` has
    the keys weight, activation, kv. `weight_bytes` and `kv_bytes` are what must be stored at the
    end of the run, `activation_bytes` is the peak of live activations; `far_bytes` are what a
    technique keeps in a memory further away.
    """

    rare_fields: ClassVar[tuple[str, ...]] = ("far_bytes",)

    model: str
    phase: str
    batch: int
    context: int
    output_tokens: int
    dtypes: Mapping[str, str]
    blocks: tuple[Block, ...]
    weight_bytes: int
    kv_bytes: int
    activation_bytes: int
    meta: Mapping[str, Scalar] = field(default_factory=dict)
    far_bytes: int = 0

    def __post_init__(self) -> None:
        if not self.blocks:
            raise TraceError("a trace needs at least one block")
        least = {"batch": 1, "context": 0, "output_tokens": 0}
        least |= {"weight_bytes": 0, "kv_bytes": 0, "activation_bytes": 0, "far_bytes": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise TraceError(f"{name} must be at least {minimum}, got {getattr(self, name)}")
        for role, dtype in self.dtypes.items():
            if dtype not in DTYPE_BITS:
                raise TraceError(f"dtypes: {role}: {unknown_dtype(str(dtype))}")

    @property
    def flops(self) -> int:
        return sum(block.flops for block in self.blocks)

    @property
    def read_bytes(self) -> int:
        return sum(block.read_bytes for block in self.blocks)

    @property
    def write_bytes(self) -> int:
        return sum(block.write_bytes for block in self.blocks)

    @property
    def num_steps(self) -> int:
        """Operators of the unrolled trace."""
        return sum(block.repeat * len(block.operators) for block in self.blocks)

    def expand(self) -> Iterator[Step]:
        """The unrolled trace, in order: every operator with its layer and the steps it waits for.

        `@prev` of the very first iteration waits for nothing.
        """
        first = 0
        for block, layers in self._in_layers():
            offsets = _offsets(block.operators)
            for iteration in range(block.repeat):
                for operators, deps in zip(layers, offsets, strict=True):
                    waits = tuple([first + dep for dep in deps if first + dep >= 0])
                    yield Step(operators[iteration], waits)
                first += len(block.operators)

    def operators(self) -> Iterator[Operator]:
        """Those of `expand`, without what they wait for."""
        for block, layers in self._in_layers():
            for iteration in range(block.repeat):
                yield from [operators[iteration] for operators in layers]

    def _in_layers(self) -> Iterator[tuple[Block, list[tuple[Operator, ...]]]]:
        """Each block with its operators' iterations."""
        known: dict[Operator, tuple[Operator, ...]] = {}
        for block in self.blocks:
            yield block, [_in_layers(each, block.repeat, known) for each in block.operators]


def _offsets(operators: Sequence[Operator]) -> list[tuple[int, ...]]:
    """What each operator of a block waits for, counted from the first of its iteration."""
    position = {operator.name: index for index, operator in enumerate(operators)}
    position[PREVIOUS] = -1
    return [tuple(position[dep] for dep in operator.deps) for operator in operators]


def _in_layers(
    operator: Operator, layers: int, known: dict[Operator, tuple[Operator, ...]]
) -> tuple[Operator, ...]:
    """The operator of each iteration; equal ones of other blocks are the same objects."""
    made = known.get(operator, ())
    if len(made) < layers:
        made += tuple(_in_layer(operator, iteration) for iteration in range(len(made), layers))
        known[operator] = made
    return made


def _in_layer(operator: Operator, iteration: int) -> Operator:
    if operator.layer == OUTSIDE:
        return operator
    return in_layer(operator, operator.layer + iteration)
