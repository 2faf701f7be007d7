"""Descriptions of machines, devices and workloads: strict YAML in, frozen models out.

Reading order: base (quantities), the models (gpu, asic, pim, dram, links, mapping, machine), load
(the way in), then tree, provenance, compose and explain, which make its messages exact.
"""

from bankwidth.spec.asic import AsicEnergySpec, AsicSpec, OpsSpec
from bankwidth.spec.attention_kernels import (
    AppendKernelSpec,
    AttentionCallSpec,
    AttentionKernelSpec,
    AttentionSpec,
    AttentionTileSpec,
    CaptureSpec,
    CombineSpec,
    NarrowTilesSpec,
)
from bankwidth.spec.base import DeviceSpec, Spec
from bankwidth.spec.cells import CellLibrarySpec
from bankwidth.spec.cpu import CpuSpec
from bankwidth.spec.cpu_library import CpuLibrarySpec
from bankwidth.spec.csd import CsdSpec
from bankwidth.spec.csd_mapping import CsdMappingSpec
from bankwidth.spec.device import DEVICES, AnyDeviceSpec, EngineSpec, MemorySpec
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.dtypes import DTYPES
from bankwidth.spec.files import find, shipped_names
from bankwidth.spec.fit import FitParameter
from bankwidth.spec.gpu import GpuEnergySpec, GpuSpec
from bankwidth.spec.interconnect import InterconnectSpec, MulticastSpec
from bankwidth.spec.links import LinkSpec
from bankwidth.spec.load import (
    check_file,
    fit_parameters,
    load_cells,
    load_device,
    load_machine,
    load_workload,
    sources_of,
    with_techniques,
)
from bankwidth.spec.machine import MachineSpec
from bankwidth.spec.mapping import (
    OPERATOR_KINDS,
    ROLES,
    MappingSpec,
    PimMappingSpec,
    SharedProductsSpec,
)
from bankwidth.spec.matmul_kernels import MatmulKernelsSpec, ScaledMatmulSpec, TileFamilySpec
from bankwidth.spec.moe_kernels import MoeKernelsSpec, TunedShapeSpec
from bankwidth.spec.nand import NandSpec
from bankwidth.spec.npu import ArraySpec, NpuEnergySpec, NpuSpec, VectorCostSpec, VectorUnitSpec
from bankwidth.spec.pim import PimSpec
from bankwidth.spec.price import PriceSpec
from bankwidth.spec.problems import Problem
from bankwidth.spec.roofline import CoresSpec, RingSpec, RooflineEnergySpec, RooflineSpec
from bankwidth.spec.schema import SCHEMA_KINDS, json_schema
from bankwidth.spec.sram_lut import SramLutSpec
from bankwidth.spec.sram_lut_mapping import SramLutMappingSpec
from bankwidth.spec.ssd import AccessSpec, SsdSpec
from bankwidth.spec.ternary_lut import TernaryLutSpec
from bankwidth.spec.vector_kernels import VectorKernelsSpec
from bankwidth.spec.version import SCHEMA_VERSION
from bankwidth.spec.without_pim import without_pim
from bankwidth.spec.workload import WorkloadSpec

__all__ = [
    "DEVICES",
    "DTYPES",
    "OPERATOR_KINDS",
    "ROLES",
    "SCHEMA_KINDS",
    "SCHEMA_VERSION",
    "AccessSpec",
    "AnyDeviceSpec",
    "AppendKernelSpec",
    "ArraySpec",
    "AsicEnergySpec",
    "AsicSpec",
    "AttentionCallSpec",
    "AttentionKernelSpec",
    "AttentionSpec",
    "AttentionTileSpec",
    "CaptureSpec",
    "CellLibrarySpec",
    "CombineSpec",
    "CoresSpec",
    "CpuLibrarySpec",
    "CpuSpec",
    "CsdMappingSpec",
    "CsdSpec",
    "DeviceSpec",
    "DramSpec",
    "EngineSpec",
    "FitParameter",
    "GpuEnergySpec",
    "GpuSpec",
    "InterconnectSpec",
    "LinkSpec",
    "MachineSpec",
    "MappingSpec",
    "MatmulKernelsSpec",
    "MemorySpec",
    "MoeKernelsSpec",
    "MulticastSpec",
    "NandSpec",
    "NarrowTilesSpec",
    "NpuEnergySpec",
    "NpuSpec",
    "OpsSpec",
    "PimMappingSpec",
    "PimSpec",
    "PriceSpec",
    "Problem",
    "RingSpec",
    "RooflineEnergySpec",
    "RooflineSpec",
    "ScaledMatmulSpec",
    "SharedProductsSpec",
    "Spec",
    "SramLutMappingSpec",
    "SramLutSpec",
    "SsdSpec",
    "TernaryLutSpec",
    "TileFamilySpec",
    "TunedShapeSpec",
    "VectorCostSpec",
    "VectorKernelsSpec",
    "VectorUnitSpec",
    "WorkloadSpec",
    "check_file",
    "find",
    "fit_parameters",
    "json_schema",
    "load_cells",
    "load_device",
    "load_machine",
    "load_workload",
    "shipped_names",
    "sources_of",
    "with_techniques",
    "without_pim",
]
