"""What a machine costs: rent, or what was paid for it spread over its life, and its electricity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from bankwidth.errors import SpecError
from bankwidth.spec.base import Count, Relation, Spec

_DATE: Final = r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$"
HOURS_PER_YEAR: Final = 8766.0  # of 365.25 days
SECONDS_PER_HOUR: Final = 3600.0
JOULES_PER_KWH: Final = 3.6e6
_Positive = Field(gt=0, allow_inf_nan=False)
Dollars = Annotated[float, _Positive]
Years = Annotated[float, _Positive]


def _month_or_day(text: str) -> str:
    try:
        if re.fullmatch(_DATE, text):
            date.fromisoformat(text if text.count("-") == 2 else f"{text}-01")
            return text
    except ValueError:
        pass  # a 13th month, a 31st of June
    raise SpecError(f"{text!r} is no month and no day, write e.g. '2025-11' or '2025-11-30'")


Date = Annotated[str, AfterValidator(_month_or_day), Field(json_schema_extra={"pattern": _DATE})]


class ShareSpec(Spec):
    """The part of what is paid for that the machine is: `used` of `of` equal parts."""

    used: Count = Field(description="parts that the machine is, such as 16 cores or 1 GPU")
    of: Count = Field(description="parts that are paid for together, such as 64 cores or 8 GPUs")

    def contradictions(self) -> Iterator[Relation]:
        """A part is not more than the whole."""
        if self.used > self.of:
            yield ("used",), f"{self.used} of {self.of} parts are more than there are"


class PriceSpec(Spec):
    """Prices in US dollars of a whole machine, all of its devices; rent and purchase add up."""

    offer: str = Field(
        min_length=1, description="what is paid for: provider, instance, region, terms"
    )
    date: Date = Field(description="when it was at this price: '2025-11' or '2025-11-30'")
    dollars_per_hour: Dollars | None = Field(default=None, description="rent of the whole offer")
    purchase_dollars: Dollars | None = Field(default=None, description="paid once for all of it")
    lifetime_years: Years | None = Field(
        default=None, description="in use day and night after the purchase"
    )
    share: ShareSpec | None = Field(default=None, description="of the offer; default: all of it")
    dollars_per_kwh: Dollars | None = Field(
        default=None, description="electricity, where neither rent nor purchase holds it"
    )

    def contradictions(self) -> Iterator[Relation]:
        """There is a price, and a purchase is spread over a life."""
        if self.lifetime_years is not None and self.purchase_dollars is None:
            yield ("lifetime_years",), "a lifetime needs what was paid: set purchase_dollars"
        elif self.purchase_dollars is not None and self.lifetime_years is None:
            yield ("purchase_dollars",), "a purchase needs its time in use: set lifetime_years"
        elif self.purchase_dollars is None and self.dollars_per_hour is None:
            needed = "dollars_per_hour, or purchase_dollars with lifetime_years"
            yield (), f"no price: set {needed}"

    @property
    def hourly_dollars(self) -> float:
        """Of the machine's share for an hour, without electricity."""
        bought = (self.purchase_dollars or 0.0) / ((self.lifetime_years or 1.0) * HOURS_PER_YEAR)
        part = self.share.used / self.share.of if self.share else 1.0
        return part * ((self.dollars_per_hour or 0.0) + bought)

    def run_dollars(self, time_s: float, energy_j: float) -> float:
        """Of a run of the machine: its time, and its energy where electricity is paid."""
        electricity = energy_j / JOULES_PER_KWH * (self.dollars_per_kwh or 0.0)
        return self.hourly_dollars * time_s / SECONDS_PER_HOUR + electricity
