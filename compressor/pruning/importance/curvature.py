"""Gradient and diagonal Gauss-Newton curvature of the loss by the weights that read units.

The diagonal is the mean over samples of each sample's own: ``G = 1/N sum_n sum_k (J_n^T s_k)^2``
with the seeds of ``softmax``. A squared sum over a batch is not that (it has the products of
different samples in it), so each sample's gradient is formed, from what the layer read and what
comes back to its output.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.importance.readers import Reading, as_matrix, readings
from compressor.pruning.importance.softmax import (
    drawn_seed,
    is_exact,
    losses,
    seeds,
    seeds_needed,
)
from compressor.pruning.importance.subject import (
    Subject,
    TensorName,
    UnscorableError,
    batches_of,
    by_unit,
    listen,
    parts,
    readers_of,
)

_MOST_ENTRIES: Final = 2**24
"""Entries of gradients, one per sample and weight, that are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Of one group: sums over the weights that read each unit [units]."""

    slope: Tensor
    """``sum g w``, g being the mean gradient over all samples; zero where not asked for."""
    curvature: Tensor
    """``sum G w^2``."""


@dataclass(slots=True, kw_only=True)
class _Sums:
    """Of one weight [outputs channels taps], over samples."""

    gradient: Tensor
    squares: Tensor


def expand(of: Subject, *, slopes: bool) -> dict[str, Terms]:
    """The terms of every group.

    Raises:
        UnscorableError: a weight that reads units is not used by a call that can be watched, or
            samples cannot be told apart where it is.
    """
    _, wanted = listen(of)
    weights = {name: as_matrix(of.model, name).double() for name in wanted.values()}
    sums = {
        name: _Sums(gradient=torch.zeros_like(w), squares=torch.zeros_like(w))
        for name, w in weights.items()
    }
    count, checked = 0, False
    for images, labels in batches_of(of):
        for index, needed in _parts(of.model, images):
            count += len(index)
            if needed == 0 and not slopes:
                continue
            logits, seen = readings(of.model, images[index], wanted)
            reached = [reading for reading in seen if reading.edge is not None]
            if not checked:
                _check_samples(logits, reached)
                checked = True
            read = [_by_sample(r.patches().flatten(1, 2), len(index), r) for r in reached]
            for seed in _seeds(logits, labels[index], needed, of.generator):
                _add_squares(sums, _products(logits, reached, read, seed))
            if slopes:
                seed = _slope_seed(logits, labels[index])
                _add_gradient(sums, _products(logits, reached, read, seed))
    return _by_group(of, weights, sums, count=count)


def _by_group(
    of: Subject,
    weights: Mapping[TensorName, Tensor],
    sums: Mapping[TensorName, _Sums],
    *,
    count: int,
) -> dict[str, Terms]:
    zeros = {group.name: torch.zeros(len(group.units)) for group in of.groups}
    slope, curvature = dict(zeros), dict(zeros)
    for name, pieces in readers_of(of).items():
        first = (sums[name].gradient * weights[name]).sum((0, 2)).cpu() / count
        second = (sums[name].squares * weights[name].square()).sum((0, 2)).cpu() / count
        for group, piece in pieces:
            slope[group.name] = slope[group.name] + by_unit(piece, first).float()
            curvature[group.name] = curvature[group.name] + by_unit(piece, second).float()
    return {name: Terms(slope=slope[name], curvature=curvature[name]) for name in zeros}


def _parts(model: nn.Module, images: Tensor) -> Iterator[tuple[Tensor, int | None]]:
    """Rows of a batch that are read at once, and how many seeds they need; None: drawn ones.

    Those that need many seeds come together: a network that is sure of an image has no
    curvature there, and most images need few.
    """
    size = parts(images)
    needed = _needed(model, images, size)
    if needed is None:
        yield from ((rows, None) for rows in torch.arange(len(images)).split(size))
        return
    for rows in needed.argsort(stable=True).split(size):
        yield rows, int(needed[rows].max())


@torch.no_grad()
def _needed(model: nn.Module, images: Tensor, size: int) -> Tensor | None:
    """Seeds that each image needs; None where they are drawn."""
    if not is_exact(model(images[:1])):
        return None
    return seeds_needed(torch.cat([model(part) for part in images.split(size)])).cpu()


def _seeds(
    logits: Tensor, labels: Tensor, needed: int | None, generator: torch.Generator
) -> list[Tensor]:
    return [drawn_seed(logits, labels, generator)] if needed is None else seeds(logits, needed)


def _slope_seed(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient, by the logits, of the sum over samples of their loss."""
    leaf = logits.detach().requires_grad_()
    seed: Tensor = torch.autograd.grad(losses(leaf, labels).sum(), leaf)[0]
    return seed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """One reading's gradient per sample, as the product of what came back and what it read."""

    name: TensorName
    back: Tensor
    """[n outputs places]"""
    patches: Tensor
    """[n columns places], a column being a channel's tap."""


