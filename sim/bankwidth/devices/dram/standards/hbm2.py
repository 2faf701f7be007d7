"""HBM2 and HBM2E: pseudo-channels, a row and a column command bus."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.table import Controller, Gap, Standard
from bankwidth.spec.dram import Hbm2TimingCk

CHANNEL, PSEUDO = Level.CHANNEL, Level.PSEUDO_CHANNEL
BANK_GROUP, BANK = Level.BANK_GROUP, Level.BANK
ACT, PREPB, PREAB = Command.ACT, Command.PREPB, Command.PREAB
RD, WR, RDA, WRA = Command.RD, Command.WR, Command.RDA, Command.WRA
REFAB, REFPB = Command.REFAB, Command.REFPB
READS, WRITES = (RD, RDA), (WR, WRA)
ROW_BUS: Final = (ACT, PREPB, PREAB, REFAB, REFPB)
COLUMN_BUS: Final = (RD, WR, RDA, WRA)

# fmt: off
GAPS: Final[tuple[Gap[Hbm2TimingCk], ...]] = (
    # data bus
    Gap(PSEUDO,     READS,          READS,        lambda t: t.bl),
    Gap(PSEUDO,     WRITES,         WRITES,       lambda t: t.bl),
    Gap(PSEUDO,     READS,          READS,        lambda t: t.ccds),
    Gap(PSEUDO,     WRITES,         WRITES,       lambda t: t.ccds),
    Gap(BANK_GROUP, READS,          READS,        lambda t: t.ccdl),
    Gap(BANK_GROUP, WRITES,         WRITES,       lambda t: t.ccdl),
    # turnaround
    Gap(PSEUDO,     READS,          WRITES,       lambda t: t.cl + t.bl + 2 - t.cwl),
    Gap(PSEUDO,     WRITES,         READS,        lambda t: t.cwl + t.bl + t.wtrs),
    Gap(BANK_GROUP, WRITES,         READS,        lambda t: t.cwl + t.bl + t.wtrl),
    # activate
    Gap(BANK,       (ACT,),         (ACT,),       lambda t: t.rc),
    Gap(BANK_GROUP, (ACT,),         (ACT,),       lambda t: t.rrdl),
    Gap(PSEUDO,     (ACT,),         (ACT,),       lambda t: t.rrds),
    Gap(PSEUDO,     (ACT,),         (ACT,),       lambda t: t.faw, window=4),
    Gap(BANK,       (ACT,),         READS,        lambda t: t.rcdrd),
    Gap(BANK,       (ACT,),         WRITES,       lambda t: t.rcdwr),
    # precharge
    Gap(BANK,       (ACT,),         (PREPB,),     lambda t: t.ras),
    Gap(PSEUDO,     (ACT,),         (PREAB,),     lambda t: t.ras),
    Gap(BANK,       (RD,),          (PREPB,),     lambda t: t.rtp),
    Gap(PSEUDO,     (RD,),          (PREAB,),     lambda t: t.rtp),
    Gap(BANK,       (WR,),          (PREPB,),     lambda t: t.cwl + t.bl + t.wr),
    Gap(PSEUDO,     (WR,),          (PREAB,),     lambda t: t.cwl + t.bl + t.wr),
    Gap(BANK,       (PREPB,),       (ACT,),       lambda t: t.rp),
    Gap(PSEUDO,     (PREAB,),       (ACT,),       lambda t: t.rp),
    Gap(BANK,       (RDA,),         (ACT,),       lambda t: t.rtp + t.rp),
    Gap(BANK,       (WRA,),         (ACT,),       lambda t: t.cwl + t.bl + t.wr + t.rp),
    # refresh
    Gap(PSEUDO,     (ACT,),         (REFAB,),     lambda t: t.rc),
    Gap(PSEUDO,     (PREPB, PREAB), (REFAB,),     lambda t: t.rp),
    Gap(PSEUDO,     (RDA,),         (REFAB,),     lambda t: t.rtp + t.rp),
    Gap(PSEUDO,     (WRA,),         (REFAB,),     lambda t: t.cwl + t.bl + t.wr + t.rp),
    Gap(PSEUDO,     (REFAB,),       (ACT, PREAB), lambda t: t.rfc),
    Gap(PSEUDO,     (REFPB,),       (ACT,),       lambda t: t.rrefd),
    Gap(PSEUDO,     (ACT,),         (REFPB,),     lambda t: t.rrds),
    Gap(BANK,       (REFPB,),       (ACT,),       lambda t: t.rfcpb),
    Gap(BANK,       (ACT,),         (REFPB,),     lambda t: t.rc),
    Gap(BANK,       (PREPB,),       (REFPB,),     lambda t: t.rp),
)
# fmt: on

HBM2: Final = Standard(
    name="HBM2",
    controller=Controller.TWO_BUSES,
    levels=(CHANNEL, PSEUDO, BANK_GROUP, BANK),
    commands=(ACT, PREPB, PREAB, RD, WR, RDA, WRA, REFAB, REFPB),
    refresh_level=PSEUDO,
    gaps=GAPS,
    cycles={ACT: 2},
    buses=(ROW_BUS, COLUMN_BUS),
    source="JESD235 rules as in Ramulator 2.1 (c5b1c3a), HBM2",
)
