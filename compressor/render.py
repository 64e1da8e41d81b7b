"""The report in words: Markdown and the first screen of the terminal. Computes nothing."""

from collections.abc import Sequence

from compressor.report import CellReport, Report, StepReport


def markdown(report: Report) -> str:
    """The report for people: verdict first, then what it rests on."""
    parts = [f"# {headline(report)}", "", guarantee(report), ""]
    parts += [f"- {waiver}" for waiver in waivers(report)]
    parts += [f"- {reason}" for reason in reasons(report)]
    parts += ["", *cost_table(report), "", *latency_table(report)]
    for step in report.steps:
        parts += ["", f"## Ratio {step.ratio:.2f}: {step.outcome}", "", *cell_table(step)]
        parts += ["", binding(step)]
    parts += ["", "## Prune potential", "", *potential_table(report)]
    if report.left_alone:
        parts += ["", "## Left alone", ""]
        parts += [f"- {_few(item['modules'])}: {item['reason']}" for item in report.left_alone]
    parts += ["", "## Provenance", "", *_provenance(report), ""]
    return "\n".join(parts)


def summary(report: Report) -> str:
    """The first screen: verdict, reasons, cost and speed."""
    parts = [headline(report), ""]
    parts += [f"  {waiver}" for waiver in waivers(report)]
    parts += [f"  {reason}" for reason in reasons(report)]
    parts += ["", *cost_table(report), "", *latency_table(report)]
    if report.steps:
        shown = next((s for s in report.steps if s.outcome != "accepted"), report.steps[-1])
        if report.accepted_ratio is not None:
            shown = next(s for s in report.steps if s.ratio == report.accepted_ratio)
        parts += ["", f"ratio {shown.ratio:.2f}: {shown.outcome}", *cell_table(shown)]
        parts += [binding(shown)]
    return "\n".join(parts)


def headline(report: Report) -> str:
    """The verdict in one line."""
    if report.accepted_ratio is not None:
        count = len(report.waivers)
        leave = f" with {count} waiver{'' if count == 1 else 's'}" if count else ""
        return f"ACCEPTED{leave} at ratio {report.accepted_ratio:.2f} under {report.policy}"
    return f"{report.verdict.upper()} under {report.policy}: no ratio was accepted"


def reasons(report: Report) -> list[str]:
    """Why the ladder ended, each reason once."""
    end = [report.ladder_end] if report.ladder_end else []
    return list(dict.fromkeys([*report.reasons, *end]))


def waivers(report: Report) -> list[str]:
    """Which shifts are waived, until when, by whom and why."""
    return [
        f"waived until {w.expires}: {w.shift}, approved by {w.approver}: {w.reason}"
        for w in report.waivers
    ]


def guarantee(report: Report) -> str:
    """What an accepted verdict promises, and what not."""
    if report.accepted_ratio is None:
        return "No model is released. The reasons follow."
    names = ", ".join(waiver.shift for waiver in report.waivers)
    but = f" but {names}, waived and promised nothing about" if names else ""
    return (
        "If the images are an independent sample of each listed shift and served nothing else, "
        f"then with probability at least {1 - report.alpha:.0%} the released file loses no "
        f"more accuracy than the tolerance on any enforced shift{but}. Nothing is said about "
        "shifts that are not listed, or about the dense model's own errors."
    )


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with padded columns, readable as plain text too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [line(header), rule, *(line(row) for row in rows)]


def cost_table(report: Report) -> list[str]:
    """Parameters, multiply-adds, size and tune accuracy per ratio."""
    dense = report.dense
    rows = [["dense", "", "", "", f"{dense.size_bytes / 1e6:.2f}", f"{dense.tune_accuracy:.2%}"]]
    rows[0][1:4] = [f"{dense.params:,}", f"{dense.macs / 1e6:.1f}", "-"]
    rows += [
        [
            f"{step.ratio:.2f}",
            f"{step.params:,} (-{1 - step.params / dense.params:.1%})",
            f"{step.macs / 1e6:.1f} (-{1 - step.macs / dense.macs:.1%})",
            step.outcome,
            f"{step.size_bytes / 1e6:.2f}",
            f"{step.tune_accuracy:.2%}",
        ]
        for step in report.steps
    ]
    return _table(["ratio", "parameters", "MMACs", "outcome", "file MB", "tune accuracy"], rows)


def latency_table(report: Report) -> list[str]:
    """Median times and the paired speed-up per batch size."""
    if not report.latency:
        return ["No latency was measured: nothing was accepted."]
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
    return [*_table(header, rows), "", f"Latency: {where}."]


def cell_table(step: StepReport) -> list[str]:
    """Every shift of one ratio."""
    rows = [
        [
            cell.shift + (" (waived)" if cell.waived else "" if cell.enforced else " (advisory)"),
            _share(cell.dense_accuracy, ".2%"),
            _share(cell.pruned_accuracy, ".2%"),
            _drop(cell),
            f"{100 * cell.tolerance:.1f}",
            _share(cell.discordance, ".1%"),
            f"{cell.p_safe:.2g}",
            cell.outcome,
        ]
        for cell in step.cells
    ]
    header = ["shift", "dense", "pruned", "drop, points [95 %]", "tolerance", "discordance", "p"]
    return _table([*header, "outcome"], rows)


def binding(step: StepReport) -> str:
    """Which shift limits the ratio, and by how much."""
    cell = next(cell for cell in step.cells if cell.shift == step.binding)
    room = 100 * (cell.tolerance - cell.drop)
    observed = round(100 * cell.drop, 2) + 0.0  # not "-0.00"
    return (
        f"Binding: {cell.shift}. Its {cell.statistic} of {observed:.2f} % is {abs(room):.2f} "
        f"points {'below' if room > 0 else 'above'} the tolerance of {100 * cell.tolerance:.1f} % "
        f"(p {cell.p_safe:.2g}, {cell.n:,} images)."
    )


def potential_table(report: Report) -> list[str]:
    """How far each shift lets the model be pruned."""
    if not report.potentials:
        return ["No ratio was judged."]

    def shown(value: float | None) -> str:
        return "none" if value is None else f"{value:.2f}"

    rows = [[p.shift, shown(p.certified), shown(p.estimate)] for p in report.potentials]
    return _table(["shift", "certified", "point estimate"], rows)


def _provenance(report: Report) -> list[str]:
    return [
        f"- dense: {report.dense.source}, sha256 {report.dense.sha256}",
        f"- released file: sha256 {report.artifact_sha256 or 'none'}",
        f"- policy digest {report.policy_digest}, plan digest {report.plan_digest}",
        f"- gate ran on {report.provider}",
        f"- versions: {', '.join(f'{k} {v}' for k, v in report.versions.items())}",
        f"- command: `{report.command}`",
        "- seconds: " + ", ".join(f"{k} {v:.0f}" for k, v in report.seconds.items()),
    ]


def _interval(ends: Sequence[float], form: str) -> str:
    low, high = ends
    return f"[{low:{form}}, {high:{form}}]"


def _drop(cell: CellReport) -> str:
    ends = [100 * end for end in cell.interval]
    if cell.statistic == "flip rate":  # which has no sign
        return f"{100 * cell.drop:.2f} {_interval(ends, '.2f')} flips"
    return f"{100 * cell.drop:+.2f} {_interval(ends, '+.2f')}"


def _share(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
