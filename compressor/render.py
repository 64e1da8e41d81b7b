"""The report in words: Markdown and the first screen of the terminal. Computes nothing."""

import math
from typing import Final

from compressor.report import accepted_step, shown_step, slow_step
from compressor.report_schema import Report, StepReport
from compressor.tables import (
    advisory_table,
    cell_table,
    cost_table,
    latency_table,
    lint_lines,
    overlap_table,
    potential_table,
)

_OVERLAP: Final = "Advisory: overlap (intersection over union) of all pixels together"


def markdown(report: Report) -> str:
    """The report for people: verdict first, then what it rests on."""
    parts = [f"# {headline(report)}", "", guarantee(report), ""]
    parts += [f"- {waiver}" for waiver in waivers(report)]
    parts += [f"- {reuse}" for reuse in reuses(report)]
    parts += [f"- {resize}" for resize in resizes(report)]
    parts += [f"- {sequence}" for sequence in sequences(report)]
    parts += [f"- {reason}" for reason in reasons(report)]
    parts += ["", *cost_table(report), "", *latency_table(report)]
    parts += ["", *advice] if (advice := lint_lines(report)) else []
    for step in report.steps:
        parts += ["", f"## {title(step)}: {step.outcome}", "", *cell_table(step)]
        parts += ["", *not_measured(step), binding(step)]
        if table := advisory_table(step):
            parts += ["", "Advisory: calibration and worst class", "", *table]
        if table := overlap_table(step):
            parts += ["", _OVERLAP, "", *table]
    if report.job == "compress":
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
    parts += [f"  {reuse}" for reuse in reuses(report)]
    parts += [f"  {sequence}" for sequence in sequences(report)]
    parts += [f"  {reason}" for reason in reasons(report)]
    parts += ["", *cost_table(report), "", *latency_table(report)]
    parts += ["", *advice] if (advice := lint_lines(report)) else []
    if (shown := shown_step(report)) is not None:
        parts += ["", f"{shown.name}: {shown.outcome}", *cell_table(shown)]
        parts += [*not_measured(shown), binding(shown)]
        if table := overlap_table(shown):
            parts += ["", _OVERLAP, *table]
    return "\n".join(parts)


def headline(report: Report) -> str:
    """The verdict in one line."""
    if slow := slow_step(report):
        found = f"{report.verdict.upper()} under {report.policy}"
        times = "" if report.min_speedup is None else f"{report.min_speedup.times:g} times "
        return f"{found}: {slow.name} is not shown to be {times}as fast"
    if report.accepted_name is None:
        what = "ratio" if report.job == "compress" else "candidate"
        return f"{report.verdict.upper()} under {report.policy}: no {what} was accepted"
    count = len(report.waivers)
    leave = f" with {count} waiver{'' if count == 1 else 's'}" if count else ""
    ratio = report.accepted_ratio
    which = f": {report.accepted_name}" if ratio is None else f" at ratio {ratio:.2f}"
    step = accepted_step(report)
    if report.job == "compress" and step is not None and step.precision not in {None, "fp32"}:
        which += f" in {step.precision}"
    return f"ACCEPTED{leave}{which} under {report.policy}"


def title(step: StepReport) -> str:
    """What the step is called where a sentence begins."""
    if step.ratio is None:
        return step.name
    return f"Ratio {step.ratio:.2f}" + (f" {step.chain}" if step.chain else "")


def reasons(report: Report) -> list[str]:
    """Why the ladder ended, each reason once."""
    end = [report.ladder_end] if report.ladder_end else []
    return list(dict.fromkeys([*report.reasons, *end]))


def sequences(report: Report) -> list[str]:
    """How the precisions fared that were tried side by side, why others were not, and the speed."""
    told = []
    several = report.chains if len(report.chains) > 1 else []
    for chain in several:
        last = next((s for s in report.steps if s.position == chain.accepted_position), None)
        far = "nothing was accepted" if last is None else f"accepted up to {last.ratio:.2f}"
        speed = "" if chain.speedup is None else f", {chain.speedup:.2f} times as fast as dense"
        told.append(f"{chain.precision}: {far}, judged at {100 * chain.alpha:.3g} %{speed}")
    told += [f"{precision} was left out: {why}" for precision, why in report.left_out.items()]
    target = report.latency_target
    if target is not None and target.median_ms is not None:
        reached = "meets" if target.met else "misses"
        told.append(
            f"{target.median_ms:.3f} ms at batch {target.batch} {reached} the {target.ms:g} ms "
            "that were asked for"
        )
    asked = report.min_speedup
    if asked is not None and asked.outcome == "accepted" and asked.sentence:
        told.append(asked.sentence)
    return told


