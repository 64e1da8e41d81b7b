"""The loss as it would be right after a cut, measured on a few training images."""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from compressor.layouts import fastest_layout
from compressor.pruning.importance.softmax import losses

IMAGES: Final = 512
"""Training images on which each loss is measured. With 1,024 a trained ResNet-20's groups grow the
loss by what differs by a fifth at most, for twice the time; fewer tell layers apart less well."""

_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Batch = tuple[Tensor, Tensor]
"""Normalised images [n c h w] and their labels."""


def few(batches: Iterable[Batch]) -> list[Batch]:
    """The first batches, up to ``IMAGES`` images; all are drawn, which is promised of them.

    A batch of one image is left out where there are others: it has no statistics of its own.
    """
    chosen: list[Batch] = []
    seen = 0
    for images, labels in batches:
        if seen < IMAGES:
            chosen.append((images[: IMAGES - seen], labels[: IMAGES - seen]))
            seen += len(images)
    return [batch for batch in chosen if len(batch[0]) > 1] or chosen


def laid_out(model: nn.Module, batches: Sequence[Batch], *, device: torch.device) -> list[Batch]:
    """``model``, in place, and the batches on ``device``, in the layout that is fastest there."""
    model.to(device)
    there = [(images.to(device), labels.to(device)) for images, labels in batches]
    layout = fastest_layout(model, there[0][0][:1]) if there else torch.contiguous_format
    model.to(memory_format=layout)
    return [(images.contiguous(memory_format=layout), labels) for images, labels in there]


def mean_loss(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Mean cross-entropy; BatchNorm uses each batch's own statistics, as a cut re-estimates them.

    Of one image alone it uses those that the network has.

    Args:
        model: a copy of the caller's, whose running statistics may change.
        batches: as of ``few``.
    """
    model.eval()
    for module in model.modules():
        if isinstance(module, _NORMS):
            module.train(all(len(images) > 1 for images, _ in batches))
    with torch.no_grad():
        total = sum(float(losses(model(images), labels).sum()) for images, labels in batches)
    return total / sum(len(images) for images, _ in batches)
