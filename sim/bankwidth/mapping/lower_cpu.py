"""Operators on a CPU: kernels of its library, in threads that start and join around each.

Weights, keys and values stream from memory while cores compute (hardware prefetch): a product takes
the longer of its bytes in the simulated memory, what a core can draw at most, and its
instructions. Rows of x are converted before (a task of its own, `.convert`), by one thread or by
all, as the library does. Activations stay in the last cache where it holds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from bankwidth.devices.cpu.chip import chip_of
from bankwidth.devices.cpu.cost import KernelCost
from bankwidth.devices.cpu.functions import conversion_cost, function_cost
from bankwidth.devices.cpu.lookups import lookup_cost
from bankwidth.devices.cpu.products import Product, product_cost
from bankwidth.devices.cpu.regions import regions_ns
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import activation_bytes
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.streams import streams
from bankwidth.operators import (
    Attention,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
    Tensor,
    packed_bytes,
)
from bankwidth.spec import CpuSpec
from bankwidth.spec.cpu_library import LookupSpec, ProductSpec
from bankwidth.units import ns_to_ps

Kernel = ProductSpec | LookupSpec
BITS = 8.0  # of a byte


class CpuLowering:
    """Tasks of one CPU."""

    def __init__(self, spec: CpuSpec) -> None:
        self._spec = spec
        self._chip = chip_of(spec)
        self._library = spec.kernels

    def supports(self, op: Operator) -> bool:
        """All but mixtures of experts and collectives."""
        kinds = Matmul | Attention | KvAppend | Embedding | Norm | Softmax | Elementwise | Rope
        return isinstance(op, kinds)

    def repeats(self, op: Operator) -> bool:
        """Whether its tasks are the same wherever it comes: kernels do not know of each other."""
        return True

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One task; conversions of rows before products, scores, softmax and sums of attention.

        Raises MappingError for weights, keys and values in a format without a kernel.
        """
        made = _Tasks(self, op, index, engine, context)
        match op:
            case Matmul():
                return list(made.matmul(op))
            case Attention():
                return list(made.attention(op))
        return [made.function()]


