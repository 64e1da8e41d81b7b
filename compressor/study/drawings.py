"""A study's drawings, as SVG that takes its colours from the page or brings its own.

Lines of different methods differ in colour and in marker, so that neither is needed alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compressor.page.svg import ACCENT, FAINT, GRID, INK, PAPER, drawing, inline, new_figure
from compressor.study.analyses.curves import Point
from compressor.study.sections import shown_tolerance
from compressor.study.study_schema import StudyReport

WIDTH: Final = 790

# Okabe & Ito 2008: told apart by colour-blind people, on white and on black.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")


def drawings(report: StudyReport) -> dict[str, Markup]:
    """All drawings that there is something for, by the name of their section."""
    found = {}
    for name, (draw, label) in _DRAWINGS.items():
        with drawing():
            figure = draw(report)
            if figure is not None:
                found[name] = inline(figure, name=name, label=label)
    return found


def standalone(svg: Markup) -> bytes:
    """A drawing as a file of its own, dark on white."""
    paints = (
        "svg{color:#1c2128;background:#fff;--faint:#57606a;--line:#d5dae0;--accent:#0757ba;"
        "--paper:#fff;--good:#116329;--bad:#b3121d;--unsure:#845306;--beyond:#fde4e3;"
        "font-family:'DejaVu Sans',sans-serif}"
    )
    start = '<svg xmlns="http://www.w3.org/2000/svg" '
    text = str(svg).replace("<svg ", start, 1)
    end = text.index(">") + 1
    return f"{text[:end]}<style>{paints}</style>{text[end:]}\n".encode()


def _panels(count: int, *, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    rows = math.ceil(count / columns)
    figure = new_figure(WIDTH, height * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    every: list[Axes] = list(axes.flat)
    for spare in every[count:]:
        spare.set_axis_off()
    figure.subplots_adjust(
        left=0.08, right=0.98, top=1 - 24 / (height * rows), bottom=42 / (height * rows),
        wspace=0.28, hspace=62 / (height - 62),
    )  # fmt: skip
    return figure, every[:count]


def _curves(report: StudyReport) -> Figure | None:
    methods = list(dict.fromkeys(point.method for point in report.curves))
    if not methods:
        return None
    figure, panels = _panels(len(methods), columns=min(3, len(methods)), height=230)
    for axes, method in zip(panels, methods, strict=True):
        mine = [p for p in report.curves if p.method == method and p.group != "noise"]
        for shift in dict.fromkeys(point.shift for point in mine):
            _curve(axes, [point for point in mine if point.shift == shift])
        axes.set_title(method, fontsize=11)
        # A third more, for the names at the ends.
        axes.set_xlim(0, 1.33 * max(point.ratio for point in report.curves))
        axes.set_xlabel("ratio", fontsize=10)
        axes.grid(color=GRID, linewidth=0.6)
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
    panels[0].set_ylabel("accuracy, %", fontsize=10)
    return figure


def _curve(axes: Axes, points: Sequence[Point]) -> None:
    """From the dense network, at ratio 0; those of training bold."""
    x = [0.0, *(point.ratio for point in points)]
    y = [100 * points[0].dense_accuracy, *(100 * point.accuracy for point in points)]
    bold = points[0].group == "train"
    paint = ACCENT if bold else FAINT
    axes.plot(x, y, color=paint, linewidth=2.4 if bold else 0.9, marker=".", markersize=4)
    axes.annotate(
        points[0].shift, (x[-1], y[-1]), xytext=(2, 0), textcoords="offset points", fontsize=7.5,
        color=paint, va="center",
    )  # fmt: skip


def _potential(report: StudyReport) -> Figure | None:
    tolerance = shown_tolerance(report)
    known = [each for each in report.potentials if each.tolerance == tolerance]
    if not known:
        return None
    shifts = list(dict.fromkeys(each.shift for each in known if each.group == "train"))
    shifts += list(dict.fromkeys(each.shift for each in known if each.group == "held_out"))
    shifts += list(dict.fromkeys(each.shift for each in known if each.group == "noise"))
    methods = list(dict.fromkeys(each.method for each in known))
    high = max(0.2, 0.8 / len(methods))
    figure = new_figure(WIDTH, 70 + 26 * len(shifts) * max(1.0, len(methods) / 3))
    axes = figure.add_axes((0.22, 0.1, 0.62, 0.86))
    for index, method in enumerate(methods):
        for row, shift in enumerate(shifts):
            mine = [each for each in known if each.method == method and each.shift == shift]
            if not mine:
                continue
            at = row + (index - (len(methods) - 1) / 2) * 0.8 / len(methods)
            certified = sum(each.certified for each in mine) / len(mine)
            estimate = sum(each.estimate for each in mine) / len(mine)
            paint = _COLOURS[index % len(_COLOURS)]
            axes.barh(at, certified, height=0.7 * high, color=paint, linewidth=0)
            axes.barh(at, estimate, height=0.7 * high, fill=False, edgecolor=paint, linewidth=1.2)
            axes.plot(
                estimate, at, _MARKERS[index % len(_MARKERS)], color=paint, markersize=4.5,
                label=method if row == 0 else None,
            )  # fmt: skip
    axes.set_yticks(range(len(shifts)), shifts, fontsize=9)
    axes.set_ylim(len(shifts) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("ratio: filled certified, outline estimate", fontsize=10)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    _legend(axes)
    return figure


def _excess(report: StudyReport) -> Figure | None:
    if not report.excess:
        return None
    figure, (axes,) = _panels(1, columns=1, height=280)
    methods = list(dict.fromkeys(each.method for each in report.excess))
    for index, method in enumerate(methods):
        mine = [each for each in report.excess if each.method == method]
        axes.plot(
            [each.ratio for each in mine], [100 * each.difference for each in mine],
            _MARKERS[index % len(_MARKERS)], color=_COLOURS[index % len(_COLOURS)], label=method,
        )  # fmt: skip
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
    figure.subplots_adjust(right=0.82)
    _legend(axes)
    return figure


def _similarity(report: StudyReport) -> Figure | None:
    if not report.similarity:
        return None
    figure, (left, right) = _panels(2, columns=2, height=300)
    names = list(dict.fromkeys((each.network, each.ratio) for each in report.similarity))
    methods = list(dict.fromkeys(name for name, _ in names if name != "control"))
    largest = max((ratio for _, ratio in names), default=1.0) or 1.0
    for name, ratio in names:
        mine = [e for e in report.similarity if (e.network, e.ratio) == (name, ratio)]
        place = methods.index(name) if name in methods else 0
        control = name == "control"
        style: dict[str, Any] = {
            "color": INK if control else _COLOURS[place % len(_COLOURS)],
            "linestyle": "--" if control else "-",
            "marker": "x" if control else _MARKERS[place % len(_MARKERS)],
            "markersize": 4,
            "linewidth": 1.8 if control else 0.6 + 1.4 * ratio / largest,
        }
        levels = [each.level for each in mine]
        label = "control" if control else f"{name} {ratio:.2f}"
        left.plot(levels, [100 * each.matching for each in mine], label=label, **style)
        right.plot(levels, [each.distance for each in mine], **style)
    for axes, told in ((left, "same answer as dense, %"), (right, "L2 of softmax difference")):
        axes.set_xlabel("noise, half width", fontsize=10)
        axes.set_ylabel(told, fontsize=10)
        axes.grid(color=GRID, linewidth=0.6)
    figure.subplots_adjust(right=0.83)
    _legend(left, at=right)
    return figure


def _features(report: StudyReport) -> Figure | None:
    if report.cross is None:
        return None
    names, matrix = report.cross.networks, report.cross.matrix
    figure = new_figure(WIDTH, 120 + 46 * len(names))
    axes = figure.add_axes((0.2, 0.24, 0.62, 0.7))
    axes.pcolormesh(matrix, cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            axes.text(
                column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center",
                color="#ffffff" if value > 0.55 else "#1c2128",
            )  # fmt: skip
    places = [place + 0.5 for place in range(len(names))]
    axes.set_xticks(places, names, rotation=20, ha="right", fontsize=9)
    axes.set_yticks(places, names, fontsize=9)
    axes.set_xlabel("confidence of, %", fontsize=10)
    axes.set_ylabel("pixels of", fontsize=10)
    return figure


def _losses(report: StudyReport) -> Figure | None:
    known = [each for each in report.losses if each.gap is not None]
    if not known:
        return None
    figure, (axes,) = _panels(1, columns=1, height=280)
    for index, criterion in enumerate(dict.fromkeys(each.criterion for each in known)):
        mine = [each for each in known if each.criterion == criterion]
        axes.plot(
            [each.gap for each in mine if each.gap is not None],
            [100 * (1 - each.accuracy) for each in mine],
            _MARKERS[index % len(_MARKERS)], color=_COLOURS[index % len(_COLOURS)],
            label=criterion, markeredgecolor=PAPER,
        )  # fmt: skip
        for each in mine:
            axes.annotate(
                str(each.steps), (each.gap or 0.0, 100 * (1 - each.accuracy)), xytext=(5, 3),
                textcoords="offset points", fontsize=7, color=FAINT,
            )  # fmt: skip
    axes.set_xlabel("gap: loss right after pruning less dense (number: steps)", fontsize=10)
    axes.set_ylabel("error after retraining, %", fontsize=10)
    axes.grid(color=GRID, linewidth=0.6)
    figure.subplots_adjust(right=0.82)
    _legend(axes)
    return figure


def _legend(axes: Axes, *, at: Axes | None = None) -> None:
    handles, labels = axes.get_legend_handles_labels()
    (at or axes).legend(
        handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8,
        labelcolor=INK,
    )  # fmt: skip


_DRAWINGS: Final[Mapping[str, tuple[Callable[[StudyReport], Figure | None], str]]] = {
    "curves": (_curves, "Accuracy by ratio on each distribution; the tables below have the drops"),
    "potential": (_potential, "Prune potential of each distribution; see tables/potentials.csv"),
    "excess": (_excess, "Excess error added by pruning against the ratio, with its regression"),
    "similarity": (_similarity, "Matching answers and softmax distance by noise; see the table"),
    "features": (_features, "Confidence of every network on every one's pixels; see the table"),
    "losses": (_losses, "Gap right after pruning against the error after retraining"),
}
