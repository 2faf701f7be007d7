"""The section `price:` of a machine: rent, purchase, share, electricity, and its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bankwidth.spec import PriceSpec, load_machine, sources_of
from bankwidth.spec.files import ROOT
from bankwidth.spec.load import check_file
from bankwidth.spec.machine import MachineSpec

OFFER = {"offer": "Cloud, big instance, here", "date": "2025-11"}
PRICED = sorted(p for p in (ROOT / "arch").glob("*.yaml") if "\nprice:" in p.read_text())


def price(**fields: Any) -> PriceSpec:
    return PriceSpec.model_validate({**OFFER, **fields})


def said_of(section: str, tmp_path: Path) -> list[str]:
    """What is wrong with the V100 at another price, without the place of the file."""
    text = (ROOT / "arch" / "v100.yaml").read_text().partition("\nprice:")[0]
    path = tmp_path / "machine.yaml"
    path.write_text(f"{text}\nprice: {section}\n")
    lines = len(text.splitlines()) + 2
    said = [str(problem) for problem in check_file(path)]
    assert all(line.startswith(f"{path}:") for line in said)
    return [line.removeprefix(f"{path}:{lines}:").partition(" ")[2] for line in said]


@pytest.mark.parametrize(
    ("fields", "hourly"),
    [
        ({"dollars_per_hour": 3.06}, 3.06),
        ({"dollars_per_hour": 55, "share": {"used": 1, "of": 8}}, 6.875),
        ({"purchase_dollars": 8766, "lifetime_years": 2}, 0.5),
        ({"dollars_per_hour": 1.0, "purchase_dollars": 8766.0, "lifetime_years": 1.0}, 2.0),
        ({"purchase_dollars": 8766, "lifetime_years": 1, "share": {"used": 16, "of": 64}}, 0.25),
    ],
)
def test_an_hour_costs_its_part_of_rent_and_purchase(fields: dict[str, Any], hourly: float) -> None:
    assert price(**fields).hourly_dollars == pytest.approx(hourly)


def test_a_run_costs_its_time_and_where_it_is_paid_its_energy() -> None:
    rented = price(dollars_per_hour=3.6)
    assert rented.run_dollars(10.0, 7.2e6) == pytest.approx(0.01)
    powered = price(dollars_per_hour=3.6, dollars_per_kwh=0.2)
    assert powered.run_dollars(10.0, 7.2e6) == pytest.approx(0.01 + 2 * 0.2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("dollars_per_hour: -3.06", "price.dollars_per_hour: must be above 0.0, got -3.06"),
        ("dollars_per_hour: 0", "price.dollars_per_hour: must be above 0.0, got 0"),
        ("dollars_per_hour: 1e999", "price.dollars_per_hour: need a number, got '1e999'"),
        ("dollars_per_hour: 3 USD", "price.dollars_per_hour: need a number, got '3 USD'"),
        ("dolars_per_hour: 3", "unknown key 'dolars_per_hour', did you mean 'dollars_per_hour'?"),
        ("lifetime_years: 3", "price.lifetime_years: a lifetime needs what was paid"),
        ("purchase_dollars: 9000", "price.purchase_dollars: a purchase needs its time in use"),
        ("dollars_per_kwh: 0.1", "price: no price: set dollars_per_hour, or purchase_dollars"),
        ("dollars_per_hour: 3, share: {used: 9, of: 8}", "9 of 8 parts are more than there are"),
        ("dollars_per_hour: 3, share: {used: 1}", "price.share.of: missing"),
    ],
)
def test_a_mistake_is_one_message_with_its_place(fields: str, message: str, tmp_path: Path) -> None:
    (said,) = said_of(f"{{offer: Cloud, date: 2025-11, {fields}}}", tmp_path)
    assert message in said


@pytest.mark.parametrize("date", ["2025-13", "2025-06-31", "25-11", "yesterday", "2025-11-1"])
def test_a_date_is_a_month_or_a_day(date: str, tmp_path: Path) -> None:
    (said,) = said_of(f"{{offer: Cloud, date: {date}, dollars_per_hour: 3}}", tmp_path)
    assert said == (
        f"price.date: {date!r} is no month and no day, write e.g. '2025-11' or '2025-11-30'"
    )


def test_a_price_says_of_what_and_when(tmp_path: Path) -> None:
    said = said_of("{dollars_per_hour: 3}", tmp_path)
    assert [line.partition(":")[0] for line in said] == ["price.date", "price.offer"]


def test_a_machine_may_have_none() -> None:
    assert load_machine("gh200").price is None
    assert "price" not in MachineSpec.model_json_schema()["required"]


@pytest.mark.parametrize("path", PRICED, ids=lambda path: path.stem)
def test_shipped_prices_have_a_source_of_their_own(path: Path) -> None:
    sources = sources_of(path)
    of_price = {source for key, source in sources.items() if key.startswith("price.")}
    assert len(of_price) == 1
    assert of_price.isdisjoint(s for key, s in sources.items() if not key.startswith("price."))


def test_the_v100_is_there() -> None:
    assert "v100" in {path.stem for path in PRICED}
