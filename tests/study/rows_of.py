"""Rows of imagined studies."""

from compressor.study.analyses.rows import Cell, Group, Network
from compressor.study.trials import Json
from gates import PairedCounts

RECIPE: dict[str, Json] = {
    "epochs": 10, "lr": 0.1, "schedule": "halving", "final_lr": 1e-5, "warm_up": 0.0,
    "original": None, "batch_size": 128, "weight_decay": 5e-4, "distill": 0.5,
}  # fmt: skip


def cell(
    drop: int,
    *,
    ratio: float,
    method: str = "l2",
    seed: int = 0,
    shift: str = "clean",
    group: Group = "train",
    n: int = 1000,
    dense_wrong: int = 100,
) -> Cell:
    """A network that names ``drop`` images less than the dense one (more, if negative)."""
    counts = PairedCounts(
        both_right=n - dense_wrong - max(drop, 0),
        only_dense=max(drop, 0),
        only_pruned=max(-drop, 0),
        both_wrong=dense_wrong - max(-drop, 0),
    )
    return Cell(
        method=method, ratio=ratio, seed=seed, shift=shift, group=group, counts=counts,
        same_answer=n - abs(drop), dense_top5=None, pruned_top5=None,
    )  # fmt: skip


def network(
    accuracy: float,
    *,
    ratio: float = 0.5,
    method: str = "l2",
    seed: int = 0,
    base: str = "base",
    **recipe: Json,
) -> Network:
    """A network of 1000 parameters and 4000 multiply-adds, pruned in proportion."""
    return Network(
        kind="prune", method=method, ratio=ratio, seed=seed, physical=True,
        dense_sha256=base, weights_sha256="w", dense_params=1000, params=round(1000 * (1 - ratio)),
        dense_macs=4000, macs=round(4000 * (1 - ratio)), n=1000, before_top1=0.3, before_top5=None,
        before_loss=None, after_top1=accuracy, after_top5=None, after_loss=None,
        recipe={**RECIPE, **recipe}, trainability_accuracy=0.8, trainability_epochs=5,
        jacobian_dense=1.0, jacobian_before=0.5, jacobian_after=0.9,
    )  # fmt: skip
