"""One DRAM channel: its organisation, its timing in clock cycles, and its energy.

Timing values are written in cycles of the command clock (`"36 ck"`) or in time (`"13.75 ns"`,
rounded up to cycles of `tck`); once read they are plain integers of cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from bankwidth.errors import SpecError
from bankwidth.spec.base import (
    Bits,
    Bytes,
    Count,
    DeviceSpec,
    MilliAmp,
    Mw,
    Ns,
    Pj,
    PjPerBit,
    Relation,
    Spec,
    Volt,
    pick,
)
from bankwidth.units import UNITS, ns_to_ck, parse_quantity

Standard = Literal["DDR4", "DDR5", "LPDDR5", "GDDR6", "HBM2", "HBM3"]
POWER_OF_TWO_COUNTS: Final = (
    "ranks", "pseudo_channels", "stack_ids", "bank_groups", "banks_per_group",
    "rows", "columns", "prefetch",
)  # fmt: skip
# Standard -> counts of the organisation that it has beyond groups, banks, rows and columns.
OUTER_COUNTS: Final[dict[str, tuple[str, ...]]] = {
    "DDR4": ("ranks",),
    "DDR5": ("ranks",),
    "LPDDR5": ("ranks",),
    "GDDR6": (),
    "HBM2": ("pseudo_channels",),
    "HBM3": ("pseudo_channels", "stack_ids"),
}
MAX_BANKS: Final = 128  # per channel; the engine's arrays are this long
BITS_PER_BYTE: Final = 8
# (a, b, why): `a` cannot be below `b`.
AT_LEAST: Final = (
    ("faw", "rrds", "four activates do not fit into less than the gap between two"),
    ("rc", "ras", "a row is open for tRAS before it can be opened again"),
    ("bl_max", "bl_min", "the longest burst is no shorter than the shortest"),
)


def _in_cycles(value: object, tck_ps: int | None) -> int:
    """Cycles of a value as it is written. Raises SpecError when it is none, or below 0."""
    if isinstance(value, str) and value.strip().endswith("ck"):
        number = parse_quantity(value, "cycles")
        if number != int(number) or number < 0:
            raise SpecError(f"{value!r}: cycles must be whole and at least 0")
        return int(number)
    time_ns = _parse_time_ns(value)
    if time_ns < 0:
        raise SpecError(f"{value!r}: a time here must be at least 0")
    if tck_ps is None:
        raise SpecError(f"{value!r}: cannot be turned into cycles without a valid tck")
    return ns_to_ck(time_ns, tck_ps)


def _parse_time_ns(value: object) -> float:
    """A time, or what is wrong with it: here cycles are allowed too, and every message says so."""
    try:
        return parse_quantity(value, "time")
    except SpecError as error:
        raise SpecError(f"{error}, or cycles such as '36 ck'") from None


def _cycles(value: Any, info: ValidationInfo) -> int:
    tck_ns = info.data.get("tck_ns")
    return _in_cycles(value, None if tck_ns is None else round(tck_ns * 1000))


def _above_zero(cycles: int) -> int:
    if cycles < 1:
        raise SpecError(f"'{cycles} ck': must be at least 1 ck")
    return cycles


def _whole_ps(tck_ns: float) -> float:
    """The system's time is in whole picoseconds, and so is the clock that cycles are counted in."""
    tck_ps = tck_ns * 1000
    if round(tck_ps) < 1 or abs(tck_ps - round(tck_ps)) > 1e-6:
        raise SpecError(f"'{tck_ps:g} ps': a clock period must be whole picoseconds, at least 1")
    return tck_ns


Cycles = Annotated[
    int,
    BeforeValidator(_cycles),
    WithJsonSchema(
        {
            "type": "string",
            "title": "number of cycles or time",
            "description": f"cycles or a time rounded up to them: ck, {', '.join(UNITS['time'])}",
            "examples": ["36 ck", "13.75 ns"],
        }
    ),
]
SomeCycles = Annotated[Cycles, AfterValidator(_above_zero)]


