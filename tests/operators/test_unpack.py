from __future__ import annotations

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import Unpack


def test_packed_weights_come_in_and_plain_ones_go_out() -> None:
    """3 pieces of 1024 weights: 11 bits each, then 16."""
    op = Unpack(name="u", layer=0, rows=3, width=1024, dtype="bf16", weight_dtype="dfloat11")
    assert (op.read_bytes, op.write_bytes) == (3 * 1024 * 11 // 8, 3 * 1024 * 2)
    assert [tensor.role for tensor in (*op.inputs, *op.outputs)] == ["weight", "activation"]
    assert op.flops == 2 * 3 * 1024


def test_a_format_that_is_none_is_named() -> None:
    with pytest.raises(TraceError, match="unpack 'u': weight_dtype: unknown dtype 'df11'"):
        Unpack(name="u", rows=1, width=1, dtype="bf16", weight_dtype="df11")
