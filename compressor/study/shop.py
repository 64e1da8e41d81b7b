"""What a worker reads once: the dense networks and all images, checked against each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.accounted import accounted_shifts
from compressor.config import ConfigError
from compressor.data import ImageSet, check_disjoint, load_images, split, subset
from compressor.gate_data import cache_of
from compressor.inputs import check_answers, read_network, recipe
from compressor.ladder import PARITY_IMAGES, StatisticsImages, examples
from compressor.models import LoadedModel
from compressor.prune_inputs import EXAMPLES
from compressor.pruning.candidate import Prunable, prunable
from compressor.study.grid import Seen, check_strengths, distributions
from compressor.study.setup import Setup
from compressor.training.augment import Augment
from compressor.training.batches import LabelledImages
from compressor.training.recipe import Recipe
from compressor.watch import Watch
from compressor.workshop import labelled
from gates.looks import reading_order
from policies import Policy, ShiftRule

_SHOPS: Final[dict[str, "Shop"]] = {}
"""The one that this process works with: reading it takes longer than many a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """A dense network and what of it can be cut."""

    sha256: str
    network: Prunable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shop:
    """Everything that trials work with."""

    setup: Setup
    asked: ImageSet
    """The images that networks are asked about."""
    train: LabelledImages
    tune: LabelledImages
    digests: Mapping[str, str]
    """Of the training images before the split (``train``), of those asked about (``asked``), and of
    the images that these were drawn from (``source``)."""
    recipe: Recipe
    augment: Augment | None
    models: Mapping[int, LoadedModel]
    """By seed."""
    tried: dict[str, Dense] = field(default_factory=dict)
    """Networks whose channels were traced, by their file's digest."""

    @property
    def seen(self) -> tuple[Seen, ...]:
        return distributions(self.setup.grid)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the images asked about [n]."""
        labels = self.asked.labels
        assert labels.dtype == np.int64, "masks are refused where they are read"
        return labels.astype(np.int64, copy=False)

    @property
    def device(self) -> torch.device:
        return torch.device(self.setup.device)

    @property
    def statistics(self) -> StatisticsImages:
        """Training images for scores and BatchNorm."""
        return StatisticsImages(data=self.train)

    def examples(self, count: int = PARITY_IMAGES) -> Tensor:
        """Normalised training images [n c h w]."""
        return examples(self.train, count=count)

    def dense(self, seed: int) -> Dense:
        """The dense network of a seed; tracing it takes seconds, once."""
        model = self.models[seed]
        if model.sha256 not in self.tried:
            project = self.setup.project
            network = prunable(
                model.module,
                self.examples(EXAMPLES),
                seed=project.seed,
                time_limit_s=project.search.time_limit_s,
            )
            self.tried[model.sha256] = Dense(sha256=model.sha256, network=network)
        return self.tried[model.sha256]


def shop_of(setup: Setup, watch: Watch) -> Shop:
    """What this process reads for a setup: the first time from the disk.

    Raises:
        ConfigError, DataError, ModelError, ShiftError, TrainingError: unusable input.
        TraceError: a network cannot be made plain.
    """
    if setup.key not in _SHOPS:
        _SHOPS.clear()  # another study's images need not stay in memory
        _SHOPS[setup.key] = _read(setup, watch)
    return _SHOPS[setup.key]


def _read(setup: Setup, watch: Watch) -> Shop:
    grid = setup.grid
    project = setup.project
    if grid.retrain is not None:
        project = project.model_copy(update={"retrain": grid.retrain})
    settled = recipe(project)
    check_strengths(grid, side=min(project.input.size[1:]))
    models = _models(setup, watch)
    train, tune, asked, digests = _images(setup, watch)
    for model in models.values():
        check_answers(model.module, train)
    return Shop(
        setup=setup,
        asked=asked,
        train=labelled(train, project.input),
        tune=labelled(tune, project.input),
        digests=digests,
        recipe=settled,
        augment=_augment(setup, share=project.retrain.robust),
        models=models,
    )


def _models(setup: Setup, watch: Watch) -> dict[int, LoadedModel]:
    files = {seed: setup.model_file(seed) for seed in setup.grid.seeds}
    read = {
        file: read_network(file, setup.project, root=setup.root, trusted=setup.trusted, watch=watch)
        for file in dict.fromkeys(files.values())
    }
    return {seed: read[file] for seed, file in files.items()}


def _images(setup: Setup, watch: Watch) -> tuple[ImageSet, ImageSet, ImageSet, Mapping[str, str]]:
    """Training images, those held back, those asked about; the digests of ``Shop``."""
    project, asked = setup.project, setup.grid.images
    if project.data.train is None:
        raise ConfigError("data.train is missing, and pruned networks are retrained; add it")
    size, cache = project.input.size, cache_of(setup.root)
    whole = load_images(project.data.train, size=size, cache=cache, root=setup.root)
    if whole.segmented:
        raise ConfigError("a study measures networks that name images, and data.train has masks")
    train, tune = split(whole, fraction=project.data.tune.fraction, seed=project.seed)
    source = tune
    if asked.of == "gate":
        if project.data.gate is None:
            raise ConfigError("images.of is gate, and compress.yaml has no data.gate; add it")
        source = load_images(project.data.gate, size=size, cache=cache, root=setup.root)
        check_disjoint(whole, source, source="data.gate")
        if source.classes != whole.classes:
            raise ConfigError("data.train and data.gate differ in their classes or their order")
    rows = reading_order(source.ids, seed=project.seed)[: asked.count]
    watch.say(
        f"{len(train.labels):,} training images, {len(tune.labels):,} held back; networks are "
        f"asked about {len(rows):,} images of data.{asked.of}"
    )
    chosen = subset(source, np.sort(rows))
    digests = {"train": whole.digest, "asked": chosen.digest, "source": source.digest}
    return train, tune, chosen, digests


def _augment(setup: Setup, *, share: float) -> Augment | None:
    """What retraining sees besides clean images: the distributions of shifts.train."""
    rules = [
        ShiftRule(
            name=seen.component.name, severity=seen.component.severity, level=seen.component.level,
            tolerance=0.5, accounted=True, reason="a study tolerates nothing; it only asks",
        )
        for seen in distributions(setup.grid)
        if seen.group == "train" and seen.id != "clean"
    ]  # fmt: skip
    if not rules:
        return None
    policy = Policy(
        apiVersion="compress/v1", name="study", summary="What retraining of a study sees.",
        alpha=0.05, min_images=1, shifts=tuple(rules),
    )  # fmt: skip
    return accounted_shifts(policy, seed=setup.project.seed, share=share)


def from_scratch(settled: Recipe, *, epochs: int, lr: float) -> Recipe:
    """The recipe for a network that starts from nothing: no teacher, no end of another schedule."""
    return replace(settled, epochs=epochs, lr=lr, schedule="halving", original=None, distill=0.0)
