"""Importances that go by what the following layers read of a unit.

A unit that feeds several layers is measured in each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.groups import Slice
from compressor.pruning.importance.readers import Reading, as_matrix, readings
from compressor.pruning.importance.subject import (
    Subject,
    TensorName,
    batches_of,
    by_unit,
    listen,
    matrices,
    parts,
    readers_of,
)

PLACES_DRAWN: Final = 10
"""Outputs of each reading layer that ThiNet draws from each image."""

_MOST_ENTRIES: Final = 2**20
"""Entries of products, one per unit and output, that are held at once: they stay in the cache."""


def activation(of: Subject) -> dict[str, Tensor]:
    """Mean absolute activation of the unit, as the layers that read it get it.

    Molchanov et al. 2017 (arXiv:1611.06440), section 2.2: the mean activation, over all images and
    places. What is read stands behind the unit's nonlinearity and, where there is one, its pooling.
    """
    _, wanted = listen(of)
    means = {name: _Mean() for name in readers_of(of)}
    for images, _ in batches_of(of):
        for reading in _seen(of.model, images, wanted):
            means[reading.name].add(reading.inputs.abs())
    scores = {}
    for group in of.groups:
        total, count = torch.zeros(len(group.units)), 0
        for piece in matrices(group, of, roles=("consumer",)):
            total += by_unit(piece, means[piece.module, piece.tensor].value).float()
            count += len(piece.positions[0])
        scores[group.name] = total / max(1, count)
    return scores


def pfp(of: Subject) -> dict[str, Tensor]:
    """Channel sensitivity: the largest share of an output's pre-activation that is the unit's.

    Liebenwein et al. 2020, "Provable Filter Pruning" (arXiv:1911.07412), definition 1:
    ``max_x max_i W_ij a_j(x) / sum_k W_ik a_k(x)``, over the images of a batch, the outputs i and
    their places. As there, weights and inputs are parted by their signs, so that all terms of a
    sum have one. A unit is as sensitive as in the most sensitive layer that reads it. Batches take
    the place of the paper's one small sample; the score is the mean over them.
    """
    _, wanted = listen(of)
    pieces, count = readers_of(of), 0
    weights = {name: as_matrix(of.model, name) for name in pieces}
    total = {group.name: torch.zeros(len(group.units)) for group in of.groups}
    for images, _ in batches_of(of):
        largest = {name: torch.zeros_like(value) for name, value in total.items()}
        for reading in _seen(of.model, images, wanted):
            signed = _by_sign(reading)
            for group, piece in pieces[reading.name]:
                found = _largest_share(signed, weights[reading.name], piece).cpu().float()
                largest[group.name] = torch.maximum(largest[group.name], found)
        total = {name: value + largest[name] for name, value in total.items()}
        count += 1
    return {name: value / count for name, value in total.items()}


def thinet(of: Subject) -> dict[str, Tensor]:
    """Error of the next layer's output when the unit goes, and all that should go before it.

    Luo et al. 2017 (arXiv:1707.06342), section 3.2, algorithm 1: from drawn outputs of the reading
    layers, without their biases, the set T of units to remove grows by the one that adds least to
    ``sum (sum_{j in T} x_j)^2``, x_j being unit j's part of the output. The unit that is taken
    first is the least important one. The score is that sum, relative to the outputs' own squares;
    where it falls, parts having cancelled, the next number above the last score, so that the order
    of the scores is the order of removal.
    """
    _, wanted = listen(of)
    pieces = readers_of(of)
    weights = {name: as_matrix(of.model, name) for name in pieces}
    widths = {group.name: len(group.units) for group in of.groups}
    products = {name: torch.zeros(width, width).double() for name, width in widths.items()}
    squares = dict.fromkeys(widths, 0.0)
    for images, _ in batches_of(of):
        for reading in _seen(of.model, images, wanted):
            drawn = _drawn_parts(reading, weights[reading.name], of.generator)
            for group, piece in pieces[reading.name]:
                of_units = drawn[:, torch.tensor(piece.positions)].sum(2)
                products[group.name] += of_units.T @ of_units
                squares[group.name] += float(drawn.sum(1).square().sum())
    return {name: _greedy(products[name], squares[name]) for name in widths}


class _Mean:
    """Mean of values per channel, over everything else."""

    def __init__(self) -> None:
        self._sum, self._count = torch.zeros(()).double(), 0

    def add(self, values: Tensor) -> None:
        """Values [n channels places]."""
        self._sum = self._sum + values.sum((0, 2)).double().cpu()
        self._count += values[:, 0].numel()

    @property
    def value(self) -> Tensor:
        return self._sum / self._count


def _seen(model: nn.Module, images: Tensor, wanted: Mapping[int, TensorName]) -> Iterator[Reading]:
    for part in images.split(parts(images)):
        with torch.no_grad():
            _, seen = readings(model, part, wanted)
        yield from seen


def _by_sign(reading: Reading) -> list[Tensor]:
    """The positive and the negative part of what was read, [n channels taps places] at least 0."""
    patches = reading.patches()
    if not bool((reading.inputs < 0.0).any()):  # as behind a ReLU
        return [patches]
    return [patches.clamp_min(0.0), patches.neg().clamp_min_(0.0)]


def _largest_share(signed: Sequence[Tensor], weight: Tensor, piece: Slice) -> Tensor:
    """The units' [units] largest share of an output, among terms of one sign.

    Args:
        signed: parts of what the layer read, each [n channels taps places].
        weight: [outputs channels taps].
        piece: the channels of the units.
    """
    largest = weight.new_zeros(len(piece.positions))
    for inputs in signed:
        for factors in (weight.clamp_min(0.0), weight.neg().clamp_min_(0.0)):
            largest = torch.maximum(largest, _shares(inputs, factors, piece))
    return largest


def _shares(patches: Tensor, weight: Tensor, piece: Slice) -> Tensor:
    """As ``_largest_share``, of one part of the inputs and weights that are not negative."""
    where = torch.tensor(piece.positions)  # [units channels]
    tiny = torch.finfo(patches.dtype).tiny  # an output of zero has parts of zero
    outputs = len(weight) * patches.shape[3]
    units_at_once = max(1, _MOST_ENTRIES // outputs)
    rows_at_once = max(1, _MOST_ENTRIES // (outputs * min(len(where), units_at_once)))
    largest = patches.new_zeros(len(where))
    for rows in patches.split(rows_at_once):
        whole = torch.matmul(weight.flatten(1), rows.flatten(1, 2))  # [n outputs places]
        inverse = whole.clamp_min_(tiny).reciprocal_()[:, None]
        for units in torch.arange(len(where)).split(units_at_once):
            of_unit = rows[:, where[units]].flatten(2, 3)  # [n units columns places]
            factors = weight[:, where[units]].transpose(0, 1).flatten(2)  # [units outputs columns]
            shares = torch.matmul(factors, of_unit).mul_(inverse)
            largest[units] = torch.maximum(largest[units], shares.amax((0, 2, 3)))
    return largest


def _drawn_parts(reading: Reading, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Each channel's part of drawn outputs: [drawn channels]."""
    patches = reading.patches()
    shape = (len(patches), PLACES_DRAWN)
    outputs = torch.randint(len(weight), shape, generator=generator)
    places = torch.randint(patches.shape[3], shape, generator=generator)
    rows = torch.arange(len(patches))[:, None]
    read = patches.permute(0, 3, 1, 2)[rows, places]  # [n drawn channels taps]
    return (read * weight[outputs]).sum(3).flatten(0, 1).double().cpu()


def _greedy(products: Tensor, squares: float) -> Tensor:
    """The error at which each unit goes, in the greedy order.

    Args:
        products: of the units' parts, summed over outputs: [units units].
        squares: of the whole outputs, summed.
    """
    scores = torch.zeros(len(products))
    error, last = 0.0, torch.tensor(0.0)
    with_removed = products.diagonal().clone()  # what each unit would add to the error
    for _ in range(len(products)):
        unit = int(with_removed.argmin())
        error += float(with_removed[unit])
        relative = torch.tensor(error / squares if squares > 0.0 else 0.0)
        last = torch.maximum(relative, torch.nextafter(last, torch.tensor(torch.inf)))
        scores[unit] = last
        with_removed += 2.0 * products[unit]
        with_removed[unit] = torch.inf
    return scores
