"""Keys and values in few bits: KIVI (Liu et al., ICML 2024, arXiv 2402.02750).

Keys are quantised by channel, in groups of tokens, values by token, in groups of channels; either
way a group has a scale and a zero point. The newest tokens stay as they are; as many leave that
window with each step as come in, and are written again in few bits. KVQuant (Hooper et al. 2024,
arXiv 2401.18079) has other widths; its outliers are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import canonical_dtype, unknown_dtype
from bankwidth.operators.model import ModelShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.selection import Score
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import readers, rewrite_block, rewrite_blocks
from bankwidth.operators.trace import Block, Trace
from bankwidth.spec.techniques.kv import KvQuantSpec


def _trace(trace: Trace, options: KvQuantSpec, model: ModelShape) -> Trace:
    keys = _format(options.keys, options) or trace.dtypes["kv"]
    values = _format(options.values, options) or trace.dtypes["kv"]
    quantised = rewrite_blocks(trace, lambda block: _block(block, keys, values, options.residual))
    return replace(quantised, dtypes={**trace.dtypes, "kv": keys})


def _format(width: int | str | None, options: KvQuantSpec) -> str | None:
    """The number format of a width in bits, or the one that is named.

    Raises SpecError for one that is not known.
    """
    if width is None:
        return None
    zero = "z" if options.zero_point else ""
    name = width if isinstance(width, str) else f"int{width}_g{options.group}{zero}"
    known = canonical_dtype(name)
    if known is None:
        raise SpecError(f"kv_quant: {unknown_dtype(name)}")
    return known


def _block(block: Block, keys: str, values: str, residual: int) -> Block:
    reading = readers(block)

    def quantised(op: Operator) -> list[Operator]:
        if isinstance(op, Attention) and op.kv_role != "activation":
            packed = replace(op, kv_dtype=keys, v_dtype=None if op.latent else values)
            return [replace(packed, residual=residual)]
        if isinstance(op, Score) and op.kv_role != "activation":
            return [replace(op, kv_dtype=keys)]
        if isinstance(op, KvAppend):
            return _appended(op, reading.get(op.name, []), keys, values, residual)
        return [op]

    return rewrite_block(block, quantised)


def _appended(
    op: KvAppend, reading: list[Attention], keys: str, values: str, residual: int
) -> list[Operator]:
    """New tokens go to the window as they are; those that leave it are read and quantised."""
    packed = replace(op, kv_dtype=keys, v_dtype=None if op.latent else values)
    if not residual or not reading:
        return [packed]
    plain = sum(each.batch * min(each.q_len, residual) for each in reading)
    leaving = sum(each.batch * _leaving(each, residual) for each in reading)
    window = replace(
        op,
        name=f"{op.name}.window",
        tokens=plain,
        kv_dtype=op.dtype,
        v_dtype=None,
        stored_len=0,
    )
    if not leaving:
        return [window]
    return [window, replace(packed, tokens=leaving, deps=(*op.deps, window.name))]


def _leaving(op: Attention, residual: int) -> int:
    """Tokens of a sequence that no longer are among the newest."""
    return min(op.q_len, max(0, op.kv_len - residual))


TECHNIQUE: Final = Technique(
    name="kv_quant",
    paper="KIVI, Liu et al., ICML 2024, arXiv 2402.02750",
    example="--with kv_quant:keys=2,values=2,group=32,residual=128",
    trace=_trace,
)
