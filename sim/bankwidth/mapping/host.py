"""What banks cannot compute, on the engine beside them: softmaxes, sums, products left to it."""

from __future__ import annotations

from typing import Any, Protocol

from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.stages import HostProduct, HostSoftmax, HostStage, HostSum
from bankwidth.operators import Elementwise, Matmul, Operator, Softmax
from bankwidth.spec import MachineSpec

BF16_BYTES = 2
DTYPE = "bf16"


class EngineLowering(Protocol):
    """What an engine kind does with an operator (see build.py)."""

    def supports(self, op: Operator) -> bool:
        """Whether the engine can run the operator at all."""

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Tasks that run one after the other."""


class Host(Protocol):
    """The engine beside computing banks."""

    name: str

    def tasks(
        self, stage: HostStage, op: Operator, index: int, context: LoweringContext
    ) -> list[Task]:
        """A stage of operator `op` as tasks of the host."""


def host_of(machine: MachineSpec, lowering: EngineLowering) -> Host:
    """The machine's default engine as host; any kind that can run the operators will do."""
    name = machine.mapping.run["default"]
    if isinstance(lowering, AsicLowering):
        return AsicHost(name, lowering)
    return OperatorHost(name, lowering)


class AsicHost:
    """A chip of adders and multipliers; what the banks hand over arrives in its SRAM."""

    def __init__(self, name: str, chip: AsicLowering) -> None:
        self.name = name
        self._chip = chip

    def tasks(
        self, stage: HostStage, op: Operator, index: int, context: LoweringContext
    ) -> list[Task]:
        """One task; only products read the memory."""
        match stage:
            case HostSoftmax(rows, elements):
                adds, multiplies = self._chip.softmax_operations(rows, elements)
                work: dict[str, Any] = {"adds": adds, "multiplies": multiplies}
                work |= {"name": f"{op.name}.softmax", "moved_bytes": 2 * elements * BF16_BYTES}
            case HostSum(adds):
                work = {"adds": adds, "multiplies": 0.0}
                work |= {"name": f"{op.name}.sum", "moved_bytes": 3 * adds * BF16_BYTES}
            case HostProduct():
                work = _product_work(stage, op, index, context)
        return [self._chip.task(index=index, engine=self.name, **work)]


class OperatorHost:
    """Any other engine: a stage is one of its own operators."""

    def __init__(self, name: str, lowering: EngineLowering) -> None:
        self.name = name
        self._lowering = lowering

    def tasks(
        self, stage: HostStage, op: Operator, index: int, context: LoweringContext
    ) -> list[Task]:
        """As the engine lowers such an operator.

        Raises MappingError when the engine cannot run it.
        """
        own = _as_operator(stage, op)
        if not self._lowering.supports(own):
            raise MappingError(
                f"{op.name}: engine {self.name!r} beside computing banks cannot run {own.kind}"
            )
        return self._lowering.lower(own, index, self.name, context)


def _as_operator(stage: HostStage, op: Operator) -> Operator:
    common: dict[str, Any] = {"layer": op.layer, "deps": op.deps, "dtype": DTYPE}
    match stage:
        case HostSoftmax(rows, elements):
            name, width = f"{op.name}.softmax", -(-elements // rows)
            return Softmax(name=name, rows=rows, width=width, **common)
        case HostSum(adds):
            return Elementwise(
                name=f"{op.name}.sum", function="add", elements=adds, num_inputs=2, **common
            )
        case HostProduct(suffix=suffix, m=m, n=n, k=k, batch=batch):
            return Matmul(
                name=f"{op.name}{suffix}",
                m=m,
                n=n,
                k=k,
                batch=batch,
                weight_dtype=DTYPE,
                has_weight=False,
                **common,
            )


def _product_work(
    stage: HostProduct, op: Operator, index: int, context: LoweringContext
) -> dict[str, Any]:
    """One addition and one multiplication per pair; keys or values come from the memory."""
    pairs = float(stage.batch * stage.m * stage.n * stage.k)
    loads = _cache_loads(stage, op, context)
    others = stage.batch * stage.m * (stage.n + stage.k) * BF16_BYTES
    return {
        "name": f"{op.name}{stage.suffix}",
        "adds": pairs,
        "multiplies": pairs,
        "moved_bytes": others + sum(t.size_bytes for t in loads),
        "loads": loads,
    }


def _cache_loads(
    stage: HostProduct, op: Operator, context: LoweringContext
) -> tuple[Transfer, ...]:
    """K for the scores, V for the context: the operator's cached inputs in that order."""
    wanted = [t for t in op.inputs if t.role == "kv"][stage.suffix != ".score" :][:1]
    return tuple(
        context.transfer(t, op.layer, is_write=False, size_bytes=t.size_bytes) for t in wanted
    )
