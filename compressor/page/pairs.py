"""Two runs on one drawing: what each lost on every shift that both measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes

from compressor.page.charts import WIDE, both_widths, row_label
from compressor.page.svg import ACCENT, BAD, FAINT, INK, PAPER, traced

_APART: Final = 0.17
"""How far the two are from the middle of their row, in rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run on one shift; shares, 0.01 is a point."""

    path: str
    """Of the cell, in its record, after the record's name."""
    drop: float
    interval: tuple[float, float]
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both runs on one shift."""

    label: str
    first: Side
    second: Side


def pairs_plot(pairs: Sequence[Pair], *, label: str) -> Markup:
    """Drops and intervals in points: discs are the first run's, squares the second's."""
    return both_widths(
        lambda width: lambda axes: _draw(axes, pairs, wide=width == WIDE),
        len(pairs),
        name="pairs",
        label=label,
    )


def _draw(axes: Axes, pairs: Sequence[Pair], *, wide: bool) -> None:
    sides = [side for pair in pairs for side in (pair.first, pair.second)]
    low = min([0.0, *(100 * side.interval[0] for side in sides)])
    high = max(100 * max(side.tolerance, side.interval[1]) for side in sides)
    room = 0.06 * (high - low)
    axes.set_xlim(low - room, high + room)
    axes.axvline(0, color=FAINT, linewidth=1)
    for row, pair in enumerate(pairs):
        row_label(axes, row, pair.label, wide=wide)
        _side(axes, row - _APART, pair.first, marker="o", paint=ACCENT)
        _side(axes, row + _APART, pair.second, marker="s", paint=INK)
    axes.set_xlabel("drop in points; right is worse", fontsize=10)


def _side(axes: Axes, at: float, side: Side, *, marker: str, paint: str) -> None:
    tolerance = [100 * side.tolerance] * 2
    axes.plot(tolerance, [at - 0.3, at + 0.3], color=BAD, linewidth=1.6)
    axes.plot([100 * end for end in side.interval], [at] * 2, color=paint, linewidth=2)
    axes.plot(
        [100 * side.drop], [at], marker, color=paint, markersize=7, markeredgecolor=PAPER,
        markeredgewidth=0.8, gid=traced(f"{side.path}.drop"),
    )  # fmt: skip
