"""The plots of a study, each for a screen of any width.

Lines of different methods differ in colour and in marker, so that neither is needed alone. Names of
lines stand above the axes, where a narrow screen has room for them.
"""

from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from compressor.page.svg import ACCENT, FAINT, GRID, INK, PAPER
from compressor.study.analyses.curves import Point
from compressor.study.opening import shown_tolerance
from compressor.study.panels import LETTER, name_ends, name_lines, panels
from compressor.study.study_schema import StudyReport

# Okabe & Ito 2008: told apart by colour-blind people, on white and on black.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")

_DARK, _LIGHT = "#000000", "#ffffff"
"""Of letters on a heat map, whose own colours are those of neither scheme."""


def curves(report: StudyReport, width: int) -> Figure | None:
    """Accuracy over the ratio on each distribution, a panel for each method."""
    methods = list(dict.fromkeys(point.method for point in report.curves))
    if not methods:
        return None
    shown = [point for point in report.curves if point.group != "noise"]
    shifts = list(dict.fromkeys(point.shift for point in shown))
    figure, every = panels(
        len(methods), width=width, height=max(160, 11 * len(shifts)), titles=True,
        columns=min(2, len(methods)), right=14 + LETTER * max(map(len, shifts), default=0),
    )  # fmt: skip
    for axes, method in zip(every, methods, strict=True):
        for shift in shifts:
            _curve(axes, [p for p in shown if (p.method, p.shift) == (method, shift)])
        axes.set_title(method, fontsize=11)
        axes.set_xlim(0, max(point.ratio for point in report.curves))
        axes.set_xlabel("ratio", fontsize=10)
        axes.grid(color=GRID, linewidth=0.6)
    low = min(axes.get_ylim()[0] for axes in every)
    high = max(axes.get_ylim()[1] for axes in every)
    for axes, method in zip(every, methods, strict=True):
        axes.set_ylim(low, high)
        axes.set_ylabel("accuracy, %", fontsize=10)
        mine = {p.shift: p for p in shown if p.method == method}  # the last ratio's
        name_ends(axes, [(s, p.ratio, 100 * p.accuracy, _paint(p)) for s, p in mine.items()])
    return figure


def _curve(axes: Axes, points: Sequence[Point]) -> None:
    """From the dense network, at ratio 0; those of training bold."""
    if not points:
        return
    x = [0.0, *(point.ratio for point in points)]
    y = [100 * points[0].dense_accuracy, *(100 * point.accuracy for point in points)]
    bold = points[0].group == "train"
    axes.plot(
        x, y, color=_paint(points[0]), linewidth=2.4 if bold else 0.9, marker=".", markersize=4,
        clip_on=False, zorder=3 if bold else 2,
    )  # fmt: skip


def _paint(point: Point) -> str:
    return ACCENT if point.group == "train" else FAINT


