"""Mamba (arXiv 2312.00752) and Mamba-2 (arXiv 2405.21060): layers of a recurrence alone."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.parts import decoder
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape, ScanShape


def mamba_shape(fields: Fields) -> ModelShape:
    """A norm and a selective scan per layer."""
    hidden = fields.integer("hidden_size", "d_model")
    layers = fields.integer("num_hidden_layers", "n_layer")
    width = fields.integer("expand", default=2) * hidden
    rank = step_rank(fields, "time_step_rank", hidden)
    scan = selective_scan(
        width, fields.integer("state_size", default=16), rank, _taps(fields), _conv_bias(fields)
    )
    scan = replace(scan, has_bias=fields.flag("use_bias", default=False))
    return _model(fields, hidden, scan, layers, tied=True)


def mamba2_shape(fields: Fields) -> ModelShape:
    """A norm and a scan with one decay per head; a norm of its gated result."""
    hidden, layers = fields.integer("hidden_size"), fields.integer("num_hidden_layers")
    heads = fields.integer("num_heads", default=128)
    head_dim = fields.integer("head_dim", default=64)
    width = fields.integer("expand", default=2) * hidden
    if heads * head_dim != width:
        fields.problem(f"num_heads x head_dim is {heads * head_dim}, expand x hidden_size {width}")
    scan = ssd_scan(
        heads, head_dim, fields.integer("state_size", default=128),
        fields.integer("n_groups", default=8), _taps(fields), _conv_bias(fields),
    )  # fmt: skip
    scan = replace(scan, has_bias=fields.flag("use_bias", default=False))
    return _model(fields, hidden, scan, layers, tied=False)


def selective_scan(width: int, state: int, rank: int, conv_taps: int, conv_bias: bool) -> ScanShape:
    """Mamba's: projected are x and the gate z; the step's size is made of `rank` columns.

    Parameters per layer: the decay (width x state), the skip D and the step's bias (width each).
    """
    return ScanShape(
        recurrence="selective",
        heads=1,
        head_dim=width,
        state=state,
        in_width=2 * width,
        out_width=width,
        conv_width=width,
        conv_taps=conv_taps,
        conv_bias=conv_bias,
        step_rank=rank,
        head_parameters=width * state + 2 * width,
    )


def ssd_scan(
    heads: int, head_dim: int, state: int, groups: int, conv_taps: int, conv_bias: bool
) -> ScanShape:
    """Mamba-2's: projected are the gate z, x, B and C of each group, and a step per head.

    Parameters per layer: decay, skip and the step's bias of each head.
    """
    width = heads * head_dim
    return ScanShape(
        recurrence="ssd",
        heads=heads,
        head_dim=head_dim,
        state=state,
        groups=groups,
        in_width=2 * width + 2 * groups * state + heads,
        out_width=width,
        conv_width=width + 2 * groups * state,
        conv_taps=conv_taps,
        conv_bias=conv_bias,
        head_parameters=3 * heads,
        has_norm=True,
        norm_width=width,
    )


def step_rank(fields: Fields, name: str, hidden: int) -> int:
    """The field, or a sixteenth of the hidden width, rounded up, where it is `auto` or absent."""
    automatic = -(-hidden // 16)
    return automatic if fields.raw(name) == "auto" else fields.integer(name, default=automatic)


def _model(fields: Fields, hidden: int, scan: ScanShape, layers: int, *, tied: bool) -> ModelShape:
    """RMS norms; the embedding's rows are a multiple of `pad_vocab_size_multiple`."""
    fields.only("rms_norm", True)
    layer = LayerShape(attention=scan, mlp=None)
    model = decoder(fields, hidden, [layer] * layers, tied=tied)
    multiple = fields.integer("pad_vocab_size_multiple", default=1)
    return replace(model, vocab=multiple * -(-model.vocab // multiple))


def _taps(fields: Fields) -> int:
    return fields.integer("conv_kernel", default=4)


def _conv_bias(fields: Fields) -> bool:
    return fields.flag("use_conv_bias", default=True)
