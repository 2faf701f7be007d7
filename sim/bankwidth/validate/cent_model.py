"""A token on CENT, put together as its simulator does: banks, near-memory units, CXL, energy.

The banks' part runs command by command. The rest follows the rules of cent_simulation/ in
github.com/Yufeng98/CENT (MIT), with the figures of our machine descriptions (arch/cent-*.yaml).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from bankwidth.devices.pim.aim import END_CK
from bankwidth.devices.pim.config import MOVES, config_of
from bankwidth.energy import counted_energy_pj
from bankwidth.errors import SpecError
from bankwidth.mapping.cent_block import BlockPlace, CentBlock, LlamaShape
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.plan import Task
from bankwidth.operators.families import model_shape
from bankwidth.operators.model import AttentionShape, MlpShape, ModelShape
from bankwidth.spec import AsicSpec, MachineSpec, PimSpec, load_machine, load_workload
from bankwidth.spec.parallel import ParallelSpec
from bankwidth.system.engine_energy import item_energies_pj
from bankwidth.system.pim_port import PortRun, run_steps

MACHINES: Final = {  # name in CENT's tables -> (machine, workload)
    "Llama2-7B": ("cent-7b", "llama-2-7b"),
    "Llama2-13B": ("cent-13b", "llama-2-13b"),
    "Llama2-70B": ("cent-70b", "llama-2-70b"),
}
PNM, BANKS, MEMORY = "pnm", "pim", "gddr6"  # parts of these machines
# Its power script divides a device's ticks by the channels twice: one channel's standby is charged.
STANDBY_CHANNELS: Final = 1
BF16_BYTES: Final = 2
BITS: Final = 8
MS_PER_NS, MS_PER_PS, MJ_PER_PJ = 1e-6, 1e-9, 1e-9
W_PER_MW: Final = 1e-3  # 1 pJ/ns is 1 mW


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFigures:
    """One decoded token at one length of the cache: the columns of CENT's table."""

    pim_ms: float
    cxl_ms: float
    acc_ms: float
    block_ms: float
    embedding_ms: float
    token_ms: float
    tokens_per_s: float
    token_mj: float
    power_w: float
    utilisation: float


class CentSystem:
    """A machine of `MACHINES` and its model, as plain figures."""

    def __init__(self, machine: MachineSpec, model: ModelShape) -> None:
        pim, pnm = machine.engines[BANKS], machine.engines[PNM]
        if not isinstance(pim, PimSpec) or not isinstance(pnm, AsicSpec) or not machine.parallel:
            raise SpecError(f"{machine.name}: need engines {BANKS} (pim), {PNM} (asic), parallel")
        attention, mlp = model.layers[0].attention, model.layers[0].mlp
        if not isinstance(attention, AttentionShape) or not isinstance(mlp, MlpShape):
            raise SpecError(f"{model.family}: CENT's block is a Llama layer")
        self.shape = LlamaShape(
            hidden=model.hidden,
            heads=attention.n_heads,
            kv_heads=attention.n_kv_heads,
            ffn=mlp.width,
            vocab=model.vocab,
        )
        self.layers = len(model.layers)
        self.config = config_of(pim)
        self.pnm = pnm
        self.parallel: ParallelSpec = machine.parallel
        self.channels = machine.memories[MEMORY].channels
        self.port_pj_per_bit = machine.links[0].energy_pj_per_bit

    @property
    def tick_ns(self) -> float:
        return self.config.tick_ps / 1000.0


