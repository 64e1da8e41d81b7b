"""The record of a run, schema-versioned. ``compressor.report`` makes it, ``render`` words it.

What is not known is None: nobody counted the multiply-adds of a file that was made elsewhere, and
without labels nothing is right.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from compressor.report_advisories import CalibrationReport, ClassDropReport, OverlapReport

Job = Literal["compress", "gate"]
"""Whether the candidates were made here, from a dense model, or brought."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellReport(_Record):
    """One rule for one candidate. What needs labels is None where there are none."""

    shift: str
    enforced: bool
    waived: bool = Field(
        default=False, description="enforced, and for now not in the way, by a waiver"
    )
    statistic: str = Field(
        description="what 'drop' is: drop (of accuracy), top-5 drop, Brier growth (of half the "
        "Brier score), pixel drop (of the share of an image's labelled pixels that are right, its "
        "mean over images), or flip rate (share of images that dense and pruned answer "
        "differently, which no drop of accuracy exceeds)"
    )
    tolerance: float = Field(description="largest accepted drop, absolute")
    look: int = Field(description="looks taken at the images when the cell was decided")
    n: int = Field(description="images counted up to that look")
    draws: int = Field(default=1, description="per image")
    dense_accuracy: float | None = Field(
        default=None, description="with a top-5 drop, top-5; with a pixel drop, of pixels"
    )
    pruned_accuracy: float | None = Field(default=None, description="the same")
    dense_score: float | None = Field(default=None, description="mean half Brier score, if judged")
    pruned_score: float | None = Field(default=None, description="mean half Brier score, if judged")
    drop: float = Field(description="what the statistic lost; positive is worse")
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
    flipped: int | None = Field(default=None, description="images, if flips were counted")
    alpha: float = Field(description="what p_safe was compared with: this look's share of alpha")
    p_safe: float = Field(description="p-value of 'the drop is at least the tolerance'")
    p_violated: float = Field(description="p-value of 'the drop is at most the tolerance'")
    outcome: str
    sentence: str | None = Field(
        default=None, description="why the cell is not accepted; None if it is"
    )
    calibration: CalibrationReport | None = Field(
        default=None, description="advisory: it decides nothing"
    )
    worst_class: ClassDropReport | None = Field(
        default=None, description="advisory: it decides nothing"
    )
    overlap: OverlapReport | None = Field(
        default=None, description="advisory: it decides nothing; of a segmentation"
    )


class ChainReport(_Record):
    """One sequence of candidates: a precision, where there are several."""

    name: str | None = Field(description="None where it is the only one")
    precision: str
    alpha: float = Field(description="its share of alpha_per_release")
    ladder_end: str | None = Field(
        description="why it has no later candidate; None: the gate said no"
    )
    accepted_position: int | None = Field(description="of its last accepted candidate")
    speedup: float | None = Field(
        description="of that candidate, at the batch size by which the fastest is chosen; None "
        "where it was not measured"
    )


class SpeedRuleReport(_Record):
    """The speed-up that the policy asks for, and what was measured."""

    times: float = Field(description="dense time divided by pruned time, at least")
    batch: int
    position: int | None = Field(
        description="of the candidate that was measured; None where none came so far"
    )
    measured: float | None
    interval: tuple[float, float] | None = Field(description="of it, 95 %")
    noise: tuple[float, float] | None = Field(description="dense against itself, 95 %")
    outcome: str | None
    sentence: str | None


class LatencyTargetReport(_Record):
    """How long a batch was allowed to take, and how long it takes."""

    ms: float = Field(description="that were asked for")
    batch: int
    median_ms: float | None = Field(description="of the file in latency; None where none was timed")
    met: bool | None


class StepReport(_Record):
    """One candidate of the sequence."""

    name: str = Field(description="what people call the candidate")
    position: int = Field(description="its place in the sequence, from 0")
    chain: str | None = Field(
        default=None, description="which of several sequences; None where there is one"
    )
    ratio: float | None = Field(
        description="share of what ratio_of says that was asked to go; None if made elsewhere"
    )
    candidate: str = Field(description="sha256 of the judged file")
    file: str = Field(description="the judged file, in the folder of the run")
    params: int
    macs: int | None = Field(description="multiply-adds for one image")
    size_bytes: int
    tune_accuracy: float | None = Field(
        description="on images held back from training, not the gate's; of the network before it "
        "was given its precision"
    )
    self_test_difference: float | None
    parity: dict[str, Any] | None
    precision: str | None = Field(description="of the weights: fp32, fp16, int8 or mixed")
    epochs: list[dict[str, Any]]
    trainability: dict[str, float | int | None] | None = Field(
        default=None,
        description="mean Jacobian singular value before and after the cut, mean tune accuracy at "
        "the first learning rate, and the epoch whose weights were kept; None if made elsewhere",
    )
    outcome: str
    binding: str = Field(
        description="the enforced shift that is nearest to failure, or farthest in it"
    )
    cells: list[CellReport]
    not_measured: list[str] = Field(
        description="rules that were left out, because a violation had decided"
    )


