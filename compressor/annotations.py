"""The report as the few lines that GitHub shows on a change. Computes nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from compressor.render import binding, headline, reasons
from compressor.report import accepted_step, deciding_steps, slow_step
from compressor.report_schema import CellReport, Report, StepReport
from gates import Outcome

MOST: Final = 10
"""GitHub shows ten annotations of a level for each step, and drops the others without a word."""

Level = Literal["error", "warning", "notice"]

_LEVELS: Final[dict[str, Level]] = {
    "accepted": "notice", "rejected": "error", "undecided": "warning", "violated": "error",
}  # fmt: skip
"""Of verdicts and of enforced cells, by what they came to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One line on a change."""

    level: Level
    title: str
    message: str


def annotations(report: Report) -> tuple[Annotation, ...]:
    """At most ``MOST``: the verdict, then violated cells, undecided ones, advisory and waived ones.

    Where a model is released, cells of it and of the next candidate are only worth a notice.
    """
    steps = deciding_steps(report)
    found = [_verdict(report, steps), *_cells(report, steps)]
    if len(found) <= MOST:
        return tuple(found)
    left = len(found) - (MOST - 1)
    more = Annotation(
        level="notice",
        title=f"{left} more cells are not accepted",
        message="report.md, in the folder of the run, has all of them.",
    )
    return (*found[: MOST - 1], more)


def command(annotation: Annotation) -> str:
    """The workflow command that makes GitHub show it."""
    title = _escaped(annotation.title).replace(":", "%3A").replace(",", "%2C")
    return f"::{annotation.level} title={title}::{_escaped(annotation.message)}"


def _verdict(report: Report, steps: list[StepReport]) -> Annotation:
    """What binds the released candidate; or the first, where none is released."""
    bound = accepted_step(report) or next(iter(steps), None)
    sentences = [binding(bound)] if bound and slow_step(report) is None else reasons(report)
    if bound and report.ladder_end:
        others = "Larger ratios" if report.job == "compress" else "Other candidates"
        sentences.append(f"{others}: {report.ladder_end}")
    return Annotation(
        level=_LEVELS[report.verdict], title=headline(report), message=" ".join(sentences)
    )


def _cells(report: Report, steps: list[StepReport]) -> Iterator[Annotation]:
    """Cells that are not accepted, the most important first; of equals, in the policy's order."""
    released = report.accepted_position
    # Of candidates before it, nothing is worth a word: all that is enforced is accepted.
    shown = [step for step in steps if released is None or step.position >= released]
    cells = [cell for step in shown for cell in step.cells if cell.outcome != Outcome.ACCEPTED]
    for cell in _by_importance(cells):
        standing = "waived" if cell.waived else "" if cell.enforced else "advisory"
        quiet = released is not None or bool(standing)
        yield Annotation(
            level="notice" if quiet else _LEVELS[cell.outcome],
            title=f"{cell.shift}: {cell.outcome}" + (f" ({standing})" if standing else ""),
            message=cell.sentence or cell.outcome,
        )


def _by_importance(cells: Iterable[CellReport]) -> list[CellReport]:
    def key(cell: CellReport) -> tuple[bool, bool]:
        return not cell.enforced or cell.waived, cell.outcome != Outcome.VIOLATED

    return sorted(cells, key=key)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