class TimingCk(Spec):
    """Timing in cycles of the command clock; names are the standards', without the leading t."""

    tck_ns: Annotated[Ns, AfterValidator(_whole_ps)] = Field(
        description="period of the command clock"
    )
    cl: Cycles = Field(description="read command to first data")
    cwl: Cycles = Field(description="write command to first data")
    rp: Cycles
    ras: Cycles
    rc: Cycles
    wr: Cycles
    rtp: Cycles
    ccds: Cycles
    ccdl: Cycles
    rrds: Cycles
    rrdl: Cycles
    wtrs: Cycles
    wtrl: Cycles
    faw: Cycles = Field(description="window that holds at most four activates")
    rfc: Cycles = Field(description="duration of an all-bank refresh")
    refi: Cycles = Field(description="interval of all-bank refreshes")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """What no device can keep."""
        ck = _known_cycles(data, cls.model_fields)
        for name, other, why in AT_LEAST:
            if name in ck and other in ck and ck[name] < ck[other]:
                yield (name,), f"{ck[name]} ck is below the {ck[other]} ck of {other}: {why}"
        if "refi" in ck and "rfc" in ck and ck["refi"] <= ck["rfc"]:
            yield (
                ("refi",),
                f"{ck['refi']} ck is not above the {ck['rfc']} ck of rfc: the refresh never ends",
            )

    @property
    def tck_ps(self) -> int:
        """Clock period in whole picoseconds."""
        return round(self.tck_ns * 1000)

    @property
    def burst_ck(self) -> int:
        """Cycles of the data bus that one burst takes."""
        raise NotImplementedError

    @property
    def refpb_interval_ck(self) -> int | None:
        """Interval of per-bank refreshes, where the standard gives one."""
        return getattr(self, "refipb", None)

    def times(self, ticks_per_ck: int) -> dict[str, int]:
        """The cycle counts by name, multiplied (a device may tick faster than its clock)."""
        return {
            name: value * ticks_per_ck
            for name in type(self).model_fields
            if isinstance(value := getattr(self, name), int)
        }


def _known_cycles(data: object, names: Iterable[str]) -> dict[str, int]:
    """The times that can be read; of the others the field says what is wrong."""
    known: dict[str, int] = {}
    try:
        tck_ps = round(parse_quantity(pick(data, "tck_ns"), "time") * 1000)
    except SpecError:
        tck_ps = 0
    for name in names:
        with suppress(SpecError):
            known[name] = _in_cycles(pick(data, name), tck_ps if tck_ps > 0 else None)
    return known


class _BurstTimingCk(TimingCk):
    bl: SomeCycles = Field(description="cycles of the data bus that one burst takes")

    @property
    def burst_ck(self) -> int:
        return self.bl


class Ddr4TimingCk(_BurstTimingCk):
    """DDR4."""

    standard: Literal["DDR4"]
    rcd: Cycles
    cs: Cycles = Field(description="turnaround between ranks")


class Ddr5TimingCk(_BurstTimingCk):
    """DDR5: own write gaps, and a gap between precharges."""

    standard: Literal["DDR5"]
    rcd: Cycles
    cs: Cycles
    ppd: Cycles
    ccds_wr: Cycles
    ccdl_wr: Cycles


class Lpddr5TimingCk(TimingCk):
    """LPDDR5: split activate, data clock (WCK) synchronisation."""

    standard: Literal["LPDDR5"]
    bl_min: SomeCycles
    bl_max: Cycles
    rcd: Cycles
    rpab: Cycles
    cs: Cycles
    ppd: Cycles
    ccds_wr: Cycles
    ccdl_wr: Cycles
    rfcpb: Cycles
    refipb: SomeCycles
    wckpst: Cycles
    cas: Cycles
    aad: Cycles = Field(description="longest time from the first to the second activate command")
    pbr2pbr: Cycles
    pbr2act: Cycles

    @property
    def burst_ck(self) -> int:
        return self.bl_min


class Gddr6TimingCk(_BurstTimingCk):
    """GDDR6."""

    standard: Literal["GDDR6"]
    rcdrd: Cycles
    rcdwr: Cycles
    rfcpb: Cycles
    rrefd: Cycles
    ppd: Cycles
    refipb: SomeCycles | None = None


class Hbm2TimingCk(_BurstTimingCk):
    """HBM2 and HBM2E."""

    standard: Literal["HBM2"]
    rcdrd: Cycles
    rcdwr: Cycles
    rfcpb: Cycles
    rrefd: Cycles
    refipb: SomeCycles


