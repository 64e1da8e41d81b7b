"""What a run found, as one schema-versioned record; text and Markdown are drawn from it.

Nothing is computed here that the verdict does not hold: the record, the words and the exit code
come from one verdict, so that they cannot disagree.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from gates import Accepted, Outcome, Rejected, Step, Undecided, Verdict, explain, prune_potential
from policies import Policy

EXIT_CODES: Final[Mapping[str, int]] = {"accepted": 0, "rejected": 3, "undecided": 4}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellReport(_Record):
    """One shift at one ratio."""

    shift: str
    enforced: bool
    tolerance: float = Field(description="largest accepted drop, absolute")
    n: int = Field(description="images")
    dense_accuracy: float
    pruned_accuracy: float
    drop: float = Field(description="dense minus pruned accuracy; positive is worse")
    interval: tuple[float, float] = Field(description="of the drop, 95 %, two-sided")
    discordance: float = Field(description="share of images that only one of the two got right")
    only_dense: int
    only_pruned: int
    p_safe: float = Field(description="p-value of 'the drop is at least the tolerance'")
    p_violated: float = Field(description="p-value of 'the drop is at most the tolerance'")
    outcome: str


class StepReport(_Record):
    """One rung of the ladder."""

    ratio: float = Field(description="share of the parameters that was asked to go")
    candidate: str = Field(description="sha256 of the judged file")
    params: int
    macs: int = Field(description="multiply-adds for one image")
    size_bytes: int
    tune_accuracy: float = Field(description="on images held back from training; not the gate's")
    self_test_difference: float
    parity: dict[str, Any]
    epochs: list[dict[str, Any]]
    outcome: str
    cells: list[CellReport]


class PotentialReport(_Record):
    """How far one shift lets the model be pruned; None where no tested ratio qualifies."""

    shift: str
    certified: float | None
    estimate: float | None


class DenseReport(_Record):
    """The model before pruning."""

    source: str
    sha256: str
    params: int
    macs: int
    size_bytes: int
    tune_accuracy: float


class Report(_Record):
    """Everything that a run found."""

    schema_version: Literal[1] = 1
    verdict: Literal["accepted", "rejected", "undecided"]
    exit_code: int
    policy: str
    policy_digest: str
    plan_digest: str
    alpha: float
    accepted_ratio: float | None
    artifact_sha256: str | None
    reasons: list[str] = Field(description="why the ladder was not climbed further")
    images_needed: int | None = Field(description="that would decide an undecided run")
    ladder_end: str | None = Field(description="why no larger ratio was tried; None: gate said no")
    dense: DenseReport
    steps: list[StepReport]
    potentials: list[PotentialReport]
    left_alone: list[dict[str, Any]]
    latency: list[dict[str, Any]]
    provider: str
    versions: dict[str, str]
    command: str
    seconds: dict[str, float] = Field(description="wall time by stage, this invocation only")


def name_of(verdict: Verdict) -> Literal["accepted", "rejected", "undecided"]:
    """The one word for a verdict."""
    match verdict:
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case Undecided():
            return "undecided"
        case _:
            assert_never(verdict)


def verdict_fields(policy: Policy, verdict: Verdict) -> dict[str, Any]:
    """The fields of a report that a verdict alone decides."""
    word = name_of(verdict)
    if isinstance(verdict, Accepted):
        blocking = (s for s in verdict.steps if s.outcome is not Outcome.ACCEPTED)
        reasons = next((explain(policy, step) for step in blocking), ())
    else:
        reasons = verdict.reasons
    return {
        "verdict": word,
        "exit_code": EXIT_CODES[word],
        "policy": policy.name,
        "policy_digest": policy.digest(),
        "alpha": policy.alpha,
        "accepted_ratio": verdict.ratio if isinstance(verdict, Accepted) else None,
        "reasons": list(reasons),
        "images_needed": verdict.images_needed if isinstance(verdict, Undecided) else None,
        "potentials": [
            {"shift": p.shift, "certified": p.certified, "estimate": p.estimate}
            for p in (prune_potential(verdict.steps, r.id) for r in policy.shifts if verdict.steps)
        ],
    }


def cell_reports(step: Step) -> list[CellReport]:
    """The cells of a step as records."""
    return [
        CellReport(
            shift=cell.shift,
            enforced=cell.enforced,
            tolerance=cell.tolerance,
            n=cell.counts.n,
            dense_accuracy=cell.counts.dense_accuracy,
            pruned_accuracy=cell.counts.pruned_accuracy,
            drop=cell.counts.drop,
            interval=cell.interval,
            discordance=cell.counts.discordance,
            only_dense=cell.counts.only_dense,
            only_pruned=cell.counts.only_pruned,
            p_safe=cell.p_safe,
            p_violated=cell.p_violated,
            outcome=cell.outcome.value,
        )
        for cell in step.cells
    ]


def markdown(report: Report) -> str:
    """The report for people: verdict first, then what it rests on."""
    parts = [f"# {_headline(report)}", "", _guarantee(report), ""]
    parts += [f"- {reason}" for reason in report.reasons]
    if report.ladder_end:
        parts.append(f"- {report.ladder_end}")
    parts += ["", *_cost_table(report), "", *_latency_table(report)]
    for step in report.steps:
        parts += ["", f"## Ratio {step.ratio:.2f}: {step.outcome}", "", *_cell_table(step)]
    parts += ["", "## Prune potential", "", *_potential_table(report)]
    if report.left_alone:
        parts += ["", "## Left alone", ""]
        parts += [f"- {_few(item['modules'])}: {item['reason']}" for item in report.left_alone]
    parts += ["", "## Provenance", "", *_provenance(report), ""]
    return "\n".join(parts)


def summary(report: Report) -> str:
    """The first screen: verdict, reasons, cost and speed."""
    parts = [_headline(report), ""]
    parts += [f"  {reason}" for reason in report.reasons]
    if report.ladder_end:
        parts.append(f"  {report.ladder_end}")
    parts += ["", *_cost_table(report), "", *_latency_table(report)]
    if report.steps:
        shown = next((s for s in report.steps if s.outcome != "accepted"), report.steps[-1])
        if report.accepted_ratio is not None:
            shown = next(s for s in report.steps if s.ratio == report.accepted_ratio)
        parts += ["", f"ratio {shown.ratio:.2f}: {shown.outcome}", *_cell_table(shown)]
    return "\n".join(parts)


def _headline(report: Report) -> str:
    if report.accepted_ratio is not None:
        return f"ACCEPTED at ratio {report.accepted_ratio:.2f} under {report.policy}"
    return f"{report.verdict.upper()} under {report.policy}: no ratio was accepted"


def _guarantee(report: Report) -> str:
    if report.accepted_ratio is None:
        return "No model is released. The reasons follow."
    return (
        "If the gate's images are an independent sample of each listed shift and served nothing "
        f"else, then with probability at least {1 - report.alpha:.0%} the released file loses no "
        "more accuracy than the tolerance on any enforced shift. Nothing is said about shifts "
        "that are not listed, or about the dense model's own errors."
    )


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with padded columns, readable as plain text too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [line(header), rule, *(line(row) for row in rows)]


def _cost_table(report: Report) -> list[str]:
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


def _latency_table(report: Report) -> list[str]:
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


def _cell_table(step: StepReport) -> list[str]:
    rows = [
        [
            cell.shift + ("" if cell.enforced else " (advisory)"),
            f"{cell.dense_accuracy:.2%}",
            f"{cell.pruned_accuracy:.2%}",
            f"{100 * cell.drop:+.2f} {_interval([100 * end for end in cell.interval], '+.2f')}",
            f"{100 * cell.tolerance:.1f}",
            f"{cell.discordance:.1%}",
            f"{cell.p_safe:.2g}",
            cell.outcome,
        ]
        for cell in step.cells
    ]
    header = ["shift", "dense", "pruned", "drop, points [95 %]", "tolerance", "discordance", "p"]
    return _table([*header, "outcome"], rows)


def _potential_table(report: Report) -> list[str]:
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


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
