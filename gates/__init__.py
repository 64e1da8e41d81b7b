"""May this model be deployed? Knows no pruning and no ONNX.

The deciding half is re-exported here and needs no framework, so that a verdict can be recomputed
wherever the counts are. The measuring half is ``gates.measure`` and ``gates.shifts``.
"""

from gates.advisory import Calibration, ClassDrop, calibration, worst_class
from gates.answers import ANSWER, UNLABELLED_ANSWER, Answers, segmented_answer
from gates.cell import Cell, Outcome, describe, judge_cell
from gates.chains import judge_chains, judge_each, needs_speed
from gates.coherence import VerdictError
from gates.counting import counts_of, in_group
from gates.counts import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.evidence import Evidence, flips, grown, grown_errors, paired, paired_draws
from gates.inference import Inference, infer, needed
from gates.looks import look_sizes
from gates.overlap import ClassOverlap, Overlap, overlap
from gates.potential import Potential, prune_potential
from gates.speed import Speed, describe_speed, judge_speed, speed_of
from gates.statistics import drop_interval, images_needed, p_drop_at_least, p_drop_at_most
from gates.verdict import (
    Accepted,
    Rejected,
    Step,
    Undecided,
    Verdict,
    explain,
    judge,
    judge_step,
)

__all__ = [
    "ANSWER",
    "UNLABELLED_ANSWER",
    "Accepted",
    "Answers",
    "Calibration",
    "Cell",
    "ClassDrop",
    "ClassOverlap",
    "Counts",
    "DrawCounts",
    "Evidence",
    "FlipCounts",
    "Inference",
    "Outcome",
    "Overlap",
    "PairedCounts",
    "Potential",
    "Rejected",
    "ScoreCounts",
    "Speed",
    "Step",
    "Undecided",
    "Verdict",
    "VerdictError",
    "calibration",
    "counts_of",
    "describe",
    "describe_speed",
    "drop_interval",
    "explain",
    "flips",
    "grown",
    "grown_errors",
    "images_needed",
    "in_group",
    "infer",
    "judge",
    "judge_cell",
    "judge_chains",
    "judge_each",
    "judge_speed",
    "judge_step",
    "look_sizes",
    "needed",
    "needs_speed",
    "overlap",
    "p_drop_at_least",
    "p_drop_at_most",
    "paired",
    "paired_draws",
    "prune_potential",
    "segmented_answer",
    "speed_of",
    "worst_class",
]
