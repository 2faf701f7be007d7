"""Operators on the commands of AiM: the mapping of PIM-GPT, and the choices beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from bankwidth.devices.pim.program import MAC, PimProgram
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.kv_layout import HeadsApartLayout, KvLayout
from bankwidth.mapping.lower_pim import lower_matmul
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_geometry import PimGeometry, check_dtype
from bankwidth.mapping.stages import Fused, HostProduct, HostSoftmax, HostSum, InBanks, Stage
from bankwidth.operators import OUTSIDE, Attention, Elementwise, KvAppend, Matmul, Operator
from bankwidth.spec import PimMappingSpec, PimSpec

TABLE_FUNCTIONS: Final = ("gelu", "silu", "relu")  # of one input: a table look-up
_LAYOUTS: Final[dict[str, type[KvLayout]]] = {
    "concatenated": KvLayout,
    "per_channel": HeadsApartLayout,
}


class AimPrograms:
    """Layers of one shape share their programs, on rows of their own."""

    def __init__(self, spec: PimSpec, geometry: PimGeometry, options: PimMappingSpec) -> None:
        self._geometry = geometry
        self._options = options
        self._stages: dict[Any, tuple[Stage, ...]] = {}
        self._layouts: dict[Any, KvLayout] = {}

    def supports(self, op: Operator) -> bool:
        """Products with weights, attention, what fills its cache; functions of one input."""
        if isinstance(op, Elementwise):
            return self._options.activation_function == "bank" and op.function in TABLE_FUNCTIONS
        return isinstance(op, Attention | KvAppend) or (isinstance(op, Matmul) and op.has_weight)

    def repeats(self, op: Operator) -> bool:
        """Products do, unless it matters what follows them; attention has rows of its layer."""
        return isinstance(op, Matmul) and self._options.activation_function == "host"

    def tensor(self, op: Operator, index: int, context: LoweringContext) -> tuple[str, int]:
        """A matrix, or the keys and values of a layer."""
        match op:
            case Matmul():
                program = self.stages(op, index, context)[0]
                rows = program.program.rows if isinstance(program, InBanks) else 0
                return _in_layer(op.name, op), rows
            case Attention():
                return _in_layer("K/V space", op), self._layout(op, context).rows
            case KvAppend():
                attention = context.attention_after(index)
                return _in_layer("K/V space", op), self._layout(attention, context).rows
        return op.name, 0

    def stages(self, op: Operator, index: int, context: LoweringContext) -> Sequence[Stage]:
        """One program, or for attention two with a softmax between; then what is left to add."""
        match op:
            case Matmul():
                activates = self._activates(op, index, context)
                key: Any = (op.m * op.batch, op.n, op.k, activates, op.weight_dtype)
                return self._known(key, lambda: self._matmul(op, activates))
            case Attention():
                layout = self._layout(op, context)
                return self._known(_shape(op), lambda: self._attention(op, layout))
            case KvAppend():
                attention = context.attention_after(index)
                layout = self._layout(attention, context)
                key = ("append", _shape(attention))
                return self._known(key, lambda: self._append(attention, layout))
        return (Fused(),)

    def _known(self, key: Any, make: Callable[[], Iterator[Stage]]) -> tuple[Stage, ...]:
        if key not in self._stages:
            self._stages[key] = tuple(make())
        return self._stages[key]

    def _activates(self, op: Matmul, index: int, context: LoweringContext) -> bool:
        """Whether a function that the banks can take follows."""
        if self._options.activation_function == "host":
            return False
        after = context.operator_after(index)
        return isinstance(after, Elementwise) and op.name in after.deps and self.supports(after)

    def _matmul(self, op: Matmul, activates: bool) -> Iterator[Stage]:
        check_dtype(op.name, op.weight_dtype)
        program = lower_matmul(
            self._geometry,
            m=op.m * op.batch,
            n=op.n,
            k=op.k,
            options=self._options,
            activates=activates,
        )
        yield self._in_banks(program)
        yield from _sum(program)

    def _attention(self, op: Attention, layout: KvLayout) -> Iterator[Stage]:
        check_dtype(op.name, op.kv_dtype)
        programs = lower_attention(
            layout, kv_len=op.kv_len, q_len=op.q_len, causal=op.causal, options=self._options
        )
        heads = op.batch * op.n_heads
        if self._options.score == "bank":
            yield self._in_banks(programs.score, ".score")
        else:
            yield HostProduct(suffix=".score", m=op.q_len, n=op.kv_len, k=op.head_dim, batch=heads)
        yield HostSoftmax(programs.softmax_rows, programs.softmax_elements)
        if self._options.context == "bank":
            yield self._in_banks(programs.context, ".context")
            yield from _sum(programs.context)
        else:
            yield HostProduct(
                suffix=".context", m=op.q_len, n=op.head_dim, k=op.kv_len, batch=heads
            )

    def _append(self, attention: Attention, layout: KvLayout) -> Iterator[Stage]:
        first_token = attention.kv_len - attention.q_len
        program = lower_kv_append(layout, first_token=first_token, tokens=attention.q_len)
        yield self._in_banks(program, reads=False)

    def _layout(self, op: Attention, context: LoweringContext) -> KvLayout:
        key = (op.n_heads, op.n_kv_heads, op.head_dim, op.batch, context.longest_kv)
        if key not in self._layouts:
            self._layouts[key] = _LAYOUTS[self._options.heads](
                geometry=self._geometry,
                n_heads=op.n_heads,
                n_kv_heads=op.n_kv_heads,
                head_dim=op.head_dim,
                reserved_tokens=self._options.reserve_tokens or context.longest_kv,
                batch=op.batch,
            )
        return self._layouts[key]

    def _in_banks(self, program: PimProgram, suffix: str = "", *, reads: bool = True) -> InBanks:
        config = self._geometry.config
        commands = -(-program.mac_commands // self._geometry.channels)
        ideal_ps = commands * config.cadence_ck(MAC) * config.tick_ps
        return InBanks(program=program, suffix=suffix, reads=reads, ideal_ps=ideal_ps)


def _sum(program: PimProgram) -> Iterator[Stage]:
    if program.asic_adds:
        yield HostSum(program.asic_adds)


def _shape(op: Attention) -> tuple[Any, ...]:
    """What the attentions of all layers have in common."""
    sizes = (op.batch, op.q_len, op.kv_len, op.n_heads, op.n_kv_heads, op.head_dim)
    return (*sizes, op.causal, op.kv_dtype)


def _in_layer(name: str, op: Operator) -> str:
    return name if op.layer == OUTSIDE else f"{name} of layer {op.layer}"
