"""The choices of a memory controller, by the names that golden runs use."""

from __future__ import annotations

from enum import StrEnum


class Scheduler(StrEnum):
    """Which of the ready requests goes first."""

    FRFCFS = "FRFCFS"
    FRFCFS_ROW_HIT = "FRFCFS-RowHit"  # and no row is closed that an older request still hits


class RowPolicy(StrEnum):
    """When rows are closed that nobody asks to be closed."""

    OPEN = "Open"
    CLOSED_CAP = "ClosedCAP"


class Refresh(StrEnum):
    """Which refreshes are issued, and when."""

    NONE = "NoRefresh"
    ALL_BANK = "AllBank"
    PER_BANK = "PerBank"
    PER_BANK_PAIRS = "HBM34PerBankRefresh"


class Mapper(StrEnum):
    """How addresses are cut into fields, highest bits first."""

    RO_BA_RA_CO_CH = "RoBaRaCoCh"
    CH_RA_BA_RO_CO = "ChRaBaRoCo"
    MOP4_CLXOR = "MOP4CLXOR"
