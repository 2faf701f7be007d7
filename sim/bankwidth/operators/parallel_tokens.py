"""One device's tokens: sequences shared out among groups, contexts among devices of a group.

Groups of devices that have sequences of their own (data parallelism; the experts of a layer are
shared by all of them) run every operator on fewer sequences. Of a context (Liu et al. 2023, Ring
Attention, arXiv 2310.01889; Yang et al. 2024, arXiv 2411.01783) each device keeps the keys and
values of some tokens:

- a prefill runs everything on its own tokens and gathers keys and values. A device has a piece from
  the front and one from the back, so that causal attention is shared out equally.
- a decode step runs everything on every device, attention on the tokens that it keeps. Logarithms
  of the sums of exponentials are gathered, outputs scaled by them and added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from bankwidth.errors import MappingError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.movement import Collective, Embedding, KvAppend
from bankwidth.operators.trace import Block
from bankwidth.operators.vector import Elementwise

# Kinds and the fields that count their tokens. Experts are those of all groups together.
TOKEN_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "matmul": ("m",),
    "embedding": ("tokens",),
    "norm": ("rows",),
    "softmax": ("rows",),
    "elementwise": ("elements", "rows"),
    "rope": ("tokens",),
    "kv_append": ("tokens", "stored_len"),
    "attention": ("batch",),
    "scan": ("batch",),
    "conv": ("batch",),
    "score": ("batch",),
    "select": ("rows",),
    "kv_read": ("tokens",),
}
# What looks at other tokens in a way that has no share by tokens here.
_WHOLE_CONTEXT: Final = ("scan", "conv", "score", "select", "kv_read", "fetch")
LSE_BYTES: Final = 4  # of one head of one token, fp32


def passes_of(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """The blocks of each forward pass: one begins where tokens are looked up."""
    found: list[Block] = []
    for block in blocks:
        if found and any(isinstance(op, Embedding) for op in block.operators):
            if any(op.layer >= 0 for before in found for op in before.operators):
                yield found
                found = []
        found.append(block)
    yield found


def pass_tokens(blocks: Sequence[Block]) -> int:
    """New tokens of a forward pass: those looked up, else the rows of its first product."""
    operators = [op for block in blocks for op in block.operators]
    counted = [op.tokens for op in operators if isinstance(op, Embedding)]
    counted += [op.m for op in operators if isinstance(op, Matmul)]
    return counted[0] if counted else 1


# ---- sequences


def for_group(blocks: Sequence[Block], groups: int) -> tuple[Block, ...]:
    """What one of `groups` groups of devices runs: an equal number of the sequences.

    Raises MappingError where the sequences cannot be shared out equally.
    """
    return tuple(_each(block, lambda op: _fewer(op, groups)) for block in blocks)


def _fewer(op: Operator, groups: int) -> Operator:
    changes = {}
    for field in TOKEN_FIELDS.get(op.kind, ()):
        count = getattr(op, field)
        if count and count % groups:
            raise MappingError(
                f"{op.kind} {op.name!r}: {field} {count} cannot be shared out equally over {groups}"
                f" groups of devices with sequences of their own; choose a batch that is a "
                f"multiple of {groups}, or share products as well (tensor), which makes them fewer"
            )
        changes[field] = count // groups if count else count
    return replace(op, **changes)


def _each(block: Block, change: Callable[[Operator], Operator]) -> Block:
    return replace(block, operators=tuple(change(op) for op in block.operators))


# ---- contexts


def for_context(blocks: Sequence[Block], ways: int) -> list[Block]:
    """One forward pass as one of `ways` devices runs it that share each sequence's context.

    Raises MappingError for recurrences and selections, which have no share of a context here.
    """
    operators = [op for block in blocks for op in block.operators]
    for op in operators:
        if op.kind in _WHOLE_CONTEXT:
            raise MappingError(
                f"{op.kind} {op.name!r} cannot be shared out by tokens over {ways} devices; leave "
                f"out context, or share by heads: tensor"
            )
    attentions = [op for op in operators if isinstance(op, Attention)]
    if attentions and all(_is_cut(op, ways) for op in attentions):
        tokens = pass_tokens(blocks)
        return [_with_own_tokens(block, ways, tokens) for block in blocks]
    return [_with_own_cache(block, ways) for block in blocks]


def _is_cut(op: Attention, ways: int) -> bool:
    """Whether a prompt's tokens make two equal pieces for each device."""
    return op.q_len == op.kv_len and op.q_len % (2 * ways) == 0 and op.kv_role != "far"


