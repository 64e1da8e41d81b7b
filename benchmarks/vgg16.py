"""A network of unlike layers: VGG-16 for 32x32 images, at half its widths.

    python benchmarks/vgg16.py --data DIR --out runs/vgg16 [--epochs 8] [--quick]

Trains it from random weights on DIR/train (folders as for benchmarks/compression.py) and writes
OUT/vgg16.pt, which benchmarks/latency_aware.py cuts with ``--project benchmarks/vgg16.yaml``.
Simonyan & Zisserman 2015 (arXiv:1409.1556), table 1, column D, with batch normalisation and one
linear layer, as it is used on CIFAR-10. Training that was interrupted goes on from its last epoch.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.compression_setup import folder_images
from compressor.config import load_project
from compressor.files import atomic_path
from compressor.training.batches import accuracy
from compressor.training.recipe import Recipe
from compressor.training.retrain import retrain
from compressor.workshop import labelled

PROJECT: Final = Path(__file__).with_suffix(".yaml")
_STAGES: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each; every stage ends by halving the image."""


def half(num_classes: int = 10) -> nn.Module:
    """The factory that vgg16.yaml names; 3.7 million parameters."""
    layers: list[nn.Module] = []
    reads = 3
    for channels, count in _STAGES:
        for _ in range(count):
            layers += [
                nn.Conv2d(reads, channels // 2, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels // 2),
                nn.ReLU(),
            ]
            reads = channels // 2
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(reads, num_classes))


def main() -> None:
    """Train, count on the test images, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with train/<class>/* and test/<class>/*")
    add("--out", type=Path, required=True)
    add("--quick", action="store_true", help="a few images of each folder")
    add("--epochs", type=int, default=8)
    add("--lr", type=float, default=0.05)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    project = load_project(PROJECT)
    train, test = (
        labelled(folder_images(options, project, name), project.input) for name in ("train", "test")
    )
    torch.manual_seed(0)  # noqa: TID251 # PyTorch draws a new network's weights from it
    recipe = Recipe(
        epochs=options.epochs,
        lr=options.lr,
        schedule="cosine",
        warm_up=min(1.0, options.epochs / 8),
        distill=0.0,
    )
    checkpoint = options.out / "vgg16.safetensors"
    trained = retrain(
        half(), train, recipe=recipe, seed=0, device=torch.device("cpu"), checkpoint=checkpoint
    ).model
    weights = options.out / "vgg16.pt"
    with atomic_path(weights) as unfinished:
        torch.save(trained.state_dict(), unfinished)
    checkpoint.unlink()
    right = accuracy(trained, test, device=torch.device("cpu"))
    print(f"{weights}: {right:.2%} of {len(test.labels):,} test images, {options.epochs} epochs")


if __name__ == "__main__":
    main()