def waivers(report: Report) -> list[str]:
    """Which shifts are waived, until when, by whom and why."""
    return [
        f"waived until {w.expires}: {w.shift}, approved by {w.approver}: {w.reason}"
        for w in report.waivers
    ]


def reuses(report: Report) -> list[str]:
    """How often the images have served, where that was counted."""
    return [] if report.reuse is None else [f"gate images: {report.reuse.sentence}"]


def resizes(report: Report) -> list[str]:
    """What the files themselves make of the size of their images."""
    if report.resize is None:
        return []
    images, network = (
        f"{height} x {width}" for height, width in (report.resize.images, report.resize.network)
    )
    told = f"the files take images of {images} pixels and resize them to {network} themselves"
    return [f"resized inside: {told}, first of all (bilinear, antialiased); the gate judged that"]


def guarantee(report: Report) -> str:
    """What an accepted verdict promises, and what not."""
    if report.accepted_name is None:
        return "No model is released. The reasons follow."
    names = ", ".join(waiver.shift for waiver in report.waivers)
    but = f" but {names}, waived and promised nothing about" if names else ""
    enforced = (cell.statistic for step in report.steps for cell in step.cells if cell.enforced)
    loses = "keeps, by the metric of each rule,"
    if (metrics := set(enforced)) <= {"drop", "flip rate"}:
        loses = "loses no more accuracy than"
    elif metrics == {"pixel drop"}:
        loses = "loses no more accuracy, of an image's pixels and its mean over images, than"
    surely = _certainty(report.alpha_per_release)
    sharing = report.reuse.releases if report.reuse else None
    others = f" but {sharing} releases, none of them made by what the others showed"
    return (
        "If the images are an independent sample of each listed shift and served nothing else"
        f"{others if sharing else ''}, then with probability at least {surely} the "
        f"released file {loses} the tolerance on any enforced shift{but}. Nothing is said about "
        "shifts that are not listed, or about the dense model's own errors."
    )


def not_measured(step: StepReport) -> list[str]:
    """Which rules the candidate was not measured on, and why."""
    if not step.not_measured:
        return []
    return [f"Not measured, for a violation had decided: {', '.join(step.not_measured)}."]


def binding(step: StepReport) -> str:
    """Which shift limits the candidate, and by how much."""
    cell = next(cell for cell in step.cells if cell.shift == step.binding)
    room = 100 * (cell.tolerance - cell.drop)
    observed = round(100 * cell.drop, 2) + 0.0  # not "-0.00"
    return (
        f"Binding: {cell.shift}. Its {cell.statistic} of {observed:.2f} % is {abs(room):.2f} "
        f"points {'below' if room > 0 else 'above'} the tolerance of {100 * cell.tolerance:.1f} % "
        f"(p {cell.p_safe:.2g}, {cell.n:,} images)."
    )


def _provenance(report: Report) -> list[str]:
    passes = report.forward_passes
    return [
        f"- dense: {report.dense.source}, sha256 {report.dense.sha256}",
        f"- released file: sha256 {report.artifact_sha256 or 'none'}",
        f"- policy digest {report.policy_digest}, plan digest {report.plan_digest}",
        f"- gate ran on {report.provider}, method {report.method}",
        f"- images shown: {passes.dense:,} to the dense model, {passes.candidates:,} to candidates",
        f"- versions: {', '.join(f'{k} {v}' for k, v in report.versions.items())}",
        f"- command: `{report.command}`",
        "- seconds: " + ", ".join(f"{k} {v:.0f}" for k, v in report.seconds.items()),
    ]


def _certainty(alpha: float) -> str:
    """1 - alpha, never rounded up."""
    # The hundred thousandth of a percent that is added is far below what is shown.
    return f"{math.floor(1e4 * (1 - alpha) + 1e-6) / 100:g}%"


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
