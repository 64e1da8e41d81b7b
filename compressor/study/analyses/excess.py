"""Excess error: how much worse a network is where it was not trained, and what pruning adds.

Liebenwein et al. 2021 (arXiv:2103.03014): e(theta) is the mean error over held-out
distributions less the mean error over those of training; the difference e(pruned) - e(dense) is
regressed on the ratio by least squares through the origin, since at ratio 0 it is 0. The interval
is a percentile bootstrap over the points, as seaborn draws it, here with a seed of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compressor.study.analyses.rows import Cell

RESAMPLES: Final = 2000

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """One network: both excess errors, and their difference."""

    method: str
    seed: int
    ratio: float
    dense: float
    pruned: float
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``difference = slope * ratio``, for one method or all (``*``); 95 % by bootstrap.

    Without an interval where there are fewer than three points.
    """

    method: str
    points: int
    slope: float
    low: float | None
    high: float | None


def excess(cells: Sequence[Cell]) -> list[Excess]:
    """The excess errors of every network that was asked in both groups."""

    def place(cell: Cell) -> tuple[str, int, float]:
        return cell.method, cell.seed, cell.ratio

    ordered = sorted(cells, key=place)
    found = []
    for (method, seed, ratio), several in groupby(ordered, key=place):
        groups: dict[str, list[Cell]] = {"train": [], "held_out": [], "noise": []}
        for cell in several:
            groups[cell.group].append(cell)
        if groups["train"] and groups["held_out"]:
            before = _error(groups["held_out"], "dense") - _error(groups["train"], "dense")
            after = _error(groups["held_out"], "pruned") - _error(groups["train"], "pruned")
            found.append(
                Excess(
                    method=method, seed=seed, ratio=ratio,
                    dense=before, pruned=after, difference=after - before,
                )
            )  # fmt: skip
    return found


def lines(found: Sequence[Excess], *, seed: int = 0) -> list[Line]:
    """The regression of each method, and of all networks together if there are several methods."""
    methods = list(dict.fromkeys(each.method for each in found))
    several = {name: [each for each in found if each.method == name] for name in methods}
    if len(methods) > 1:
        several["*"] = list(found)
    return [_line(name, points, seed=seed) for name, points in several.items()]


def slope_through_origin(x: Values, y: Values) -> float:
    """Least squares without an intercept: sum(x y) / sum(x^2)."""
    return float(np.dot(x, y) / np.dot(x, x))


def _line(method: str, points: Sequence[Excess], *, seed: int) -> Line:
    x = np.array([each.ratio for each in points])
    y = np.array([each.difference for each in points])
    low = high = None
    if len(points) > 2:
        drawn = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
        slopes = (x[drawn] * y[drawn]).sum(1) / (x[drawn] ** 2).sum(1)
        low, high = (float(each) for each in np.quantile(slopes, [0.025, 0.975]))
    return Line(
        method=method, points=len(points), slope=slope_through_origin(x, y), low=low, high=high
    )


def _error(cells: Sequence[Cell], which: str) -> float:
    return fmean(
        1.0 - (c.counts.dense_accuracy if which == "dense" else c.counts.pruned_accuracy)
        for c in cells
    )
