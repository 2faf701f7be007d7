"""What a device's share of an operator's sizes is, and what comes behind an operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from bankwidth.errors import MappingError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, KvAppend
from bankwidth.operators.scan import Conv, Scan
from bankwidth.operators.vector import Elementwise, Norm, Rope

# Kinds that compute on heads or columns: a product before them is split by columns.
_ON_HEADS: Final = frozenset({"attention", "scan", "conv", "score", "select", "softmax"})
AGAIN: Final = ".remat"  # end of the name of what makes keys and values anew (XQuant)
LINEAR: Final = ("mul", "sigmoid_mul")  # in their last input, or in any of a plain product


class Sizes:
    """Shares of one block's operators over `tensor` devices, as what uses them allows."""

    def __init__(self, operators: Sequence[Operator], tensor: int, tokens: int) -> None:
        self._tensor = tensor
        self._tokens = tokens  # new tokens of the pass
        self._consumers = _consumers(operators)
        self._elements = {
            op.name: tensor.elements
            for op in operators
            for tensor in op.outputs
            if tensor.role == "activation"
        }

    def share(self, op: Any, field: str) -> int:
        size: int = getattr(op, field)
        if size % self._tensor:
            raise self.indivisible(op, field, size)
        return size // self._tensor

    def kv_heads(self, op: Any, field: str) -> int:
        """A device's heads; where there are fewer than devices, several have the same one."""
        heads: int = getattr(op, field)
        if heads < self._tensor and self._tensor % heads == 0:
            return 1
        return self.share(op, field)

    def groups(self, scan: Scan) -> int:
        fewer = scan.groups < self._tensor and self._tensor % scan.groups == 0
        return 1 if fewer else self.share(scan, "groups")

    def columns(self, op: Matmul) -> int:
        """Of a product: its share, but keys and values that several devices have are whole."""
        scan = self.scan_behind(op)
        if scan is not None and op.n > scan.channels:
            return self.with_copies(op, "n", shared_columns(scan), scan)
        for found in self._behind(op):
            if isinstance(found, Attention) and not found.latent:
                return self._columns_of_heads(op, found)
        return self.share(op, "n")

    def _columns_of_heads(self, op: Matmul, attention: Attention) -> int:
        width = attention.head_dim + attention.value_dim
        heads, local = attention.n_kv_heads, self.kv_heads(attention, "n_kv_heads")
        if local * self._tensor == heads or op.n <= heads * width:
            return self.share(op, "n")
        rest, left = divmod(op.n - heads * width, self._tensor)
        if left:
            raise self.indivisible(op, "n", op.n)
        return rest + local * width

    def with_copies(self, op: Any, field: str, copied: int, scan: Scan | None) -> int:
        size: int = getattr(op, field)
        rest, left = divmod(size - copied, self._tensor)
        if left:
            raise self.indivisible(op, field, size)
        return rest + (copied * self.groups(scan) // scan.groups if scan and copied else 0)

    def columns_of_keys(self, op: Matmul) -> tuple[int, tuple[int, int]]:
        """Of a product that makes keys and values alone: columns, and which share they are."""
        for found in self._behind(op):
            if isinstance(found, Attention) and not found.latent:
                share = (self.kv_heads(found, "n_kv_heads"), found.n_kv_heads)
                return op.n * share[0] // share[1], share
        return self.share(op, "n"), (1, self._tensor)

    def copied_heads(self, op: Rope) -> tuple[int, int]:
        """Heads of keys among those rotated: (of the whole, here); a latent's is on every device.

        None where all that is rotated are queries.
        """
        for found in self._behind(op):
            if isinstance(found, KvAppend) and found.latent:
                return (1, 1)
            if isinstance(found, Attention) and not found.latent:
                queries, keys = found.n_heads, found.n_kv_heads
                has_keys = op.heads in (keys, queries + keys) and op.heads != queries
                return (keys, self.kv_heads(found, "n_kv_heads")) if has_keys else (0, 0)
        return (0, 0)

    def norm_rows(self, op: Norm) -> int:
        """Rows are heads of tokens; those of keys may be on several devices."""
        heads = op.rows // self._tokens
        if heads < self._tensor and self._tensor % heads == 0:
            return self._tokens
        return self.share(op, "rows")

    # ---- what comes behind an operator

    def _behind(self, op: Operator) -> Iterator[Operator]:
        """Operators that use an output, through rotations, norms, functions and the cache."""
        seen: set[str] = set()
        waiting = [op]
        while waiting:
            for found in self._consumers.get(waiting.pop(0).name, ()):
                if found.name not in seen:
                    seen.add(found.name)
                    yield found
                    if isinstance(found, Rope | Norm | KvAppend | Conv | Elementwise | Collective):
                        waiting.append(found)

    def scan_behind(self, op: Operator) -> Scan | None:
        return next((found for found in self._behind(op) if isinstance(found, Scan)), None)

    def may_split(self, op: Matmul) -> bool:
        """Whether what uses a product's columns can do so part by part."""
        waiting: list[tuple[Operator, bool]] = [(op, False)]
        while waiting:
            source, normed = waiting.pop()
            for found in self._consumers.get(source.name, ()):
                if not self._takes_parts(found, source, normed):
                    return False
                if isinstance(found, Rope | Norm | KvAppend | Collective):
                    of_heads = isinstance(found, Norm) and found.rows > self._tokens
                    waiting.append((found, normed or (isinstance(found, Norm) and not of_heads)))
        return True

    def _takes_parts(self, op: Operator, source: Operator, normed: bool) -> bool:
        rotated = isinstance(source, Rope)
        match op:
            case Matmul():
                return not (op.has_weight and normed and op.batch == 1)
            case Moe():
                return False
            case KvAppend():
                return not op.latent or rotated
            case Elementwise():
                return op.function != "add" and not self._scales(op, source.name)
            case Rope() | Norm() | Collective():
                return True
        return op.kind in _ON_HEADS

    def _scales(self, op: Elementwise, name: str) -> bool:
        """Whether an input is one number per row beside whole results."""
        narrow = self._elements.get(name, 0)
        return op.function in LINEAR and 0 < narrow < op.elements and narrow == op.rows

    def indivisible(self, op: Operator, field: str, size: int) -> MappingError:
        return MappingError(
            f"{op.kind} {op.name!r}: {field} {size} cannot be shared out equally over "
            f"{self._tensor} devices; choose a divisor of it"
        )


def _consumers(operators: Sequence[Operator]) -> dict[str, list[Operator]]:
    found: dict[str, list[Operator]] = {}
    for op in operators:
        for dep in op.deps:
            found.setdefault(dep, []).append(op)
    return found


def shared_columns(scan: Scan) -> int:
    """Columns of a projection that all heads of a group share: B and C, or keys and queries."""
    if scan.recurrence == "selective" or scan.state == 1:
        return 0
    return 2 * scan.groups * scan.state
