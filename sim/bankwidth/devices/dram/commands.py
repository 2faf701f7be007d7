"""Commands of a DRAM channel, and the levels at which rules between them hold."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final


class Command(IntEnum):
    """Numbers are the engine's own; a standard numbers its commands in the order of its list."""

    ACT = 0  # of a standard with a split activate: the first half
    ACT2 = 1
    PREPB = 2
    PREAB = 3
    CAS_RD = 4
    CAS_WR = 5
    RD = 6
    WR = 7
    RDA = 8
    WRA = 9
    REFAB = 10
    REFPB = 11
    RFMAB = 12  # refresh management: in the tables, never issued
    RFMPB = 13


class Level(StrEnum):
    """A level of the tree of a channel, outermost first."""

    CHANNEL = "Channel"
    RANK = "Rank"
    PSEUDO_CHANNEL = "PseudoChannel"
    STACK_ID = "Sid"
    BANK_GROUP = "BankGroup"
    BANK = "Bank"


# Names as golden runs and command files spell them.
NAMES: Final[dict[Command, str]] = {
    Command.ACT: "ACT",
    Command.ACT2: "ACT2",
    Command.PREPB: "PREpb",
    Command.PREAB: "PREab",
    Command.CAS_RD: "CAS_RD",
    Command.CAS_WR: "CAS_WR",
    Command.RD: "RD",
    Command.WR: "WR",
    Command.RDA: "RDA",
    Command.WRA: "WRA",
    Command.REFAB: "REFab",
    Command.REFPB: "REFpb",
    Command.RFMAB: "RFMab",
    Command.RFMPB: "RFMpb",
}
ALL_BANK: Final = frozenset({Command.PREAB, Command.REFAB, Command.RFMAB})
