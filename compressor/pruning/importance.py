"""How much a unit matters: the table of importances.

An importance maps a group to one score per unit; higher is kept. Scores of different groups
are not on one scale: allocation normalises them.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, Slice

Tensors = Mapping[tuple[str, str], Tensor]
"""Tensors by (module, tensor) name."""


class Importance(Protocol):
    """Score the units of one group: [units], higher is kept."""

    def __call__(
        self, group: ChannelGroup, weights: Tensors, gradients: Tensors, generator: torch.Generator
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """An importance, and whether it needs the loss's gradient."""

    score: Importance
    needs_gradients: bool = False


def l2(
    group: ChannelGroup, weights: Tensors, gradients: Tensors, generator: torch.Generator
) -> Tensor:
    """Euclidean norm of all weights that make or read the unit.

    Fang et al. 2023 (arXiv:2301.12900), eq. 4, without the learned regularisation.
    """
    del gradients, generator
    return _over_weights(group, weights, torch.square).sqrt()


def l1(
    group: ChannelGroup, weights: Tensors, gradients: Tensors, generator: torch.Generator
) -> Tensor:
    """Sum of absolute weights over the group; Li et al. 2017 (arXiv:1608.08710) per filter."""
    del gradients, generator
    return _over_weights(group, weights, torch.abs)


def taylor(
    group: ChannelGroup, weights: Tensors, gradients: Tensors, generator: torch.Generator
) -> Tensor:
    """First-order change of the loss when the unit goes: ``|sum g w|`` over what reads it.

    Molchanov et al. 2019 (arXiv:1906.10771), eq. 8, on the weights that read the channel:
    setting exactly those to zero is what a cut does.
    """
    del generator
    total = torch.zeros(len(group.units))
    for piece in _weights_of(group, roles=("consumer",)):
        key = (piece.module, piece.tensor)
        total += _per_unit(piece, gradients[key] * weights[key])
    return total.abs()


def random(
    group: ChannelGroup, weights: Tensors, gradients: Tensors, generator: torch.Generator
) -> Tensor:
    """Uniform scores: the control that any criterion has to beat."""
    del weights, gradients
    return torch.rand(len(group.units), generator=generator)


IMPORTANCES: Final[Mapping[str, Criterion]] = {
    "l1": Criterion(score=l1),
    "l2": Criterion(score=l2),
    "taylor": Criterion(score=taylor, needs_gradients=True),
    "random": Criterion(score=random),
}


def score(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    *,
    criterion: Criterion,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
) -> dict[str, Tensor]:
    """Scores of every group's units under ``criterion``.

    Args:
        model: the network; neither its weights nor its gradients are changed.
        groups: its channel groups.
        criterion: an entry of ``IMPORTANCES``.
        batches: normalised training images [n c h w] and labels [n]; read only when the
            criterion needs gradients, whose scores are averaged over the batches.
        seed: of the random criterion.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = _tensors(model)

    def all_groups(gradients: Tensors) -> dict[str, Tensor]:
        return {g.name: criterion.score(g, weights, gradients, generator) for g in groups}

    if not criterion.needs_gradients:
        return all_groups({})
    # On a copy: a frozen layer has a gradient too, and test mode stays here.
    twin = copy.deepcopy(model).eval().requires_grad_()
    total: dict[str, Tensor] = {}
    count = 0
    for images, labels in batches:
        found = all_groups(_gradients(twin, images, labels))
        total = {name: total.get(name, torch.zeros(())) + found[name] for name in found}
        count += 1
    if count == 0:
        raise ValueError("this importance needs gradients, and no training batch was given")
    return {name: value / count for name, value in total.items()}


def _tensors(model: nn.Module) -> dict[tuple[str, str], Tensor]:
    return {
        (module, tensor): value.detach().cpu().float()
        for module, layer in model.named_modules()
        for tensor, value in layer.named_parameters(recurse=False)
    }


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> dict[tuple[str, str], Tensor]:
    """Gradient of the mean cross-entropy for every parameter."""
    parameters = {
        (module, tensor): value
        for module, layer in model.named_modules()
        for tensor, value in layer.named_parameters(recurse=False)
    }
    loss = nn.functional.cross_entropy(model(images), labels)
    found = torch.autograd.grad(
        loss,
        list(parameters.values()),
        allow_unused=True,
        materialize_grads=True,  # a parameter that the loss does not reach has gradient zero
    )
    return {name: gradient.cpu().float() for name, gradient in zip(parameters, found, strict=True)}


def _weights_of(group: ChannelGroup, *, roles: Sequence[str]) -> list[Slice]:
    return [s for s in group.slices if s.role in roles and s.tensor == "weight"]


def _over_weights(
    group: ChannelGroup, weights: Tensors, transform: Callable[[Tensor], Tensor]
) -> Tensor:
    total = torch.zeros(len(group.units))
    for piece in _weights_of(group, roles=("producer", "consumer")):
        total += _per_unit(piece, transform(weights[piece.module, piece.tensor]))
    return total


def _per_unit(piece: Slice, values: Tensor) -> Tensor:
    """Sum ``values`` over everything that belongs to each unit."""
    along = values.transpose(0, piece.dim).flatten(1).sum(1)
    unit_of = [unit for unit, where in enumerate(piece.positions) for _ in where]
    where = [position for positions in piece.positions for position in positions]
    return torch.zeros(len(piece.positions)).index_add_(
        0, torch.tensor(unit_of), along[torch.tensor(where)]
    )