def _with_own_tokens(block: Block, ways: int, tokens: int) -> Block:
    made: list[Operator] = []
    latents = {op.name for op in block.operators if isinstance(op, KvAppend) and op.latent}
    for op in block.operators:
        if isinstance(op, Attention):
            made += _pieces(op, ways)
        elif isinstance(op, KvAppend):
            held = -(-op.tokens // ways)
            made.append(replace(op, tokens=held, stored_len=_held(block, op, held, ways)))
        elif isinstance(op, Matmul) and latents.intersection(op.deps):
            made += _expanded(op, ways)
        else:
            made.append(_fewer_of(op, ways, tokens))
    return replace(block, operators=tuple(made))


def _held(block: Block, append: KvAppend, tokens: int, ways: int) -> int:
    """Tokens that a device then keeps: attention reads all of them, and says nothing of it."""
    kept = (
        op.batch * min(op.kv_len, op.window or op.kv_len)
        for op in block.operators
        if isinstance(op, Attention) and append.name in op.deps
    )
    return -(-next(kept, tokens * ways) // ways)


def _fewer_of(op: Operator, ways: int, tokens: int) -> Operator:
    """Fields that count all tokens; logits are of the last one of each sequence."""
    fields = ("tokens",) if op.kind == "moe" else TOKEN_FIELDS.get(op.kind, ())
    counts = {field: getattr(op, field) for field in fields}
    whole = {field: n for field, n in counts.items() if n and n % tokens == 0}
    return replace(op, **{field: n // ways for field, n in whole.items()})


def _expanded(op: Matmul, ways: int) -> list[Operator]:
    """Latents of all tokens, which every device expands for its own."""
    size_bytes = packed_bytes(op.m * op.k, op.dtype)
    gathered = _gathered(op, op.deps, size_bytes, ways)
    return [gathered, replace(op, deps=(gathered.name,))]


def _pieces(op: Attention, ways: int) -> list[Operator]:
    """Keys and values of all tokens, then attention of the first piece and of the last one."""
    made: list[Operator] = []
    first, *others = op.deps or ("",)
    if op.kv_role == "kv":
        size_bytes = sum(t.size_bytes for t in op.inputs if t.role == "kv")
        made.append(_gathered(op, tuple(others), size_bytes, ways))
        others = [made[0].name]
    deps = tuple(dep for dep in (first, *others) if dep)
    piece = op.q_len // (2 * ways)
    cut: dict[str, Any] = {"q_len": piece, "kv_role": "activation"}
    early = replace(op, name=f"{op.name}.early", deps=deps, kv_len=piece, **cut)
    return [*made, early, replace(op, deps=(*deps, early.name), **cut)]


def _gathered(op: Operator, deps: tuple[str, ...], size_bytes: int, ways: int) -> Collective:
    return Collective(
        name=f"{op.name}.all_gather",
        layer=op.layer,
        deps=deps,
        function="all_gather",
        size_bytes=size_bytes,
        ways=ways,
    )


def _with_own_cache(block: Block, ways: int) -> Block:
    made: list[Operator] = []
    renamed: dict[str, str] = {}
    for whole in block.operators:
        op = replace(whole, deps=tuple(renamed.get(dep, dep) for dep in whole.deps))
        if isinstance(op, Attention):
            attended = _joined(_own_cache(op, ways), ways)
            made += attended
            renamed[op.name] = attended[-1].name
        elif isinstance(op, KvAppend):
            held = -(-op.stored_len // ways)
            made.append(replace(op, tokens=-(-op.tokens // ways), stored_len=held))
        else:
            made.append(op)
    return replace(block, operators=tuple(made))


def _own_cache(op: Attention, ways: int) -> Attention:
    """Attention over the tokens that a device keeps; those that are new lie on one of them."""
    fields = ("kv_len", "window", "residual", "stored_len")
    counts = {field: getattr(op, field) for field in fields}
    shared = {field: -(-count // ways) for field, count in counts.items() if count}
    return replace(op, **shared, causal=op.causal and op.q_len <= shared["kv_len"])


def _joined(op: Attention, ways: int) -> list[Operator]:
    """Attention, and what makes the devices' outputs one."""
    rows = op.batch * op.q_len * op.n_heads
    elements = rows * op.value_dim
    sums = Collective(
        name=f"{op.name}.all_gather",
        layer=op.layer,
        deps=(op.name,),
        function="all_gather",
        size_bytes=ways * rows * LSE_BYTES,
        ways=ways,
        dtype="fp32",
    )
    scaled = Elementwise(
        name=f"{op.name}.scale",
        layer=op.layer,
        deps=(op.name, sums.name),
        function="mul",
        elements=elements,
        num_inputs=2,
        dtype=op.dtype,
        rows=op.batch * op.q_len,
    )
    added = Collective(
        name=f"{op.name}.all_reduce",
        layer=op.layer,
        deps=(scaled.name,),
        function="all_reduce",
        size_bytes=packed_bytes(elements, op.dtype),
        ways=ways,
        dtype=op.dtype,
    )
    return [op, sums, scaled, added]
