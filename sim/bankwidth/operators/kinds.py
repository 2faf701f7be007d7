"""All operator classes by kind. To add one: a class, and a line here."""

from __future__ import annotations

from typing import Final

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.fetch import Fetch, KvRead
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, Embedding, KvAppend
from bankwidth.operators.scan import Conv, Scan
from bankwidth.operators.selection import Score, Select
from bankwidth.operators.unpack import Unpack
from bankwidth.operators.vector import Elementwise, Norm, Rope, Softmax

KINDS: Final[dict[str, type[Operator]]] = {
    operator.kind: operator
    for operator in (
        Matmul, Attention, Norm, Softmax, Elementwise, Rope, Embedding, KvAppend, Moe, Collective,
        Scan, Conv, Score, Select, Fetch, KvRead, Unpack,
    )
}  # fmt: skip
