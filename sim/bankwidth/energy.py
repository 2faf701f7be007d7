"""The energy ledger: who spent how many picojoules on what.

Every sum is `math.fsum`, so it does not depend on the order of bookings, and each level is the sum
of the one below it: `total == fsum(by_component().values())`. A component that spent nothing books
0; one that booked nothing is unknown, and asking for its energy is an error, not a 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from bankwidth.errors import SimulationError, did_you_mean


def static_energy_pj(power_mw: float, time_ns: float) -> float:
    """Energy of a constant power over a time: 1 mW is 1 pJ/ns."""
    return power_mw * time_ns


def counted_energy_pj(
    counts: Mapping[str, float], pj_each: Mapping[str, float]
) -> dict[str, float]:
    """Counts times a table. A counted item without an entry in the table is an error."""
    unknown = [item for item in counts if item not in pj_each]
    if unknown:
        raise SimulationError(f"no energy is known for {', '.join(unknown)}")
    return {item: count * pj_each[item] for item, count in counts.items()}


class Ledger:
    """Bookings of energy per component and item; components are declared when it is opened."""

    def __init__(self, components: Iterable[str]) -> None:
        self._bookings: dict[str, dict[str, list[float]]] = {name: {} for name in components}

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the declared components, in their order."""
        return tuple(self._bookings)

    def add(self, component: str, item: str, pj: float, times: int = 1) -> None:
        """Book `pj` picojoules, `times` over; negative, infinite or NaN energy is an error."""
        if not (math.isfinite(pj) and pj >= 0):
            raise SimulationError(f"energy of {component}, {item} is {pj} pJ, need 0 or more")
        self._items(component).setdefault(item, []).extend([float(pj)] * times)

    def add_all(self, component: str, items_pj: Mapping[str, float], times: int = 1) -> None:
        """Book each item of a mapping, `times` over."""
        for item, pj in items_pj.items():
            self.add(component, item, pj, times)

    def merge(self, other: Ledger) -> None:
        """Take over the bookings of another ledger; its components must be declared here."""
        for component, items in other._bookings.items():
            for item, bookings_pj in items.items():
                self._items(component).setdefault(item, []).extend(bookings_pj)

    def by_item(self) -> dict[tuple[str, str], float]:
        """Energy per (component, item), in the order of first booking."""
        return {
            (component, item): math.fsum(bookings_pj)
            for component, items in self._bookings.items()
            for item, bookings_pj in items.items()
        }

    def of(self, component: str, item: str) -> float:
        """Energy of one item; one that was never booked is an error."""
        items = self._items(component)
        if item not in items:
            hint = did_you_mean(item, items)
            raise SimulationError(f"nothing was booked for {component}, {item}{hint}")
        return math.fsum(items[item])

    def by_component(self) -> dict[str, float]:
        """Energy per component; a declared component without any booking is an error."""
        silent = [name for name, items in self._bookings.items() if not items]
        if silent:
            raise SimulationError(f"nothing was booked for {', '.join(silent)}: book 0 if it is 0")
        return {
            component: math.fsum(math.fsum(bookings_pj) for bookings_pj in items.values())
            for component, items in self._bookings.items()
        }

    @property
    def total(self) -> float:
        """Energy of everything, in pJ: the sum of `by_component()`."""
        return math.fsum(self.by_component().values())

    def _items(self, component: str) -> dict[str, list[float]]:
        try:
            return self._bookings[component]
        except KeyError:
            hint = did_you_mean(component, self._bookings)
            known = ", ".join(self._bookings)
            raise SimulationError(
                f"unknown component {component!r}{hint or ';'} known: {known}"
            ) from None
