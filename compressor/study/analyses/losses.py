"""Does a cut that hurts less make a better network after retraining? Rank correlation by ratio.

Laurent et al. 2020 (arXiv:2006.12279) ask this of models of the loss and find that the gap right
after pruning foretells little of the error after retraining.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from scipy import stats

from compressor.study.trial_ledger import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One network pruned by one model of the loss."""

    criterion: str
    steps: int
    regulariser: float
    ratio: float
    seed: int
    images: int
    """Of the sample that losses are means over."""
    loss_dense: float | None
    loss_pruned: float | None
    """Right after pruning; None where it is not finite."""
    loss_retrained: float | None
    gap: float | None
    """loss_pruned - loss_dense."""
    n: int
    """Images asked about."""
    pruned_accuracy: float
    accuracy: float
    """After retraining."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of the gap and the error after retraining, at one ratio.

    1: the smaller the gap, the better the network. None of fewer than three networks, or where all
    have the same gap or error.
    """

    ratio: float
    networks: int
    rank: float | None
    p: float | None


def loss_rows(records: Iterable[Record]) -> list[Loss]:
    """Networks of the loss-modelling study."""
    return [
        _row(record)
        for record in records
        if record.kind == "loss_model" and record.status == "done"
    ]


def correlations(rows: Sequence[Loss]) -> list[Correlation]:
    """One for each ratio; networks whose loss is not finite are left out."""
    known = sorted((row for row in rows if row.gap is not None), key=lambda row: row.ratio)
    return [
        _correlation(ratio, list(several))
        for ratio, several in groupby(known, key=lambda row: row.ratio)
    ]


def _correlation(ratio: float, rows: Sequence[Loss]) -> Correlation:
    gaps = [row.gap for row in rows if row.gap is not None]
    errors = [1.0 - row.accuracy for row in rows]
    rank = p = None
    if len(rows) > 2 and len(set(gaps)) > 1 and len(set(errors)) > 1:
        found = stats.spearmanr(gaps, errors)
        rank, p = float(found.statistic), float(found.pvalue)
    return Correlation(ratio=ratio, networks=len(rows), rank=rank, p=p)


def _row(record: Record) -> Loss:
    about, found = record.about, record.found
    dense, pruned = found["loss_dense"], found["loss_pruned"]
    return Loss(
        criterion=about["criterion"],
        steps=about["steps"],
        regulariser=about["lambda"],
        ratio=about["ratio"],
        seed=about["seed"],
        images=found["images"],
        loss_dense=dense,
        loss_pruned=pruned,
        loss_retrained=found["loss_retrained"],
        gap=None if dense is None or pruned is None else pruned - dense,
        n=found["retrained"]["n"],
        pruned_accuracy=found["pruned"]["right"] / found["pruned"]["n"],
        accuracy=found["retrained"]["right"] / found["retrained"]["n"],
    )
