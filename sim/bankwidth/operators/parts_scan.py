"""A recurrence in place of attention: Mamba, Mamba-2, gated delta rule, HGRN (see families)."""

from __future__ import annotations

from bankwidth.operators.builder import Builder
from bankwidth.operators.model import ScanShape
from bankwidth.operators.parts_attention import numbered
from bankwidth.operators.scan import Conv, Scan


def scan_part(b: Builder, shape: ScanShape, x: str) -> str:
    """From the normed input to the output projection's result."""
    hidden, tokens = b.model.hidden, b.run.tokens
    made = b.matmul("in_proj", x, shape.in_width, hidden, bias=shape.has_bias)
    mixed = _convolved(b, shape, made) if shape.conv_taps else (made,)
    ready = _stepped(b, shape, mixed[0]) if shape.step_rank else mixed[0]
    out = _scanned(b, shape, tuple(dict.fromkeys((ready, *mixed))))
    gated = b.elementwise("gate", (out[0], made), "silu_mul", shape.out_width)
    if shape.has_norm:
        rows = tokens * shape.out_width // shape.norm_width
        gated = b.norm("scan_norm", gated, shape.norm_width, rows=rows)
    return b.matmul("out_proj", (gated, *out[1:]), hidden, shape.out_width, bias=shape.has_bias)


def _convolved(b: Builder, shape: ScanShape, x: str) -> tuple[str, ...]:
    """A causal convolution of each sequence's newest tokens; its function is fused."""
    return tuple(
        b.add(
            Conv(
                name=numbered("conv", index),
                layer=b.layer,
                deps=(x,),
                batch=group.batch,
                q_len=group.q_len,
                width=shape.conv_width,
                taps=shape.conv_taps,
                has_bias=shape.conv_bias,
                dtype=b.dtypes.activation,
            )
        )
        for index, group in enumerate(b.run.groups)
    )


def _stepped(b: Builder, shape: ScanShape, x: str) -> str:
    """Mamba-1's step sizes, and B and C, from what was convolved; Jamba norms all three."""
    width = shape.step_rank + 2 * shape.state
    low = b.matmul("x_proj", x, width, shape.conv_width)
    for index, inner in enumerate(shape.inner_norms):
        low = b.norm(f"inner_norm{index + 1}", low, inner)
    return b.matmul("dt_proj", low, shape.heads * shape.head_dim, shape.step_rank)


def _scanned(b: Builder, shape: ScanShape, deps: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        b.add(
            Scan(
                name=numbered("scan", index),
                layer=b.layer,
                deps=deps,
                recurrence=shape.recurrence,
                batch=group.batch,
                q_len=group.q_len,
                heads=shape.heads,
                head_dim=shape.head_dim,
                state=shape.state,
                groups=shape.groups,
                parameters=shape.head_parameters,
                dtype=b.dtypes.activation,
            )
        )
        for index, group in enumerate(b.run.groups)
    )
