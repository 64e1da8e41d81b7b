from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor.layouts import fastest_layout
from compressor.training.batches import (
    LabelledImages,
    accuracy,
    batches,
    normalised,
)
from compressor.training.recipe import Recipe
from compressor.training.retrain import retrain

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
DATA = LabelledImages(
    images=RNG.integers(0, 256, size=(72, 3, 8, 8), dtype=np.uint8),
    labels=RNG.integers(0, 2, size=72),
    ids=np.arange(72, dtype=np.uint64),
    mean=(0.1, 0.2, 0.3),
    std=(0.5, 1.0, 2.0),
)


class ViewNet(nn.Module):
    """Flattens with a view, which channels-last feature maps do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4 * 64, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.conv(x).view(len(x), -1))
        return logits


def test_channels_last_is_for_networks_that_can_run_on_it() -> None:
    images = torch.zeros(1, 3, 8, 8)
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert fastest_layout(pooled, images) == torch.channels_last
    assert fastest_layout(ViewNet(), images) == torch.contiguous_format
    assert fastest_layout(nn.Linear(3, 2), torch.zeros(1, 3)) == torch.contiguous_format
    assert retrain(ViewNet(), DATA, recipe=Recipe(epochs=1, lr=0.01), seed=0, device=CPU).log


def test_images_are_normalised_per_channel() -> None:
    expected = torch.stack(
        [
            (torch.from_numpy(DATA.images[:, c]) / 255 - DATA.mean[c]) / DATA.std[c]
            for c in range(3)
        ],
        dim=1,
    )
    torch.testing.assert_close(normalised(DATA.images, DATA, device=CPU), expected)


def test_accuracy_counts_every_image_once_in_batches_of_any_size() -> None:
    model = nn.Sequential(nn.Dropout(0.5), ViewNet()).train()
    by_hand = model[1](normalised(DATA.images, DATA, device=CPU)).argmax(1)
    expected = float((by_hand.numpy() == DATA.labels).mean())
    for size in (5, 72, 1000):
        assert accuracy(model, DATA, batch_size=size, device=CPU) == expected
    assert model.training


def test_accuracy_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        accuracy(ViewNet(), replace(DATA, labels=DATA.labels[:0]), device=CPU)


def test_batches_of_a_read_only_memory_map_hold_every_image_in_order(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", DATA.images)
    mapped = replace(DATA, images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    images, labels = zip(*batches(mapped, batch_size=50, device=CPU), strict=True)
    torch.testing.assert_close(torch.cat(images), normalised(DATA.images, DATA, device=CPU))
    np.testing.assert_array_equal(torch.cat(labels).numpy(), DATA.labels)
