"""May this model be deployed? Knows no pruning and no ONNX.

The deciding half is re-exported here and needs no framework, so that a verdict can be recomputed
wherever the counts are. The measuring half is ``gates.measure`` and ``gates.shifts``.
"""

from gates.advisory import Calibration, ClassDrop, calibration, worst_class
from gates.answers import ANSWER, UNLABELLED_ANSWER, Answers
from gates.cell import Cell, Outcome, describe, judge_cell
from gates.coherence import VerdictError
from gates.counting import counts_of, in_group
from gates.counts import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.evidence import Evidence, flips, grown, paired, paired_draws
from gates.inference import Inference, infer, needed
from gates.looks import look_sizes
from gates.potential import Potential, prune_potential
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
    "Counts",
    "DrawCounts",
    "Evidence",
    "FlipCounts",
    "Inference",
    "Outcome",
    "PairedCounts",
    "Potential",
    "Rejected",
    "ScoreCounts",
    "Step",
    "Undecided",
    "Verdict",
    "VerdictError",
    "calibration",
    "counts_of",
    "describe",
    "drop_interval",
    "explain",
    "flips",
    "grown",
    "images_needed",
    "in_group",
    "infer",
    "judge",
    "judge_cell",
    "judge_step",
    "look_sizes",
    "needed",
    "p_drop_at_least",
    "p_drop_at_most",
    "paired",
    "paired_draws",
    "prune_potential",
    "worst_class",
]
