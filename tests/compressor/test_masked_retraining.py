"""Masks belong to pruning and retraining to training: they meet in a function."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressor.pruning.controls import CONTROLS
from compressor.pruning.masks import Masked, apply_masks, mask
from compressor.training.batches import LabelledImages
from compressor.training.recipe import Recipe
from compressor.training.retrain import TrainingResult, retrain

RNG = np.random.default_rng(0)
DATA = LabelledImages(
    images=RNG.integers(0, 256, size=(24, 3, 8, 8), dtype=np.uint8),
    labels=RNG.integers(0, 2, size=24),
    ids=np.arange(24, dtype=np.uint64),
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
)


def masked() -> Masked:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 2)
        )
    return mask(net, control=CONTROLS["magnitude"], ratio=0.7, batches=[], seed=0)


def retrained(
    start: Masked,
    *,
    ema: float = 0.0,
    checkpoint: Path | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> TrainingResult:
    recipe = Recipe(epochs=2, lr=0.05, batch_size=8, ema=ema)
    return retrain(
        start.model,
        DATA,
        recipe=recipe,
        seed=1,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
        after_step=after_step,
    )


def moved(start: Masked, result: TrainingResult) -> tuple[int, int]:
    """How many weights left zero, and how many of the others changed."""
    left, changed = 0, 0
    for name, keep in start.masks.items():
        before, after = start.model.get_parameter(name), result.model.get_parameter(name)
        left += int((after[~keep] != 0).sum())
        changed += int((after[keep] != before[keep]).sum())
    return left, changed


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_zeros_stay_through_retraining_when_the_masks_follow_every_step(ema: float) -> None:
    start = masked()
    hook = partial(apply_masks, masks=start.masks)
    left, changed = moved(start, retrained(start, ema=ema, after_step=hook))
    assert left == 0
    assert changed == sum(int(keep.sum()) for keep in start.masks.values())


def test_retraining_alone_fills_the_zeros() -> None:
    start = masked()
    left, _ = moved(start, retrained(start))
    assert left == sum(int((~keep).sum()) for keep in start.masks.values())


def test_a_retraining_with_masks_resumes_bit_for_bit(tmp_path: Path) -> None:
    start = masked()
    applied = 0

    def hook(network: nn.Module) -> None:
        nonlocal applied
        applied += 1
        if applied == 5:
            raise KeyboardInterrupt
        apply_masks(network, start.masks)

    whole = retrained(start, after_step=partial(apply_masks, masks=start.masks))
    with pytest.raises(KeyboardInterrupt):
        retrained(start, checkpoint=tmp_path / "c.safetensors", after_step=hook)
    resumed = retrained(start, checkpoint=tmp_path / "c.safetensors", after_step=hook)
    assert applied == 5 + 3
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor)
