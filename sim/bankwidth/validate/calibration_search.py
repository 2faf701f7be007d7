"""Least cost in the unit cube without derivatives: seeded, and never outside.

First an evolution strategy with covariance matrix adaptation (Hansen, The CMA Evolution Strategy:
A Tutorial, arXiv 1604.00772, with its default constants) from the start and, while the budget
lasts, from random points; then a compass search from the best point found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]
Cost = Callable[[Point], float]

_FIRST_STEP: Final = 0.2  # standard deviation of the first points around the start
_LEAST_STEP: Final = 1e-3  # below it a run of the strategy ends
_LEAST_GAIN: Final = 1e-5  # a run that gains less than this in a while ends
_COMPASS_SHARE: Final = 0.25  # of the evaluations
_COMPASS_STEPS: Final = (0.1, 1e-4)  # first and last


class _Counted:
    """A cost that remembers its best point and how often it was asked."""

    def __init__(self, cost: Cost, budget: int) -> None:
        self._cost = cost
        self.budget = budget
        self.count = 0
        self.best_cost = np.inf
        self.best: Point = np.empty(0)

    def __call__(self, point: Point) -> float:
        cost = self._cost(point)
        self.count += 1
        if cost < self.best_cost or self.count == 1:
            self.best_cost, self.best = cost, point.copy()
        return cost

    def is_spent(self, share: float = 1.0) -> bool:
        return self.count >= share * self.budget


def minimise(cost: Cost, start: Point, *, seed: int, evaluations: int) -> tuple[Point, float]:
    """The best point of at most `evaluations`, and its cost: never above that of the start."""
    rng = np.random.default_rng(seed)
    counted = _Counted(cost, evaluations)
    counted(start)
    share = 1.0 - _COMPASS_SHARE
    _evolve(counted, start, rng, share)
    while not counted.is_spent(share):
        _evolve(counted, rng.random(len(start)), rng, share)
    _compass(counted)
    return counted.best, counted.best_cost


def _compass(cost: _Counted) -> None:
    """Along each axis in turn, with half the step once no step is better."""
    step, last = _COMPASS_STEPS
    while step >= last and not cost.is_spent():
        before = cost.best_cost
        for axis in range(len(cost.best)):
            for move in (step, -step):
                point = cost.best.copy()
                point[axis] = np.clip(point[axis] + move, 0.0, 1.0)
                if not cost.is_spent() and point[axis] != cost.best[axis]:
                    cost(point)
        if not cost.best_cost < before:
            step /= 2


def _folded(points: Point) -> Point:
    """Points beyond a face of the cube reflected back into it."""
    return 1.0 - np.abs(1.0 - np.mod(points, 2.0))


def _evolve(cost: _Counted, start: Point, rng: np.random.Generator, share: float) -> None:
    """One run of the strategy."""
    strategy = _Strategy(start)
    best, since = np.inf, 0
    patience = 10 + 30 * len(start) // strategy.size
    while strategy.step > _LEAST_STEP and since < patience and not cost.is_spent(share):
        points = _folded(strategy.draw(rng))
        costs = [cost(point) for point in points]
        strategy.learn(points[np.argsort(costs, kind="stable")])
        least = min(costs)
        since = 0 if least < best - _LEAST_GAIN else since + 1
        best = min(best, least)


class _Strategy:
    """Mean, step and covariance of the points to draw, under the names of the tutorial."""

    def __init__(self, start: Point) -> None:
        n = len(start)
        self.size = 4 + int(3 * np.log(n))
        weights = np.log((self.size + 1) / 2) - np.log(np.arange(1, self.size // 2 + 1))
        self._weights = weights / weights.sum()
        self._mu = mu = 1.0 / float((self._weights**2).sum())
        self._c_sigma = (mu + 2) / (n + mu + 5)
        self._d_sigma = 1 + 2 * max(0.0, ((mu - 1) / (n + 1)) ** 0.5 - 1) + self._c_sigma
        self._c_c = (4 + mu / n) / (n + 4 + 2 * mu / n)
        self._c_1 = 2 / ((n + 1.3) ** 2 + mu)
        self._c_mu = min(1 - self._c_1, 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))
        self._chi = n**0.5 * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        self.step = _FIRST_STEP
        self._mean = start.copy()
        self._covariance = np.eye(n)
        self._path_sigma = np.zeros(n)
        self._path_c = np.zeros(n)
        self._draws = 0
        self._factor()

    def draw(self, rng: np.random.Generator) -> Point:
        """New points around the mean."""
        z = rng.standard_normal((self.size, len(self._mean)))
        points: Point = self._mean + self.step * (z * self._scales) @ self._axes.T
        return points

    def learn(self, points: Point) -> None:
        """Takes in the points of a draw, the best first."""
        y = (points[: len(self._weights)] - self._mean) / self.step
        mean_y = self._weights @ y
        self._mean = self._mean + self.step * mean_y
        self._lengthen_paths(mean_y)
        rank_mu = (y * self._weights[:, None]).T @ y
        rank_one = np.outer(self._path_c, self._path_c)
        keep = 1 - self._c_1 - self._c_mu
        self._covariance = keep * self._covariance + self._c_1 * rank_one + self._c_mu * rank_mu
        length = float(np.linalg.norm(self._path_sigma))
        self.step *= float(np.exp(self._c_sigma / self._d_sigma * (length / self._chi - 1)))
        self._factor()

    def _lengthen_paths(self, mean_y: Point) -> None:
        c_sigma, c_c, mu = self._c_sigma, self._c_c, self._mu
        whitened = self._axes @ ((self._axes.T @ mean_y) / self._scales)
        grown = (c_sigma * (2 - c_sigma) * mu) ** 0.5 * whitened
        self._path_sigma = (1 - c_sigma) * self._path_sigma + grown
        self._draws += 1
        expected = self._chi * (1 - (1 - c_sigma) ** (2 * self._draws)) ** 0.5
        is_short = np.linalg.norm(self._path_sigma) < (1.4 + 2 / (len(mean_y) + 1)) * expected
        grown = (c_c * (2 - c_c) * mu) ** 0.5 * mean_y
        self._path_c = (1 - c_c) * self._path_c + (grown if is_short else 0.0)

    def _factor(self) -> None:
        variances, self._axes = np.linalg.eigh((self._covariance + self._covariance.T) / 2)
        self._scales = np.sqrt(np.maximum(variances, 1e-16))
