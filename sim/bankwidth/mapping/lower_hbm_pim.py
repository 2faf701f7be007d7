"""Matrix-vector products on HBM-PIM: weights in the banks, everything else with the host.

The outputs are dealt out to the channels in groups of 64, one group being what the units of a
channel keep in their result registers; a channel gets its part of the vector again for each group.
Where there are fewer groups than channels, channels share a group: each takes a part of the vector.
Results stay as 16 partial sums each, one per lane: the host reads and adds them. Several tokens are
computed one after the other, each with mode changes of its own.

The units multiply FP16. BF16, which the traces of other machines have, is let through: it has the
same bytes and takes the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bankwidth.devices.pim.hbm_pim import REGISTERS, gemv, gemv_rows, lanes, units
from bankwidth.devices.pim.program import MacroList, PimProgram, mac_of, program_of
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.dealing import ceil_div, programs_of_works, shares_of
from bankwidth.mapping.pim_geometry import PimGeometry
from bankwidth.mapping.stages import HostSum, InBanks, Stage
from bankwidth.operators import Matmul, Operator
from bankwidth.spec import PimMappingSpec, PimSpec

DTYPES: Final = ("fp16", "bf16")


def lower_matmul(geometry: PimGeometry, *, m: int, n: int, k: int) -> PimProgram:
    """`m` vectors of `k` elements, one after the other, with a matrix of `n` outputs."""
    config = geometry.config
    group = units(config) * REGISTERS
    groups = ceil_div(n, group)
    pieces = _pieces(k, lanes(config) * REGISTERS, geometry.channels // groups)

    def of_channel(work: tuple[int, int]) -> MacroList:
        return gemv(config, outputs=work[0] * group, inputs=work[1], reads_results=True)

    shares = shares_of(groups, min(groups, geometry.channels))
    works = [(share, piece) for piece in pieces for share in shares]
    return program_of(
        config,
        programs_of_works(works, of_channel, repeat=m),
        rows=max(gemv_rows(config, share * group, piece) for share, piece in works),
        flops=2 * m * n * k,
        asic_adds=m * n * (lanes(config) * len(pieces) - 1),
    )


def _pieces(inputs: int, tile: int, channels: int) -> list[int]:
    """Inputs of each of the channels that share a group of outputs, in whole tiles."""
    tiles = ceil_div(inputs, tile)
    shares = shares_of(tiles, max(1, min(tiles, channels)))
    return [share * tile for share in shares]


class HbmPimPrograms:
    """Programs of products with weights; layers of one shape share theirs, on rows of their own."""

    def __init__(self, spec: PimSpec, geometry: PimGeometry, options: PimMappingSpec) -> None:
        self._geometry = geometry
        self._programs: dict[tuple[int, int, int], PimProgram] = {}

    def supports(self, op: Operator) -> bool:
        """Products with weights only: attention stays with the host."""
        return isinstance(op, Matmul) and op.has_weight

    def tensor(self, op: Operator, index: int, context: LoweringContext) -> tuple[str, int]:
        """The matrix, with room for the results."""
        return f"{op.layer}/{op.name}", self._program(op).rows

    def stages(self, op: Operator, index: int, context: LoweringContext) -> Sequence[Stage]:
        """The product, then the host adds up the lanes.

        Raises MappingError for a format that has not 16 bits.
        """
        program = self._program(op)
        return InBanks(program=program, ideal_ps=self._ideal_ps(program)), HostSum(
            program.asic_adds
        )

    def _program(self, op: Operator) -> PimProgram:
        if not isinstance(op, Matmul):
            raise MappingError(f"no program for {op.kind} {op.name!r}")
        if op.weight_dtype not in DTYPES:
            raise MappingError(
                f"{op.name}: the units multiply {' or '.join(DTYPES)}, not {op.weight_dtype}"
            )
        key = (op.m * op.batch, op.n, op.k)
        if key not in self._programs:
            self._programs[key] = lower_matmul(self._geometry, m=key[0], n=op.n, k=op.k)
        return self._programs[key]

    def _ideal_ps(self, program: PimProgram) -> int:
        """The longest channel's MAC commands, one after the other."""
        config, mac = self._geometry.config, mac_of(self._geometry.config) or ""
        longest = max(int(p.counts(len(config.names))[config.index(mac)]) for p in program.channels)
        return longest * config.cadence_ck(mac) * config.tick_ps
