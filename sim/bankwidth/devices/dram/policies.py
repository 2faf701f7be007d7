"""The choices of a memory controller, by the names that golden runs use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from bankwidth.errors import SpecError, did_you_mean

Choice = TypeVar("Choice", bound=StrEnum)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The policies of one controller."""

    scheduler: Scheduler = Scheduler.FRFCFS
    row_policy: RowPolicy = RowPolicy.OPEN
    refresh: Refresh = Refresh.ALL_BANK
    mapper: Mapper = Mapper.RO_BA_RA_CO_CH


def choice_of(kind: type[Choice], what: str, name: str) -> Choice:
    """A choice by its name. Raises SpecError, with what was meant perhaps, if there is none."""
    try:
        return kind(name)
    except ValueError:
        known = [str(choice) for choice in kind]
        hint = did_you_mean(name, known)
        message = f"{what}: unknown {name!r}, allowed: {', '.join(known)}{hint}"
        raise SpecError(message) from None


def controls_of(*, scheduler: str, row_policy: str, refresh: str, mapper: str) -> Controls:
    """Policies by their names. Raises SpecError for one that does not exist."""
    return Controls(
        scheduler=choice_of(Scheduler, "scheduler", scheduler),
        row_policy=choice_of(RowPolicy, "row policy", row_policy),
        refresh=choice_of(Refresh, "refresh", refresh),
        mapper=choice_of(Mapper, "mapper", mapper),
    )
