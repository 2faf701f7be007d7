"""Energy per counted item of each engine kind, and its static power, from its description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bankwidth.devices.sram_lut.commands import Phase
from bankwidth.spec import (
    AsicSpec,
    CpuSpec,
    CsdSpec,
    EngineSpec,
    GpuSpec,
    NpuSpec,
    RooflineSpec,
    SramLutSpec,
    TernaryLutSpec,
)


def _gpu_items(spec: GpuSpec) -> dict[str, float]:
    energy = spec.energy
    products = {"fp32": energy.vector_flop_pj["fp32"], **energy.flop_pj}
    tensor = {f"tensor {dtype}": pj for dtype, pj in products.items()}
    vector = {f"vector {dtype}": pj for dtype, pj in energy.vector_flop_pj.items()}
    bits = {
        "l2": energy.l2_pj_per_bit,
        "shared": energy.shared_pj_per_bit,
        "sm": energy.sm_pj_per_bit,
        "link": spec.interconnect.energy_pj_per_bit if spec.interconnect else 0.0,
    }
    return tensor | vector | bits


def _asic_items(spec: AsicSpec) -> dict[str, float]:
    energy = spec.energy
    return {"add": energy.add_pj, "mul": energy.mul_pj, "sram": energy.sram_pj_per_bit}


def _npu_items(spec: NpuSpec) -> dict[str, float]:
    energy = spec.energy
    return {
        "mac": energy.mac_pj,
        "vector_op": energy.vector_op_pj,
        "scratchpad": energy.scratchpad_pj_per_bit,
    }


def _csd_items(spec: CsdSpec) -> dict[str, float]:
    energy = spec.energy
    return {
        "gemv": energy.gemv_flop_pj,
        "softmax": energy.softmax_operation_pj,
        "topk": energy.topk_element_pj,
        "filter": energy.filter_pj_per_bit,
    }


def _sram_lut_items(spec: SramLutSpec) -> dict[str, float]:
    energy = spec.energy
    cycles = {phase.name.lower(): energy.compute_cycle_pj for phase in Phase}
    bits = {"bus": energy.bus_pj_per_bit, "staging": energy.staging_pj_per_bit}
    return {**cycles, "access": energy.access_row_pj, **bits}


def _roofline_items(spec: RooflineSpec) -> dict[str, float]:
    energy = spec.energy
    matrix = {f"matrix {dtype}": pj for dtype, pj in energy.flop_pj.items()}
    vector = {f"vector {dtype}": pj for dtype, pj in energy.vector_flop_pj.items()}
    bits = {
        "cache": energy.cache_pj_per_bit,
        "core": spec.cores.feed_pj_per_bit if spec.cores else 0.0,
        "link": spec.ring.energy_pj_per_bit if spec.ring else 0.0,
    }
    return matrix | vector | bits


def _cpu_items(spec: CpuSpec) -> dict[str, float]:
    energy = spec.energy
    bits = {"l2": energy.l2_pj_per_bit, "llc": energy.llc_pj_per_bit}
    return {**energy.instruction_pj, **bits}


def _ternary_lut_items(spec: TernaryLutSpec) -> dict[str, float]:
    energy = spec.energy
    return {
        "lookup": energy.lookup_pj,
        "add": energy.add_pj,
        "buffer": energy.buffer_pj_per_bit,
        "vector": energy.vector_pj,
        "attention": energy.attention_mac_pj,
        "host": spec.host.mac_pj if spec.host else 0.0,
    }


_ITEMS: dict[str, Callable[[Any], dict[str, float]]] = {
    "gpu": _gpu_items,
    "asic": _asic_items,
    "npu": _npu_items,
    "csd": _csd_items,
    "roofline": _roofline_items,
    "sram_lut": _sram_lut_items,
    "cpu": _cpu_items,
    "ternary_lut": _ternary_lut_items,
}


def item_energies_pj(
    spec: EngineSpec,
) -> dict[str, float]:
    """Energy of one of each item that the engine's lowering counts."""
    return _ITEMS[spec.kind](spec)
