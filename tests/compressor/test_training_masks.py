"""Retraining with a class for every pixel: views, losses, accuracy, and what has no label."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from compressor.labels import NOT_LABELLED
from compressor.training.batches import (
    LabelledImages,
    accuracy,
    batches,
    images_at_once,
    right_answers,
)
from compressor.training.epoch import _loss, _views
from compressor.training.recipe import Recipe
from compressor.training.retrain import retrain
from compressor.training.team import ALONE
from compressor.training.trainability import jacobian_singular_values

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, lr=0.1, final_lr=0.1, distill=0.0, batch_size=8, augment=())


def masks(n: int = 24, *, side: int = 12) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (n, side // 3, side // 3)).astype(np.uint8)
    found = coarse.repeat(3, axis=1).repeat(3, axis=2)
    found[rng.random(found.shape) < 0.15] = NOT_LABELLED
    return found


def pictures_of(found: NDArray[np.uint8]) -> LabelledImages:
    """Images whose every pixel says which class it is."""
    return LabelledImages(
        images=np.repeat(found[:, None] * np.uint8(85), 3, axis=1),
        labels=found,
        ids=np.arange(len(found), dtype=np.uint64),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )


MASKS = masks()
DATA = pictures_of(MASKS)


def views(augment: tuple[str, ...], *, seed: int = 0) -> tuple[Tensor, Tensor]:
    run: Any = SimpleNamespace(
        data=DATA,
        recipe=SimpleNamespace(augment=augment),
        device=CPU,
        layout=torch.contiguous_format,
        team=ALONE,
    )
    rng = np.random.default_rng(seed)
    return _views(run, np.arange(len(MASKS)), 0, rng=rng, augment=None)


@pytest.mark.parametrize("augment", [("flip",), ("crop",), ("flip", "crop")])
def test_a_mask_is_mirrored_and_shifted_with_its_image(augment: tuple[str, ...]) -> None:
    images, labels = views(augment)
    known = labels != NOT_LABELLED
    assert not np.array_equal(labels.numpy(), MASKS), "the views changed nothing"
    assert torch.equal((images[:, 0] * 3).round()[known].long(), labels[known])
    still, _ = views(())
    assert not torch.equal(images, still)


def test_masks_change_no_draw_of_the_images() -> None:
    """The same seed shows the same pictures, whatever their labels are."""
    with_masks, _ = views(("flip", "crop"), seed=3)
    run: Any = SimpleNamespace(
        data=SimpleNamespace(
            images=DATA.images, labels=np.zeros(len(MASKS), np.int64), ids=DATA.ids,
            mean=DATA.mean, std=DATA.std,
        ),
        recipe=SimpleNamespace(augment=("flip", "crop")),
        device=CPU,
        layout=torch.contiguous_format,
        team=ALONE,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    with_labels, _ = _views(run, np.arange(len(MASKS)), 0, rng=rng, augment=None)
    assert torch.equal(with_masks, with_labels)


def logits(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor(masks(2, side=6)[:, :4, :5].astype(np.int64))


def test_the_loss_is_the_mean_over_labelled_pixels() -> None:
    total, count = 0.0, 0
    for values, label in zip(
        logits().permute(0, 2, 3, 1).flatten(0, 2), LABELS.flatten(), strict=True
    ):
        if label != NOT_LABELLED:
            total -= float(values.log_softmax(0)[label])
            count += 1
    assert 0 < count < LABELS.numel()
    assert float(_loss(logits(), LABELS, None, recipe=RECIPE)) == pytest.approx(total / count)


def test_what_is_said_of_pixels_without_a_label_teaches_nothing() -> None:
    leaf = logits().requires_grad_()
    _loss(leaf, LABELS, None, recipe=RECIPE).backward()
    assert leaf.grad is not None
    unknown = (LABELS == NOT_LABELLED)[:, None].expand_as(leaf)
    assert not leaf.grad[unknown].any()
    assert leaf.grad[~unknown].all()


def test_a_batch_without_a_label_gives_a_loss_of_nothing_and_no_nan() -> None:
    nobody = torch.full_like(LABELS, NOT_LABELLED)
    assert float(_loss(logits(), nobody, None, recipe=RECIPE)) == 0.0


def test_the_teacher_is_followed_at_every_pixel_on_average() -> None:
    recipe = Recipe(epochs=1, lr=0.1, distill=1.0, temperature=2.0)
    by_pixel = [
        functional.kl_div(s.log_softmax(0), t.softmax(0), reduction="sum")
        for s, t in zip(
            logits(0).permute(0, 2, 3, 1).flatten(0, 2) / 2,
            logits(1).permute(0, 2, 3, 1).flatten(0, 2) / 2,
            strict=True,
        )
    ]
    found = _loss(logits(0), LABELS, logits(1), recipe=recipe)
    assert float(found) == pytest.approx(4.0 * float(torch.stack(by_pixel).mean()), rel=1e-5)


def test_of_images_with_one_label_no_class_is_left_out() -> None:
    """The 256th of a thousand classes is a class, and no sign for "not labelled"."""
    values = torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([NOT_LABELLED, 3])
    found = _loss(values, labels, None, recipe=RECIPE)
    assert torch.equal(found, functional.cross_entropy(values, labels))
    right, asked = right_answers(functional.one_hot(labels, 300), labels)
    assert (right.tolist(), asked.tolist()) == ([1, 1], [1, 1])


def test_accuracy_is_the_mean_over_images_of_the_share_of_labelled_pixels() -> None:
    class AllZero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found = torch.zeros(len(x), 3, *x.shape[2:])
            found[:, 0] = 1.0
            return found

    shares = [(mask == 0).sum() / (mask != NOT_LABELLED).sum() for mask in MASKS]
    for batch_size in (5, 256):
        found = accuracy(AllZero(), DATA, batch_size=batch_size, device=CPU)
        assert found == pytest.approx(np.mean(shares))


def test_large_masks_go_through_in_smaller_batches() -> None:
    wide = np.zeros((12, 1024, 1024), np.uint8)
    data = LabelledImages(
        images=np.zeros((12, 3, 8, 8), np.uint8), labels=wide,
        ids=np.arange(12, dtype=np.uint64), mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    assert images_at_once(data, most=256) == 4
    assert [len(images) for images, _ in batches(data, device=CPU)] == [4, 4, 4]
    assert images_at_once(DATA, most=256) == 256


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 3, 1),
        )


@pytest.mark.parametrize("distill", [0.0, 0.5])
def test_a_network_learns_the_class_of_every_pixel(distill: float) -> None:
    recipe = Recipe(
        epochs=6, lr=0.3, final_lr=0.3, distill=distill, batch_size=8, augment=("flip", "crop")
    )
    teacher = retrain(network(), DATA, recipe=RECIPE, seed=1, device=CPU).model
    found = retrain(
        network(), DATA, recipe=recipe, seed=0, device=CPU, teacher=teacher, tune=DATA
    )  # fmt: skip
    assert found.log[-1].loss < 0.7 * found.log[0].loss
    assert found.log[-1].tune_accuracy == accuracy(found.model, DATA, device=CPU)
    assert found.log[-1].tune_accuracy > accuracy(network(), DATA, device=CPU) + 0.2
    assert all(0.0 < entry.accuracy <= 1.0 for entry in found.log)


def test_a_jacobian_is_that_of_each_class_mean_over_the_pixels() -> None:
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.inner(x)
            return found.mean((2, 3))

    found = jacobian_singular_values(network(), images, device=CPU)
    assert torch.allclose(found, jacobian_singular_values(Pooled(), images, device=CPU))
