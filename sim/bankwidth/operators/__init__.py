"""Operators, the layer graphs of model families, and the trace format.

Reading order: `base`, one of the operator files, `trace`, `graph`, `make`; then `trace_file` and
`table` for what is read from files.
"""

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.dtypes import DTYPE_BITS, DTYPE_BLOCKS, canonical_dtype, packed_bytes
from bankwidth.operators.families import FAMILIES, model_shape
from bankwidth.operators.fetch import Fetch, KvRead
from bankwidth.operators.kinds import KINDS
from bankwidth.operators.make import PHASES, Workload, make_trace
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, Embedding, KvAppend
from bankwidth.operators.parallel import shard
from bankwidth.operators.scan import Conv, Scan
from bankwidth.operators.selection import Score, Select
from bankwidth.operators.table import TableRow, operator_from_row, read_table
from bankwidth.operators.tensor import Tensor
from bankwidth.operators.trace import Block, Step, Trace
from bankwidth.operators.trace_file import read_trace, trace_lines, write_trace
from bankwidth.operators.unpack import Unpack
from bankwidth.operators.vector import Elementwise, Norm, Rope, Softmax
from bankwidth.operators.weights import kv_bytes, parameter_count, weight_tensors

__all__ = [
    "DTYPE_BITS",
    "DTYPE_BLOCKS",
    "FAMILIES",
    "KINDS",
    "OUTSIDE",
    "PHASES",
    "PREVIOUS",
    "Attention",
    "AttentionShape",
    "Block",
    "Collective",
    "Conv",
    "Elementwise",
    "Embedding",
    "Fetch",
    "KvAppend",
    "KvRead",
    "LayerShape",
    "Matmul",
    "MlpShape",
    "ModelShape",
    "Moe",
    "Norm",
    "Operator",
    "Rope",
    "Scan",
    "Score",
    "Select",
    "Softmax",
    "Step",
    "TableRow",
    "Tensor",
    "Trace",
    "Unpack",
    "Workload",
    "canonical_dtype",
    "kv_bytes",
    "make_trace",
    "model_shape",
    "operator_from_row",
    "packed_bytes",
    "parameter_count",
    "read_table",
    "read_trace",
    "shard",
    "trace_lines",
    "weight_tensors",
    "write_trace",
]
