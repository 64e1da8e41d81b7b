"""What one cut takes, read and checked before anything is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from compressor.config import ConfigError, PruneProject
from compressor.data import ImageSet, load_images, split
from compressor.gate_data import cache_of, described
from compressor.inputs import check_answers, check_method, read_network, recipe
from compressor.ladder import PARITY_IMAGES, examples
from compressor.models import LoadedModel
from compressor.pruning.importance import IMPORTANCES
from compressor.training.batches import LabelledImages
from compressor.watch import Watch, decoding
from compressor.workshop import labelled
from exporters.precision import CALIBRATED

EXAMPLES: Final = 4
"""Images on which the cut is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneJob:
    """What the user asked for."""

    model: Path
    ratio: float
    project: PruneProject
    root: Path
    """The project's folder: relative paths and the user's own code start here."""
    out: Path
    retrain: bool
    trusted: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneInputs:
    """What was read."""

    model: LoadedModel
    classes: tuple[str, ...] | None
    """None where there are no images to name them."""
    train: LabelledImages | None
    """What is trained on, or what statistics are taken of; None if nothing looks at images."""
    tune: LabelledImages | None
    digest: str | None
    """Of data.train."""


def read_prune_inputs(job: PruneJob, watch: Watch) -> PruneInputs:
    """Model and images, loaded and checked against each other.

    Raises:
        ConfigError, DataError, TrainingError: unusable input.
        ModelError, TraceError: the network cannot be loaded, or not be cut.
    """
    project = job.project
    check_method(project.search)
    _check_export(project)
    recipe(project)
    model = read_network(job.model, project, root=job.root, trusted=job.trusted, watch=watch)
    images = _train_images(job, watch)
    if images is None:
        return PruneInputs(model=model, classes=None, train=None, tune=None, digest=None)
    check_answers(model.module, images)
    train, tune = images, None
    if job.retrain:
        train, tune = split(images, fraction=project.data.tune.fraction, seed=project.seed)
    return PruneInputs(
        model=model,
        classes=images.classes,
        train=labelled(train, project.input),
        tune=None if tune is None else labelled(tune, project.input),
        digest=images.digest,
    )


def _check_export(project: PruneProject) -> None:
    """Raise ConfigError unless the file can be made in the precision that is asked for."""
    precision = project.export.precision
    if precision == "auto":
        raise ConfigError(
            "export.precision is auto, and choosing takes a gate, which compress prune has not; "
            "give fp32, fp16 or int8"
        )
    if precision in CALIBRATED and project.data.train is None:
        raise ConfigError(
            f"export.precision is {precision}, which is calibrated on training images, and "
            "data.train is missing; add it, or give fp32"
        )


def _train_images(job: PruneJob, watch: Watch) -> ImageSet | None:
    data, search = job.project.data, job.project.search
    if data.train is not None:
        images = load_images(
            data.train,
            size=job.project.input.size,
            cache=cache_of(job.root),
            root=job.root,
            classes=data.classes,
            told=decoding(watch, "data.train"),
        )
        watch.say(f"data.train: {described(images)}")
        return images
    if job.retrain:
        raise ConfigError(
            "data.train is missing, and a pruned network is retrained; add it, or give --no-retrain"
        )
    if IMPORTANCES[search.importance].needs_batches:
        raise ConfigError(
            f"data.train is missing, and search.importance {search.importance!r} looks at images; "
            "add it, or choose an importance that looks at weights alone, as l2"
        )
    if search.exchanges:
        raise ConfigError(
            f"data.train is missing, and search.exchanges ({search.exchanges}) are measured on "
            "images; add it, or set search.exchanges to 0"
        )
    return None


def trial_images(inputs: PruneInputs, job: PruneJob) -> Tensor:
    """Images on which the cut and the file are tested [n c h w]: of data.train, or noise."""
    if inputs.train is not None and len(inputs.train.labels) >= EXAMPLES:
        return examples(inputs.train, count=PARITY_IMAGES)
    # Noise does for comparing a network with itself, cut or exported.
    generator, source = torch.Generator().manual_seed(job.project.seed), job.project.input
    pixels = torch.randint(256, (PARITY_IMAGES, *source.size), generator=generator)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (source.mean, source.std))
    return (pixels / 255 - mean) / std