class WaiverReport(_Record):
    """An enforced shift that the model need not pass for now."""

    shift: str
    expires: str = Field(description="last day on which the waiver holds, YYYY-MM-DD")
    reason: str
    approver: str


class PotentialReport(_Record):
    """How far one shift lets the model be pruned; None where no tested ratio qualifies."""

    shift: str
    chain: str | None = Field(
        default=None, description="which of several sequences; None where there is one"
    )
    certified: float | None
    estimate: float | None


class DenseReport(_Record):
    """The model that candidates are compared with."""

    source: str
    sha256: str
    params: int
    macs: int | None
    size_bytes: int
    tune_accuracy: float | None


class ReuseReport(_Record):
    """How often the gate's images have served, this run included; see ``ledger``."""

    ordinal: int = Field(description="which use of the images this run is, from 1")
    releases: int | None = Field(description="uses that the policy shares alpha among")
    entry: str = Field(description="digest of the ledger's line of this run")
    sentence: str


class ResizeReport(_Record):
    """What every file of the run does first: it resizes its images (bilinear, antialiased)."""

    images: tuple[int, int] = Field(description="height and width in which they come, in pixels")
    network: tuple[int, int] = Field(description="height and width in which the network sees them")


class FindingReport(_Record):
    """What in the released file costs time, and what to do about it."""

    rule: str
    nodes: list[str] = Field(description="where, the first few; empty if it is about the file")
    what: str
    remedy: str


class LintReport(_Record):
    """What the released file's graph says of its speed; advice, which decides nothing."""

    convolutions: int
    fast: int | None = Field(
        description="of these, on the runtime's fast kernels; None where it is not told"
    )
    findings: list[FindingReport]


class ForwardPasses(_Record):
    """Images that models were shown, once for each draw, in this invocation alone."""

    dense: int
    candidates: int


class Report(_Record):
    """Everything that a run found."""

    schema_version: Literal[3] = 3
    job: Job
    verdict: Literal["accepted", "rejected", "undecided"]
    exit_code: int
    policy: str
    policy_digest: str
    plan_digest: str
    method: Literal["fixed", "looks", "anytime"] = Field(
        description="when the gate may decide: once, at a few looks, or after every batch"
    )
    alpha: float = Field(description="the policy's")
    alpha_per_release: float = Field(description="this run's share of it")
    accepted_name: str | None
    accepted_position: int | None
    accepted_ratio: float | None = Field(description="None too if nobody here pruned it")
    artifact_sha256: str | None
    reasons: list[str] = Field(description="why no later candidate was accepted")
    images_needed: int | None = Field(
        description="that would decide an undecided run, on the shift that needs the most"
    )
    ladder_end: str | None = Field(
        description="why no later candidate was tried; None: gate said no"
    )
    chains: list[ChainReport] = Field(
        default_factory=list,
        description="sequences of candidates that share alpha; empty where none was made here",
    )
    left_out: dict[str, str] = Field(
        default_factory=dict, description="precisions that were not tried, and why"
    )
    min_speedup: SpeedRuleReport | None = Field(
        default=None, description="None where the policy asks for no speed-up"
    )
    latency_target: LatencyTargetReport | None = Field(
        default=None, description="None where no latency was asked for"
    )
    resize: ResizeReport | None = Field(
        default=None, description="None where images come in the size that the network takes"
    )
    dense: DenseReport
    steps: list[StepReport]
    potentials: list[PotentialReport]
    waivers: list[WaiverReport] = Field(
        default_factory=list, description="about these shifts nothing is promised"
    )
    reuse: ReuseReport | None = Field(
        default=None, description="None where no ledger counts the uses of the images"
    )
    left_alone: list[dict[str, Any]]
    latency: list[dict[str, Any]]
    lint: LintReport | None = Field(default=None, description="None if nothing was released")
    forward_passes: ForwardPasses
    ratio_of: Literal["params", "macs", "latency"] | None = Field(
        default=None,
        description="what ratios are shares of: parameters, multiply-adds or the summed time of "
        "the layers; None if nobody here pruned",
    )
    provider: str
    versions: dict[str, str]
    command: str
    seconds: dict[str, float] = Field(
        description="wall time by stage, this invocation only; 'gate: ...' are parts of 'gate'"
    )
