"""Prune-accuracy curves: accuracy and drop by ratio, for each method and distribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from compressor.study.analyses.rows import Cell, Group, spread
from gates import drop_interval

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve: means over the seeds.

    The interval is of the drop on ``n`` paired images (Tango's score), of a single seed: seeds are
    asked about the same images, so that more of them are no more images. Their deviation stands
    beside it. It is None where there are several.
    """

    method: str
    shift: str
    group: Group
    ratio: float
    seeds: int
    n: int
    dense_accuracy: float
    accuracy: float
    accuracy_std: float | None
    drop: float
    drop_std: float | None
    drop_low: float | None
    drop_high: float | None
    same_answer: float | None
    """Share of images with the same first answer."""


def curves(cells: Sequence[Cell]) -> list[Point]:
    """All points, by method, distribution and ratio."""

    def place(cell: Cell) -> tuple[str, str, str, float]:
        return cell.method, cell.group, cell.shift, cell.ratio

    ordered = sorted(cells, key=lambda cell: (*place(cell), cell.seed))
    return [_point(list(several)) for _, several in groupby(ordered, key=place)]


def _point(cells: Sequence[Cell]) -> Point:
    first = cells[0]
    accuracy, accuracy_std = spread([cell.counts.pruned_accuracy for cell in cells])
    drop, drop_std = spread([cell.counts.drop for cell in cells])
    low, high = (
        drop_interval(first.counts, confidence=CONFIDENCE) if len(cells) == 1 else (None, None)
    )
    same = [cell.same_answer / cell.counts.n for cell in cells if cell.same_answer is not None]
    return Point(
        method=first.method,
        shift=first.shift,
        group=first.group,
        ratio=first.ratio,
        seeds=len(cells),
        n=first.counts.n,
        dense_accuracy=spread([cell.counts.dense_accuracy for cell in cells])[0],
        accuracy=accuracy,
        accuracy_std=accuracy_std,
        drop=drop,
        drop_std=drop_std,
        drop_low=low,
        drop_high=high,
        same_answer=spread(same)[0] if same else None,
    )
