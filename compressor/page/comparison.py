"""What is on a page that compares two runs, and the same for machines."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from markupsafe import Markup

from compressor.page.figures import Figures
from compressor.page.layout import Part, parts, shown_part
from compressor.page.pairs import Pair, Side, pairs_plot
from compressor.report_schema import CellReport, Report

FIRST: Final = "a"
SECOND: Final = "b"

NOTHING: Final = frozenset({"accepted_name", "accepted_ratio", "artifact_sha256"})
"""Where None means that there is none; elsewhere, that it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that two runs may differ in."""

    name: str
    first: str | None
    """Where the first record has it; None if it has not."""
    second: str | None
    form: str
    """How it is written, if it is a number; empty for text."""
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs, side by side."""

    first: Figures
    second: Figures
    outcome: tuple[Line, ...]
    speed: tuple[Line, ...]
    environment: tuple[Line, ...]
    candidates: tuple[Line, ...]
    """Outcomes of all candidates, by name."""
    cells: tuple[tuple[str, str | None, str | None], ...]
    """Shift, and where either record has its cell."""
    plot: Markup | None
    caveats: tuple[str, ...]
    """Why the two may not be compared number by number."""


_SAID: Final = {
    "verdict": ("verdict", ""),
    "released": ("accepted_name", ""),
    "accepted ratio": ("accepted_ratio", "ratio"),
    "policy": ("policy", ""),
    "alpha of this run": ("alpha_per_release", "plain"),
}
_OF_THE_STEP: Final = {
    "candidate shown": ("name", ""),
    "binding shift": ("binding", ""),
    "parameters": ("params", "count"),
    "multiply-adds, million": ("macs", "millions"),
    "file, MB": ("size_bytes", "megabytes"),
    "precision": ("precision", ""),
    "tune accuracy, %": ("tune_accuracy", "rate"),
}
_ENVIRONMENT: Final = {
    "policy digest": "policy_digest",
    "plan digest": "plan_digest",
    "dense model": "dense.source",
    "dense model, sha256": "dense.sha256",
    "released file, sha256": "artifact_sha256",
    "provider": "provider",
    "method": "method",
    "command": "command",
}


def compare(first: Report, second: Report) -> Compared:
    """Everything in which the two may differ; the step of each is the one that its page shows."""
    a = Figures(content=first.model_dump(mode="json"), record=FIRST)
    b = Figures(content=second.model_dump(mode="json"), record=SECOND)
    shown = shown_part(first), shown_part(second)
    versions = sorted(first.versions.keys() | second.versions.keys())
    return Compared(
        first=a,
        second=b,
        outcome=(
            *(_line(a, b, name, path, path, form=form) for name, (path, form) in _SAID.items()),
            *(
                _line(a, b, name, _in(shown[0], key), _in(shown[1], key), form=form)
                for name, (key, form) in _OF_THE_STEP.items()
            ),
        ),
        speed=tuple(_speed(a, b, first, second)),
        environment=(
            *(_line(a, b, name, path, path) for name, path in _ENVIRONMENT.items()),
            *(_line(a, b, name, f"versions.{name}", f"versions.{name}") for name in versions),
        ),
        candidates=tuple(_candidates(a, b, first, second)),
        cells=tuple(_cells(*shown)),
        plot=_plot(*shown),
        caveats=tuple(_caveats(first, second)),
    )


def as_json(compared: Compared) -> str:
    """Every line of the comparison, with both values."""
    groups = {
        "outcome": compared.outcome,
        "latency": compared.speed,
        "candidates": compared.candidates,
        "environment": compared.environment,
    }
    found: dict[str, Any] = {
        group: {
            line.name: {
                "a": _value(compared.first, line.first),
                "b": _value(compared.second, line.second),
                "changed": line.changed,
            }
            for line in lines
        }
        for group, lines in groups.items()
    }
    found["shifts"] = {
        shift: {
            "a": None if first is None else _told(compared.first.at(first)),
            "b": None if second is None else _told(compared.second.at(second)),
        }
        for shift, first, second in compared.cells
    }
    return json.dumps({**found, "caveats": compared.caveats}, indent=2)


def _told(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: cell[key] for key in ("statistic", "drop", "interval", "tolerance", "outcome")}


def _value(figures: Figures, path: str | None) -> Any:  # noqa: ANN401 # JSON
    return None if path is None else figures.at(path)


def _line(
    a: Figures, b: Figures, name: str, first: str | None, second: str | None, *, form: str = ""
) -> Line:
    changed = _value(a, first) != _value(b, second)
    return Line(name=name, first=first, second=second, form=form, changed=changed)


def _in(part: Part | None, key: str) -> str | None:
    return None if part is None else f"{part.path}.{key}"


def _speed(a: Figures, b: Figures, first: Report, second: Report) -> Iterator[Line]:
    places = [
        {int(entry["batch"]): index for index, entry in enumerate(report.latency)}
        for report in (first, second)
    ]
    for batch in sorted(places[0].keys() | places[1].keys()):
        at = [f"latency.{p[batch]}" if batch in p else None for p in places]
        for name, key, form in (
            ("times as fast", "speedup", "times"),
            ("dense, ms", "dense.median_ms", "ms"),
            ("pruned, ms", "pruned.median_ms", "ms"),
        ):
            ends = [None if place is None else f"{place}.{key}" for place in at]
            yield _line(a, b, f"batch {batch}: {name}", ends[0], ends[1], form=form)


def _candidates(a: Figures, b: Figures, first: Report, second: Report) -> Iterator[Line]:
    found = [
        {part.step.name: f"{part.path}.outcome" for part in parts(report)}
        for report in (first, second)
    ]
    for name in dict.fromkeys([*found[0], *found[1]]):
        yield _line(a, b, name, found[0].get(name), found[1].get(name))


def _cells(first: Part | None, second: Part | None) -> Iterator[tuple[str, str | None, str | None]]:
    found = [
        {row.cell.shift: row.path for row in part.rows} if part else {} for part in (first, second)
    ]
    for shift in dict.fromkeys([*found[0], *found[1]]):
        yield shift, found[0].get(shift), found[1].get(shift)


def _plot(first: Part | None, second: Part | None) -> Markup | None:
    """None where the two have no shift in common that is judged by the same statistic."""
    if first is None or second is None:
        return None
    others = {row.cell.shift: row for row in second.rows}
    pairs = [
        Pair(
            label=row.cell.shift,
            first=_side(FIRST, row.path, row.cell),
            second=_side(SECOND, others[row.cell.shift].path, others[row.cell.shift].cell),
        )
        for row in first.rows
        if row.cell.shift in others and row.cell.statistic == others[row.cell.shift].cell.statistic
    ]
    label = "What either run lost on each shift; the table below has the numbers"
    return pairs_plot(pairs, label=label) if pairs else None


def _side(record: Literal["a", "b"], path: str, cell: CellReport) -> Side:
    return Side(
        path=f"{record}.{path}",
        drop=cell.drop,
        interval=cell.interval,
        tolerance=cell.tolerance,
    )


def _caveats(first: Report, second: Report) -> Iterator[str]:
    if first.dense.sha256 != second.dense.sha256:
        yield "The dense models differ: drops are from different heights."
    if first.policy_digest != second.policy_digest:
        yield "The policies differ: the same drop may be accepted in one run and not in the other."
    if first.provider != second.provider:
        yield "The models ran on different providers: times cannot be compared."
