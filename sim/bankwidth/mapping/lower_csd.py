"""Attention of a decode step in drives that compute: programs, and the bytes that come and go.

InstInfer (HPCA 2025): queries, new keys and new values go from the GPU straight to the drives, the
result comes back the same way; a prompt's keys and values go layer by layer, behind the compute of
the next layer. Heads are split over the drives; the first ones have a head more where they do not
divide. The GPU reads what it sends from its own memory meanwhile: a few bytes, not counted.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Final

from bankwidth.devices.csd.flush import writes
from bankwidth.devices.csd.jobs import AttentionJob, attention_job
from bankwidth.devices.csd.layout import KvLayout
from bankwidth.devices.csd.program import CsdProgram
from bankwidth.devices.csd.rates import rates_of
from bankwidth.devices.csd.sparf import Sparsity
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task
from bankwidth.operators import DTYPE_BITS, Attention, KvAppend, Operator
from bankwidth.spec import CsdMappingSpec, CsdSpec, MachineSpec, SsdSpec
from bankwidth.units import ns_to_ps

GIB: Final = 2.0**30
BITS: Final = 8
_SIZES: Final = (*Attention.size_fields, "phase", "dtype")


def is_left_to_host(op: Operator) -> bool:
    """Whether an attention has new tokens that see one another: a prompt's."""
    return isinstance(op, Attention) and (op.phase == "prefill" or op.q_len > 1)


