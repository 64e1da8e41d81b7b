"""What every method of the compression benchmark starts from: network, images, retraining."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compressor.config import FolderSource, Project, load_project
from compressor.data import ImageSet, check_disjoint, check_same_classes, load_images, split, subset
from compressor.ladder import StatisticsImages
from compressor.models import LoadedModel, load_model
from compressor.training.batches import LabelledImages
from compressor.training.recipe import Recipe
from compressor.workshop import labelled

EXAMPLE: Final = Path(__file__).resolve().parent.parent / "examples" / "cifar10" / "compress.yaml"

QUICK_IMAGES: Final = 500
"""Of each folder, drawn at random, with ``--quick``."""

MOST_BESIDE: Final = 0.01
"""Share of the dense network's multiply-adds by which a cut may miss its point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The same for every method, point and seed."""

    project: Project
    """Of which the network and its input are read; not the data."""
    model: LoadedModel
    train: LabelledImages
    """What everything is retrained on; scores and BatchNorm statistics come from it too."""
    tune: LabelledImages
    """A part of the training images for whoever searches. The test images are for the end."""
    test: LabelledImages
    digests: tuple[str, str]
    """Of the training and the test images."""

    @property
    def statistics(self) -> StatisticsImages:
        """Batches of training images."""
        return StatisticsImages(data=self.train)

    def examples(self, count: int) -> Tensor:
        """So many normalised training images [n c h w]."""
        return next(self.statistics.images)[:count]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised training images and labels."""
        yield from self.statistics


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the network and the images are."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with train/<class>/* and test/<class>/*")
    add("--weights", type=Path, required=True, help="of the dense network")
    add("--project", type=Path, default=EXAMPLE, help="compress.yaml with model and input")
    add("--out", type=Path, required=True, help="folder of results; what is done is not repeated")
    add("--quick", action="store_true", help=f"{QUICK_IMAGES} images of each folder")


def recipe(*, epochs: int, lr: float, distill: float) -> Recipe:
    """The one schedule of all methods: the halving rule of Wang et al. 2023 (arXiv:2301.05219)."""
    return Recipe(epochs=epochs, lr=lr, schedule="halving", distill=distill, choose="last")


def read_setup(options: argparse.Namespace) -> Setup:
    """Network and images, decoded once into the folder of results.

    Raises:
        ConfigError, DataError, ModelError: unusable input.
    """
    project = load_project(options.project)
    if project.input.resize is not None:
        raise SystemExit(
            f"{options.project}: the methods are compared on images as the network takes them; "
            "leave out input.resize"
        )
    model = load_model(
        options.weights,
        root=options.project.resolve().parent,
        factory=project.model.factory,
        kwargs=project.model.kwargs,
    )
    train, test = (folder_images(options, project, name) for name in ("train", "test"))
    check_same_classes(train, test)
    check_disjoint(train, test, source=str(options.data / "test"))
    rest, tune = split(train, fraction=project.data.tune.fraction, seed=0)
    return Setup(
        project=project,
        model=model,
        train=labelled(rest, project.input),
        tune=labelled(tune, project.input),
        test=labelled(test, project.input),
        digests=(train.digest, test.digest),
    )


def folder_images(options: argparse.Namespace, project: Project, name: str) -> ImageSet:
    """Those of a folder of ``options.data``, decoded once; a few with ``options.quick``."""
    found = load_images(
        FolderSource(folder=(options.data / name).resolve()),
        size=project.input.size,
        cache=cache_of(options.out),
        root=options.out,
    )
    if not options.quick or len(found.labels) <= QUICK_IMAGES:
        return found
    drawn = np.random.default_rng(0).permutation(len(found.labels))[:QUICK_IMAGES]
    return subset(found, np.sort(drawn))


def cache_of(out: Path) -> Path:
    """Decoded images; where the gate, with its project file in ``out``, has its own."""
    return out / ".compress-cache"
