"""MatMul-free language models (Zhu et al. 2024, arXiv 2406.02528): ternary gated recurrences."""

from __future__ import annotations

from typing import Final

from bankwidth.operators.families.parts import decoder, mlp, sizes
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape, ScanShape

_MULTIPLE: Final = 256  # of which the feed-forward part's width is one


def hgrn_bit_shape(fields: Fields) -> ModelShape:
    """An element-wise recurrence of input, forget and output gates, and a gated linear unit.

    All matrices are ternary: --weight-dtype ternary. The norm that each of them begins with is part
    of quantising what goes in, and not counted.
    """
    hidden, layers = sizes(fields)
    fields.only("use_short_conv", False, "a convolution before the gates is not described")
    hidden_ratio = fields.integer("hidden_ratio", default=4)
    width = _MULTIPLE * -(-int(hidden * hidden_ratio * 2 / 3) // _MULTIPLE)
    layer = LayerShape(
        attention=_scan(fields, hidden), mlp=mlp(fields, "intermediate_size", default=width)
    )
    return decoder(fields, hidden, [layer] * layers, tied=False)


def _scan(fields: Fields, hidden: int) -> ScanShape:
    """Per layer a learned lower bound of each forget gate."""
    heads = fields.integer("num_heads", default=1)
    width = fields.integer("expand_ratio", default=1) * hidden
    if width % heads:
        fields.problem(f"the recurrence's width {width} must be a multiple of num_heads {heads}")
    bounds = hidden if fields.flag("use_lower_bound", default=True) else 0
    return ScanShape(
        recurrence="gated",
        heads=heads,
        head_dim=max(1, width // heads),
        state=1,
        in_width=3 * width,
        out_width=width,
        head_parameters=bounds,
        has_norm=True,
        norm_width=width,
    )
