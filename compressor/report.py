"""What a run found, as one schema-versioned record; ``compressor.render`` puts it in words.

Nothing is computed here that the verdict does not hold: the record, the words and the exit code
come from one verdict, so that they cannot disagree.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from gates import (
    Accepted,
    Counts,
    DrawCounts,
    Evidence,
    FlipCounts,
    Outcome,
    PairedCounts,
    Rejected,
    Step,
    Undecided,
    Verdict,
    describe,
    explain,
    judge,
    prune_potential,
)
from policies import Policy

EXIT_CODES: Final[Mapping[str, int]] = {"accepted": 0, "rejected": 3, "undecided": 4}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellReport(_Record):
    """One shift at one ratio. What needs labels is None where there are none."""

    shift: str
    enforced: bool
    waived: bool = Field(
        default=False, description="enforced, and for now not in the way, by a waiver"
    )
    statistic: Literal["drop", "flip rate"] = Field(
        description="what 'drop' is; the flip rate is the share of images that dense and pruned "
        "answer differently, and no drop exceeds it"
    )
    tolerance: float = Field(description="largest accepted drop, absolute")
    n: int = Field(description="images")
    draws: int = Field(default=1, description="per image")
    dense_accuracy: float | None = None
    pruned_accuracy: float | None = None
    drop: float = Field(description="dense minus pruned accuracy; positive is worse")
    interval: tuple[float, float] = Field(description="of the drop, 95 %, two-sided")
    discordance: float | None = Field(
        default=None, description="share of draws that only one of the two got right"
    )
    only_dense: int | None = Field(default=None, description="images, if each had one draw")
    only_pruned: int | None = Field(default=None, description="images, if each had one draw")
    differences: tuple[int, ...] | None = Field(
        default=None,
        description="images by net, from -draws to draws: draws that only dense got right minus "
        "draws that only pruned got right; None if each had one draw",
    )
    flipped: int | None = Field(default=None, description="images, if there are no labels")
    p_safe: float = Field(description="p-value of 'the drop is at least the tolerance'")
    p_violated: float = Field(description="p-value of 'the drop is at most the tolerance'")
    outcome: str
    sentence: str | None = Field(
        default=None, description="why the cell is not accepted; None if it is"
    )


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
    binding: str = Field(
        description="the enforced shift that is nearest to failure, or farthest in it"
    )
    cells: list[CellReport]


class WaiverReport(_Record):
    """An enforced shift that the model need not pass for now."""

    shift: str
    expires: str = Field(description="last day on which the waiver holds, YYYY-MM-DD")
    reason: str
    approver: str


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
    images_needed: int | None = Field(
        description="that would decide an undecided run, on the shift that needs the most"
    )
    ladder_end: str | None = Field(description="why no larger ratio was tried; None: gate said no")
    dense: DenseReport
    steps: list[StepReport]
    potentials: list[PotentialReport]
    waivers: list[WaiverReport] = Field(
        default_factory=list, description="about these shifts nothing is promised"
    )
    left_alone: list[dict[str, Any]]
    latency: list[dict[str, Any]]
    provider: str
    versions: dict[str, str]
    command: str
    seconds: dict[str, float] = Field(
        description="wall time by stage, this invocation only; 'gate: ...' are parts of 'gate'"
    )


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


def verdict_on(policy: Policy, evidence: Sequence[Evidence], *, end: str | None) -> Verdict:
    """The verdict on what there is; undecided where there is nothing, for what ended the ladder.

    Raises:
        VerdictError: the evidence does not fit the policy or itself.
    """
    if evidence:
        return judge(policy, evidence)
    return Undecided(steps=(), reasons=(end,) if end else (), images_needed=None)


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
        "waivers": [waiver.model_dump(mode="json") for waiver in policy.waived],
        "images_needed": verdict.images_needed if isinstance(verdict, Undecided) else None,
        "potentials": [
            {"shift": p.shift, "certified": p.certified, "estimate": p.estimate}
            for p in (prune_potential(verdict.steps, r.id) for r in policy.shifts if verdict.steps)
        ],
    }


def deciding_steps(report: Report) -> list[StepReport]:
    """The steps up to the first that is not accepted, and that one; later ones decide nothing."""
    accepted = list(takewhile(lambda step: step.outcome == Outcome.ACCEPTED, report.steps))
    return report.steps[: len(accepted) + 1]


def cell_reports(policy: Policy, step: Step) -> list[CellReport]:
    """The cells of a step as records."""
    return [
        CellReport(
            shift=cell.shift,
            enforced=cell.enforced,
            waived=cell.waived,
            statistic=cell.counts.statistic,
            tolerance=cell.tolerance,
            n=cell.counts.n,
            drop=cell.counts.drop,
            interval=cell.interval,
            p_safe=cell.p_safe,
            p_violated=cell.p_violated,
            outcome=cell.outcome.value,
            sentence=None if cell.outcome is Outcome.ACCEPTED else describe(policy, step, cell),
            **_observed(cell.counts),
        )
        for cell in step.cells
    ]


def _observed(counts: Counts) -> dict[str, Any]:
    """The fields of a cell that hang on what was counted."""
    if isinstance(counts, FlipCounts):
        return {"flipped": counts.flipped}
    rates = {
        "dense_accuracy": counts.dense_accuracy,
        "pruned_accuracy": counts.pruned_accuracy,
        "discordance": counts.discordance,
    }
    match counts:
        case PairedCounts():
            return rates | {"only_dense": counts.only_dense, "only_pruned": counts.only_pruned}
        case DrawCounts():
            return rates | {"draws": counts.draws, "differences": counts.differences}
