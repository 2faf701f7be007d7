"""DDR4: one command bus, ranks, all-bank refresh."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.table import Controller, Gap, Standard
from bankwidth.spec.dram import Ddr4TimingCk

CHANNEL, RANK, BANK_GROUP, BANK = Level.CHANNEL, Level.RANK, Level.BANK_GROUP, Level.BANK
ACT, PREPB, PREAB, REFAB = Command.ACT, Command.PREPB, Command.PREAB, Command.REFAB
RD, WR, RDA, WRA = Command.RD, Command.WR, Command.RDA, Command.WRA
READS, WRITES = (RD, RDA), (WR, WRA)

# fmt: off
GAPS: Final[tuple[Gap[Ddr4TimingCk], ...]] = (
    # data bus
    Gap(CHANNEL,    READS,          READS,          lambda t: t.bl),
    Gap(CHANNEL,    WRITES,         WRITES,         lambda t: t.bl),
    Gap(RANK,       READS,          READS,          lambda t: t.ccds),
    Gap(RANK,       WRITES,         WRITES,         lambda t: t.ccds),
    Gap(BANK_GROUP, READS,          READS,          lambda t: t.ccdl),
    Gap(BANK_GROUP, WRITES,         WRITES,         lambda t: t.ccdl),
    # turnaround
    Gap(RANK,       READS,          WRITES,         lambda t: t.cl + t.bl + 2 - t.cwl),
    Gap(RANK,       WRITES,         READS,          lambda t: t.cwl + t.bl + t.wtrs),
    Gap(BANK_GROUP, WRITES,         READS,          lambda t: t.cwl + t.bl + t.wtrl),
    Gap(RANK,       READS,          READS + WRITES, lambda t: t.bl + t.cs, sibling=True),
    Gap(RANK,       WRITES,         READS,          lambda t: t.cwl + t.bl + t.cs - t.cl,
        sibling=True),
    # activate
    Gap(BANK,       (ACT,),         (ACT,),         lambda t: t.rc),
    Gap(BANK_GROUP, (ACT,),         (ACT,),         lambda t: t.rrdl),
    Gap(RANK,       (ACT,),         (ACT,),         lambda t: t.rrds),
    Gap(RANK,       (ACT,),         (ACT,),         lambda t: t.faw, window=4),
    Gap(BANK,       (ACT,),         READS + WRITES, lambda t: t.rcd),
    # precharge
    Gap(BANK,       (ACT,),         (PREPB,),       lambda t: t.ras),
    Gap(RANK,       (ACT,),         (PREAB,),       lambda t: t.ras),
    Gap(BANK,       (RD,),          (PREPB,),       lambda t: t.rtp),
    Gap(RANK,       (RD,),          (PREAB,),       lambda t: t.rtp),
    Gap(BANK,       (WR,),          (PREPB,),       lambda t: t.cwl + t.bl + t.wr),
    Gap(RANK,       (WR,),          (PREAB,),       lambda t: t.cwl + t.bl + t.wr),
    Gap(BANK,       (PREPB,),       (ACT,),         lambda t: t.rp),
    Gap(RANK,       (PREAB,),       (ACT,),         lambda t: t.rp),
    Gap(BANK,       (RDA,),         (ACT,),         lambda t: t.rtp + t.rp),
    Gap(BANK,       (WRA,),         (ACT,),         lambda t: t.cwl + t.bl + t.wr + t.rp),
    # refresh
    Gap(RANK,       (ACT,),         (REFAB,),       lambda t: t.rc),
    Gap(RANK,       (PREPB, PREAB), (REFAB,),       lambda t: t.rp),
    Gap(RANK,       (RDA,),         (REFAB,),       lambda t: t.rtp + t.rp),
    Gap(RANK,       (WRA,),         (REFAB,),       lambda t: t.cwl + t.bl + t.wr + t.rp),
    Gap(RANK,       (REFAB,),       (ACT, PREAB),   lambda t: t.rfc),
)
# fmt: on

DDR4: Final = Standard(
    name="DDR4",
    controller=Controller.ONE_BUS,
    levels=(CHANNEL, RANK, BANK_GROUP, BANK),
    commands=(ACT, PREPB, PREAB, RD, WR, RDA, WRA, REFAB),
    refresh_level=RANK,
    gaps=GAPS,
    cycles={},
    buses=((ACT, PREPB, PREAB, RD, WR, RDA, WRA, REFAB),),
    source="JESD79-4 rules as in Ramulator 2.1 (c5b1c3a), DDR4",
)
