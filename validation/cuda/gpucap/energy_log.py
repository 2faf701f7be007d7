"""Mean power over a stretch of work, read beside it."""

from __future__ import annotations

import threading
import time
from typing import Final, Self

from gpucap.meter import Meter, Reading

_PAUSE_S: Final = 0.01  # between readings; the counter moves every 20 to 100 ms


class EnergyLog:
    """Reads the meter in a thread of its own: nvidia-smi takes longer than the work it watches.

    Power is the energy between two ticks of the counter over the time between them; without a
    counter, the mean of the later half of the readings of power, since that sensor lags.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._ticks: list[tuple[float, float]] = []  # (second, joule)
        self._powers_w: list[float] = []
        self._last_j: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def add(self, now_s: float, reading: Reading) -> None:
        """One reading; only a counter that has just moved says at what time it did."""
        if reading.power_w is not None:
            self._powers_w.append(reading.power_w)
        if reading.energy_j is None:
            return
        if self._last_j is not None and reading.energy_j != self._last_j:
            self._ticks.append((now_s, reading.energy_j))
        self._last_j = reading.energy_j

    def power_w(self) -> float | None:
        """None where the meter knows neither energy nor power."""
        if len(self._ticks) >= 2:
            (begin_s, begin_j), (end_s, end_j) = self._ticks[0], self._ticks[-1]
            return (end_j - begin_j) / (end_s - begin_s)
        later = self._powers_w[len(self._powers_w) // 2 :]
        return sum(later) / len(later) if later else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            reading = self._meter.read()
            self.add(time.perf_counter(), reading)
            self._stop.wait(_PAUSE_S)
