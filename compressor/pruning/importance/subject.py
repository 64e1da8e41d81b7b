"""What is scored, on what data, and how entries of tensors become units."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, Role, Slice

TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

TensorName = tuple[str, str]
"""A module's name and a tensor's in it."""


CPU: Final = torch.device("cpu")


class UnscorableError(ValueError):
    """An importance has nothing to go by for some group; says which, and what to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network and its groups, and everything that a score may depend on."""

    model: nn.Module
    """Where batches are read, a copy in test mode whose parameters are the importance's own."""
    groups: Sequence[ChannelGroup]
    batches: Iterable[tuple[Tensor, Tensor]]
    """Normalised images [n c h w] and labels; read once."""
    generator: torch.Generator
    regulariser: float
    """Weight of half the squared weights that a cut sets to zero, added to models of the loss."""
    weights: Mapping[TensorName, Tensor]
    """Every parameter as float on the CPU."""
    device: torch.device
    """Where whole networks are run again and again."""


Importance = Callable[[Subject], dict[str, Tensor]]
"""Per group, one score per unit: [units], at least 0, higher is kept."""


def subject(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    seed: int,
    regulariser: float = 0.0,
    device: torch.device = CPU,
) -> Subject:
    """What an importance scores."""
    return Subject(
        model=model,
        groups=groups,
        batches=batches,
        generator=torch.Generator().manual_seed(seed),
        regulariser=regulariser,
        device=device,
        weights={
            (module, tensor): value.detach().cpu().float()
            for module, layer in model.named_modules()
            for tensor, value in layer.named_parameters(recurse=False)
        },
    )


def each_group(of_group: Callable[[ChannelGroup, Subject], Tensor]) -> Importance:
    """The importance that scores one group after the other."""

    def importance(of: Subject) -> dict[str, Tensor]:
        return {group.name: of_group(group, of) for group in of.groups}

    return importance


def matrices(group: ChannelGroup, of: Subject, *, roles: Sequence[Role]) -> list[Slice]:
    """The slices of a group's weights: parameters that are no vectors (scales, biases)."""
    return [
        piece
        for piece in group.slices
        if piece.role in roles
        and (weight := of.weights.get((piece.module, piece.tensor))) is not None
        and weight.dim() > 1
    ]


def is_read(group: ChannelGroup, model: nn.Module) -> bool:
    """Whether layers read the units as inputs; queries meet keys, and no layer, instead."""
    modules = dict(model.named_modules())
    return all(
        piece.dim == (0 if isinstance(modules[piece.module], TRANSPOSED) else 1)
        for piece in group.slices
        if piece.role == "consumer" and piece.tensor == "weight"
    )


def per_unit(piece: Slice, values: Tensor) -> Tensor:
    """Sum ``values``, one per entry of the tensor, over everything that belongs to each unit."""
    along = values.transpose(0, piece.dim)
    return by_unit(piece, along.reshape(len(along), -1).sum(1))


def by_unit(piece: Slice, along: Tensor) -> Tensor:
    """Sum ``along``, one value per position of the dimension, over each unit's positions."""
    unit_of = [unit for unit, where in enumerate(piece.positions) for _ in where]
    where = [position for positions in piece.positions for position in positions]
    return along.new_zeros(len(piece.positions)).index_add_(
        0, torch.tensor(unit_of), along[torch.tensor(where)]
    )


def readers_of(of: Subject) -> dict[TensorName, list[tuple[ChannelGroup, Slice]]]:
    """The weights that read some group's channels, and which of their columns do.

    A cut sets exactly these columns to zero, so they carry all that the network loses by it.
    """
    found: dict[TensorName, list[tuple[ChannelGroup, Slice]]] = {}
    for group in of.groups:
        for piece in matrices(group, of, roles=("consumer",)):
            found.setdefault((piece.module, piece.tensor), []).append((group, piece))
    return found


def listen(of: Subject) -> tuple[dict[TensorName, nn.Parameter], dict[int, TensorName]]:
    """The parameters that read some group, alone with gradients, and their names by identity."""
    of.model.requires_grad_(requires_grad=False)
    parameters = {
        (module, tensor): of.model.get_submodule(module).get_parameter(tensor)
        for module, tensor in readers_of(of)
    }
    for parameter in parameters.values():
        parameter.requires_grad_()
    return parameters, {id(parameter): name for name, parameter in parameters.items()}


def batches_of(of: Subject) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, where the model is.

    Raises:
        ValueError: there is none.
    """
    device = next((p.device for p in of.model.parameters()), torch.device("cpu"))
    empty = True
    for images, labels in of.batches:
        empty = False
        yield images.to(device), labels.to(device)
    if empty:
        raise ValueError("this importance needs training images, and no batch was given")


PART_PIXELS: Final = 32 * 32 * 32
"""Pixels that go through a network at once where what its layers read is kept."""


def parts(images: Tensor) -> int:
    """How many images of these are read at once."""
    return max(4, PART_PIXELS // max(1, math.prod(images.shape[2:])))
