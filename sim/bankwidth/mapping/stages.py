"""What an operator becomes in computing banks: programs, and what the host does between them."""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.devices.pim.program import PimProgram


@dataclass(frozen=True, slots=True, kw_only=True)
class InBanks:
    """A program of the channels; its rows count from the first of the operator's tensor.

    `ideal_ps` is its compute, or where it computes nothing its transfers, at the banks' peak.
    """

    program: PimProgram
    suffix: str = ""  # of the task's name, where an operator has several
    reads: bool = True  # its rows; False: it writes them
    ideal_ps: int = 0


@dataclass(frozen=True, slots=True)
class HostSoftmax:
    """`rows` softmaxes over `elements` in all."""

    rows: int
    elements: int


@dataclass(frozen=True, slots=True)
class HostSum:
    """Additions of partial results."""

    adds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProduct:
    """`batch` products of m x k with k x n, whose second factor the host reads from the memory."""

    suffix: str
    m: int
    n: int
    k: int
    batch: int


@dataclass(frozen=True, slots=True)
class Fused:
    """Nothing left to do: the product before computed it in the banks."""


Stage = InBanks | HostSoftmax | HostSum | HostProduct | Fused
HostStage = HostSoftmax | HostSum | HostProduct
