"""Unstructured pruning for studies: single weights set to zero, and kept there.

Zeros take as much room as other numbers, in the file as in memory, and dense kernels multiply by
them. What this module returns is therefore no candidate: it has no cost, it is not exported, and
nothing about it is smaller or faster. It is what structured pruning is compared with.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from compressor.pruning.controls import Batches, Control, prunable_weights

Ranking = Literal["global", "layer"]
"""``global``: weights of all layers compete. ``layer``: every layer gives the same share."""

Masks = Mapping[str, Tensor]
"""By parameter name: bool, of the parameter's shape, True where the weight is kept."""

_LOWEST: Final = -torch.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A copy of a network, as large as the original, some of whose weights are zero.

    No file gets smaller by it, and no device faster.
    """

    model: nn.Module
    masks: Masks
    """Of all prunable weights, for ``apply_masks``."""
    share: float
    """Share of the prunable weights that the masks hold at zero; not a share of the parameters."""


def mask(
    model: nn.Module,
    *,
    control: Control,
    ratio: float,
    batches: Batches,
    seed: int,
    ranking: Ranking = "global",
) -> Masked:
    """Set to zero the share ``ratio`` of the prunable weights: those that score lowest.

    Rounded to whole weights: of the network, or of each layer. Weights that are zero already go
    first, so that rising ratios, with retraining between, give nested masks. Among equal scores
    the seed chooses, not the order of the layers. Nothing keeps a ``global`` ranking from emptying
    a layer; the methods as published do not either.

    Args:
        model: the network; not changed.
        control: an entry of ``CONTROLS``.
        ratio: share of the weights of ``prunable_weights`` to be zero, in [0, 1).
        batches: normalised training images [n c h w] and labels [n]; read by ``gradient`` and
            ``sipp``.
        seed: of equal scores, and of the random control.
        ranking: who competes.

    Raises:
        ValueError: the ratio or the ranking is out of range, there is nothing to prune, or a
            score is not finite.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio = {ratio}, must be in [0, 1)")
    if ranking not in get_args(Ranking):
        raise ValueError(f"ranking = {ranking!r}, must be among {', '.join(get_args(Ranking))}")
    weights = prunable_weights(model)
    if not weights:
        raise ValueError("the network has no linear layer or convolution with a weight of its own")
    generator = torch.Generator().manual_seed(seed)
    scores = control(copy.deepcopy(model).eval(), batches, generator)
    flat = {name: _with_zeros_lowest(name, weights[name], scores[name]) for name in weights}
    if ranking == "global":
        sizes = [len(values) for values in flat.values()]
        kept = _kept(torch.cat(list(flat.values())), ratio, generator).split(sizes)
    else:
        kept = tuple(_kept(values, ratio, generator) for values in flat.values())
    masks = {
        name: keep.view(weight.shape)
        for (name, weight), keep in zip(weights.items(), kept, strict=True)
    }
    masked = copy.deepcopy(model)
    apply_masks(masked, masks)
    return Masked(model=masked, masks=masks, share=_share(masks))


def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set what ``masks`` leaves out to zero, in place.

    To keep zeros through retraining, run it after every step of the optimiser, whose momentum and
    weight decay would move them: ``after_step=functools.partial(apply_masks, masks=masks)``.

    Raises:
        ValueError: the network has no such parameter, or one of another shape.
    """
    parameters = dict(model.named_parameters())
    for name, keep in masks.items():
        if name not in parameters:
            raise ValueError(f"the masks are of another network: this one has no {name}")
        if parameters[name].shape != keep.shape:
            raise ValueError(
                f"the masks are of another network: {name} is {tuple(parameters[name].shape)} "
                f"here and {tuple(keep.shape)} there"
            )
    with torch.no_grad():
        for name, keep in masks.items():
            parameters[name].masked_fill_(~keep.to(parameters[name].device), 0.0)


def _with_zeros_lowest(name: str, weight: Tensor, score: Tensor) -> Tensor:
    values = score.detach().cpu().double().flatten()
    if not bool(values.isfinite().all()):
        raise ValueError(f"the scores of {name} are not finite; look at its weights, or the loss")
    return values.masked_fill(weight.detach().cpu().flatten() == 0, _LOWEST)


def _kept(scores: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """All but the lowest ``ratio``, exactly; equal scores in random order."""
    order = torch.randperm(len(scores), generator=generator)
    lowest_first = order[scores[order].argsort(stable=True)]
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[lowest_first[: round(ratio * len(scores))]] = False
    return kept


def _share(masks: Masks) -> float:
    zeros = sum(int((~keep).sum()) for keep in masks.values())
    return zeros / sum(keep.numel() for keep in masks.values())