def potential(report: StudyReport, width: int) -> Figure | None:
    """How far each distribution lets each method go: certified filled, estimate outlined."""
    tolerance = shown_tolerance(report)
    known = [each for each in report.potentials if each.tolerance == tolerance]
    if not known:
        return None
    groups = ("train", "held_out", "noise")
    shifts = list(dict.fromkeys(e.shift for group in groups for e in known if e.group == group))
    methods = list(dict.fromkeys(each.method for each in known))
    thick = 0.8 / len(methods)
    figure, (axes,) = panels(
        1, width=width, height=26 * len(shifts) * max(1.0, len(methods) / 3), names=methods,
        left=18 + LETTER * max(map(len, shifts)),
    )  # fmt: skip
    for index, method in enumerate(methods):
        style = _style(index)
        for row, shift in enumerate(shifts):
            mine = [each for each in known if each.method == method and each.shift == shift]
            if not mine:
                continue
            at = row + (index - (len(methods) - 1) / 2) * thick
            certified = sum(each.certified for each in mine) / len(mine)
            estimate = sum(each.estimate for each in mine) / len(mine)
            high, paint = 0.7 * thick, style["color"]
            axes.barh(at, certified, height=high, color=paint, linewidth=0)
            axes.barh(at, estimate, height=high, fill=False, edgecolor=paint, linewidth=1.2)
            axes.plot(estimate, at, markersize=4.5, clip_on=False, **style)
    axes.set_yticks(range(len(shifts)), shifts, fontsize=9)
    axes.set_ylim(len(shifts) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("ratio", fontsize=10)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    name_lines(figure, axes, [(method, _style(i)) for i, method in enumerate(methods)])
    return figure


def excess(report: StudyReport, width: int) -> Figure | None:
    """Excess error added over the ratio, and the regression of all networks on it."""
    if not report.excess:
        return None
    methods = list(dict.fromkeys(each.method for each in report.excess))
    figure, (axes,) = panels(1, width=width, height=210, names=methods)
    for index, method in enumerate(methods):
        mine = [each for each in report.excess if each.method == method]
        values = [100 * each.difference for each in mine]
        axes.plot([each.ratio for each in mine], values, **_style(index))
    line = report.excess_lines[-1]
    axes.plot([0, 1], [0, 100 * line.slope], color=INK, linewidth=1.4)
    if line.low is not None and line.high is not None:
        axes.fill_between(
            [0, 1], [0, 100 * line.low], [0, 100 * line.high], color=ACCENT, alpha=0.15, linewidth=0
        )
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("ratio", fontsize=10)
    axes.set_ylabel("excess error added, points", fontsize=10)
    name_lines(figure, axes, [(method, _style(i)) for i, method in enumerate(methods)])
    return figure


def similarity(report: StudyReport, width: int) -> Figure | None:
    """Equal answers and softmax distance over the level of noise."""
    if not report.similarity:
        return None
    names = list(dict.fromkeys((each.network, each.ratio) for each in report.similarity))
    methods = list(dict.fromkeys(name for name, _ in names if name != "control"))
    largest = max((ratio for _, ratio in names), default=1.0) or 1.0
    shown = [name if name == "control" else f"{name} {ratio:.2f}" for name, ratio in names]
    figure, (left, right) = panels(2, width=width, height=230, columns=2, names=shown)
    styles = []
    for name, ratio in names:
        mine = [e for e in report.similarity if (e.network, e.ratio) == (name, ratio)]
        thick = {"linestyle": "-", "linewidth": 0.6 + 1.4 * ratio / largest, "markersize": 4}
        style = {**_style(methods.index(name)), **thick} if name in methods else _CONTROL
        levels = [each.level for each in mine]
        left.plot(levels, [100 * each.matching for each in mine], **style)
        right.plot(levels, [each.distance for each in mine], **style)
        styles.append(style)
    for axes, told in ((left, "same answer as dense, %"), (right, "L2 of softmax difference")):
        axes.set_xlabel("noise, half width", fontsize=10)
        axes.set_ylabel(told, fontsize=10)
        axes.grid(color=GRID, linewidth=0.6)
    name_lines(figure, left, list(zip(shown, styles, strict=True)))
    return figure


def features(report: StudyReport, width: int) -> Figure | None:
    """Confidence in the image's class of every network on every one's pixels."""
    if report.cross is None:
        return None
    names, matrix = report.cross.networks, report.cross.matrix
    room = LETTER * max(map(len, names))
    figure, (axes,) = panels(
        1, width=width, height=46 * len(names), left=34 + room, bottom=40 + 0.5 * room
    )
    axes.pcolormesh(matrix, cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            axes.text(
                column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center",
                color=_letters_on(value),
            )  # fmt: skip
    places = [place + 0.5 for place in range(len(names))]
    axes.set_xticks(places, names, rotation=20, ha="right", fontsize=9)
    axes.set_yticks(places, names, fontsize=9)
    axes.set_xlabel("confidence of, %", fontsize=10)
    axes.set_ylabel("pixels of", fontsize=10)
    return figure


def _letters_on(value: float) -> str:
    """Dark or light, whichever is told from that blue the better (WCAG 2's contrast)."""
    luminance = _luminance(mpl.colormaps["Blues"](value)[:3])
    dark = _luminance(mpl.colors.to_rgb(_DARK))
    return _LIGHT if 1.05 / (luminance + 0.05) > (luminance + 0.05) / (dark + 0.05) else _DARK


def _luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, 0..1, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(c * w for c, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


_FAR: Final = 20
"""How many times the smallest gap the largest one is, where a linear axis would show only that."""


def losses(report: StudyReport, width: int) -> Figure | None:
    """The gap right after pruning against the error after retraining; numbers are of steps."""
    known = [each for each in report.losses if each.gap is not None]
    if not known:
        return None
    criteria = list(dict.fromkeys(each.criterion for each in known))
    figure, (axes,) = panels(1, width=width, height=210, names=criteria)
    for index, criterion in enumerate(criteria):
        mine = [each for each in known if each.criterion == criterion]
        places = [(each.gap or 0.0, 100 * (1 - each.accuracy)) for each in mine]
        axes.plot(*zip(*places, strict=True), markeredgecolor=PAPER, **_style(index))
        for each, place in zip(mine, places, strict=True):
            axes.annotate(
                str(each.steps), place, xytext=(5, 3), textcoords="offset points", fontsize=8,
                color=FAINT,
            )  # fmt: skip
    gaps = [each.gap for each in known if each.gap is not None]
    label = "gap: loss right after pruning less dense"
    if min(gaps) > 0 and max(gaps) > _FAR * min(gaps):
        # One step may lose a hundred times what small ones do, and would push these together.
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        label += ", logarithmic"
    axes.set_xlabel(label, fontsize=10)
    axes.set_ylabel("error after retraining, %", fontsize=10)
    axes.grid(color=GRID, linewidth=0.6)
    name_lines(figure, axes, [(each, _style(index)) for index, each in enumerate(criteria)])
    return figure


_CONTROL: Final[dict[str, Any]] = {
    "color": INK, "linestyle": "--", "marker": "x", "linewidth": 1.8, "markersize": 5
}  # fmt: skip


def _style(index: int) -> dict[str, Any]:
    """How matplotlib marks the method at that place."""
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": "none"}
