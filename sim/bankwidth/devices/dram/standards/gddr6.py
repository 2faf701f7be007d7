"""GDDR6: no ranks, own activate-to-read and activate-to-write gaps."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.table import Controller, Gap, Standard
from bankwidth.spec.dram import Gddr6TimingCk

CHANNEL, BANK_GROUP, BANK = Level.CHANNEL, Level.BANK_GROUP, Level.BANK
ACT, PREPB, PREAB = Command.ACT, Command.PREPB, Command.PREAB
RD, WR, RDA, WRA = Command.RD, Command.WR, Command.RDA, Command.WRA
REFAB, REFPB = Command.REFAB, Command.REFPB
READS, WRITES, CLOSES = (RD, RDA), (WR, WRA), (PREPB, PREAB)
COMMANDS: Final = (ACT, PREAB, PREPB, RD, WR, RDA, WRA, REFAB, REFPB)

# fmt: off
GAPS: Final[tuple[Gap[Gddr6TimingCk], ...]] = (
    # data bus
    Gap(CHANNEL,    READS,    READS,        lambda t: t.bl),
    Gap(CHANNEL,    WRITES,   WRITES,       lambda t: t.bl),
    Gap(CHANNEL,    READS,    READS,        lambda t: t.ccds),
    Gap(CHANNEL,    WRITES,   WRITES,       lambda t: t.ccds),
    Gap(BANK_GROUP, READS,    READS,        lambda t: t.ccdl),
    Gap(BANK_GROUP, WRITES,   WRITES,       lambda t: t.ccdl),
    # turnaround
    Gap(CHANNEL,    READS,    WRITES,       lambda t: t.cl + 1),
    Gap(CHANNEL,    WRITES,   READS,        lambda t: t.cwl + t.bl + t.wtrs),
    Gap(BANK_GROUP, WRITES,   READS,        lambda t: t.cwl + t.bl + t.wtrl),
    # activate
    Gap(BANK,       (ACT,),   (ACT,),       lambda t: t.rc),
    Gap(BANK_GROUP, (ACT,),   (ACT, REFPB), lambda t: t.rrdl),
    Gap(CHANNEL,    (ACT,),   (ACT,),       lambda t: t.rrds),
    Gap(CHANNEL,    (ACT,),   (ACT, REFPB), lambda t: t.faw, window=4),
    Gap(CHANNEL,    (REFPB,), (ACT, REFPB), lambda t: t.faw, window=4),
    Gap(BANK,       (ACT,),   READS,        lambda t: t.rcdrd),
    Gap(BANK,       (ACT,),   WRITES,       lambda t: t.rcdwr),
    # precharge
    Gap(BANK,       (ACT,),   (PREPB,),     lambda t: t.ras),
    Gap(CHANNEL,    (ACT,),   (PREAB,),     lambda t: t.ras),
    Gap(BANK,       (RD,),    (PREPB,),     lambda t: t.rtp),
    Gap(CHANNEL,    (RD,),    (PREAB,),     lambda t: t.rtp),
    Gap(BANK,       (WR,),    (PREPB,),     lambda t: t.cwl + t.bl + t.wr),
    Gap(CHANNEL,    (WR,),    (PREAB,),     lambda t: t.cwl + t.bl + t.wr),
    Gap(CHANNEL,    CLOSES,   CLOSES,       lambda t: t.ppd),
    Gap(BANK,       (PREPB,), (ACT,),       lambda t: t.rp),
    Gap(CHANNEL,    (PREAB,), (ACT,),       lambda t: t.rp),
    Gap(BANK,       (RDA,),   (ACT,),       lambda t: t.rtp + t.rp),
    Gap(BANK,       (WRA,),   (ACT,),       lambda t: t.cwl + t.bl + t.wr + t.rp),
    # all-bank refresh (no precharge of a single bank binds it: the reference has no such rule)
    Gap(CHANNEL,    (ACT,),   (REFAB,),     lambda t: t.rc),
    Gap(CHANNEL,    (PREAB,), (REFAB,),     lambda t: t.rp),
    Gap(CHANNEL,    (RDA,),   (REFAB,),     lambda t: t.rtp + t.rp),
    Gap(CHANNEL,    (WRA,),   (REFAB,),     lambda t: t.cwl + t.bl + t.wr + t.rp),
    Gap(CHANNEL,    (REFAB,), COMMANDS,     lambda t: t.rfc),
    # per-bank refresh
    Gap(CHANNEL,    (ACT,),   (REFPB,),     lambda t: t.rrds),
    Gap(CHANNEL,    (PREAB,), (REFPB,),     lambda t: t.rp),
    Gap(CHANNEL,    (RDA,),   (REFPB,),     lambda t: t.rtp + t.rp),
    Gap(CHANNEL,    (WRA,),   (REFPB,),     lambda t: t.cwl + t.bl + t.wr + t.rp),
    Gap(CHANNEL,    (REFPB,), (ACT,),       lambda t: t.rrefd),
    Gap(CHANNEL,    (REFPB,), (REFPB,),     lambda t: t.rrefd),
    Gap(CHANNEL,    (REFPB,), (REFAB,),     lambda t: t.rfcpb),
    Gap(BANK,       (ACT,),   (REFPB,),     lambda t: t.rc),
    Gap(BANK,       (PREPB,), (REFPB,),     lambda t: t.rp),
    Gap(BANK,       (RDA,),   (REFPB,),     lambda t: t.rtp + t.rp),
    Gap(BANK,       (WRA,),   (REFPB,),     lambda t: t.cwl + t.bl + t.wr + t.rp),
    Gap(BANK,       (REFPB,), (ACT, REFPB), lambda t: t.rfcpb),
)
# fmt: on

GDDR6: Final = Standard(
    name="GDDR6",
    controller=Controller.ONE_BUS,
    levels=(CHANNEL, BANK_GROUP, BANK),
    commands=COMMANDS,
    refresh_level=CHANNEL,
    gaps=GAPS,
    cycles={},
    buses=(COMMANDS,),
    source="JESD250 rules as in Ramulator 2.1 (c5b1c3a), GDDR6",
)
