"""Trials of informative features: which pixels networks go by, and how others fare on them."""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.files import write_atomically
from compressor.study.cuts import kept
from compressor.study.grid_schema import Features
from compressor.study.selection import backward_selection, confidences
from compressor.study.shop import Shop
from compressor.study.trials import Json, Trial
from compressor.training.batches import normalised, on_device

_PART = 50
"""Images whose gradients are formed at once."""


def features(shop: Shop, trial: Trial) -> dict[str, Json]:
    """Select the pixels of every image, and keep them."""
    asked = _grid(shop)
    images, labels = looked_at(shop, asked.images)
    network = (
        on_device(_network(shop, trial), shop.device).eval().requires_grad_(requires_grad=False)
    )
    pixels = torch.cat(
        [
            backward_selection(network, part, share=asked.share, step=asked.step)
            for part in images.split(_PART)
        ]
    )
    content = io.BytesIO()
    np.save(content, pixels.cpu().numpy())
    write_atomically(shop.setup.folder(trial.id) / "pixels.npy", content.getvalue())
    whole = torch.ones_like(pixels)
    return {
        "n": len(images),
        "kept": int(pixels[0].sum()),
        "confidence_whole": float(confidences(network, images, whole, labels).mean()),
        "confidence_kept": float(confidences(network, images, pixels, labels).mean()),
    }


def cross(shop: Shop, trial: Trial) -> dict[str, Json]:
    """Confidence in the image's class of every network (column) on every one's pixels (row)."""
    asked = _grid(shop)
    images, labels = looked_at(shop, asked.images)
    made = trial.about["networks"]
    # First what each selected, then what each was made by; the dense one, the first, by nobody.
    chosen, sources = trial.after[: len(made)], [None, *trial.after[len(made) :]]
    rows = [torch.from_numpy(pixels_of(shop, each)).to(shop.device) for each in chosen]
    matrix = torch.zeros(len(made), len(made), dtype=torch.float64)
    for column, source in enumerate(sources):
        model = _model(shop, source, seed=trial.about["seed"])
        network = on_device(model, shop.device).eval()
        for row, pixels in enumerate(rows):
            matrix[row, column] = confidences(network, images, pixels, labels).mean()
    return {"networks": made, "n": len(images), "matrix": matrix.tolist()}


def pixels_of(shop: Shop, trial: str) -> NDArray[np.bool_]:
    """What a trial selected: [n h w]."""
    found: NDArray[np.bool_] = np.load(shop.setup.folder(trial) / "pixels.npy")
    return found


def looked_at(shop: Shop, count: int) -> tuple[Tensor, Tensor]:
    """The first of the images asked about, normalised, and their classes."""
    rows = np.array(shop.asked.images[:count])
    labels = torch.from_numpy(shop.labels[:count].copy()).to(shop.device)
    return normalised(rows, shop.train, device=shop.device), labels


def _grid(shop: Shop) -> Features:
    found = shop.setup.grid.features
    if found is None:
        raise ValueError("study.yaml says nothing of features")
    return found


def _network(shop: Shop, trial: Trial) -> nn.Module:
    source = trial.after[0] if trial.after else None
    return _model(shop, source, seed=trial.about["seed"])


def _model(shop: Shop, source: str | None, *, seed: int) -> nn.Module:
    """The network that a trial made; the dense one where there is none."""
    return shop.models[seed].module if source is None else kept(shop, source, seed=seed).model
