"""The report's tables, as lines of Markdown that are readable as plain text. Computes nothing."""

from collections.abc import Mapping, Sequence
from typing import Final

from compressor.report_schema import CellReport, Report, StepReport

_UNITS: Final[Mapping[str, str]] = {
    "drop": "", "top-5 drop": " top-5", "Brier growth": " Brier", "flip rate": " flips",
    "pixel drop": " of pixels",
}  # fmt: skip
"""What follows a number of points, by the statistic."""


def cost_table(report: Report) -> list[str]:
    """Parameters, multiply-adds, size and tune accuracy of each candidate, as far as known."""
    dense = report.dense
    rows = [
        [
            "dense",
            f"{dense.params:,}",
            "-" if dense.macs is None else f"{dense.macs / 1e6:.1f}",
            "-",
            f"{dense.size_bytes / 1e6:.2f}",
            _share(dense.tune_accuracy, ".2%"),
        ]
    ]
    rows += [
        [
            step.name if step.ratio is None else f"{step.ratio:.2f}",
            f"{step.params:,} ({step.params / dense.params - 1:+.1%})",
            _macs(step.macs, dense=dense.macs),
            step.outcome,
            f"{step.size_bytes / 1e6:.2f}",
            _share(step.tune_accuracy, ".2%"),
        ]
        for step in report.steps
    ]
    of = "" if report.ratio_of in {None, "params"} else f" of {report.ratio_of}"
    first = f"ratio{of}" if report.job == "compress" else "candidate"
    header = [first, "parameters", "MMACs", "outcome", "file MB", "tune accuracy"]
    if any(step.precision for step in report.steps):
        header.append("precision")
        for row, precision in zip(rows, [None, *(s.precision for s in report.steps)], strict=True):
            row.append(precision or "-")
    return table(header, rows)


def latency_table(report: Report) -> list[str]:
    """Median times and the paired speed-up per batch size."""
    if not report.latency:
        nothing = ": nothing was accepted" if report.accepted_name is None else ""
        return [f"No latency was measured{nothing}."]
    rows = [
        [
            str(entry["batch"]),
            f"{entry['dense']['median_ms']:.3f}",
            f"{entry['pruned']['median_ms']:.3f}",
            f"{entry['speedup']:.2f} {_interval(entry['speedup_interval'], '.2f')}",
            _interval(entry["noise"], ".3f"),
            "" if entry["distinguishable"] else "not distinguishable",
        ]
        for entry in report.latency
    ]
    first = report.latency[0]
    where = f"{first['runtime']}, {first['provider']}, {first['device']}"
    header = ["batch", "dense ms", "pruned ms", "speed-up [95 %]", "dense vs dense", ""]
    return [*table(header, rows), "", f"Latency: {where}."]


def lint_lines(report: Report) -> list[str]:
    """What in the released file costs time, and what to do; nothing where nothing was found."""
    if report.lint is None:
        return []
    return [
        f"Advisory, {finding.rule}: {finding.what}. To do: {finding.remedy}."
        for finding in report.lint.findings
    ]


def cell_table(step: StepReport) -> list[str]:
    """Every rule that one candidate was measured on; images and level where they differ."""
    columns: dict[str, list[str]] = {
        "shift": [cell.shift + _standing(cell) for cell in step.cells],
        "n": [f"{cell.n:,}" for cell in step.cells],
        "dense": [_level(cell.dense_accuracy, cell.dense_score) for cell in step.cells],
        "pruned": [_level(cell.pruned_accuracy, cell.pruned_score) for cell in step.cells],
        "drop, points [95 %]": [_drop(cell) for cell in step.cells],
        "tolerance": [f"{100 * cell.tolerance:.1f}" for cell in step.cells],
        "discordance": [_share(cell.discordance, ".1%") for cell in step.cells],
        "p": [f"{cell.p_safe:.2g}" for cell in step.cells],
        "alpha": [f"{cell.alpha:.2g}" for cell in step.cells],
        "outcome": [cell.outcome for cell in step.cells],
    }
    for name in ("n", "alpha"):
        if len(set(columns[name])) == 1:
            del columns[name]
    return table(list(columns), [list(row) for row in zip(*columns.values(), strict=True)])


