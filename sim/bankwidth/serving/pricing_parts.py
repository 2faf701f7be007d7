"""An iteration's operators in three parts that are priced by themselves.

What most operators do depends on how many tokens go through the model, whoever's they are:
products, norms, collectives (*token* operators). The head's product depends on how many sequences
get a token (*logits* operators). Attention, and whatever else looks at what a sequence has cached,
depends on the sequences (*sequence* operators). Which operator is which is not listed: passes that
differ in one of these are compared, and what differs between them depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from bankwidth.mapping.shares import share_of
from bankwidth.operators import PREVIOUS, Operator, Trace, Workload, shard
from bankwidth.operators.make import make_pass_trace
from bankwidth.operators.parallel import sharing_devices
from bankwidth.operators.passes import Group, Pass, Phase
from bankwidth.spec import MachineSpec

Part: TypeAlias = Literal["tokens", "logits", "sequences"]
Name: TypeAlias = tuple[str, str]  # of a block, of an operator
LEAST_KV: Final = 64  # cached tokens of the passes that are compared, and of token parts
SEQUENCES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model as it is served: on which machine, on how many equal devices, in which formats.

    `tensor` devices share each product, where neither the machine's `parallel:` nor a technique
    says how the model is shared. `options` are those of `make_pass_trace`: dtypes, techniques.
    """

    machine: MachineSpec
    workload: Workload
    tensor: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def whole_trace(self, groups: tuple[Group, ...], logits: int | None = None) -> Trace:
        """One pass of the model, before devices share it.

        Raises SpecError for what the model cannot do.
        """
        techniques = self.options.get("techniques") or getattr(self.workload, "techniques", None)
        if techniques is None or techniques.parallel is None:
            return self._made(groups, logits, self.options)
        alone = techniques.model_copy(update={"parallel": None})
        return self._made(groups, logits, {**self.options, "techniques": alone})

    def trace(self, groups: tuple[Group, ...], logits: int | None = None) -> Trace:
        """One device's share of one pass. Raises MappingError where it cannot be shared out."""
        trace = self._made(groups, logits, self.options)
        if self.machine.parallel is None and sharing_devices(trace) == 1:
            return shard(trace, self.tensor)
        return share_of(self.machine, trace)

    def _made(
        self, groups: tuple[Group, ...], logits: int | None, options: Mapping[str, Any]
    ) -> Trace:
        phase: Phase = "prefill" if all(g.phase == "prefill" for g in groups) else "decode"
        run = Pass(phase=phase, groups=groups, logits=logits)
        return make_pass_trace(self.workload, run, **options)

    @cached_property
    def devices(self) -> int:
        """Devices that work on an iteration at once; a run's times are those of one."""
        return sharing_devices(self.trace((_decode(1, LEAST_KV),)))


class Parts:
    """Which operators of a model belong to which part."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def tokens(self, number: int) -> Trace | None:
        """Token operators of so many tokens."""
        return self._part("tokens", _decode(number, LEAST_KV), 1)

    def logits(self, number: int) -> Trace | None:
        """The head for so many sequences; None where the model has no head."""
        return self._part("logits", _decode(max(number, 1), LEAST_KV), number)

    def sequences(self, group: Group) -> Trace | None:
        """Sequence operators of equal sequences."""
        return self._part("sequences", group, 1)

    def _part(self, part: Part, group: Group, logits: int) -> Trace | None:
        trace = self.served.trace((group,), logits)
        return selected(trace, lambda name: self._kind(name) == part)

    def _kind(self, name: Name) -> Part:
        return self._kinds.get(name, "sequences")

    @cached_property
    def _kinds(self) -> dict[Name, Part]:
        """Token and logits operators; all others look at sequences."""
        base = self._operators(_decode(SEQUENCES, LEAST_KV), 2)
        longer = self._operators(_decode(SEQUENCES, 2 * LEAST_KV), 2)
        together = self._operators(
            Group(batch=1, q_len=SEQUENCES, kv_len=LEAST_KV, phase="prefill"), 2
        )
        more = self._operators(_decode(SEQUENCES, LEAST_KV), 3)
        kinds: dict[Name, Part] = {}
        for name, op in base.items():
            if op == longer.get(name) == together.get(name):
                kinds[name] = "tokens" if op == more.get(name) else "logits"
        return kinds

    def _operators(self, group: Group, logits: int) -> dict[Name, Operator]:
        trace = self.served.trace((group,), logits)
        return {(block.name, op.name): op for block in trace.blocks for op in block.operators}


def _decode(sequences: int, kv_len: int) -> Group:
    return Group(batch=sequences, q_len=1, kv_len=kv_len, phase="decode")


def selected(trace: Trace, wanted: Callable[[Name], bool]) -> Trace | None:
    """The wanted operators one after the other; None where there are none."""
    blocks = []
    for block in trace.blocks:
        kept = [op for op in block.operators if wanted((block.name, op.name))]
        if kept:
            blocks.append(replace(block, operators=_in_line(kept)))
    return replace(trace, blocks=tuple(blocks)) if blocks else None


def _in_line(operators: list[Operator]) -> tuple[Operator, ...]:
    names = [PREVIOUS, *(op.name for op in operators)]
    return tuple(replace(op, deps=(names[i],)) for i, op in enumerate(operators))