class Hbm3TimingCk(_BurstTimingCk):
    """HBM3 and HBM3E: the engine ticks twice per clock."""

    standard: Literal["HBM3"]
    rcdrd: Cycles
    rcdwr: Cycles
    ccdr: Cycles = Field(description="between reads of different stack ids")
    rtw: Cycles
    rfcpb: Cycles
    rrefd: Cycles
    ppd: Cycles
    refipb: SomeCycles
    rfmab: Cycles
    rfmpb: Cycles


AnyTimingCk = Annotated[
    Ddr4TimingCk | Ddr5TimingCk | Lpddr5TimingCk | Gddr6TimingCk | Hbm2TimingCk | Hbm3TimingCk,
    Field(discriminator="standard"),
]


class OrganisationSpec(Spec):
    """Counts of one channel; each is per the level above it."""

    width_bits: Bits = Field(description="data pins of one rank or pseudo-channel")
    device_width_bits: Bits = Field(description="data pins of one DRAM device of it")
    prefetch: Count = Field(description="columns that one burst transfers")
    ranks: Count = 1
    pseudo_channels: Count = 1
    stack_ids: Count = 1
    bank_groups: Count
    banks_per_group: Count
    rows: Count = Field(description="per bank")
    columns: Count = Field(description="per row, each as wide as the data pins")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Addresses are cut into bit fields, so every count is a power of two."""
        for name in POWER_OF_TWO_COUNTS:
            count = pick(data, name)
            if isinstance(count, int) and count > 0 and count & (count - 1):
                yield (name,), f"{count} is no power of two; addresses are cut into bit fields"
        columns, prefetch = pick(data, "columns"), pick(data, "prefetch")
        if isinstance(columns, int) and isinstance(prefetch, int) and 0 < columns < prefetch:
            yield ("columns",), f"a row of {columns} holds no burst, which is {prefetch} columns"
        yield from _wrong_widths(data, prefetch)

    @property
    def burst_bytes(self) -> int:
        """Bytes that one read or write command moves."""
        return self.prefetch * self.width_bits // 8

    @property
    def num_banks(self) -> int:
        """Banks of the channel."""
        outer = self.ranks * self.pseudo_channels * self.stack_ids
        return outer * self.bank_groups * self.banks_per_group

    @property
    def devices_per_rank(self) -> int:
        """DRAM devices that answer one command together."""
        return max(1, self.width_bits // self.device_width_bits)

    @property
    def row_bytes(self) -> int:
        """Bytes of one open row."""
        return self.columns * self.width_bits // 8


def _wrong_widths(data: object, prefetch: object) -> Iterator[Relation]:
    width, device = _known_bits(data, "width_bits"), _known_bits(data, "device_width_bits")
    if width & (width - 1):
        yield ("width",), f"{width} bit is no power of two; addresses are cut into bit fields"
    if device and width % device:
        yield ("device_width",), f"devices of {device} bit do not make up the {width} bit of width"
    if isinstance(prefetch, int) and 0 < prefetch * width < BITS_PER_BYTE:
        yield ("width",), f"a burst of {prefetch * width} bit is less than a byte"


def _known_bits(data: object, name: str) -> int:
    """A width that can be read, else 0 (the field says what is wrong)."""
    value = pick(data, name)
    if isinstance(value, int):
        return value
    try:
        bits = parse_quantity(value, "width")
    except SpecError:
        return 0
    return int(bits) if bits > 0 and bits == int(bits) else 0


class CommandEnergySpec(Spec):
    """Energies given per event. Per row: one activate with its precharge."""

    method: Literal["per command"]
    activate_pj: Pj = Field(description="one activate and its precharge")
    read_pj_per_bit: PjPerBit = Field(description="core and internal data path")
    write_pj_per_bit: PjPerBit
    refresh_pj: Pj = Field(description="one all-bank refresh command")
    refresh_bank_pj: Pj = Field(description="one per-bank refresh command")
    io_pj_per_bit: PjPerBit = Field(description="interface of the memory's side")
    background_mw: Mw = Field(description="one channel, rows open, no commands")


class CurrentEnergySpec(Spec):
    """Currents of one device; command energies follow by the classic IDD formula."""

    method: Literal["idd"]
    vdd_v: Volt
    idd0_ma: MilliAmp = Field(description="activate and precharge cycling at tRC")
    idd2n_ma: MilliAmp = Field(description="standby, precharged")
    idd3n_ma: MilliAmp = Field(description="standby, rows open")
    idd4r_ma: MilliAmp
    idd4w_ma: MilliAmp
    idd5b_ma: MilliAmp = Field(description="all-bank refresh, during tRFC")
    io_pj_per_bit: PjPerBit

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """An operating current holds the standby current that the formula takes off."""
        for name in ("idd4r_ma", "idd4w_ma", "idd5b_ma"):
            above, below = _milliamps(data, name), _milliamps(data, "idd3n_ma")
            if above is not None and below is not None and above < below:
                yield (name.removesuffix("_ma"),), "is below idd3n, which it contains"


def _milliamps(data: object, name: str) -> float | None:
    value = pick(data, name)
    try:
        return value if isinstance(value, float) else parse_quantity(value, "current")
    except SpecError:
        return None  # the field says so itself


AnyEnergySpec = Annotated[CommandEnergySpec | CurrentEnergySpec, Field(discriminator="method")]


class DramSpec(DeviceSpec):
    """One channel of a DRAM, and how many of them a memory is made of."""

    kind: Literal["dram"]
    standard: Standard
    organisation: OrganisationSpec
    timing: SerializeAsAny[AnyTimingCk]
    energy: SerializeAsAny[AnyEnergySpec]
    channels: Count = Field(default=1, description="identical channels of the memory")
    capacity_bytes: Bytes | None = Field(
        default=None, description="usable bytes of all channels; what they hold, if not given"
    )

    @model_validator(mode="before")
    @classmethod
    def _timing_of_standard(cls, data: Any) -> Any:
        """The standard picks the timing record's class."""
        timing = pick(data, "timing")
        if not isinstance(data, Mapping) or not isinstance(timing, Mapping):
            return data
        return {**data, "timing": {"standard": data.get("standard"), **timing}}

    @field_validator("timing")
    @classmethod
    def _same_standard(cls, timing: AnyTimingCk, info: ValidationInfo) -> AnyTimingCk:
        if "standard" in info.data and timing.standard != info.data["standard"]:
            raise SpecError(f"timing of {timing.standard} for a {info.data['standard']} device")
        return timing

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Counts that the standard does not have must be 1; channels must hold the capacity."""
        organisation, standard = pick(data, "organisation"), pick(data, "standard")
        own = OUTER_COUNTS.get(standard, ()) if isinstance(standard, str) else ()
        for name in ("ranks", "pseudo_channels", "stack_ids"):
            count = pick(organisation, name)
            if standard in OUTER_COUNTS and name not in own and count not in (None, 1):
                yield ("organisation", name), f"a {standard} channel has no {name}"
        yield from _too_many_banks(organisation)

    @model_validator(mode="after")
    def _holds_capacity(self) -> DramSpec:
        held = self.channels * self.channel_capacity_bytes
        if self.capacity_bytes is not None and self.capacity_bytes > held:
            raise SpecError(
                f"capacity: {self.capacity_bytes} B is more than {self.channels} channels of "
                f"{self.channel_capacity_bytes} B hold"
            )
        return self

    @property
    def burst_bytes(self) -> int:
        """Bytes that one read or write command moves."""
        return self.organisation.burst_bytes

    @property
    def channel_capacity_bytes(self) -> int:
        """Bytes of all banks of one channel."""
        organisation = self.organisation
        return organisation.num_banks * organisation.rows * organisation.row_bytes

    @property
    def channel_peak_bytes_per_ns(self) -> float:
        """Data pins of one channel times their rate."""
        burst_ns = self.timing.burst_ck * self.timing.tck_ps / 1000
        return self.organisation.pseudo_channels * self.burst_bytes / burst_ns


def _too_many_banks(organisation: object) -> Iterator[Relation]:
    banks = 1
    for name in ("ranks", "pseudo_channels", "stack_ids", "bank_groups", "banks_per_group"):
        count = pick(organisation, name)
        banks *= count if isinstance(count, int) and count > 0 else 1
    if banks > MAX_BANKS:
        yield ("organisation",), f"{banks} banks in a channel, at most {MAX_BANKS}"
