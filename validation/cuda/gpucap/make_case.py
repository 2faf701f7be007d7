"""Shape to case: which file runs which operator."""

from __future__ import annotations

from gpucap.case_attention import attention_case
from gpucap.case_gemm import gemm_case
from gpucap.case_moe import moe_case
from gpucap.case_move import embedding_case, kv_append_case
from gpucap.case_vector import elementwise_case, rope_case, row_wise_case
from gpucap.cases import Case
from gpucap.options import Options
from gpucap.shapes import (
    Attention,
    Elementwise,
    Embedding,
    Gemm,
    KvAppend,
    Moe,
    Rope,
    RowWise,
    Shape,
)
from gpucap.tensors import Maker


def make_case(shape: Shape, options: Options, copies: int, device: str) -> Case:
    """Operands on the device, as many sets as planned."""
    make = Maker(device, shape.dtype)
    rotate = options.cold == "all"
    match shape:
        case Gemm():
            return gemm_case(shape, make, copies, rotate_inputs=rotate)
        case Attention():
            backend = options.attention
            return attention_case(shape, make, copies, backend=backend, rotate_inputs=rotate)
        case RowWise():
            return row_wise_case(shape, make, copies if rotate else 1, rotate_inputs=rotate)
        case Elementwise():
            copies, how = (copies if rotate else 1), options.fused
            return elementwise_case(shape, make, copies, how=how, rotate_inputs=rotate)
        case Rope():
            copies, how = (copies if rotate else 1), options.fused
            return rope_case(shape, make, copies, how=how, rotate_inputs=rotate)
        case Embedding():
            return embedding_case(shape, make, copies)
        case KvAppend():
            return kv_append_case(shape, make, copies)
        case Moe():
            products, how = options.moe, options.fused
            return moe_case(shape, make, copies, products=products, how=how, rotate_inputs=rotate)
        case _:
            raise ValueError(f"no case for {shape.operator}: the plan should have refused it")
