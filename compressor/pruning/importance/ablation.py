"""The importance that is measured: how much the loss grows while a group loses its units."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from compressor.layouts import fastest_layout
from compressor.pruning.groups import ChannelGroup
from compressor.pruning.importance.softmax import losses
from compressor.pruning.importance.subject import Subject, batches_of
from compressor.pruning.importance.weights import l2

IMAGES: Final = 512
"""Training images on which each loss is measured. With 1,024 a trained ResNet-20's groups grow the
loss by what differs by a fifth at most, for twice the time; fewer tell layers apart less well."""

PARTS: Final = 8
"""Equal parts in which a group loses its units. A score is the same throughout a part."""

_APART: Final = 1e-3
"""By what share the scores of one part differ from its first to its last unit, to keep order."""

_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Batch = tuple[Tensor, Tensor]


def ablation(of: Subject) -> dict[str, Tensor]:
    """Growth of the loss per unit as the group's weakest go, part by part, and it alone.

    Molchanov et al. 2017 (arXiv:1611.06440), section 2.2, call removing one unit after the other
    and measuring the loss the oracle that others approximate; Li et al. 2017 (arXiv:1608.08710),
    section 3.2, remove a layer's filters in order of their norm and watch the accuracy, layer by
    layer, which needs few measurements. So here: inside a group, units go in the order of ``l2``,
    an eighth at a time, and each eighth's scores are what the mean cross-entropy of its images
    grows by. BatchNorm uses each batch's own statistics, because a cut re-estimates them.

    Scores never fall from one part to the next, so that the order inside a group stays. The last
    part, without which nothing of the group is left, has the score of the one before it.
    """
    batches = _some(of)
    layout = fastest_layout(of.model, batches[0][0][:1]) if batches else torch.contiguous_format
    batches = [(images.contiguous(memory_format=layout), labels) for images, labels in batches]
    # The model is a copy, which is the importance's own.
    for module in of.model.modules():
        if isinstance(module, _NORMS):
            module.train()
    of.model.to(memory_format=layout)
    whole = _loss(of.model, batches)
    return {group.name: _scores(group, of, batches, whole=whole) for group in of.groups}


def _some(of: Subject) -> list[Batch]:
    """The first batches, up to ``IMAGES`` images; all are drawn, which is promised of them."""
    chosen: list[Batch] = []
    seen = 0
    for images, labels in batches_of(of):
        if seen < IMAGES:
            chosen.append((images[: IMAGES - seen], labels[: IMAGES - seen]))
            seen += len(images)
    return chosen


def _scores(group: ChannelGroup, of: Subject, batches: Sequence[Batch], *, whole: float) -> Tensor:
    order = l2(group, of).argsort(stable=True)
    width = len(order)
    ends = sorted({round(width * part / PARTS) for part in range(PARTS + 1)})
    found = [whole]
    for end in ends[1:-1]:
        with _without(of.model, group, order[:end].tolist()):
            found.append(_loss(of.model, batches))
    rises = [
        max(0.0, after - before) / (end - start)
        for (before, after), (start, end) in zip(pairwise(found), pairwise(ends), strict=False)
    ]
    rises += [max(rises, default=1.0)]
    scores, least = torch.zeros(width, dtype=torch.double), 0.0
    for rise, (start, end) in zip(rises, pairwise(ends), strict=True):
        least = max(least, rise)
        scores[order[start:end]] = least
    within = torch.empty(width, dtype=torch.double)
    within[order] = torch.arange(width, dtype=torch.double) / width
    tiny = torch.finfo(torch.float32).tiny
    return ((scores + tiny) * (1.0 + _APART * within)).float()


def _loss(model: nn.Module, batches: Sequence[Batch]) -> float:
    with torch.no_grad():
        total = sum(float(losses(model(images), labels).sum()) for images, labels in batches)
    return total / sum(len(images) for images, _ in batches)


@contextmanager
def _without(model: nn.Module, group: ChannelGroup, units: Sequence[int]) -> Iterator[None]:
    """With zeros where the group's ``units`` are read: the network as it is without them."""
    kept: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for piece in group.slices:
            if piece.role != "consumer":
                continue
            weight: Tensor = getattr(model.get_submodule(piece.module), piece.tensor)
            positions = [place for unit in units for place in piece.positions[unit]]
            kept.append((weight, weight.clone()))
            weight.index_fill_(piece.dim, torch.tensor(positions, device=weight.device), 0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in reversed(kept):
                weight.copy_(before)
