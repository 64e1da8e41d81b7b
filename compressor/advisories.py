"""What a report tells beside the verdict, of the answers that the verdict rests on."""

from collections.abc import Sequence

import numpy as np

from compressor.measurement import measurement_of
from compressor.report import Advisories, Advisory
from compressor.runs import read_answers
from compressor.trial import GATE_BATCH, Trial
from gates import Evidence, look_sizes
from gates.advisory import calibration, worst_class
from gates.answers import ANSWER, is_segmented
from gates.overlap import overlap
from policies import Rule


def advisories(trial: Trial, evidence: Sequence[Evidence]) -> Advisories:
    """Calibration and the worst class, or overlaps, on the images that each cell was decided on.

    For rules about all classes whose images have labels; of rules that share their answers, the
    first tells it.

    Raises:
        RunError: answers that were kept are damaged.
    """
    rules = {rule.id: rule for rule in trial.policy.shifts}
    return {
        (item.position, item.shift): _told(trial, rules[item.shift], item)
        for item in evidence
        if measurement_of(trial.policy, rules[item.shift]) == item.shift
        and not rules[item.shift].only
    }


def _told(trial: Trial, rule: Rule, item: Evidence) -> Advisory:
    total = len(trial.judged(rule).ids)
    count = look_sizes(trial.policy, total, batch=GATE_BATCH)[item.look - 1]
    files = (trial.run.answers(sha256, item.shift) for sha256 in (item.dense, item.candidate))
    dense, pruned = (
        answers[:count] for file in files if (answers := read_answers(file)) is not None
    )
    if is_segmented(dense):
        return overlap(dense, pruned, classes=trial.classes, seed=trial.seed)
    if dense.dtype != np.dtype(ANSWER):
        return None, None
    return (
        calibration(dense, pruned, seed=trial.seed),
        worst_class(dense, pruned, classes=trial.classes),
    )
