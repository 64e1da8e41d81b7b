"""Models of what the loss loses with each weight: MP, LM, QM and OBD, weight by weight.

Laurent et al. 2020, "Revisiting Loss Modelling for Unstructured Pruning" (arXiv:2006.12279): to
remove a weight w is to move it by -w. With g the mean gradient, h the diagonal of the Gauss-Newton
matrix and lambda a pull towards the present weights, where the model holds:

    MP   w^2 / 2
    LM   |g w| + lambda w^2 / 2
    QM   |-g w + h w^2 / 2| + lambda w^2 / 2
    OBD  h w^2 / 2 + lambda w^2 / 2      (LeCun et al. 1989: g taken to be 0)

Each is a ``Control``: higher is kept. The structured importances ``taylor``, ``quadratic`` and
``obd`` are the same models, summed over what belongs to a channel.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.controls import Batches, Control, prunable_weights
from compressor.pruning.importance.readers import Reading, readings
from compressor.pruning.importance.softmax import losses, seeds, seeds_needed
from compressor.pruning.importance.subject import TRANSPOSED, TensorName

Scores = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""Weight, mean gradient, curvature, all of one shape, to scores."""

_PART: Final = 25
"""Images whose own gradients are formed at once."""


def loss_model(criterion: str, *, regulariser: float) -> Control:
    """The control of a name in ``CRITERIA``, with this lambda."""
    return functools.partial(_scored, criterion=criterion, regulariser=regulariser)


def expansion(
    network: nn.Module, batches: Batches, *, curved: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean gradient and, if asked for, Gauss-Newton diagonal of every prunable weight, by name.

    The diagonal is that of the mean over images: the mean of squared gradients of each image along
    the factors of the softmax's Hessian (``importance.softmax``), no sampling but of images.

    Raises:
        ValueError: there are no images.
        UnscorableError: a layer's own gradients per image cannot be formed.
    """
    weights = prunable_weights(network)
    names = {id(weight): _split(name) for name, weight in weights.items()}
    network.requires_grad_(requires_grad=False)
    for weight in weights.values():
        weight.requires_grad_()
    slopes = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    curves = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    for images, labels in batches:
        count += len(labels)
        _add_slopes(slopes, network, weights, images, labels)
        if curved:
            for rows in _alike(network, images):
                _add_squares(curves, network, names, images[rows])
    if not count:
        raise ValueError("models of the loss are made of training images, and none was given")
    mean = {name: total / count for name, total in slopes.items()}
    return mean, {name: total / count for name, total in curves.items()} if curved else {}


def _scored(
    network: nn.Module,
    batches: Batches,
    generator: torch.Generator,
    *,
    criterion: str,
    regulariser: float,
) -> Mapping[str, Tensor]:
    del generator
    formula, sloped, curved = CRITERIA[criterion]
    slopes: Mapping[str, Tensor] = {}
    curves: Mapping[str, Tensor] = {}
    if sloped or curved:
        with torch.enable_grad():
            slopes, curves = expansion(network, batches, curved=curved)
    return {
        name: formula(weight.detach(), slopes.get(name), curves.get(name))
        + (regulariser / 2 * weight.detach().square() if criterion != "MP" else 0.0)
        for name, weight in prunable_weights(network).items()
    }


def _magnitude(weight: Tensor, slope: Tensor | None, curve: Tensor | None) -> Tensor:
    del slope, curve
    return weight.square() / 2


def _linear(weight: Tensor, slope: Tensor | None, curve: Tensor | None) -> Tensor:
    del curve
    assert slope is not None
    return (slope * weight).abs()


def _quadratic(weight: Tensor, slope: Tensor | None, curve: Tensor | None) -> Tensor:
    assert slope is not None
    assert curve is not None
    return (-slope * weight + curve * weight.square() / 2).abs()


def _damage(weight: Tensor, slope: Tensor | None, curve: Tensor | None) -> Tensor:
    del slope
    assert curve is not None
    return curve * weight.square() / 2


CRITERIA: Final[Mapping[str, tuple[Scores, bool, bool]]] = {
    "MP": (_magnitude, False, False),
    "LM": (_linear, True, False),
    "QM": (_quadratic, True, True),
    "OBD": (_damage, False, True),
}
"""Formula, and whether it asks for the gradient and for the curvature."""


def _split(name: str) -> TensorName:
    module, _, tensor = name.rpartition(".")
    return module, tensor


def _add_slopes(
    slopes: Mapping[str, Tensor],
    network: nn.Module,
    weights: Mapping[str, nn.Parameter],
    images: Tensor,
    labels: Tensor,
) -> None:
    total = losses(network(images), labels).sum()
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    for name, gradient in zip(weights, found, strict=True):
        if gradient is not None:  # a weight that the loss does not reach has none
            slopes[name].add_(gradient)


@torch.no_grad()
def _alike(network: nn.Module, images: Tensor) -> Sequence[Tensor]:
    """Rows of images that need about as many seeds, so that few are taken in vain."""
    rows: Tensor = seeds_needed(network(images)).argsort(stable=True)
    parts: tuple[Tensor, ...] = rows.split(_PART)
    return parts


def _add_squares(
    curves: Mapping[str, Tensor],
    network: nn.Module,
    names: Mapping[int, TensorName],
    images: Tensor,
) -> None:
    logits, seen = readings(network, images, names)
    reached = [reading for reading in seen if reading.edge is not None]
    edges = [reading.edge for reading in reached if reading.edge is not None]
    patches = [reading.patches().flatten(1, 2) for reading in reached]
    needed = int(seeds_needed(logits.detach()).max()) if len(logits) else 0
    for seed in seeds(logits, needed):
        back = torch.autograd.grad(
            logits, edges, grad_outputs=seed, retain_graph=True, allow_unused=True
        )
        for name, squares in _squares(reached, patches, back):
            weight = curves[".".join(filter(None, name))]
            weight.add_(_as_weight(network, name, squares, weight))


def _squares(
    reached: Sequence[Reading], patches: Sequence[Tensor], back: Sequence[Tensor | None]
) -> Iterator[tuple[TensorName, Tensor]]:
    """Sum over images of their squared gradients [outputs columns], for every weight."""
    gradients: dict[TensorName, Tensor] = {}
    for reading, read, found in zip(reached, patches, back, strict=True):
        if found is not None:
            product = torch.bmm(reading.by_output(found), read.transpose(1, 2))
            # Of a weight that is used twice, an image's gradient is the sum.
            before = gradients.get(reading.name)
            gradients[reading.name] = product if before is None else before + product
    yield from ((name, gradient.square().sum(0)) for name, gradient in gradients.items())


def _as_weight(network: nn.Module, name: TensorName, matrix: Tensor, weight: Tensor) -> Tensor:
    """A matrix [outputs columns] of ``readings`` in the shape of its weight."""
    if isinstance(network.get_submodule(name[0]), TRANSPOSED):
        sizes = (weight.shape[1], weight.shape[0], *weight.shape[2:])
        flipped = matrix.view(sizes).flip(tuple(range(2, weight.dim())))
        return flipped.transpose(0, 1)
    return matrix.view(weight.shape)
