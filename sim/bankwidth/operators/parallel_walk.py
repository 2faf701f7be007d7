"""One block as one of several equal devices runs it: what each operator has of its work.

What an operator leaves is one of these, and a collective makes one of another:

| layout | a device has                    | made whole by                                      |
| ------ | ------------------------------- | -------------------------------------------------- |
| whole  | all of it                       |                                                    |
| part   | some columns or heads           | all_gather                                         |
| sum    | all of it, still to be added up | all_reduce (or reduce_scatter, which makes tokens) |
| tokens | some rows: sequence parallelism | all_gather                                         |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from bankwidth.errors import MappingError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, Embedding, KvAppend
from bankwidth.operators.parallel_sizes import AGAIN, LINEAR, Sizes, shared_columns
from bankwidth.operators.scan import Conv, Scan
from bankwidth.operators.trace import Block
from bankwidth.operators.vector import Elementwise, Norm, Rope

Layout = Literal["whole", "part", "sum", "tokens"]
Function = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]

_COLLECTIVE: Final[dict[tuple[Layout, Layout], Function]] = {
    ("sum", "whole"): "all_reduce",
    ("sum", "tokens"): "reduce_scatter",
    ("tokens", "whole"): "all_gather",
    ("part", "whole"): "all_gather",
}
STATISTIC_BYTES: Final = 4  # what a norm adds up of a row, fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How the devices of a stage share its work; see operators/parallel.py."""

    tensor: int = 1
    expert: int = 1
    sequence: bool = False
    context: int = 1

    @property
    def groups(self) -> int:
        """Groups of devices with sequences of their own: where experts are shared by more."""
        return max(1, self.expert // self.tensor)

    @property
    def devices(self) -> int:
        return self.tensor * self.groups * self.context

    @property
    def sends_tokens(self) -> bool:
        """Whether tokens go to the devices of their experts, rather than experts see all tokens."""
        return self.expert > self.tensor or (self.sequence and 1 < self.expert == self.tensor)


class Share:
    """The operators of one block as one device has them."""

    def __init__(self, block: Block, ways: Ways, vocabulary: int, tokens: int) -> None:
        self._block = block
        self._ways = ways
        self._tensor = ways.tensor
        self._vocabulary = vocabulary  # rows of the table of tokens, columns of the head
        self._tokens = tokens  # new tokens of the pass
        self._shares_rows = ways.sequence and ways.tensor > 1 and tokens % ways.tensor == 0
        self._sizes = Sizes(block.operators, ways.tensor, tokens)
        self._layouts: dict[str, Layout] = {PREVIOUS: self._stream}
        self._parts: dict[str, tuple[int, int]] = {}  # of each part: which share, as a fraction
        self._whole: dict[str, tuple[int, str]] = {}  # elements and dtype of the whole output
        self._joined: dict[tuple[str, Layout], str] = {}
        self._made: list[Operator] = []

    def block(self) -> Block:
        """Raises MappingError where sizes do not divide."""
        for op in self._block.operators:
            self._remember(op)
            _RULES.get(op.kind, Share._other)(self, op)
        last = self._block.operators[-1].name
        if self._layouts[last] in ("sum", "part"):
            self._want(last, self._stream if self._layouts[last] == "sum" else "whole")
        return replace(self._block, operators=tuple(self._made))

    @property
    def _stream(self) -> Layout:
        """Layout of what goes from layer to layer."""
        return "tokens" if self._shares_rows else "whole"

    # ---- operators

    def _matmul(self, op: Matmul) -> None:
        if not op.has_weight:
            self._by_heads(op, "batch")
        elif self._layout(op) == "part":
            self._product_of_part(op)
        elif self._tensor > 1 and op.layer == OUTSIDE and op.n == self._vocabulary:
            op = self._on_whole(op)
            self._add(replace(op, n=-(-op.n // self._tensor)), "part")
            self._want(op.name, "whole")
        else:
            op = self._on_whole(op)
            self._product_of_whole(op)

    def _product_of_part(self, op: Matmul) -> None:
        if op.batch > 1:  # a product per head
            self._add(self._cut(op, "batch"), "part")
        else:
            self._add(self._cut(op, "k"), "sum")

    def _product_of_whole(self, op: Matmul) -> None:
        if op.layer == OUTSIDE or self._tensor == 1 or not self._sizes.may_split(op):
            self._add(op, "whole")
        elif op.name.endswith(AGAIN):
            n, share = self._sizes.columns_of_keys(op)
            self._add(replace(op, n=n), "part", share)
        elif op.batch > 1:
            self._add(self._cut(op, "batch"), "part")
        else:
            self._add(replace(op, n=self._sizes.columns(op)), "part")

    def _moe(self, op: Moe) -> None:
        ways = self._ways
        if ways.sends_tokens:
            self._moe_of_sent_tokens(op)
            return
        moe = replace(self._on_whole(op), moe_tp=op.moe_tp * (ways.tensor // ways.expert))
        self._add(replace(moe, moe_ep=op.moe_ep * ways.expert), "sum")

    def _moe_of_sent_tokens(self, op: Moe) -> None:
        """A token goes once to each device that has one of its experts, and a result comes back."""
        x = self._want(op.deps[0], self._stream) if op.deps else PREVIOUS
        expert = self._ways.expert
        local = -(-op.tokens // (self._ways.groups * self._tensor))
        copies = min(op.topk, expert)
        size_bytes = packed_bytes(local * copies * op.hidden, op.dtype)
        message: dict[str, Any] = {"size_bytes": size_bytes, "ways": expert, "dtype": op.dtype}
        sent = self._collective(f"{op.name}.dispatch", op.layer, x, "all_to_all", message)
        others = tuple(self._want(dep, "whole") for dep in op.deps[1:])
        self._made.append(replace(op, deps=(sent, *others), moe_ep=op.moe_ep * expert))
        back = self._collective(f"{op.name}.combine", op.layer, op.name, "all_to_all", message)
        layout: Layout = "tokens" if self._tensor > 1 else "whole"
        self._layouts[back] = layout
        self._whole[back] = (-(-op.tokens // self._ways.groups) * op.hidden, op.dtype)
        self._joined[op.name, layout] = back
        self._layouts[op.name] = layout
        if layout != self._stream:
            self._joined[op.name, "whole"] = self._want(back, "whole")

    def _embedding(self, op: Embedding) -> None:
        if op.vocab != self._vocabulary or self._tensor == 1:
            self._add(op, "whole")
            return
        self._add(replace(op, vocab=-(-op.vocab // self._tensor)), "sum")

    def _attention(self, op: Attention) -> None:
        if self._layout(op) != "part":
            self._on_stream(op)
            return
        heads = {"n_heads": self._sizes.share(op, "n_heads")}
        if not op.latent:
            heads["n_kv_heads"] = self._sizes.kv_heads(op, "n_kv_heads")
        self._add(replace(self._with_deps(op), **heads), "part")

    def _score(self, op: Any) -> None:
        if self._layout(op) != "part":
            self._on_stream(op)
            return
        heads = {name: self._sizes.kv_heads(op, name) for name in ("n_heads", "n_kv_heads")}
        self._add(replace(self._with_deps(op), **heads), "part")

    def _kv_append(self, op: KvAppend) -> None:
        if op.latent:
            self._add(self._with_deps(op), "whole")  # of the rotated heads it takes the one copied
            return
        if self._layout(op) != "part":
            self._on_whole_inputs(op)
            return
        heads = self._sizes.kv_heads(op, "kv_heads")
        self._add(replace(self._with_deps(op), kv_heads=heads), "part", (heads, op.kv_heads))

    def _rope(self, op: Rope) -> None:
        """Heads of query and key; where the latter are copied, so is their rotation."""
        if "part" not in self._layouts_of(op):
            self._on_stream(op)
            return
        heads = op.heads
        copied = self._sizes.copied_heads(op)
        local = -(-(heads - copied[0]) // self._tensor) + copied[1]
        if (heads - copied[0]) % self._tensor:
            raise self._sizes.indivisible(op, "heads", heads)
        self._add(replace(self._with_deps(op), heads=local), "part", (local, heads))

    def _scan(self, op: Scan) -> None:
        if "part" not in self._layouts_of(op):
            self._on_whole_inputs(op)
            return
        field = "heads" if op.heads > 1 else "head_dim"
        changes = {field: self._sizes.share(op, field), "groups": self._sizes.groups(op)}
        changes["parameters"] = -(-op.parameters // self._tensor)
        self._add(replace(self._with_deps(op), **changes), "part")

    def _conv(self, op: Conv) -> None:
        if self._layout(op) != "part":
            self._on_whole_inputs(op)
            return
        scan = self._sizes.scan_behind(op)
        copied = shared_columns(scan) if scan and op.width > scan.channels else 0
        width = self._sizes.with_copies(op, "width", copied, scan)
        self._add(replace(self._with_deps(op), width=width), "part", (width, op.width))

    def _norm(self, op: Norm) -> None:
        """Of heads: by rows. Of all columns: devices add up what they have of each row."""
        if self._layout(op) != "part":
            self._on_stream(op)
        elif op.rows > self._tokens:
            rows = self._sizes.norm_rows(op)
            self._add(replace(self._with_deps(op), rows=rows), "part")
        else:
            width = self._sizes.share(op, "width")
            message = {"size_bytes": op.rows * STATISTIC_BYTES, "dtype": "fp32"}
            name = f"{op.name}.all_reduce"
            added = self._collective(name, op.layer, op.deps[0], "all_reduce", message)
            self._add(replace(op, width=width, deps=(*op.deps, added)), "part")

    def _elementwise(self, op: Elementwise) -> None:
        layouts = self._layouts_of(op)
        if "part" in layouts:
            self._elementwise_of_parts(op, layouts)
        elif self._stays_sum(op, layouts):
            self._add(self._with_deps(op), "sum")
        else:
            self._on_stream(op)

    def _elementwise_of_parts(self, op: Elementwise, layouts: Sequence[Layout]) -> None:
        if any(layout != "part" for layout in layouts):
            raise self._needs_all(op)
        share = self._parts[op.deps[0]]
        elements, rest = divmod(op.elements * share[0], share[1])
        if rest:
            raise self._sizes.indivisible(op, "elements", op.elements)
        self._add(replace(op, elements=elements), "part", share)

    def _stays_sum(self, op: Elementwise, layouts: Sequence[Layout]) -> bool:
        if op.function == "add":
            return bool(layouts) and all(layout == "sum" for layout in layouts)
        is_linear = op.function in LINEAR and layouts.count("sum") == 1
        at = layouts.index("sum") if is_linear else 0
        return is_linear and (op.function == "mul" or at == len(layouts) - 1)

    def _by_rows(self, op: Any) -> None:
        """Softmax and selections, whose rows are of heads."""
        self._by_heads(op, "rows")

    def _by_heads(self, op: Any, field: str) -> None:
        layouts = self._layouts_of(op)
        if "part" not in layouts:
            self._on_whole_inputs(op)
        elif any(layout != "part" for layout in layouts):
            raise self._needs_all(op)
        else:
            self._add(self._cut(op, field), "part")

    def _fetch(self, op: Any) -> None:
        """Every device gets what it computes on."""
        sizes = {"size_bytes": -(-op.size_bytes // self._tensor)}
        if op.kept_bytes is not None:
            sizes["kept_bytes"] = -(-op.kept_bytes // self._tensor)
        sizes["pieces"] = min(op.pieces, sizes["size_bytes"])
        self._add(replace(self._with_deps(op), **sizes), "whole")

    def _exchange(self, op: Collective) -> None:
        """Among the devices that share a context: of what each device of the group has."""
        layout = self._layout(op)
        if layout != "part":
            self._add(self._with_deps(op), layout)
            return
        share = self._parts[op.deps[0]]
        size_bytes = -(-op.size_bytes * share[0] // share[1])
        self._add(replace(op, size_bytes=size_bytes), "part", share)

    def _other(self, op: Operator) -> None:
        if "part" in self._layouts_of(op):
            raise self._needs_all(op)
        self._on_whole_inputs(op)

    # ---- layouts

    def _layout(self, op: Operator) -> Layout:
        return self._layouts[op.deps[0]] if op.deps else "whole"

    def _layouts_of(self, op: Operator) -> list[Layout]:
        return [self._layouts[dep] for dep in op.deps]

    def _on_stream(self, op: Any) -> None:
        """Norms, residual additions: on as many rows as the stream has, if it is shared out."""
        layout = self._stream
        rows = {"norm": ("rows",), "elementwise": ("elements", "rows")}.get(op.kind)
        is_whole = all(found == "whole" for found in self._layouts_of(op))
        if layout == "whole" or rows is None or is_whole:
            self._on_whole_inputs(op)
            return
        changes = {name: n // self._tensor for name in rows if (n := getattr(op, name))}
        self._add(replace(self._with_deps(op, layout), **changes), layout)

    def _on_whole_inputs(self, op: Operator) -> None:
        self._add(self._with_deps(op, "whole"), "whole")

    def _on_whole(self, op: Any) -> Any:
        return self._with_deps(op, "whole")

    def _with_deps(self, op: Any, layout: Layout | None = None) -> Any:
        """An operator that waits for what its inputs have become, in a layout if one is given."""
        deps = tuple(
            self._want(dep, layout, op, index) if layout else self._as_it_is(dep)
            for index, dep in enumerate(op.deps)
        )
        return replace(op, deps=deps)

    def _as_it_is(self, name: str) -> str:
        return self._joined.get((name, self._layouts[name]), name)

    def _want(self, name: str, layout: Layout, op: Operator | None = None, index: int = 0) -> str:
        """The operator that leaves an output in a layout; a collective is added where it takes one.

        A part stays a part where only the order matters.
        """
        have = self._layouts[name]
        if have == layout or (have, layout) == ("whole", "tokens"):
            return self._as_it_is(name)
        key = (name, layout)
        if key not in self._joined:
            function = _COLLECTIVE[have, layout]
            elements, dtype = self._message(name, op, index)
            message = {"size_bytes": packed_bytes(elements, dtype), "dtype": dtype}
            source = self._as_it_is(name)
            called = f"{'in' if name == PREVIOUS else name}.{function}"
            layer = self._made[-1].layer if self._made else self._block.operators[0].layer
            self._joined[key] = self._collective(called, layer, source, function, message)
        return self._joined[key]

    def _message(self, name: str, op: Operator | None, index: int) -> tuple[int, str]:
        """Elements of the whole output, or of what is needed of it where that is less."""
        known = [self._whole[name]] if name in self._whole else []
        if op is not None:
            tensors = [t for t in op.inputs if t.role == "activation"]
            known += [(t.elements, t.dtype) for t in tensors[index : index + 1]]
        return min(known, key=lambda message: message[0])

    def _remember(self, op: Operator) -> None:
        made = next((t for t in op.outputs if t.role == "activation"), None)
        if made is not None:
            self._whole[op.name] = (made.elements, made.dtype)

    def _collective(
        self, name: str, layer: int, dep: str, function: Function, message: dict[str, Any]
    ) -> str:
        ways = {"ways": self._tensor, **message}
        self._made.append(
            Collective(name=name, layer=layer, deps=(dep,), function=function, **ways)
        )
        return name

    def _add(self, op: Operator, layout: Layout, share: tuple[int, int] | None = None) -> None:
        self._made.append(op)
        self._layouts[op.name] = layout
        if layout == "part":
            self._parts[op.name] = share or (1, self._tensor)

    def _cut(self, op: Any, field: str) -> Any:
        return replace(self._with_deps(op), **{field: self._sizes.share(op, field)})

    def _needs_all(self, op: Operator) -> MappingError:
        return MappingError(
            f"{op.kind} {op.name!r} needs all of what {', '.join(op.deps)} leave in parts on "
            f"{self._tensor} devices; a matmul with weights must come between"
        )


_RULES: Final[dict[str, Callable[[Share, Any], None]]] = {
    "matmul": Share._matmul,
    "moe": Share._moe,
    "embedding": Share._embedding,
    "attention": Share._attention,
    "score": Share._score,
    "kv_append": Share._kv_append,
    "rope": Share._rope,
    "scan": Share._scan,
    "conv": Share._conv,
    "norm": Share._norm,
    "elementwise": Share._elementwise,
    "softmax": Share._by_rows,
    "select": Share._by_rows,
    "fetch": Share._fetch,
    "collective": Share._exchange,
}