def advisory_table(step: StepReport) -> list[str]:
    """Calibration and the worst class of each rule, where they were told; nothing if nowhere."""
    rows = []
    for cell in step.cells:
        calibration, worst = cell.calibration, cell.worst_class
        if calibration is None and worst is None:
            continue
        errors, fall = ["-", "-"], ["-", "-", "-"]
        if calibration is not None:
            ends = _interval([100 * end for end in calibration.interval], "+.2f")
            errors = [
                f"{calibration.dense:.2%} -> {calibration.pruned:.2%}",
                f"{100 * calibration.growth:+.2f} {ends}",
            ]
        if worst is not None:
            ends = _interval([100 * end for end in worst.interval], "+.2f")
            fall = [worst.name, f"{100 * worst.drop:+.2f} {ends}", f"{worst.n:,}"]
        rows.append([cell.shift, *errors, *fall])
    header = ["shift", "calibration error", "growth, points [95 %]"]
    header += ["worst class", "drop, points [95 %, all classes]", "n"]
    return table(header, rows) if rows else []


def overlap_table(step: StepReport) -> list[str]:
    """Mean overlap of each rule and the class that lost most, of a segmentation; else nothing."""
    rows = []
    for cell in step.cells:
        if (found := cell.overlap) is None:
            continue
        worst = found.worst_class
        rows.append(
            [
                cell.shift,
                f"{found.dense:.2%} -> {found.pruned:.2%}",
                f"{100 * found.drop:+.2f} {_interval([100 * e for e in found.interval], '+.2f')}",
                worst.name,
                f"{worst.dense:.2%} -> {worst.pruned:.2%}",
                f"{100 * worst.drop:+.2f} {_interval([100 * e for e in worst.interval], '+.2f')}",
                f"{worst.n:,}",
            ]
        )
    header = ["shift", "mIoU", "drop, points [95 %]", "worst class", "its IoU"]
    header += ["drop, points [95 %, all classes]", "n"]
    return table(header, rows) if rows else []


def potential_table(report: Report) -> list[str]:
    """How far each shift lets the model be pruned."""
    if not report.potentials:
        return ["No ratio was judged."]

    def shown(value: float | None) -> str:
        return "none" if value is None else f"{value:.2f}"

    rows = [[p.shift, shown(p.certified), shown(p.estimate)] for p in report.potentials]
    header = ["shift", "certified", "point estimate"]
    if any(p.chain for p in report.potentials):
        header.insert(1, "precision")
        for row, potential in zip(rows, report.potentials, strict=True):
            row.insert(1, potential.chain or "-")
    return table(header, rows)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with padded columns, readable as plain text too."""
    # Names of files and classes may hold anything.
    rows = [[" ".join(cell.replace("|", r"\|").splitlines()) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [line(header), rule, *(line(row) for row in rows)]


def _interval(ends: Sequence[float], form: str) -> str:
    low, high = ends
    return f"[{low:{form}}, {high:{form}}]"


def _standing(cell: CellReport) -> str:
    if cell.waived:
        return " (waived)"
    return "" if cell.enforced else " (advisory)"


def _drop(cell: CellReport) -> str:
    unit = _UNITS.get(cell.statistic, f" {cell.statistic}")
    form = ".2f" if cell.statistic == "flip rate" else "+.2f"  # a flip rate has no sign
    ends = [100 * end for end in cell.interval]
    return f"{100 * cell.drop:{form}} {_interval(ends, form)}{unit}"


def _level(accuracy: float | None, score: float | None) -> str:
    """What a model did: the share that it got right, or its score."""
    return _share(accuracy, ".2%") if score is None else f"{score:.4f}"


def _macs(macs: int | None, *, dense: int | None) -> str:
    if macs is None:
        return "-"
    less = "" if dense is None else f" ({macs / dense - 1:+.1%})"
    return f"{macs / 1e6:.1f}{less}"


def _share(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