class CsdLowering:
    """Programs of one engine; each layer's keys and values get pages as they come.

    What one step does is the same in every layer but for its pages, and made once.
    """

    def __init__(self, spec: CsdSpec, machine: MachineSpec) -> None:
        self._drive, self._memory = drive_of(spec, machine)
        self._peer = machine.mapping.run["default"]
        self._options = machine.mapping.csd
        self._sparsity = sparsity_of(self._options)
        self._rates = rates_of(spec)
        self._start_ps = ns_to_ps(spec.start_ns)
        self._pages = _PageAllocator(machine.name, self._memory, self._drive)
        self._layouts: dict[Hashable, KvLayout] = {}
        self._made: dict[Hashable, Task] = {}

    def supports(self, op: Operator) -> bool:
        """Attention of one new token per sequence, and what keeps the cache."""
        if isinstance(op, Attention):
            return not is_left_to_host(op)
        return isinstance(op, KvAppend)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One program.

        Raises MappingError for heads that fit no page, and for more than the drives can hold.
        """
        attention = op if isinstance(op, Attention) else context.attention_after(index)
        layout = self._layout(attention, context)
        key = (engine, op.kind, op.name, layout, *(getattr(attention, name) for name in _SIZES))
        if key not in self._made:
            make = self._attend if isinstance(op, Attention) else self._append
            self._made[key] = make(op.name, attention, engine, layout)
        return [_on_pages(self._made[key], self._pages.base(op.layer, layout, context))]

    def _layout(self, op: Attention, context: LoweringContext) -> KvLayout:
        """The pages of one layer on one drive."""
        tokens = self._options.reserve_tokens or context.longest_kv
        if op.kv_len > tokens:
            raise MappingError(
                f"{op.name}: {op.kv_len} tokens, but K and V have pages for {tokens}; raise "
                f"mapping.csd.reserve_tokens"
            )
        key = (op.batch, op.n_kv_heads, op.head_dim, op.kv_dtype, tokens)
        if key not in self._layouts:
            self._layouts[key] = self._new_layout(op, tokens)
        return self._layouts[key]

    def _new_layout(self, op: Attention, tokens: int) -> KvLayout:
        drive = self._drive
        return KvLayout(
            page_bytes=drive.nand.page_bytes,
            element_bytes=_element_bytes(op),
            head_dim=op.head_dim,
            groups=op.batch * -(-op.n_kv_heads // drive.drives),
            tokens=tokens,
            flash_channels=drive.channels,
            key_channels=self._options.key_channels if self._sparsity else 0,
            period_pages=drive.dies * drive.nand.planes,
        )

    def _attend(self, name: str, op: Attention, engine: str, layout: KvLayout) -> Task:
        """Queries down, the job, outputs up; pages that are full now are written meanwhile."""
        found = attention_job(
            self._rates,
            layout,
            tokens=op.kv_len,
            shared=op.n_heads // op.n_kv_heads,
            sparsity=self._sparsity,
        )
        groups = op.batch * op.n_kv_heads  # of all drives
        vector_bytes = op.batch * op.n_heads * op.head_dim * DTYPE_BITS[op.dtype] // BITS
        ideal_ps = self._ideal_ps(found, layout)
        program = CsdProgram(
            drives=self._drive.drives,
            peer=self._peer,
            down_bytes=vector_bytes,
            up_bytes=vector_bytes,
            start_ps=self._start_ps,
            job=found.job,
            compute_ps=found.buffered_ps,
            writes=writes(layout, op.kv_len - 1, op.kv_len),
            ideal_ps=ideal_ps,
        )
        return Task(
            name=name,
            operator=0,
            engine=engine,
            deps=(),
            ideal_ps=ideal_ps,
            program=program,
            program_memory=self._memory,
            program_read_bytes=groups * found.pages * layout.page_bytes,
            program_write_bytes=_written_bytes(program, layout, groups),
            counts=_counts(found, groups),
            detail=f"{found.pages} pages of each of {groups} heads",
        )

    def _append(self, name: str, op: Attention, engine: str, layout: KvLayout) -> Task:
        """New keys and values: a prompt's in the background, else into the drive's DRAM."""
        values = op.batch * op.q_len * op.n_kv_heads * op.head_dim
        sent_bytes = 2 * values * layout.element_bytes
        is_prompt = is_left_to_host(op)
        program = CsdProgram(
            drives=self._drive.drives,
            peer=self._peer,
            down_bytes=sent_bytes,
            writes=writes(layout, op.kv_len - op.q_len, op.kv_len) if is_prompt else (),
            buffer_bytes=-(-sent_bytes // self._drive.drives),
            posted=is_prompt,
        )
        return Task(
            name=name,
            operator=0,
            engine=engine,
            deps=(),
            program=program,
            program_memory=self._memory,
            program_write_bytes=_written_bytes(program, layout, op.batch * op.n_kv_heads),
            detail=f"{program.written_pages} pages per drive",
        )

    def _ideal_ps(self, found: AttentionJob, layout: KvLayout) -> int:
        """All channels of a drive at the rate of their buses, or all units at work."""
        drive, work, rates = self._drive, found.work, self._rates
        flash_ns = found.pages * layout.page_bytes / drive.channel_peak_bytes_per_ns
        gemv_ps = rates.gemv_ps_per_flop * work.gemv_flops / rates.gemv_units
        softmax_ps = rates.softmax_ps_per_operation * work.softmax_operations / rates.softmax_units
        longest_ps = max(1000.0 * flash_ns / drive.channels, gemv_ps, softmax_ps)
        return int(layout.groups * longest_ps)


def _written_bytes(program: CsdProgram, layout: KvLayout, groups: int) -> int:
    """Of all drives, however their groups divide."""
    return groups * (program.written_pages // layout.groups) * layout.page_bytes


def _on_pages(task: Task, base_page: int) -> Task:
    """A task of a layer whose pages begin at `base_page`; itself where it touches no page."""
    program = task.program
    if base_page == 0 or not isinstance(program, CsdProgram):
        return task
    if program.job is None and not program.writes:
        return task
    return replace(task, program=program.at(base_page))


@dataclass(slots=True)
class _PageAllocator:
    """Pages of a drive, handed out to layers one behind the other."""

    machine: str
    memory: str
    drive: SsdSpec
    _bases: dict[int, int] = field(default_factory=dict)
    _next: int = -1

    def base(self, layer: int, layout: KvLayout, context: LoweringContext) -> int:
        """First page of a layer. Raises MappingError where the drive has no more."""
        if layer not in self._bases:
            if self._next < 0:
                self._next = self._first(layout, context)
            self._bases[layer] = self._next
            self._next += layout.layer_pages
            self._check(layer, layout)
        return self._bases[layer]

    def _first(self, layout: KvLayout, context: LoweringContext) -> int:
        """Behind other tensors of the memory."""
        of_drive = context.placement("kv").base // self.drive.drives
        periods = -(-of_drive // (layout.page_bytes * layout.period_pages))
        return periods * layout.period_pages

    def _check(self, layer: int, layout: KvLayout) -> None:
        if self._next <= self.drive.logical_pages:
            return
        per_layer = layout.layer_pages * layout.page_bytes / GIB
        raise MappingError(
            f"{self.machine}: keys and values do not fit: {per_layer:.2f} GiB per layer and drive "
            f"as pages, and layer {layer} has no room in the "
            f"{self.drive.drive_capacity_bytes / GIB:.2f} GiB of a drive of {self.memory!r}; use "
            f"more drives, a smaller batch or context"
        )


def drive_of(spec: CsdSpec, machine: MachineSpec) -> tuple[SsdSpec, str]:
    """The drives that an engine sits in, and the name of that memory.

    Raises MappingError where the engine names none, or keys and values lie elsewhere.
    """
    name = spec.memory
    memory = machine.memories.get(name or "")
    if name is None or not isinstance(memory, SsdSpec):
        raise MappingError(
            f"{machine.name}: engine {spec.name!r} computes in drives: set `memory:` to a memory "
            f"of kind ssd"
        )
    if machine.mapping.place["kv"] != name:
        raise MappingError(
            f"{machine.name}: attention in drives needs the keys and values there: set "
            f"mapping.place.kv to {name!r}"
        )
    return memory, name


def sparsity_of(options: CsdMappingSpec) -> Sparsity | None:
    """What a machine's options select; None where attention is dense."""
    if options.attention == "dense":
        return None
    return Sparsity(
        compression=options.compression,
        rank=options.rank,
        tokens=options.tokens,
        page_level=options.page_level if options.pages == "share" else None,
        run_tokens=options.run_tokens,
    )


def _element_bytes(op: Attention) -> int:
    bits = DTYPE_BITS[op.kv_dtype]
    if bits % BITS:
        raise MappingError(
            f"{op.name}: keys and values of {bits} bits do not lie in flash pages; use a kv dtype "
            f"of whole bytes"
        )
    return bits // BITS


def _counts(found: AttentionJob, groups: int) -> dict[str, float]:
    """What energy is charged for, over all drives."""
    work = found.work
    return {
        "gemv": groups * work.gemv_flops,
        "softmax": groups * work.softmax_operations,
        "topk": float(groups * work.topk_elements),
        "filter": float(groups * work.filter_bytes * BITS),
    }
