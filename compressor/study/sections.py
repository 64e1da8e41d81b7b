"""What study.md and report.html say, section by section. Words and rounding; computes nothing."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from compressor.study.cells import (
    Cell,
    Section,
    Table,
    cell,
    firsts,
    interval,
    joined,
    likeness,
    percent,
    places_of,
    points,
    share,
    two,
    words,
)
from compressor.study.opening import GROUPS, PLACE, shown_tolerance
from compressor.study.study_schema import StudyReport

_PACKAGE: Final = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")


def sections(report: StudyReport) -> list[Section]:
    """All that there is to say, in order."""
    found = (make(report) for make in _SECTIONS)
    return [section for section in found if section is not None]


def _failures(report: StudyReport) -> Section | None:
    trials = report.trials
    if not trials.failed and not trials.missing:
        return None
    lines = []
    for failure in trials.failures:
        about = ", ".join(f"{key} {value}" for key, value in failure.about.items())
        told = failure.error.strip().splitlines()
        # Of an error's name, where its class lies is for the traceback.
        error = _PACKAGE.sub("", told[-1]) if told else "no message"
        lines.append(f"{failure.kind} ({about}): {error}")
    if trials.missing:
        begun = f"{_trials(trials.missing)} that would start from what failed could not begin."
        lines.append(begun)
    lines.append("Tracebacks are in study.json; --retry-failed does what failed again.")
    return Section(name="failures", title=f"{_trials(trials.failed)} failed", notes=tuple(lines))


def _standard(report: StudyReport) -> Section:
    title = "Size, speed-up, accuracy"
    if not report.standard_summary:
        return Section(name="standard", title=title, notes=("No network was made.",))
    rows = [
        (
            cell(at, each, "strategy"),
            *(
                cell(at, each, name, form=two)
                for name in ("compression", "real_compression", "speedup")
            ),
            *(
                cell(at, each, name, f"{name}_std", form=share)
                for name in ("pre_acc1", "post_acc1", "post_acc5")
            ),
            cell(at, each, "seeds"),
        )
        for at, each in places_of("standard_summary", report.standard_summary)
    ]
    masks = sorted({row.strategy for row in report.standard if not row.physical})
    notes = [
        "Times smaller (x) in parameters and in multiply-adds; the speed-up is theoretical.",
        "Top-1 cut: right after the cut; top-1: after retraining.",
    ]
    if masks:
        notes.append(f"Masks ({', '.join(masks)}) set weights to zero; no file gets smaller by it.")
    header = words("method", "asked x", "real x", "speed-up x", "top-1 cut", "top-1", "top-5",
                   "seeds")  # fmt: skip
    return Section(
        name="standard", title=title, tables=(Table(header=header, rows=tuple(rows)),),
        notes=tuple(notes),
    )  # fmt: skip


def _potential(report: StudyReport) -> Section | None:
    tolerance = shown_tolerance(report)
    if tolerance is None:
        return None
    placed = places_of("overparameterisation", report.overparameterisation)
    names = ("estimate_average", "estimate_minimum", "certified_average", "certified_minimum")
    rows = [
        (
            cell(at, each, "method"),
            Cell(text=GROUPS[each.group]),
            cell(at, each, "distributions"),
            *(cell(at, each, name, f"{name}_std", form=share) for name in names),
        )
        for at, each in sorted(placed, key=lambda pair: PLACE[pair[1].group])
        if each.tolerance == tolerance
    ]
    header = words("method", "distributions", "n", "estimate: average", "minimum",
                   "certified: average", "minimum")  # fmt: skip
    note = (
        "The largest ratio of the grid whose drop stays within the tolerance; 0 % where none "
        "does. The estimate "
        "compares observed drops and is too large as often as not; the certified one is too large "
        f"with a chance of at most {report.grid['alpha']:g} for each distribution. All tolerances "
        "are in tables/potentials.csv."
    )
    return Section(
        name="potential", title=f"Prune potential at a tolerance of {100 * tolerance:g} %",
        tables=(Table(header=header, rows=tuple(rows)),), notes=(note,),
    )  # fmt: skip


def _excess(report: StudyReport) -> Section | None:
    if not report.excess_lines:
        return None
    rows = [
        (
            Cell(text="all") if each.method == "*" else cell(at, each, "method"),
            cell(at, each, "points"),
            cell(at, each, "slope", form=lambda slope: f"{100 * slope:+.2f}", points=True),
            cell(at, each, "low", "high", form=interval, points=True),
        )
        for at, each in places_of("excess_lines", report.excess_lines)
    ]
    header = words("method", "networks", "points per ratio of 1", "95 %")
    note = (
        "Error on held-out distributions less error on those of training, pruned less dense, "
        "regressed on the ratio through the origin; interval by bootstrap, of three networks or "
        "more."
    )
    return Section(
        name="excess", title="Excess error that pruning adds",
        tables=(Table(header=header, rows=tuple(rows)),), notes=(note,),
    )  # fmt: skip


def _similarity(report: StudyReport) -> Section | None:
    if not report.similarity:
        return None
    placed = places_of("similarity", report.similarity)
    levels = firsts(placed, lambda each: each.level)
    networks = firsts(placed, lambda each: (each.network, each.ratio))
    known = {(each.network, each.ratio, each.level): (at, each) for at, each in placed}
    rows = [
        (
            cell(at, first, "network") if name == "control"
            else joined(cell(at, first, "network"), cell(at, first, "ratio", form=two)),
            *(
                cell(*known[name, ratio, level], "matching", "distance", form=likeness)
                for level in sorted(levels)
            ),
        )
        for (name, ratio), (at, first) in networks.items()
    ]  # fmt: skip
    header = (
        Cell(text="network"),
        *(
            cell(*levels[level], "level", form=lambda level: f"noise {level:g}")
            for level in sorted(levels)
        ),
    )
    note = (
        "Share of answers that are the dense network's / L2 norm of the softmax difference; the "
        "control has the dense network's architecture and was trained from nothing."
    )
    return Section(
        name="similarity", title="Functional similarity under noise",
        tables=(Table(header=header, rows=tuple(rows)),), notes=(note,),
    )  # fmt: skip


def _features(report: StudyReport) -> Section | None:
    if not report.features:
        return None
    first = report.features[0]
    rows = [
        (
            cell(at, each, "network"),
            *(
                cell(at, each, name, form=percent)
                for name in ("confidence_whole", "confidence_kept")
            ),
        )
        for at, each in places_of("features", report.features)
    ]
    pixels = cell("features.0", first, "pixels", form=lambda pixels: f"its {pixels} pixels")
    tables = [Table(header=(*words("network", "whole image"), pixels), rows=(*rows,))]
    notes = [f"Confidence in the image's class, mean of {first.n:,} images."]
    if report.cross is not None:
        names = [
            Cell(text=name, paths=(f"cross.networks.{k}",))
            for k, name in enumerate(report.cross.networks)
        ]
        crossed = [
            (
                name,
                *(
                    Cell(text=percent(value), paths=(f"cross.matrix.{k}.{j}",))
                    for j, value in enumerate(row)
                ),
            )
            for k, (name, row) in enumerate(zip(names, report.cross.matrix, strict=True))
        ]
        tables.append(Table(header=(Cell(text="pixels of"), *names), rows=(*crossed,)))
        notes.append("The same of every network (column) on the pixels of every other (row).")
    return Section(
        name="features", title="Informative features", tables=(*tables,), notes=(*notes,)
    )


def _losses(report: StudyReport) -> Section | None:
    if not report.losses:
        return None
    rows = [
        (
            cell(at, each, "criterion"),
            cell(at, each, "steps"),
            cell(at, each, "regulariser", form=lambda value: f"{value:g}"),
            cell(at, each, "ratio", form=two),
            cell(at, each, "seed"),
            cell(at, each, "gap", form=lambda gap: "-" if gap is None else f"{gap:+.3f}"),
            cell(at, each, "pruned_accuracy", form=share),
            cell(at, each, "accuracy", form=share),
        )
        for at, each in places_of("losses", report.losses)
    ]
    notes = []
    for each in report.loss_correlations:
        known = (
            "no rank correlation can be told"
            if each.rank is None or each.p is None
            else f"rank correlation {each.rank:+.2f} (p {each.p:.2g})"
        )
        notes.append(
            f"Ratio {each.ratio:.2f}, gap and error after retraining over {each.networks} "
            f"networks: {known}."
        )
    header = words("model", "steps", "lambda", "ratio", "seed", "gap", "top-1 cut", "top-1")
    return Section(
        name="losses", title="Models of the loss",
        tables=(Table(header=header, rows=tuple(rows)),), notes=tuple(notes),
    )  # fmt: skip


def _drops(report: StudyReport) -> Section | None:
    if not report.curves:
        return None
    placed = places_of("curves", report.curves)
    ratios = firsts(placed, lambda each: each.ratio)
    header = (
        Cell(text="distribution"),
        *(cell(*ratios[ratio], "ratio", form=two) for ratio in sorted(ratios)),
    )
    tables = []
    for method in dict.fromkeys(each.method for each in report.curves):
        own = [pair for pair in placed if pair[1].method == method]
        own.sort(key=lambda pair: PLACE[pair[1].group])
        mine = {(each.shift, each.ratio): (at, each) for at, each in own}
        shifts = firsts(own, lambda each: each.shift)
        rows = [
            (
                cell(*shifts[shift], "shift"),
                *(
                    cell(*mine[shift, ratio], "drop", form=points, points=True)
                    if (shift, ratio) in mine
                    else Cell(text="-")
                    for ratio in sorted(ratios)
                ),
            )
            for shift in shifts
        ]
        caption = cell(*own[0], "method", form=lambda name: f"{name}: drop, points")
        tables.append(Table(header=header, rows=tuple(rows), caption=caption))
    return Section(name="curves", title="Accuracy and drop by distribution", tables=tuple(tables))


def _effort(report: StudyReport) -> Section:
    effort = report.effort
    spent = (
        f"Engine {effort.engine}, {effort.workers} workers: {effort.seconds:,.0f} s for this "
        f"invocation, {effort.worked:,.0f} s inside its trials; {effort.all_trials:,.0f} s inside "
        "all trials of all invocations."
    )
    versions = ", ".join(f"{name} {each}" for name, each in report.versions.items())
    notes = (spent, f"Command: {report.command}", f"Versions: {versions}.")
    return Section(name="effort", title="Effort", notes=notes)


_SECTIONS: Final[Sequence[Callable[[StudyReport], Section | None]]] = (
    _failures, _standard, _potential, _excess, _similarity, _features, _losses, _drops, _effort,
)  # fmt: skip


def _trials(count: int) -> str:
    return f"{count:,} trial{'' if count == 1 else 's'}"
