"""What is on the page of a run, in which order: paths into its record, words, and drawings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from compressor.page.charts import Bar, Mark, forest, potential
from compressor.page.curves import Curve, Point, accuracy_curves, drop_curve, frame_of
from compressor.page.words import words
from compressor.render import title
from compressor.report import deciding_steps, shown_step
from compressor.report_schema import CellReport, Report, StepReport
from gates import Outcome

SYMBOLS: Final[Mapping[str, str]] = {
    "accepted": "\N{HEAVY CHECK MARK}", "violated": "\N{HEAVY BALLOT X}", "undecided": "?",
    "rejected": "\N{HEAVY BALLOT X}",
}  # fmt: skip
"""Of verdicts and outcomes, so that they are told without colour."""

_ACCURACY: Final = "drop"
_FORMS: Final[Mapping[str, str]] = {"flip rate": "rate"}
"""How a statistic is written, where it is not with a sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule of one step."""

    path: str
    cell: CellReport
    standing: str
    """``enforced``, ``waived`` or ``advisory``."""
    binding: bool

    @property
    def form(self) -> str:
        """How the drop is written."""
        return _FORMS.get(self.cell.statistic, "points")

    @property
    def label(self) -> str:
        """The shift, and what is special about the rule."""
        notes = [] if self.standing == "enforced" else [self.standing]
        notes += [] if self.cell.statistic == _ACCURACY else [self.cell.statistic]
        return f"{self.cell.shift} ({', '.join(notes)})" if notes else self.cell.shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One step: its place in the record, and its rules, the hardest of those that decide first."""

    path: str
    index: int
    step: StepReport
    title: str
    rows: tuple[Row, ...]


def parts(report: Report) -> list[Part]:
    """All steps, as they were tried."""
    return [_part(index, step) for index, step in enumerate(report.steps)]


def shown_part(report: Report) -> Part | None:
    """The step that the first screen is about."""
    step = shown_step(report)
    return None if step is None else _part(report.steps.index(step), step)


def binding_row(part: Part) -> Row:
    """The rule that limits the step."""
    return next(row for row in part.rows if row.binding)


def reason_paths(report: Report) -> list[str]:
    """Where the record says why no later candidate was accepted, each reason once."""
    told = {text: f"reasons.{index}" for index, text in reversed(list(enumerate(report.reasons)))}
    if report.ladder_end:
        told.setdefault(report.ladder_end, "ladder_end")
    return sorted(told.values(), key=lambda path: (path == "ladder_end", path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One of several sequences, and how far it came; paths into the record."""

    path: str
    accepted: str | None
    """Its last accepted step; None if there is none."""
    stopped: str | None
    """The step that was not accepted; None where it ended without one."""
    released: bool


def chains(report: Report) -> list[Chain]:
    """The sequences that shared alpha; none where there is one."""
    if len(report.chains) < 2:
        return []
    stopped = {
        step.chain: f"steps.{report.steps.index(step)}"
        for step in deciding_steps(report)
        if step.outcome != Outcome.ACCEPTED
    }
    places = {step.position: f"steps.{index}" for index, step in enumerate(report.steps)}
    return [
        Chain(
            path=f"chains.{index}",
            accepted=None if (at := chain.accepted_position) is None else places[at],
            stopped=stopped.get(chain.name),
            released=at is not None and at == report.accepted_position,
        )
        for index, chain in enumerate(report.chains)
    ]


def forest_of(part: Part) -> Markup:
    """The forest plot of a step."""
    marks = [
        Mark(
            label=row.label,
            path=row.path,
            drop=row.cell.drop,
            interval=row.cell.interval,
            tolerance=row.cell.tolerance,
            outcome=row.cell.outcome,
            binding=row.binding,
            deciding=row.standing == "enforced",
            form=row.form,
        )
        for row in part.rows
    ]
    label = (
        f"{part.title}: on each shift, what was lost, its interval, and what is tolerated; the "
        "tables below have the numbers"
    )
    return forest(marks, name=f"forest-{part.index}", label=label)


def potential_of(report: Report) -> Markup | None:
    """Bars of the prune potential; None where nothing was pruned here."""
    if not report.potentials:
        return None
    bars = [
        Bar(
            label=item.shift if item.chain is None else f"{item.shift}, {item.chain}",
            path=f"potentials.{index}",
            certified=item.certified,
            estimate=item.estimate,
        )
        for index, item in enumerate(report.potentials)
    ]
    return potential(bars, label="Prune potential of each shift: certified and as an estimate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The drawings over ratios."""

    accuracy: Markup | None
    """None where no statistic is one of accuracy."""
    drops: tuple[tuple[str, Markup], ...]
    """Of each shift."""


def curves_of(report: Report) -> Curves | None:
    """Drops and accuracies over ratios; None where no candidate has one."""
    found = _curves(report)
    if not found:
        return None
    frame = frame_of(found)
    levels = [curve for curve in found if all(p.pruned is not None for p in curve.points)]
    bold = "clean" if any(curve.label == "clean" for curve in levels) else None
    accuracy = None
    if levels:
        accuracy = Markup("").join(
            accuracy_curves(levels, bold=bold, kind=kind) for kind in ("wide", "narrow")
        )
    drops = (
        (curve.label, drop_curve(curve, frame, name=f"curve-{index}"))
        for index, curve in enumerate(found)
    )
    return Curves(accuracy=accuracy, drops=tuple(drops))


def spoken(report: Report) -> Mapping[str, Markup]:
    """The sentences about a record, each marked with its name."""
    return {
        name: Markup('<span data-words="{}">{}</span>').format(name, text)
        for name, text in words(report).items()
    }


def _curves(report: Report) -> list[Curve]:
    points: dict[str, list[Point]] = {}
    tolerances: dict[str, float] = {}  # both by shift, and by sequence where there are several
    for index, step in enumerate(report.steps):
        if step.ratio is None:
            continue
        for number, cell in enumerate(step.cells):
            label = cell.shift if step.chain is None else f"{cell.shift}, {step.chain}"
            tolerances[label] = cell.tolerance
            points.setdefault(label, []).append(
                Point(
                    path=f"steps.{index}.cells.{number}",
                    ratio=step.ratio,
                    drop=cell.drop,
                    interval=cell.interval,
                    dense=cell.dense_accuracy,
                    pruned=cell.pruned_accuracy,
                    outcome=cell.outcome,
                )
            )
    return [
        Curve(label=label, tolerance=tolerances[label], points=tuple(found))
        for label, found in points.items()
    ]


def _part(index: int, step: StepReport) -> Part:
    rows = [
        Row(
            path=f"steps.{index}.cells.{number}",
            cell=cell,
            standing=_standing(cell),
            binding=cell.shift == step.binding,
        )
        for number, cell in enumerate(step.cells)
    ]
    return Part(
        path=f"steps.{index}",
        index=index,
        step=step,
        title=title(step),
        rows=tuple(sorted(rows, key=_hardness)),
    )


def _standing(cell: CellReport) -> str:
    if cell.waived:
        return "waived"
    return "enforced" if cell.enforced else "advisory"


def _hardness(row: Row) -> tuple[Sequence[bool], float, float]:
    cell = row.cell
    aside = (row.standing != "enforced", not row.binding)
    return aside, cell.p_violated if cell.outcome == "violated" else 1.0, -cell.p_safe
