"""The demo's preparations: draw the data, train the network, write what a user would have."""

import io
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.demo.network import DEMO_TRAINING, sign_net
from compressor.demo.signs import CLASSES, draw
from compressor.files import atomic_path, digest, write_atomically
from compressor.training.batches import LabelledImages, accuracy
from compressor.training.epoch import TrainingProgress
from compressor.training.retrain import retrain
from compressor.watch import Watch

IMAGES: Final = 10_000
"""Drawn for training, and as many, with another seed, for the gate."""

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
search: {ratios: [0.5, 0.7, 0.75, 0.8, 0.85, 0.88, 0.91], of: params}
latency: {batches: [1, 32], seconds: 5.0}
"""


def prepare(folder: Path, *, watch: Watch) -> None:
    """Fill ``folder`` with train.npz, gate.npz, model.pt and compress.yaml.

    What is there already stays, so that a second demo starts at the main job.

    Raises:
        TrainingError: the network cannot be trained.
    """
    for name, seed in (("train", 1), ("gate", 2)):
        if not (folder / f"{name}.npz").exists():
            watch.say(f"drawing {IMAGES:,} traffic signs for {name}.npz")
            _draw(folder / f"{name}.npz", seed=seed)
    if not (folder / "model.pt").exists():
        _train(folder, watch=watch)
    if not (folder / "compress.yaml").exists():
        write_atomically(folder / "compress.yaml", PROJECT.encode())


def _draw(path: Path, *, seed: int) -> None:
    images, labels = draw(count=IMAGES, seed=seed)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images=images, labels=labels, classes=np.array(CLASSES))


def _train(folder: Path, *, watch: Watch) -> None:
    def on_step(step: TrainingProgress) -> None:
        done = (step.epoch - 1) * step.steps + step.step
        watch.progress("train the dense network", done, step.epochs * step.steps)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251 # layers draw their first weights from it; forked
        network = sign_net(len(CLASSES))
    trained = retrain(
        network,
        _images(folder / "train.npz"),
        recipe=DEMO_TRAINING,
        seed=0,
        device=device,
        on_step=on_step,
    ).model
    found = accuracy(trained, _labelled(*draw(count=UNSEEN, seed=3)), device=device)
    watch.say(f"the dense network names {found:.2%} of the unseen signs right")
    # By way of memory: torch hides what the disk said behind an error of its own.
    content = io.BytesIO()
    torch.save(trained.state_dict(), content)
    write_atomically(folder / "model.pt", content.getvalue())


def _images(path: Path) -> LabelledImages:
    with np.load(path) as archive:
        return _labelled(archive["images"], archive["labels"])


def _labelled(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> LabelledImages:
    ids = [int(digest(image.tobytes())[:16], 16) for image in images]
    return LabelledImages(
        images=images, labels=labels, ids=np.array(ids, dtype=np.uint64), mean=MEAN, std=STD
    )
