"""What pruning costs as more of the network goes: a small drawing for each shift."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup
from matplotlib.axes import Axes

from compressor.page.charts import MARKER, NARROW, PAINT, WIDE, shortened
from compressor.page.svg import (
    ACCENT,
    BAD,
    BEYOND,
    FAINT,
    GRID,
    INK,
    PAPER,
    drawing,
    inline,
    new_figure,
    traced,
)

WIDTH, HEIGHT = 216, 128
_LETTER: Final = 6.2
"""Pixels that a letter at the end of a line takes, about."""
_NAMES: Final = {"wide": 30, "narrow": 19}
"""Letters of a name there."""
_BEYOND_SHOWN: Final = 3.0
"""So many tolerances are shown at most; what is lost beyond is at the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one candidate lost on one shift; shares, 0.01 is a point."""

    path: str
    """Of the cell, in the record."""
    ratio: float
    drop: float
    interval: tuple[float, float]
    dense: float | None
    """Accuracy."""
    pruned: float | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One shift, over ratios that rise; at ratio 0 nothing is lost."""

    label: str
    tolerance: float
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What drawings that are compared have in common: limits of ratio and drop, in points."""

    ratio: float
    low: float
    high: float


def frame_of(curves: Sequence[Curve]) -> Frame:
    """A frame for all of ``curves``, of which there is one at least."""
    points = [point for curve in curves for point in curve.points]
    ceiling = 100 * max(curve.tolerance for curve in curves) * _BEYOND_SHOWN
    worst = max([100 * p.interval[1] for p in points], default=0.0)
    high = max(min(worst, ceiling), 100 * max(curve.tolerance for curve in curves) * 1.25)
    low = max(min([0.0, *(100 * p.interval[0] for p in points)]), -ceiling)
    return Frame(
        ratio=max((p.ratio for p in points), default=1.0) * 1.04,
        low=low - 0.06 * (high - low),
        high=high + 0.06 * (high - low),
    )


def drop_curve(curve: Curve, frame: Frame, *, name: str) -> Markup:
    """Drop with its interval over the ratio, against the tolerance."""
    with drawing():
        figure = new_figure(WIDTH, HEIGHT)
        axes = figure.add_axes((34 / WIDTH, 30 / HEIGHT, (WIDTH - 42) / WIDTH, 92 / HEIGHT))
        axes.set_xlim(0, frame.ratio)
        axes.set_ylim(frame.low, frame.high)
        axes.locator_params(axis="both", nbins=4)
        tolerance = 100 * curve.tolerance
        axes.axhspan(tolerance, frame.high, color=BEYOND, linewidth=0)
        axes.axhline(tolerance, color=BAD, linewidth=1.5)
        axes.axhline(0, color=FAINT, linewidth=1)
        _line(axes, curve.points, frame)
        axes.set_xlabel("ratio", fontsize=10, labelpad=1)
        label = f"{curve.label}: drop in points over the ratio, with intervals, and the tolerance"
        return inline(figure, name=name, label=label, kind="curve")


def accuracy_curves(
    curves: Sequence[Curve], *, bold: str | None, kind: Literal["wide", "narrow"]
) -> Markup:
    """Accuracy over the ratio, a line for each shift; ``bold`` is the one that stands out."""
    with drawing():
        width, height = {"wide": WIDE, "narrow": NARROW}[kind], 240
        named = {c.label: shortened(c.label, longest=_NAMES[kind]) for c in curves}
        right = 12 + _LETTER * max(map(len, named.values()))
        figure = new_figure(width, height)
        axes = figure.add_axes(
            (58 / width, 36 / height, (width - 58 - right) / width, (height - 46) / height)
        )
        axes.grid(axis="y", color=GRID, linewidth=1)
        axes.set_axisbelow(True)
        ends: list[tuple[float, str, str]] = []
        for curve in curves:
            points = [p for p in curve.points if p.pruned is not None and p.dense is not None]
            if not points:
                continue
            first = points[0].dense
            assert first is not None
            levels = [100 * first, *(100 * p.pruned for p in points if p.pruned is not None)]
            stands_out = curve.label == bold
            paint = ACCENT if stands_out else FAINT
            axes.plot(
                [0.0, *(p.ratio for p in points)], levels, color=paint,
                linewidth=2.4 if stands_out else 1.0, alpha=1.0 if stands_out else 0.7,
                marker="o", markersize=4 if stands_out else 2.5,
            )  # fmt: skip
            ends.append((levels[-1], named[curve.label], paint))
        _name_ends(axes, ends, bold=bold)
        axes.set_xlim(0, None)
        axes.set_xlabel("ratio", fontsize=10)
        axes.set_ylabel("accuracy, percent", fontsize=10)
        label = "Accuracy of the candidates on every shift, over the ratio"
        return inline(figure, name=f"accuracy-{kind}", label=label, kind=kind)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], *, bold: str | None) -> None:
    """Names beside the lines of the best, the worst, and the one that stands out."""
    if not ends:
        return
    shown = {min(ends)[1], max(ends)[1], bold}
    for level, label, paint in ends:
        if label in shown:
            axes.annotate(
                label, (1.0, level), xycoords=axes.get_yaxis_transform(), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=10, color=paint,
                parse_math=False, gid="name tick_",
            )  # fmt: skip


def _line(axes: Axes, points: Sequence[Point], frame: Frame) -> None:
    inside = [min(max(100 * p.drop, frame.low), frame.high) for p in points]
    axes.plot([0.0, *(p.ratio for p in points)], [0.0, *inside], color=INK, linewidth=1.2)
    for point, shown in zip(points, inside, strict=True):
        paint = PAINT[point.outcome]
        ends = [min(max(100 * end, frame.low), frame.high) for end in point.interval]
        axes.plot([point.ratio] * 2, ends, color=paint, linewidth=2)
        cut = 100 * point.drop > frame.high
        axes.plot(
            [point.ratio], [shown], "^" if cut else MARKER[point.outcome], color=paint,
            markersize=7, markeredgecolor=PAPER, markeredgewidth=0.8, clip_on=False,
            gid=traced(f"{point.path}.drop"),
        )  # fmt: skip
