"""The candidates of one run: cut, BatchNorm re-estimated, retrained, written as ONNX.

Each is made from the one before and kept in the run folder, so that a killed run takes up the
ladder where it stood. Nothing here sees the gate's images.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from compressor.files import sha256_of, write_atomically
from compressor.pruning.candidate import Candidate, Method, Prunable, PrunePlan, propose, rebuild
from compressor.pruning.cost import Cost
from compressor.runs import RunError, RunFolder
from compressor.training.batches import LabelledImages, accuracy, batches
from compressor.training.batchnorm import reestimate
from compressor.training.recipe import Recipe
from compressor.training.retrain import Augment, TrainingProgress, retrain
from compressor.watch import Watch

STATISTICS_BATCHES: Final = 16
"""Batches of training images for BatchNorm statistics and for gradient-based importances."""

STATISTICS_BATCH_SIZE: Final = 256

PARITY_IMAGES: Final = 64
"""Training images on which every exported file is compared with its network."""


class Serialise(Protocol):
    """A network and normalised images [n c h w] to the bytes of a file, checked against it."""

    def __call__(
        self, model: nn.Module, images: Tensor, metadata: Mapping[str, object]
    ) -> tuple[bytes, Mapping[str, object]]: ...


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


def rung(shop: Workshop, before: Candidate | None, *, ratio: float, watch: Watch) -> Rung:
    """The candidate of ``ratio``: read from the run folder, or made from ``before``.

    Raises:
        UnreachableRatioError, SurgeryError, TrainingError, ExportError: from its stages.
        RunError: the folder's candidate is damaged.
    """
    folder = shop.run.candidate(f"{ratio:.3f}")
    record = folder / "candidate.json"
    if not record.exists():
        _make(shop, before, ratio=ratio, folder=folder, watch=watch)
    _checkpoint(folder).unlink(missing_ok=True)
    return _read(shop, folder)


def statistics_images(data: LabelledImages) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised training images [n c h w] and labels for statistics, spread over the set."""
    count = min(len(data.labels), STATISTICS_BATCHES * STATISTICS_BATCH_SIZE)
    # Evenly spread: folders come class by class, and a statistic wants all classes.
    spread = np.linspace(0, len(data.labels) - 1, num=count).round().astype(np.int64)
    mixed = np.random.default_rng(0).permutation(spread)
    sample = LabelledImages(
        images=data.images[mixed],
        labels=data.labels[mixed],
        ids=data.ids[mixed],
        mean=data.mean,
        std=data.std,
    )
    yield from batches(sample, batch_size=STATISTICS_BATCH_SIZE, device=torch.device("cpu"))


def examples(data: LabelledImages, *, count: int) -> Tensor:
    """``count`` normalised training images [n c h w], spread over the set."""
    images, _ = next(statistics_images(data))
    return images[:count]


def _make(
    shop: Workshop, before: Candidate | None, *, ratio: float, folder: Path, watch: Watch
) -> None:
    candidate = propose(
        shop.dense,
        before,
        ratio=ratio,
        method=shop.method,
        batches=statistics_images(shop.train),
        seed=shop.seed,
    )
    settled = reestimate(candidate.model, (images for images, _ in statistics_images(shop.train)))

    def on_step(step: TrainingProgress) -> None:
        watch.progress(
            f"retrain {ratio:.2f}",
            (step.epoch - 1) * step.steps + step.step,
            step.epochs * step.steps,
            f"loss {step.loss:.3f}",
        )

    trained = retrain(
        settled,
        shop.train,
        recipe=shop.recipe,
        seed=int(ratio * 1000) + 1000 * shop.seed,
        device=shop.device,
        teacher=shop.dense.model if shop.recipe.distill > 0 else None,
        augment=shop.augment,
        checkpoint=_checkpoint(folder),
        on_step=on_step,
    )
    # Written before the record that says it is there, which comes last.
    weights = {name: t.contiguous() for name, t in trained.model.state_dict().items()}
    write_atomically(folder / "weights.safetensors", save(weights))
    facts = {"ratio": ratio, "params": candidate.cost.params, "macs": candidate.cost.macs}
    content, parity = shop.serialise(
        trained.model, examples(shop.train, count=PARITY_IMAGES), {**shop.metadata, **facts}
    )
    write_atomically(folder / "model.onnx", content)
    record = {
        **facts,
        "kept": {name: list(units) for name, units in candidate.plan.kept.items()},
        "difference": candidate.difference,
        "tune_accuracy": accuracy(trained.model, shop.tune, device=shop.device),
        "parity": parity,
        "epochs": [asdict(epoch) for epoch in trained.log],
        "sha256": sha256_of(folder / "model.onnx"),
        "weights_sha256": sha256_of(folder / "weights.safetensors"),
    }
    write_atomically(folder / "candidate.json", json.dumps(record, indent=2).encode())


def _checkpoint(folder: Path) -> Path:
    return folder / "training.safetensors"


def _read(shop: Workshop, folder: Path) -> Rung:
    record = json.loads((folder / "candidate.json").read_text(encoding="utf-8"))
    for name, key in (("model.onnx", "sha256"), ("weights.safetensors", "weights_sha256")):
        if not (folder / name).exists() or sha256_of(folder / name) != record[key]:
            raise RunError(
                f"{folder / name} is not the file that the run wrote; delete {folder} to make "
                "this candidate again"
            )
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
    )