class _Tasks:
    """The tasks of one operator."""

    def __init__(
        self, lowering: CpuLowering, op: Operator, index: int, engine: str, context: LoweringContext
    ) -> None:
        self._spec, self._chip = lowering._spec, lowering._chip
        self._library = lowering._library
        self._op, self._index, self._engine, self._context = op, index, engine, context

    # ---- products

    def matmul(self, op: Matmul) -> Iterator[Task]:
        """The conversion of x, then the product."""
        kernel = self._kernel(op.weight_dtype)
        calls = self._library.products_per_operator if op.has_weight else 1.0
        regions = calls * self._regions(op.kind)
        rows = op.batch * op.m
        conversion = self._library.activations[kernel.activation]
        yield self._converted(f"{op.name}.convert", kernel, rows, op.k, calls)
        product = Product(
            m=op.m,
            n=op.n,
            k=op.k,
            batch=op.batch,
            weight_bytes=packed_bytes(op.k * op.n, op.weight_dtype),
            row_bytes=op.k * conversion.bytes_per_element,
        )
        cost = self._product(kernel, product)
        loads = self._loads(op.inputs, cost.memory_passes)
        yield self._task(op.name, cost, regions, loads, self._stores())

    def _kernel(self, dtype: str) -> Kernel:
        kernel = self._library.kernel(dtype)
        if kernel is None:
            known = ", ".join(self._library.known_formats)
            raise MappingError(
                f"{self._op.kind} {self._op.name!r}: {self._library.name} has no kernel for "
                f"{dtype}, it has those for {known}"
            )
        return kernel

    def _converted(self, name: str, kernel: Kernel, rows: int, width: int, calls: float) -> Task:
        conversion = self._library.activations[kernel.activation]
        alone = self._library.converted_by == "one"
        cost = conversion_cost(self._chip, conversion, rows, width, calls, alone)
        return self._task(name, cost, 0.0)

    def _product(self, kernel: Kernel, product: Product) -> KernelCost:
        rows = self._library.rows_per_pass
        if isinstance(kernel, LookupSpec):
            return lookup_cost(self._chip, kernel, product, rows)
        return product_cost(self._chip, kernel, product, rows)

    # ---- attention

    def attention(self, op: Attention) -> Iterator[Task]:
        """Scores, softmax and weighted sums, each a pass of all threads; K and V come once."""
        kernel = self._kernel(op.kv_dtype)
        each = self._regions(op.kind) / 3
        queries = op.q_len * op.n_heads // op.n_kv_heads
        rows = op.batch * op.n_heads * op.q_len
        seen = max(1, round(op.pairs / op.q_len))  # keys of a query, on average
        keys, values = (t for t in op.inputs if t.role == "kv")
        for name, n, k, kv in (
            (".score", seen, op.head_dim, keys),
            (".context", op.head_dim, seen, values),
        ):
            product = Product(
                m=queries,
                n=n,
                k=k,
                batch=op.batch * op.n_kv_heads,
                weight_bytes=packed_bytes(n * k, op.kv_dtype),
                row_bytes=k * self._library.activations[kernel.activation].bytes_per_element,
            )
            cost = self._product(kernel, product)
            loads = self._cache_of(kv, op)
            stores = self._stores() if name == ".context" else ()
            yield self._task(f"{op.name}{name}", cost, each, loads, stores)
            if name == ".score":
                yield self._softmax(op, rows, seen, each)

    def _softmax(self, op: Attention, rows: int, width: int, regions: float) -> Task:
        softmax = self._library.functions["softmax"]
        cost = function_cost(self._chip, softmax, rows, width, 0.0)
        return self._task(f"{op.name}.softmax", cost, regions)

    def _cache_of(self, tensor: Tensor, op: Attention) -> tuple[Transfer, ...]:
        """Keys or values."""
        return tuple(
            self._context.transfers(
                tensor, op.layer, is_write=False, size_bytes=tensor.size_bytes, attention=op
            )
        )

    # ---- functions

    def function(self) -> Task:
        """Of vectors: norms, functions, rotations, look-ups and appends."""
        op = self._op
        name, rows, width = _shape_of(op)
        moved = float(op.read_bytes + op.write_bytes)
        cost = function_cost(self._chip, self._library.functions[name], rows, width, moved)
        regions = self._regions(name if name in self._library.regions else op.kind)
        return self._task(op.name, cost, regions, self._loads(op.inputs), self._stores())

    # ---- common

    def _regions(self, name: str) -> float:
        regions = self._library.regions
        return regions.get(name, regions["default"])

    def _task(
        self,
        name: str,
        cost: KernelCost,
        regions: float,
        loads: tuple[Transfer, ...] = (),
        stores: tuple[Transfer, ...] = (),
    ) -> Task:
        library = self._library
        joined_ns = regions_ns(regions, self._chip.threads, library.region_ns, library.thread_ns)
        return Task(
            name=name,
            operator=self._index,
            engine=self._engine,
            deps=(),
            launch_ps=ns_to_ps(joined_ns),
            compute_ps=ns_to_ps(cost.compute_ns),
            ideal_ps=ns_to_ps(cost.ideal_ns),
            overlap=math.inf,
            loads=loads,
            stores=stores,
            counts=_energy_counts(cost),
            detail=cost.detail,
        )

    def _cached(self) -> bool:
        """Whether the operator's activations are still in the last cache."""
        return activation_bytes(self._op) <= self._spec.llc.size_bytes

    def _loads(self, tensors: tuple[Tensor, ...], passes: int = 1) -> tuple[Transfer, ...]:
        """Weights as often as they go by from memory; activations that the cache does not hold."""
        warm = self._cached()
        cold = [t for t in tensors if not (warm and t.role == "activation")]
        parts = ((t, t.size_bytes * (passes if t.role == "weight" else 1)) for t in cold)
        return tuple(
            part
            for tensor, size in streams(parts)
            for part in self._context.transfers(
                tensor, self._op.layer, is_write=False, size_bytes=size
            )
        )

    def _stores(self) -> tuple[Transfer, ...]:
        """New keys and values, and activations without room in the cache; nobody waits for them."""
        warm = self._cached()
        return tuple(
            part
            for tensor in self._op.outputs
            if not (warm and tensor.role == "activation")
            for part in self._context.transfers(
                tensor, self._op.layer, is_write=True, size_bytes=tensor.size_bytes, posted=True
            )
        )


def _shape_of(op: Operator) -> tuple[str, int, int]:
    """Function, rows and width."""
    match op:
        case Norm():
            return op.style, op.rows, op.width
        case Softmax():
            return "softmax", op.rows, op.width
        case Rope():
            return "rope", op.tokens * op.heads, op.head_dim
        case Elementwise():
            rows = op.rows or 1
            return op.function, rows, op.elements // rows * max(1, op.num_inputs - 1)
        case Embedding():
            return "copy", op.tokens, op.width
        case KvAppend():
            return "copy", 2 * op.tokens * op.kv_heads, op.head_dim
    raise MappingError(f"no function of the CPU for {op.kind} {op.name!r}")


def _energy_counts(cost: KernelCost) -> dict[str, float]:
    bits = {"l2": cost.l2_bytes * BITS, "llc": cost.llc_bytes * BITS}
    return {name: count for name, count in (*cost.counts.items(), *bits.items()) if count}
