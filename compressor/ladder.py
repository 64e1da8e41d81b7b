"""The candidates of one run: cut, BatchNorm re-estimated, retrained, written as ONNX.

Each is made from the one before and kept in the run folder, so that a killed run takes up the
ladder where it stood. Nothing here sees the gate's images.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from compressor.candidate_files import Serialise, keep, kept
from compressor.pruning.candidate import Candidate, Method, Prunable, PrunePlan, propose, rebuild
from compressor.pruning.cost import Cost
from compressor.runs import RunFolder
from compressor.training.augment import Augment
from compressor.training.batches import LabelledImages, accuracy, batches, images_at_once
from compressor.training.batchnorm import reestimate
from compressor.training.epoch import TrainingProgress
from compressor.training.recipe import Recipe
from compressor.training.retrain import TrainingResult, retrain
from compressor.training.trainability import (
    JACOBIAN_IMAGES,
    first_stage,
    first_stage_accuracy,
    jacobian_singular_values,
)
from compressor.watch import Watch

STATISTICS_BATCHES: Final = 16
"""Batches of training images for BatchNorm statistics and for gradient-based importances."""

STATISTICS_BATCH_SIZE: Final = 256

PARITY_IMAGES: Final = 64
"""Training images on which every exported file is compared with its network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Everything that making a candidate needs, the same for all ratios."""

    run: RunFolder
    dense: Prunable
    train: LabelledImages
    tune: LabelledImages
    method: Method
    recipe: Recipe
    augment: Augment | None
    device: torch.device
    seed: int
    serialise: Serialise
    metadata: Mapping[str, object]
    """Goes into every exported file: preprocessing, classes, digests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One finished candidate and its files."""

    candidate: Candidate
    file: Path
    """The ONNX file that the gate judges."""
    sha256: str
    size_bytes: int
    tune_accuracy: float
    """On the images held back from training; for people, decides nothing."""
    parity: Mapping[str, object]
    epochs: tuple[Mapping[str, object], ...]
    """The training log."""
    trainability: Mapping[str, float | int | None]
    """What ``_trainability`` tells."""


def rung(shop: Workshop, before: Candidate | None, *, ratio: float, watch: Watch) -> Rung:
    """The candidate of ``ratio``: read from the run folder, or made from ``before``.

    Raises:
        UnreachableRatioError, SurgeryError, TrainingError, ExportError: from its stages.
        RunError: the folder's candidate is damaged.
    """
    folder = shop.run.candidate(f"{ratio:.3f}")
    make(shop, before, ratio=ratio, folder=folder, watch=watch)
    return _read(shop, folder)


def make(
    shop: Workshop, before: Candidate | None, *, ratio: float, folder: Path, watch: Watch
) -> None:
    """Make the files of the candidate of ``ratio``, unless ``folder`` has them.

    Raises:
        UnreachableRatioError, SurgeryError, TrainingError, ExportError: from its stages.
    """
    if not (folder / "candidate.json").exists():
        _make(shop, before, ratio=ratio, folder=folder, watch=watch)
    _checkpoint(folder).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsImages:
    """Normalised training images [n c h w] and labels for statistics, spread over the set.

    Whoever iterates gets the same batches every time.
    """

    data: LabelledImages
    augment: Augment | None = None
    """What the images are to go through first."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data = self.data
        size = images_at_once(data, most=STATISTICS_BATCH_SIZE)
        count = min(len(data.labels), STATISTICS_BATCHES * size)
        # Evenly spread: folders come class by class, and a statistic wants all classes.
        spread = np.linspace(0, len(data.labels) - 1, num=count).round().astype(np.int64)
        mixed = np.random.default_rng(0).permutation(spread)
        images, ids = data.images[mixed], data.ids[mixed]
        if self.augment is not None:
            images = self.augment(images, ids, 0)
        sample = replace(data, images=images, labels=data.labels[mixed], ids=ids)
        yield from batches(sample, batch_size=STATISTICS_BATCH_SIZE, device=torch.device("cpu"))

    @property
    def images(self) -> Iterator[Tensor]:
        """The batches without their labels."""
        return (images for images, _ in self)


