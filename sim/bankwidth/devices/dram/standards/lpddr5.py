"""LPDDR5: activate in two halves, a data clock that must be synchronised, per-bank refresh."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.table import Controller, Gap, Standard
from bankwidth.spec.dram import Lpddr5TimingCk

CHANNEL, RANK, BANK_GROUP, BANK = Level.CHANNEL, Level.RANK, Level.BANK_GROUP, Level.BANK
ACT, ACT2, PREPB, PREAB = Command.ACT, Command.ACT2, Command.PREPB, Command.PREAB
CAS_RD, CAS_WR = Command.CAS_RD, Command.CAS_WR
RD, WR, RDA, WRA = Command.RD, Command.WR, Command.RDA, Command.WRA
REFAB, REFPB = Command.REFAB, Command.REFPB
READS, WRITES, CLOSES = (RD, RDA), (WR, WRA), (PREPB, PREAB)
COMMANDS: Final = (
    ACT, ACT2, PREPB, PREAB, CAS_RD, CAS_WR, RD, WR, RDA, WRA, REFAB, REFPB,
)  # fmt: skip

# fmt: off
GAPS: Final[tuple[Gap[Lpddr5TimingCk], ...]] = (
    # data bus and data clock
    Gap(CHANNEL,    READS,     READS,          lambda t: t.bl_min),
    Gap(CHANNEL,    WRITES,    WRITES,         lambda t: t.bl_min),
    Gap(BANK,       (CAS_RD,), READS,          lambda t: t.cas),
    Gap(BANK,       (CAS_WR,), WRITES,         lambda t: t.cas),
    Gap(RANK,       READS,     READS,          lambda t: t.ccds),
    Gap(RANK,       WRITES,    WRITES,         lambda t: t.ccds_wr),
    Gap(BANK_GROUP, READS,     READS,          lambda t: t.ccdl),
    Gap(BANK_GROUP, WRITES,    WRITES,         lambda t: t.ccdl_wr),
    # turnaround
    Gap(RANK,       READS,     WRITES,         lambda t: t.cl + t.bl_min + 2 - t.cwl),
    Gap(RANK,       WRITES,    READS,          lambda t: t.cwl + t.bl_min + t.wtrs),
    Gap(BANK_GROUP, WRITES,    READS,          lambda t: t.cwl + t.bl_max + t.wtrl),
    Gap(RANK,       READS,     READS + WRITES, lambda t: t.bl_min + t.cs, sibling=True),
    Gap(RANK,       WRITES,    READS,          lambda t: t.cl + t.bl_min + t.cs - t.cwl,
        sibling=True),
    # activate: everything counts from the first half
    Gap(BANK,       (ACT,),    (ACT,),         lambda t: t.rc),
    Gap(BANK_GROUP, (ACT,),    (ACT,),         lambda t: t.rrdl),
    Gap(RANK,       (ACT,),    (ACT,),         lambda t: t.rrds),
    Gap(RANK,       (ACT,),    (ACT,),         lambda t: t.faw, window=4),
    Gap(BANK,       (ACT,),    READS + WRITES, lambda t: t.rcd),
    # precharge
    Gap(BANK,       (ACT,),    (PREPB,),       lambda t: t.ras),
    Gap(RANK,       (ACT,),    (PREAB,),       lambda t: t.ras),
    Gap(BANK,       (RD,),     (PREPB,),       lambda t: t.rtp),
    Gap(RANK,       (RD,),     (PREAB,),       lambda t: t.rtp),
    Gap(BANK,       (WR,),     (PREPB,),       lambda t: t.cwl + t.bl_min + t.wr),
    Gap(RANK,       (WR,),     (PREAB,),       lambda t: t.cwl + t.bl_min + t.wr),
    Gap(RANK,       CLOSES,    CLOSES,         lambda t: t.ppd),
    Gap(BANK,       (PREPB,),  (ACT,),         lambda t: t.rp),
    Gap(RANK,       (PREAB,),  (ACT,),         lambda t: t.rpab),
    Gap(BANK,       (RDA,),    (ACT,),         lambda t: t.rtp + t.rp),
    Gap(BANK,       (WRA,),    (ACT,),         lambda t: t.cwl + t.bl_min + t.wr + t.rp),
    # refresh
    Gap(RANK,       (ACT,),    (REFAB,),       lambda t: t.rc),
    Gap(RANK,       CLOSES,    (REFAB,),       lambda t: t.rp),
    Gap(RANK,       (RDA,),    (REFAB,),       lambda t: t.rtp + t.rp),
    Gap(RANK,       (WRA,),    (REFAB,),       lambda t: t.cwl + t.bl_min + t.wr + t.rp),
    Gap(RANK,       (REFAB,),  (ACT, PREAB, REFPB, REFAB), lambda t: t.rfc),
    Gap(RANK,       (REFPB,),  (REFPB,),       lambda t: t.pbr2pbr),
    Gap(RANK,       (REFPB,),  (REFAB,),       lambda t: t.rfcpb),
    Gap(RANK,       (REFPB,),  (ACT,),         lambda t: t.pbr2act),
    Gap(BANK,       (REFPB,),  (ACT,),         lambda t: t.rfcpb),
    Gap(BANK,       (ACT,),    (REFPB,),       lambda t: t.rc),
    Gap(BANK,       (PREPB,),  (REFPB,),       lambda t: t.rp),
)
# fmt: on

LPDDR5: Final = Standard(
    name="LPDDR5",
    controller=Controller.SPLIT_ACTIVATE,
    levels=(CHANNEL, RANK, BANK_GROUP, BANK),
    commands=COMMANDS,
    refresh_level=RANK,
    gaps=GAPS,
    cycles={},
    buses=(COMMANDS,),
    renamed={ACT: "ACT1"},
    source="JESD209-5 rules as in Ramulator 2.1 (c5b1c3a), LPDDR5",
)
