"""The standard set of Blalock et al. 2020 (arXiv:2003.03033): size, speed-up, accuracy.

One row for each network, with the columns that ShrinkBench's data frames have, and means with
standard deviations over seeds. Accuracy is images right by images, everything is counted in test
mode, and groups of convolutions count, in all three of which that program erred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from compressor.study.analyses.rows import Network, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network. Names as in ShrinkBench where it has them."""

    dataset: str
    """Digest of the images asked about, shortened."""
    model: str
    """Digest of the dense network's file, shortened."""
    strategy: str
    """The method's name in the grid; ``scratch`` is added for networks trained from nothing."""
    compression: float
    """Asked: 1 / (1 - ratio)."""
    ratio: float
    """Asked: share of the parameters to go."""
    size: int
    """Parameters of the dense network."""
    size_nz: int
    """Parameters left: there (physical), or not held at zero."""
    real_compression: float
    """size / size_nz"""
    flops: int
    """Multiply-adds of the dense network for one image, one multiply-add being one."""
    flops_nz: int
    """Multiply-adds left; under masks, of weights that are not zero."""
    speedup: float
    """flops / flops_nz: theoretical, no time."""
    physical: bool
    """Whether the network is smaller, and not only has zeros."""
    n: int
    """Images."""
    pre_acc1: float | None
    """Accuracy after the cut, BatchNorm re-estimated, before retraining."""
    pre_acc5: float | None
    post_acc1: float
    """After retraining: the last epoch's or the recipe's choice, never the best on these images."""
    post_acc5: float | None
    pre_loss: float | None
    post_loss: float | None
    seed: int
    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Means over the seeds of one strategy at one compression; None deviation of one seed."""

    strategy: str
    compression: float
    seeds: int
    real_compression: float
    speedup: float
    pre_acc1: float | None
    pre_acc1_std: float | None
    post_acc1: float
    post_acc1_std: float | None
    post_acc5: float | None
    post_acc5_std: float | None


def standard_rows(networks: Sequence[Network], *, dataset: str) -> list[Row]:
    """One row for each network but the control, which is not smaller."""
    return [_row(each, dataset=dataset) for each in networks if each.kind != "control"]


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """Means and deviations over seeds."""

    def place(row: Row) -> tuple[str, float]:
        return row.strategy, row.compression

    ordered = sorted(rows, key=lambda row: (*place(row), row.seed))
    return [_summary(list(several)) for _, several in groupby(ordered, key=place)]


def _row(network: Network, *, dataset: str) -> Row:
    recipe = network.recipe
    return Row(
        dataset=dataset[:12],
        model=network.dense_sha256[:12],
        strategy=f"{network.method} scratch" if network.kind == "scratch" else network.method,
        compression=1.0 / (1.0 - network.ratio),
        ratio=network.ratio,
        size=network.dense_params,
        size_nz=network.params,
        real_compression=network.compression,
        flops=network.dense_macs,
        flops_nz=network.macs,
        speedup=network.speedup,
        physical=network.physical,
        n=network.n,
        pre_acc1=network.before_top1,
        pre_acc5=network.before_top5,
        post_acc1=network.after_top1,
        post_acc5=network.after_top5,
        pre_loss=network.before_loss,
        post_loss=network.after_loss,
        seed=network.seed,
        epochs=recipe["epochs"],
        lr=recipe["lr"],
        batch_size=recipe["batch_size"],
        weight_decay=recipe["weight_decay"],
        schedule=recipe["schedule"],
    )


def _summary(rows: Sequence[Row]) -> Summary:
    first = rows[0]
    pre, pre_std = _known([row.pre_acc1 for row in rows])
    top5, top5_std = _known([row.post_acc5 for row in rows])
    post, post_std = spread([row.post_acc1 for row in rows])
    return Summary(
        strategy=first.strategy,
        compression=first.compression,
        seeds=len(rows),
        real_compression=spread([row.real_compression for row in rows])[0],
        speedup=spread([row.speedup for row in rows])[0],
        pre_acc1=pre,
        pre_acc1_std=pre_std,
        post_acc1=post,
        post_acc1_std=post_std,
        post_acc5=top5,
        post_acc5_std=top5_std,
    )


def _known(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and deviation, where every seed has a value."""
    known = [value for value in values if value is not None]
    return spread(known) if known and len(known) == len(values) else (None, None)
