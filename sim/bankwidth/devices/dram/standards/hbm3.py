"""HBM3 and HBM3E: stack ids, ticks of half a clock, refresh management rows."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.table import Controller, Gap, Standard
from bankwidth.spec.dram import Hbm3TimingCk

CHANNEL, PSEUDO, STACK_ID = Level.CHANNEL, Level.PSEUDO_CHANNEL, Level.STACK_ID
BANK_GROUP, BANK = Level.BANK_GROUP, Level.BANK
ACT, PREPB, PREAB = Command.ACT, Command.PREPB, Command.PREAB
RD, WR, RDA, WRA = Command.RD, Command.WR, Command.RDA, Command.WRA
REFAB, REFPB, RFMAB, RFMPB = Command.REFAB, Command.REFPB, Command.RFMAB, Command.RFMPB
READS, WRITES, CLOSES = (RD, RDA), (WR, WRA), (PREPB, PREAB)
ROW_BUS: Final = (ACT, PREPB, PREAB, REFAB, REFPB, RFMAB, RFMPB)
COLUMN_BUS: Final = (RD, WR, RDA, WRA)

# fmt: off
GAPS: Final[tuple[Gap[Hbm3TimingCk], ...]] = (
    # data bus
    Gap(PSEUDO,     READS,    READS,          lambda t: t.bl),
    Gap(PSEUDO,     WRITES,   WRITES,         lambda t: t.bl),
    Gap(STACK_ID,   READS,    READS,          lambda t: t.ccds),
    Gap(STACK_ID,   WRITES,   WRITES,         lambda t: t.ccds),
    Gap(STACK_ID,   READS,    READS,          lambda t: t.ccdr, sibling=True),
    Gap(BANK_GROUP, READS,    READS,          lambda t: t.ccdl),
    Gap(BANK_GROUP, WRITES,   WRITES,         lambda t: t.ccdl),
    # turnaround
    Gap(PSEUDO,     READS,    WRITES,         lambda t: t.rtw),
    Gap(PSEUDO,     WRITES,   READS,          lambda t: t.cwl + t.bl + t.wtrs),
    Gap(BANK_GROUP, WRITES,   READS,          lambda t: t.cwl + t.bl + t.wtrl),
    # activate
    Gap(BANK,       (ACT,),   (ACT,),         lambda t: t.rc),
    Gap(BANK_GROUP, (ACT,),   (ACT,),         lambda t: t.rrdl),
    Gap(PSEUDO,     (ACT,),   (ACT,),         lambda t: t.rrds),
    Gap(PSEUDO,     (ACT,),   (ACT,),         lambda t: t.faw, window=4),
    Gap(BANK,       (ACT,),   READS,          lambda t: t.rcdrd),
    Gap(BANK,       (ACT,),   WRITES,         lambda t: t.rcdwr),
    # precharge
    Gap(BANK,       (ACT,),   (PREPB,),       lambda t: t.ras),
    Gap(PSEUDO,     (ACT,),   (PREAB,),       lambda t: t.ras),
    Gap(BANK,       (RD,),    (PREPB,),       lambda t: t.rtp),
    Gap(PSEUDO,     (RD,),    (PREAB,),       lambda t: t.rtp),
    Gap(BANK,       (WR,),    (PREPB,),       lambda t: t.cwl + t.bl + t.wr),
    Gap(PSEUDO,     (WR,),    (PREAB,),       lambda t: t.cwl + t.bl + t.wr),
    Gap(PSEUDO,     CLOSES,   CLOSES,         lambda t: t.ppd),
    Gap(BANK,       (PREPB,), (ACT,),         lambda t: t.rp),
    Gap(PSEUDO,     (PREAB,), (ACT,),         lambda t: t.rp),
    Gap(BANK,       (RDA,),   (ACT,),         lambda t: t.rtp + t.rp),
    Gap(BANK,       (WRA,),   (ACT,),         lambda t: t.cwl + t.bl + t.wr + t.rp),
    # refresh and refresh management, all banks
    Gap(PSEUDO,     (ACT,),   (REFAB, RFMAB), lambda t: t.rc),
    Gap(PSEUDO,     CLOSES,   (REFAB, RFMAB), lambda t: t.rp),
    Gap(PSEUDO,     (RDA,),   (REFAB, RFMAB), lambda t: t.rtp + t.rp),
    Gap(PSEUDO,     (WRA,),   (REFAB, RFMAB), lambda t: t.cwl + t.bl + t.wr + t.rp),
    Gap(PSEUDO,     (REFAB,), (ACT, PREAB),   lambda t: t.rfc),
    Gap(PSEUDO,     (RFMAB,), (ACT, PREAB),   lambda t: t.rfmab),
    # refresh and refresh management, one bank
    Gap(PSEUDO,     (REFPB,), (REFPB, ACT),   lambda t: t.rrefd),
    Gap(PSEUDO,     (RFMPB,), (ACT,),         lambda t: t.rrefd),
    Gap(PSEUDO,     (ACT,),   (REFPB, RFMPB), lambda t: t.rrds),
    Gap(BANK,       (REFPB,), (ACT,),         lambda t: t.rfcpb),
    Gap(BANK,       (RFMPB,), (ACT,),         lambda t: t.rfmpb),
    Gap(BANK,       (ACT,),   (REFPB, RFMPB), lambda t: t.rc),
    Gap(BANK,       (PREPB,), (REFPB, RFMPB), lambda t: t.rp),
)
# fmt: on

HBM3: Final = Standard(
    name="HBM3",
    controller=Controller.HALF_CLOCK,
    levels=(CHANNEL, PSEUDO, STACK_ID, BANK_GROUP, BANK),
    commands=(ACT, PREPB, PREAB, RD, WR, RDA, WRA, REFAB, REFPB, RFMAB, RFMPB),
    refresh_level=PSEUDO,
    gaps=GAPS,
    cycles={ACT: 3, RD: 2, WR: 2, RDA: 2, WRA: 2},
    buses=(ROW_BUS, COLUMN_BUS),
    ticks_per_ck=2,
    source="JESD238 rules as in Ramulator 2.1 (c5b1c3a), HBM3",
)