def _back(logits: Tensor, reached: Sequence[Reading], seed: Tensor) -> list[Tensor | None]:
    """What ``seed`` at the logits is at the readings' outputs; None where they do not matter."""
    edges = [reading.edge for reading in reached if reading.edge is not None]
    if not edges:
        return []
    return list(
        torch.autograd.grad(logits, edges, grad_outputs=seed, retain_graph=True, allow_unused=True)
    )


def _products(
    logits: Tensor, reached: Sequence[Reading], patches: Sequence[Tensor], seed: Tensor
) -> Iterator[_Product]:
    """Everything that ``seed`` at the logits is at the outputs of the readings."""
    found = _back(logits, reached, seed)
    for reading, read, back in zip(reached, patches, found, strict=True):
        if back is not None:
            yield _Product(
                name=reading.name,
                back=_by_sample(reading.by_output(back), len(logits), reading),
                patches=read,
            )


def _by_sample(rows: Tensor, count: int, reading: Reading) -> Tensor:
    """Rows [rows ... places] as samples [n ... places], a sample's rows being places of it.

    So are the windows that an image is parted into, for attention inside them.

    Raises:
        UnscorableError: the rows are no multiple of the samples.
    """
    if len(rows) == count:
        return rows
    if len(rows) % count:
        raise _mixed(reading)
    samples: Tensor = rows.unflatten(0, (count, -1)).movedim(1, -2).flatten(-2)
    return samples


def _check_samples(logits: Tensor, reached: Sequence[Reading]) -> None:
    """What comes back from the first sample's logits must stay in the first sample's rows.

    Raises:
        UnscorableError: it does not.
    """
    seed = torch.zeros_like(logits)
    seed[0] = torch.linspace(1.0, 2.0, logits[0].numel()).view_as(logits[0])
    found = _back(logits, reached, seed)
    for reading, back in zip(reached, found, strict=True):
        elsewhere = None if back is None else back[len(back) // len(logits) :]
        if elsewhere is not None and bool(elsewhere.any()):
            raise _mixed(reading)


def _mixed(reading: Reading) -> UnscorableError:
    return UnscorableError(
        f"this importance needs each sample's own gradient, and {reading.name[0]} reads a batch "
        "whose first dimension is not the samples in their order; choose taylor, or an importance "
        "that needs no gradients (search.importance)"
    )


def _square_sum(products: Sequence[_Product]) -> Tensor:
    """Sum over samples of the squared gradient [outputs columns] of one weight's calls."""
    back, read = products[0].back, products[0].patches
    if len(products) == 1 and back.shape[2] == 1:  # the square of a product of two numbers
        return back[:, :, 0].square().T @ read[:, :, 0].square()
    step = max(1, _MOST_ENTRIES // (back.shape[1] * read.shape[1]))
    total = back.new_zeros(back.shape[1], read.shape[1])
    for start in range(0, len(back), step):
        rows = slice(start, start + step)
        calls = [torch.bmm(p.back[rows], p.patches[rows].transpose(1, 2)) for p in products]
        for more in calls[1:]:
            calls[0] += more
        total += calls[0].square_().sum(0)
    return total


def _add_squares(sums: Mapping[TensorName, _Sums], products: Iterable[_Product]) -> None:
    calls: dict[TensorName, list[_Product]] = {}
    for product in products:
        calls.setdefault(product.name, []).append(product)
    for name, of_weight in calls.items():
        squares = sums[name].squares
        squares += _square_sum(of_weight).view_as(squares)


def _add_gradient(sums: Mapping[TensorName, _Sums], products: Iterable[_Product]) -> None:
    for product in products:
        gradient = sums[product.name].gradient
        found = torch.einsum("nop,ncp->oc", product.back, product.patches)
        gradient += found.view_as(gradient)
