"""Can the network still be trained? Two numbers to be compared between networks.

Both decide nothing. Accuracies may only be compared between retrainings with the same learning
rates, Jacobians between networks on the same images.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from compressor.training.batches import on_device
from compressor.training.checkpoint import EpochLog

JACOBIAN_IMAGES: Final = 16
"""Images of the estimate; the singular values of trained networks vary little among more."""

JACOBIAN_LOGITS: Final = 16
"""Logits of the estimate, spread evenly over the classes: each costs a backward pass."""


def first_stage_accuracy(log: Sequence[EpochLog]) -> float | None:
    """Mean accuracy on the tune split over the epochs of the first learning rate.

    The trainability accuracy of Wang et al. 2023 (arXiv:2301.05219), who take the mean test
    accuracy over the first N epochs, N being the length of the first stage. A tune split stands in
    for the test images here. None where no epoch has a single learning rate (a cosine, or a first
    stage shorter than an epoch) or no accuracy was measured.
    """
    stage = first_stage(log)
    found = [entry.tune_accuracy for entry in stage if entry.tune_accuracy is not None]
    return sum(found) / len(found) if found else None


def first_stage(log: Sequence[EpochLog]) -> Sequence[EpochLog]:
    """The epochs, from the first on, that have one learning rate and the same."""
    length = next(
        (k for k, e in enumerate(log) if not e.lr_first == e.lr_last == log[0].lr_first), len(log)
    )
    return log[:length]


def jacobian_singular_values(model: nn.Module, images: Tensor, *, device: torch.device) -> Tensor:
    """Singular values [n k] of the Jacobian of the logits by the pixels, of each image.

    J is d logits / d x, [classes, c h w], of the network in evaluation mode at normalised images
    [n c h w]; its mean singular value, before and after a cut, is what Wang & Fu 2022
    (arXiv:2207.12534) follow as a sign of damaged trainability. A row takes one backward pass for
    all images together, since in evaluation mode no image's logits hang on another's pixels. With
    more than ``JACOBIAN_LOGITS`` classes, the rows are those of so many classes, spread evenly. Of
    a network that answers every pixel, a logit is the mean over the pixels.
    """
    network = on_device(model, device).eval()
    network.requires_grad_(requires_grad=False)
    with torch.enable_grad():
        pixels = images.detach().to(device).requires_grad_()
        logits = network(pixels).float()
        logits = logits.flatten(2).mean(2) if logits.dim() > 2 else logits
        count = min(logits.shape[1], JACOBIAN_LOGITS)
        chosen = torch.linspace(0, logits.shape[1] - 1, count).round().long().tolist()
        rows = [
            torch.autograd.grad(logits[:, k].sum(), pixels, retain_graph=True)[0].flatten(1)
            for k in chosen
        ]
    found: Tensor = torch.linalg.svdvals(torch.stack(rows, dim=1).double().cpu())
    return found
