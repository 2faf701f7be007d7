"""One NAND flash die: its geometry, its bus interface, its timing and its energy.

Names of bus times are ONFI's, without the underscore's capitals: `t_wc` is tWC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from bankwidth.errors import SpecError
from bankwidth.spec.base import (
    Bits,
    Bytes,
    BytesOrZero,
    Count,
    DeviceSpec,
    Gbps,
    Mw,
    Ns,
    NsOrZero,
    Pj,
    PjPerBit,
    Relation,
    Spec,
    pick,
    pick_bytes,
)
from bankwidth.units import UNITS, parse_quantity

Cell = Literal["SLC", "MLC", "TLC", "QLC"]
WIDTHS: Final = (8, 16)  # of ONFI's buses, in bits
_TIME: Final = {"type": "string", "examples": ["45 us"]}


def _page_times(value: Any) -> tuple[float, ...]:
    """One time, or one per type of page, in ns. Raises SpecError for anything else."""
    written = value if isinstance(value, list | tuple) else [value]
    if not written:
        raise SpecError("need a time such as '45 us', or one per type of page; got an empty list")
    times = tuple(parse_quantity(one, "time") for one in written)
    wrong = next((shown for shown, ns in zip(written, times, strict=True) if ns <= 0), None)
    if wrong is not None:
        raise SpecError(f"{wrong!r}: a time here must be above 0")
    return times


PageTimes = Annotated[
    tuple[float, ...],
    BeforeValidator(_page_times),
    WithJsonSchema(
        {
            "title": "time",
            "description": "a time, or a list of one per type of page (lower, middle, upper), with "
            f"its unit: {', '.join(UNITS['time'])}",
            "examples": ["45 us"],
            "anyOf": [_TIME, {"type": "array", "items": _TIME, "minItems": 1}],
        }
    ),
]


class NandInterfaceSpec(Spec):
    """The bus of a die: commands, addresses and data share its pins."""

    width_bits: Bits = Field(default=8, description="data pins: 8 or 16")
    least_rate_gbps: Gbps = Field(description="slowest transfers per second and pin it runs at")
    most_rate_gbps: Gbps = Field(description="fastest transfers per second and pin it runs at")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The range is not empty, and the width is one that parts have."""
        width = pick(data, "width_bits")
        if isinstance(width, str) and known_width(width) not in (0, *WIDTHS):
            yield ("width",), f"need 8 or 16 bit, got {width!r}"
        least, most = (known_rate(pick(data, key)) for key in ("least_rate_gbps", "most_rate_gbps"))
        if least and most and most < least:
            yield ("most_rate",), f"{most * 1000:g} MT/s is below the least, {least * 1000:g} MT/s"


def known_rate(value: Any) -> float:
    """A rate that can be read, in Gbps, else 0 (the field says what is wrong)."""
    if isinstance(value, float):
        return value
    try:
        return parse_quantity(value, "pin rate")
    except SpecError:
        return 0.0


def known_width(text: str) -> float:
    """A width that can be read, in bits, else 0 (the field says what is wrong)."""
    try:
        return parse_quantity(text, "width")
    except SpecError:
        return 0.0


class NandTimingSpec(Spec):
    """What the array takes, and the bus times that commands are made of."""

    read_ns: PageTimes = Field(description="array to page register (tR)")
    program_ns: PageTimes = Field(description="page register to array (tPROG)")
    erase_ns: Ns = Field(description="of a block (tBERS)")
    t_cs_ns: NsOrZero = Field(description="chip enable set-up")
    t_wc_ns: NsOrZero = Field(description="write cycle of a command or address byte")
    t_wb_ns: NsOrZero = Field(description="last command cycle to busy")
    t_rr_ns: NsOrZero = Field(description="ready to data output")
    t_dbsy_ns: NsOrZero = Field(description="dummy busy between the planes of one command")
    t_adl_ns: NsOrZero = Field(description="address to data loading")
    t_wpst_ns: NsOrZero = Field(description="write postamble")
    t_wpsth_ns: NsOrZero = Field(description="write postamble hold")
    t_cals_ns: NsOrZero = Field(description="ALE and CLE set-up")
    t_dqsre_ns: NsOrZero = Field(description="access window of DQS from RE")
    t_rpre_ns: NsOrZero = Field(description="read preamble")
    t_rhw_ns: NsOrZero = Field(description="data output to the next command")
    t_ccs_ns: NsOrZero = Field(description="change of column")
    read_cache_busy_ns: Ns | None = Field(
        default=None,
        description="page register to cache register (tRCBSY); absent: the part has no cache read",
    )
    program_cache_busy_ns: Ns | None = Field(
        default=None,
        description="cache register to page register (tCBSY); absent: it has no cache program",
    )
    suspend_ns: Ns | None = Field(
        default=None,
        description="from a suspend command until the die can read; absent: it has no suspend",
    )


class NandEnergySpec(Spec):
    """Energy of one die. A page is its data and spare bytes on one plane."""

    read_pj: Pj = Field(description="array to register, one page")
    program_pj: Pj = Field(description="register to array, one page")
    erase_pj: Pj = Field(description="one block of one plane")
    bus_pj_per_bit: PjPerBit = Field(description="over the interface")
    idle_mw: Mw = Field(description="one die with nothing to do")


class NandSpec(DeviceSpec):
    """One die. Every count is per the level above it."""

    kind: Literal["nand"]
    cell: Cell
    page_bytes: Bytes = Field(description="data of one page")
    spare_bytes: BytesOrZero = Field(
        description="further bytes of a page, for the code that corrects it; moved with it"
    )
    planes: Count = Field(description="of one die, each with registers of its own")
    blocks_per_plane: Count
    pages_per_block: Count
    interface: NandInterfaceSpec
    timing: NandTimingSpec
    multi_plane: Literal["same_page", "independent"] = Field(
        description="same_page: planes read together only what has one page number in its block; "
        "independent: any pages"
    )
    endurance: Count = Field(description="program and erase cycles of a block")
    energy: NandEnergySpec

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Spare bytes are fewer than those they protect."""
        page, spare = pick_bytes(data, "page_bytes"), pick_bytes(data, "spare_bytes")
        if page and spare > page:
            yield ("spare",), f"{spare} bytes is more than the page itself, {page} bytes"

    @property
    def die_bytes(self) -> int:
        """Data of all pages of one die."""
        return self.planes * self.blocks_per_plane * self.pages_per_block * self.page_bytes
