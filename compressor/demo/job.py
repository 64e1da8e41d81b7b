"""The demo's preparations: draw the data, train the network, write what a user would have."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.demo import signs, streets
from compressor.demo.network import DEMO_TRAINING, STREET_TRAINING, sign_net, street_net
from compressor.files import atomic_path, digest, write_atomically
from compressor.labels import Labels
from compressor.training.batches import LabelledImages, accuracy
from compressor.training.epoch import TrainingProgress
from compressor.training.recipe import Recipe
from compressor.training.retrain import retrain
from compressor.watch import Watch

IMAGES: Final = 10_000
"""Drawn for training, and as many, with another seed, for the gate."""

STREETS: Final = 2_000
"""Street scenes drawn for training."""

GATE_STREETS: Final = 3_000
"""Drawn with another seed for the gate."""

UNSEEN: Final = 2_000
"""Drawn to tell the dense accuracy; the gate's images are for the gate alone."""

MEAN: Final = (0.5, 0.5, 0.5)
STD: Final = (0.25, 0.25, 0.25)

PROJECT: Final = """\
# What the job needs beyond the model and the policy. Written by `compress demo`.
model: {factory: "compressor.demo.network:sign_net"}
input: {size: [3, 32, 32], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data:
  train: {npz: train.npz}
  tune: {from: train, fraction: 0.1}
  gate: {npz: gate.npz}
retrain: {recipe: halving, epochs: 2, lr: 0.02, augment: [crop]}   # no flip: signs have sides
search: {ratios: [0.5, 0.7, 0.75, 0.8, 0.85, 0.88, 0.91], of: params, align: 8}  # as kernels like
latency: {batches: [1, 32], seconds: 5.0}
"""

STREET_PROJECT: Final = """\
# What the job needs beyond the model and the policy. Written by compress demo --task segmentation.
model: {factory: "compressor.demo.network:street_net"}
input: {size: [3, 64, 64], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data:
  train: {npz: train.npz}               # images and masks; 255 in a mask is not labelled
  tune: {from: train, fraction: 0.1}
  gate: {npz: gate.npz}
retrain: {recipe: halving, epochs: 3, lr: 0.02, batch_size: 32, augment: [flip, crop]}
search: {ratios: [0.5, 0.7, 0.8, 0.85, 0.9], of: params, align: 8}   # as kernels like
latency: {batches: [1, 8], seconds: 5.0}
"""

Task = Literal["classification", "segmentation"]


class Draw(Protocol):
    """Images [count 3 h w] and their labels, from a seed."""

    def __call__(self, *, count: int, seed: int) -> tuple[NDArray[np.uint8], Labels]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demo:
    """What a demo draws, trains and writes."""

    draw: Draw
    things: str
    answers: str
    """What labels are called in the archive."""
    classes: tuple[str, ...]
    images: Mapping[str, int]
    network: Callable[[int], nn.Module]
    training: Recipe
    told: str
    """What the dense network does, to be filled in with its accuracy."""
    project: str


def _demo(task: Task) -> _Demo:
    if task == "segmentation":
        return _Demo(
            draw=streets.draw,
            things="street scenes",
            answers="masks",
            classes=streets.CLASSES,
            images={"train": STREETS, "gate": GATE_STREETS},
            network=street_net,
            training=STREET_TRAINING,
            told="{:.2%} of the pixels of an unseen street right",
            project=STREET_PROJECT,
        )
    return _Demo(
        draw=signs.draw,
        things="traffic signs",
        answers="labels",
        classes=signs.CLASSES,
        images={"train": IMAGES, "gate": IMAGES},
        network=sign_net,
        training=DEMO_TRAINING,
        told="{:.2%} of the unseen signs right",
        project=PROJECT,
    )


def prepare(folder: Path, *, watch: Watch, task: Task = "classification") -> None:
    """Fill ``folder`` with train.npz, gate.npz, model.pt and compress.yaml.

    What is there already stays, so that a second demo starts at the main job.

    Raises:
        TrainingError: the network cannot be trained.
    """
    demo = _demo(task)
    for name, seed in (("train", 1), ("gate", 2)):
        if not (folder / f"{name}.npz").exists():
            watch.say(f"drawing {demo.images[name]:,} {demo.things} for {name}.npz")
            _draw(folder / f"{name}.npz", demo, count=demo.images[name], seed=seed)
    if not (folder / "model.pt").exists():
        _train(folder, demo, watch=watch)
    if not (folder / "compress.yaml").exists():
        write_atomically(folder / "compress.yaml", demo.project.encode())


def _draw(path: Path, demo: _Demo, *, count: int, seed: int) -> None:
    images, labels = demo.draw(count=count, seed=seed)
    arrays: dict[str, Any] = {
        "images": images,
        demo.answers: labels,
        "classes": np.array(demo.classes),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _train(folder: Path, demo: _Demo, *, watch: Watch) -> None:
    def on_step(step: TrainingProgress) -> None:
        done = (step.epoch - 1) * step.steps + step.step
        watch.progress("train the dense network", done, step.epochs * step.steps)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251 # layers draw their first weights from it; forked
        network = demo.network(len(demo.classes))
    trained = retrain(
        network,
        _images(folder / "train.npz", demo),
        recipe=demo.training,
        seed=0,
        device=device,
        on_step=on_step,
    ).model
    found = accuracy(trained, _labelled(*demo.draw(count=UNSEEN, seed=3)), device=device)
    watch.say(f"the dense network names {demo.told.format(found)}")
    # By way of memory: torch hides what the disk said behind an error of its own.
    content = io.BytesIO()
    torch.save(trained.state_dict(), content)
    write_atomically(folder / "model.pt", content.getvalue())


def _images(path: Path, demo: _Demo) -> LabelledImages:
    with np.load(path) as archive:
        return _labelled(archive["images"], archive[demo.answers])


def _labelled(images: NDArray[np.uint8], labels: Labels) -> LabelledImages:
    ids = [int(digest(image.tobytes())[:16], 16) for image in images]
    return LabelledImages(
        images=images, labels=labels, ids=np.array(ids, dtype=np.uint64), mean=MEAN, std=STD
    )
