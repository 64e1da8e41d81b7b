"""What study.md and report.html say, section by section. Words and rounding; computes nothing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from compressor.study.opening import GROUPS, PLACE, shown_tolerance
from compressor.study.study_schema import StudyReport

_PACKAGE: Final = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Text in rows and columns."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, and what stands below it."""

    name: str
    """Of its drawing, if there is one."""
    title: str
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


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
            each.strategy, f"{each.compression:.2f}", f"{each.real_compression:.2f}",
            f"{each.speedup:.2f}", _share(each.pre_acc1, each.pre_acc1_std),
            _share(each.post_acc1, each.post_acc1_std), _share(each.post_acc5, each.post_acc5_std),
            str(each.seeds),
        )
        for each in report.standard_summary
    ]  # fmt: skip
    masks = sorted({row.strategy for row in report.standard if not row.physical})
    notes = [
        "Times smaller (x) in parameters and in multiply-adds; the speed-up is theoretical.",
        "Top-1 cut: right after the cut; top-1: after retraining.",
    ]
    if masks:
        notes.append(f"Masks ({', '.join(masks)}) set weights to zero; no file gets smaller by it.")
    header = ("method", "asked x", "real x", "speed-up x", "top-1 cut", "top-1", "top-5", "seeds")
    return Section(
        name="standard", title=title, tables=(Table(header=header, rows=tuple(rows)),),
        notes=tuple(notes),
    )  # fmt: skip


def _potential(report: StudyReport) -> Section | None:
    tolerance = shown_tolerance(report)
    if tolerance is None:
        return None
    rows = [
        (
            each.method, GROUPS[each.group], str(each.distributions),
            _share(each.estimate_average, each.estimate_average_std),
            _share(each.estimate_minimum, each.estimate_minimum_std),
            _share(each.certified_average, each.certified_average_std),
            _share(each.certified_minimum, each.certified_minimum_std),
        )
        for each in sorted(report.overparameterisation, key=lambda e: PLACE[e.group])
        if each.tolerance == tolerance
    ]  # fmt: skip
    header = ("method", "distributions", "n", "estimate: average", "minimum", "certified: average",
              "minimum")  # fmt: skip
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
            "all" if each.method == "*" else each.method, str(each.points),
            f"{100 * each.slope:+.2f}", _interval(each.low, each.high),
        )
        for each in report.excess_lines
    ]  # fmt: skip
    note = (
        "Error on held-out distributions less error on those of training, pruned less dense, "
        "regressed on the ratio through the origin; interval by bootstrap, of three networks or "
        "more."
    )
    header = ("method", "networks", "points per ratio of 1", "95 %")
    return Section(
        name="excess", title="Excess error that pruning adds",
        tables=(Table(header=header, rows=tuple(rows)),), notes=(note,),
    )  # fmt: skip


def _similarity(report: StudyReport) -> Section | None:
    if not report.similarity:
        return None
    levels = sorted({each.level for each in report.similarity})
    names = list(dict.fromkeys((each.network, each.ratio) for each in report.similarity))
    known = {(e.network, e.ratio, e.level): e for e in report.similarity}
    rows = [
        (
            name if name == "control" else f"{name} {ratio:.2f}",
            *(
                f"{each.matching:.1%} / {each.distance:.3f}"
                for each in (known[name, ratio, level] for level in levels)
            ),
        )
        for name, ratio in names
    ]
    note = (
        "Share of answers that are the dense network's / L2 norm of the softmax difference; the "
        "control has the dense network's architecture and was trained from nothing."
    )
    header = ("network", *(f"noise {level:g}" for level in levels))
    return Section(
        name="similarity", title="Functional similarity under noise",
        tables=(Table(header=header, rows=tuple(rows)),), notes=(note,),
    )  # fmt: skip


def _features(report: StudyReport) -> Section | None:
    if not report.features:
        return None
    first = report.features[0]
    rows = [
        (each.network, f"{each.confidence_whole:.1%}", f"{each.confidence_kept:.1%}")
        for each in report.features
    ]
    tables = [Table(header=("network", "whole image", f"its {first.pixels} pixels"), rows=(*rows,))]
    notes = [f"Confidence in the image's class, mean of {first.n:,} images."]
    if report.cross is not None:
        crossed = [
            (name, *(f"{value:.1%}" for value in row))
            for name, row in zip(report.cross.networks, report.cross.matrix, strict=True)
        ]
        tables.append(Table(header=("pixels of", *report.cross.networks), rows=(*crossed,)))
        notes.append("The same of every network (column) on the pixels of every other (row).")
    return Section(
        name="features", title="Informative features", tables=(*tables,), notes=(*notes,)
    )


def _losses(report: StudyReport) -> Section | None:
    if not report.losses:
        return None
    rows = [
        (
            each.criterion, str(each.steps), f"{each.regulariser:g}", f"{each.ratio:.2f}",
            str(each.seed), "-" if each.gap is None else f"{each.gap:+.3f}",
            f"{each.pruned_accuracy:.2%}", f"{each.accuracy:.2%}",
        )
        for each in report.losses
    ]  # fmt: skip
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
    header = ("model", "steps", "lambda", "ratio", "seed", "gap", "top-1 cut", "top-1")
    return Section(
        name="losses", title="Models of the loss",
        tables=(Table(header=header, rows=tuple(rows)),), notes=tuple(notes),
    )  # fmt: skip


def _drops(report: StudyReport) -> Section | None:
    if not report.curves:
        return None
    ratios = sorted({each.ratio for each in report.curves})
    tables = []
    for method in dict.fromkeys(each.method for each in report.curves):
        own = sorted((e for e in report.curves if e.method == method), key=lambda e: PLACE[e.group])
        mine = {(e.shift, e.ratio): e for e in own}
        rows = [
            (shift, *(f"{100 * mine[shift, r].drop:+.1f}" if (shift, r) in mine else "-"
                      for r in ratios))
            for shift in dict.fromkeys(shift for shift, _ in mine)
        ]  # fmt: skip
        header = ("distribution", *(f"{r:.2f}" for r in ratios))
        tables.append(Table(header=header, rows=tuple(rows), caption=f"{method}: drop, points"))
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


def _share(value: float | None, deviation: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if deviation is None else f"{value:.2%} ± {deviation:.2%}"


def _trials(count: int) -> str:
    return f"{count:,} trial{'' if count == 1 else 's'}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"[{100 * low:+.2f}, {100 * high:+.2f}]"