@cache
def cent_system(model: str) -> CentSystem:
    """Machine and model by the model's name in CENT's tables."""
    machine, workload = MACHINES[model]
    config = load_workload(workload).config
    return CentSystem(load_machine(machine), model_shape(config, workload))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a model is cut: into `pipeline` stages, products over `tensor` devices.

    With a stage per layer, a layer has `channels` channels of one device; else a whole device.
    """

    model: str  # a key of MACHINES
    pipeline: int
    tensor: int
    channels: int

    @property
    def system(self) -> CentSystem:
        return cent_system(self.model)

    @property
    def is_per_layer(self) -> bool:
        """Whether each layer is a stage: nothing is exchanged but the vector handed on."""
        return self.pipeline == self.system.layers

    @property
    def place(self) -> BlockPlace:
        return BlockPlace(
            channels=self.channels, device_channels=self.system.channels, devices=self.tensor
        )

    @property
    def used_devices(self) -> int:
        if self.is_per_layer:
            return -(-self.system.layers // self.place.copies)
        return self.system.parallel.devices

    def programs(self) -> CentBlock:
        """What makes the steps of one device."""
        return CentBlock(self.system.config, self.system.shape, self.place)


@cache
def token_figures(cut: Cut, tokens: int) -> TokenFigures:
    """All figures of one token with `tokens` tokens in the cache, the new one included."""
    system = cut.system
    run = run_steps(system.config, cut.programs().block(tokens))
    pim_ns = (run.ticks + END_CK) * system.tick_ns
    cxl_ms = math.fsum(system.parallel.transfer_ns(*sent) for sent in _exchanges(cut)) * MS_PER_NS
    functions_ps = sum(task.ideal_ps for task in _functions(cut, tokens))
    acc_ms = functions_ps * MS_PER_PS * cut.place.copies
    block_ms = pim_ns * MS_PER_NS + cxl_ms + acc_ms
    embedding_ms = _embedding_ck(cut) * system.tick_ns * MS_PER_NS
    host_ms = system.parallel.host_latency_ns * MS_PER_NS
    token_ms = block_ms * system.layers + embedding_ms + host_ms
    step_pj = _step_pj(cut, run, tokens)
    steps, at_once = _steps(cut)
    return TokenFigures(
        pim_ms=pim_ns * MS_PER_NS,
        cxl_ms=cxl_ms,
        acc_ms=acc_ms,
        block_ms=block_ms,
        embedding_ms=embedding_ms,
        token_ms=token_ms,
        tokens_per_s=cut.pipeline * 1e3 / token_ms,
        token_mj=step_pj * steps * MJ_PER_PJ,
        power_w=step_pj * at_once / pim_ns * W_PER_MW,
        utilisation=cut.used_devices / system.parallel.devices,
    )


# ---- time


@cache
def _embedding_ck(cut: Cut) -> int:
    """Both embeddings on the devices of a stage."""
    return run_steps(cut.system.config, cut.programs().embeddings()).ticks + END_CK


def _exchanges(cut: Cut) -> list[list[float]]:
    """Messages in bytes of each exchange of a block.

    Layers as stages hand the vector on. Shared products: five vectors go to all devices and five
    are gathered from them, and the longer vector of the feed-forward part once each.
    """
    shape = cut.system.shape
    hidden, ffn = (float(size * BF16_BYTES) for size in (shape.hidden, shape.ffn))
    if cut.is_per_layer:
        return [[hidden]]
    gathered = [[size / cut.tensor] * (cut.tensor - 1) for size in (hidden, ffn)]
    return [*[[hidden]] * 5, *[gathered[0]] * 5, gathered[1], [ffn]]


def _functions(cut: Cut, tokens: int) -> list[Task]:
    """A block's functions on the near-memory units: two norms, softmax, rotary embedding."""
    shape, spec = cut.system.shape, cut.system.pnm
    amounts = [
        *[(spec.rmsnorm_ops, 1, shape.hidden)] * 2,
        (spec.softmax_ops, shape.heads, tokens * shape.heads),
        (spec.rope_ops, 0, shape.hidden + shape.hidden // shape.shared),
    ]
    lowering = AsicLowering(spec)
    return [
        lowering.task(
            name="function",
            index=0,
            engine=PNM,
            adds=ops.adds * elements + ops.row_adds * rows,
            multiplies=ops.multiplies * elements + ops.row_multiplies * rows,
            moved_bytes=2 * elements * BF16_BYTES,
        )
        for ops, rows, elements in amounts
    ]


# ---- energy


def _steps(cut: Cut) -> tuple[int, int]:
    """(per token, at once) how often what `_step_pj` counts happens."""
    if cut.is_per_layer:
        return cut.used_devices, cut.used_devices
    return cut.system.layers, cut.pipeline


def _step_pj(cut: Cut, run: PortRun, tokens: int) -> float:
    """One block on its devices; or all blocks of one device, which run at once."""
    functions_pj = _functions_pj(cut, tokens) * cut.place.copies
    others_pj = _device_pj(cut, _products(cut)) * (cut.tensor - 1) if cut.tensor > 1 else 0.0
    return _device_pj(cut, run) + functions_pj + others_pj


@cache
def _products(cut: Cut) -> PortRun:
    """A block on the devices that have no attention."""
    return run_steps(cut.system.config, cut.programs().products())


def _device_pj(cut: Cut, run: PortRun) -> float:
    """Commands, interface, standby and CXL of one device during a step."""
    system = cut.system
    config = system.config
    elapsed_ns, open_ns = run.ticks * system.tick_ns, run.open_ck * system.tick_ns
    standby_pj = config.open_mw * open_ns + config.closed_mw * (elapsed_ns - open_ns)
    sent = math.fsum(system.parallel.sent_bytes(size) for m in _exchanges(cut) for size in m)
    return math.fsum(
        (
            _commands_pj(system, run),
            standby_pj * STANDBY_CHANNELS,
            system.pnm.energy.static_mw * elapsed_ns,
            sent * BITS * system.parallel.link.energy_pj_per_bit,
        )
    )


def _commands_pj(system: CentSystem, run: PortRun) -> float:
    """All commands, those that move a burst with its bits on the interface."""
    config = system.config
    burst_pj = config.burst_bytes * BITS * system.port_pj_per_bit
    interface = [burst_pj if MOVES[moves] != "none" else 0.0 for moves in config.codes("moves")]
    each = zip(config.names, config.energy_pj, interface, strict=True)
    return math.fsum(run.counts[name] * (array + moved) for name, array, moved in each)


def _functions_pj(cut: Cut, tokens: int) -> float:
    pj_each = item_energies_pj(cut.system.pnm)
    return math.fsum(
        pj
        for task in _functions(cut, tokens)
        for pj in counted_energy_pj(task.counts, pj_each).values()
    )