def examples(data: LabelledImages, *, count: int) -> Tensor:
    """``count`` normalised training images [n c h w], spread over the set.

    Of large ones with masks only as many as go through a network at once.
    """
    return next(StatisticsImages(data=data).images)[:count]


def _make(
    shop: Workshop, before: Candidate | None, *, ratio: float, folder: Path, watch: Watch
) -> None:
    statistics = StatisticsImages(data=shop.train)
    candidate = propose(
        shop.dense,
        before,
        ratio=ratio,
        method=shop.method,
        batches=statistics,
        seed=shop.seed,
        device=shop.device,
    )
    settled = reestimate(candidate.model, statistics.images)
    trained = _retrained(shop, settled, ratio=ratio, folder=folder, watch=watch)
    keep(
        folder,
        candidate,
        trained.model,
        serialise=shop.serialise,
        images=examples(shop.train, count=PARITY_IMAGES),
        metadata=shop.metadata,
        learnt={
            "tune_accuracy": accuracy(trained.model, shop.tune, device=shop.device),
            "epochs": [asdict(epoch) for epoch in trained.log],
            "trainability": _trainability(
                shop, before.model if before else shop.dense.model, settled, trained
            ),
        },
    )


def _retrained(
    shop: Workshop, model: nn.Module, *, ratio: float, folder: Path, watch: Watch
) -> TrainingResult:
    def on_step(step: TrainingProgress) -> None:
        watch.progress(
            f"retrain {ratio:.2f}",
            (step.epoch - 1) * step.steps + step.step,
            step.epochs * step.steps,
            f"loss {step.loss:.3f}",
        )

    trained = retrain(
        model,
        shop.train,
        recipe=shop.recipe,
        seed=int(ratio * 1000) + 1000 * shop.seed,
        device=shop.device,
        teacher=shop.dense.model if shop.recipe.distill > 0 else None,
        augment=shop.augment,
        tune=shop.tune,
        checkpoint=_checkpoint(folder),
        on_step=on_step,
    )
    if not shop.recipe.ema:
        return trained
    # What BatchNorm averaged are statistics of other weights than these.
    seen = StatisticsImages(data=shop.train, augment=shop.augment)
    return replace(trained, model=reestimate(trained.model, seen.images))


def _trainability(
    shop: Workshop, before: nn.Module, after: nn.Module, trained: TrainingResult
) -> dict[str, float | int | None]:
    """How trainable the cut left the network; see ``training.trainability``."""
    images = examples(shop.train, count=JACOBIAN_IMAGES)

    def jacobian(model: nn.Module) -> float | None:
        mean = float(jacobian_singular_values(model, images, device=shop.device).mean())
        return mean if math.isfinite(mean) else None

    return {
        "jacobian_before": jacobian(before),
        "jacobian_after": jacobian(after),
        "first_stage_epochs": len(first_stage(trained.log)),
        "first_stage_accuracy": first_stage_accuracy(trained.log),
        "epoch": trained.epoch,
    }


def _checkpoint(folder: Path) -> Path:
    return folder / "training.safetensors"


def _read(shop: Workshop, folder: Path) -> Rung:
    record = kept(folder)
    plan = PrunePlan(kept={name: tuple(units) for name, units in record["kept"].items()})
    model = rebuild(shop.dense, plan, load_file(folder / "weights.safetensors"))
    return Rung(
        candidate=Candidate(
            ratio=record["ratio"],
            model=model.eval(),
            plan=plan,
            cost=Cost(params=record["params"], macs=record["macs"]),
            difference=record["difference"],
        ),
        file=folder / "model.onnx",
        sha256=record["sha256"],
        size_bytes=(folder / "model.onnx").stat().st_size,
        tune_accuracy=record["tune_accuracy"],
        parity=record["parity"],
        epochs=tuple(record["epochs"]),
        trainability=record["trainability"],
    )
