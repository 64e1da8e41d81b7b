"""The importance that is measured: how much the loss grows while a group loses its units."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup
from compressor.pruning.importance.inputs import thinet
from compressor.pruning.importance.measured import Batch, few, laid_out, mean_loss
from compressor.pruning.importance.readers import watchable
from compressor.pruning.importance.subject import Subject, batches_of, is_read, listen, matrices
from compressor.pruning.importance.weights import l2

PARTS: Final = 8
"""Equal parts in which a group loses its units. A score is the same throughout a part."""

_APART: Final = 1e-3
"""By what share the scores of one part differ from its first to its last unit, to keep order."""


def ablation(of: Subject) -> dict[str, Tensor]:
    """Growth of the loss per unit as the group's weakest go, part by part, and it alone.

    Molchanov et al. 2017 (arXiv:1611.06440), section 2.2, call removing one unit after the other
    and measuring the loss the oracle that others approximate; Li et al. 2017 (arXiv:1608.08710),
    section 3.2, remove a layer's filters in order of their norm and watch the accuracy, layer by
    layer, which needs few measurements. So here, in the order of ``thinet``: an eighth of a group
    goes at a time, and each eighth's scores are what the mean cross-entropy of its images grows by.
    BatchNorm uses each batch's own statistics, because a cut re-estimates them. Groups whose
    readers cannot be watched, as queries or what grouped convolutions read, go in the order of
    ``l2``.

    Scores never fall from one part to the next, so that the order inside a group stays. The last
    part, without which nothing of the group is left, has the score of the one before it.
    """
    batches = few(batches_of(of))
    orders = _orders(of, batches)
    # The model is a copy, which is the importance's own.
    batches = laid_out(of.model, batches, device=of.device)
    whole = mean_loss(of.model, batches)
    return {
        group.name: _scores(group, of, batches, order=orders[group.name], whole=whole)
        for group in of.groups
    }


def _orders(of: Subject, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Per group, its units as they go: [units], the first to go in front."""
    _, wanted = listen(of)
    known = watchable(of.model, batches[0][0][:1], wanted)
    watched = [
        group
        for group in of.groups
        if is_read(group, of.model)
        and {(s.module, s.tensor) for s in matrices(group, of, roles=("consumer",))} <= known
    ]
    greedy = thinet(replace(of, groups=watched, batches=batches))
    return {
        group.name: (greedy[group.name] if group.name in greedy else l2(group, of)).argsort(
            stable=True
        )
        for group in of.groups
    }


def _scores(
    group: ChannelGroup, of: Subject, batches: Sequence[Batch], *, order: Tensor, whole: float
) -> Tensor:
    width = len(order)
    ends = sorted({round(width * part / PARTS) for part in range(PARTS + 1)})
    found = [whole]
    for end in ends[1:-1]:
        with _without(of.model, group, order[:end].tolist()):
            found.append(mean_loss(of.model, batches))
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
