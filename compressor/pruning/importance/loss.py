"""Importances that model the loss without a unit, and are exact for small weights.

A cut sets the weights w that read a unit to zero. The loss changes by ``-sum g w + 1/2 sum G w^2``
with the gradient g and the diagonal G of the Gauss-Newton matrix; off the diagonal is left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup
from compressor.pruning.importance.curvature import expand
from compressor.pruning.importance.softmax import losses
from compressor.pruning.importance.subject import (
    Subject,
    TensorName,
    batches_of,
    listen,
    matrices,
    parts,
    per_unit,
)


def taylor(of: Subject) -> dict[str, Tensor]:
    """First-order change of the loss when the unit goes, as its root mean square over batches.

    Molchanov et al. 2019 (arXiv:1906.10771), eq. 8: ``(sum g w)^2``, with the sum over the weights
    that read the unit, which is the squared derivative by a gate on it; averaged over minibatches
    as there. The root ranks alike and is in units of the loss. The sum of a batch is signed, the
    mean over batches is not: at the end of training the mean gradient says little, its spread
    says how much the loss depends on the unit.
    """
    parameters, _ = listen(of)
    total = {group.name: torch.zeros(len(group.units)) for group in of.groups}
    count = 0
    for images, labels in batches_of(of):
        gradients = _gradients(of.model, images, labels, parameters)
        for group in of.groups:
            total[group.name] += len(images) * _over_readers(group, of, gradients).square()
        count += len(images)
    return {g.name: (total[g.name] / count).sqrt() + _locality(g, of) for g in of.groups}


def obd(of: Subject) -> dict[str, Tensor]:
    """Second-order change of the loss at a minimum: ``1/2 sum G w^2`` over what reads the unit.

    LeCun et al. 1989, "Optimal Brain Damage", eq. 5, with the Gauss-Newton diagonal for the
    Hessian's as there; per sample and over all samples (see ``curvature``).
    """
    terms = expand(of, slopes=False)
    return {g.name: 0.5 * terms[g.name].curvature + _locality(g, of) for g in of.groups}


def quadratic(of: Subject) -> dict[str, Tensor]:
    """Size of the second-order change of the loss: ``|-sum g w + 1/2 sum G w^2|``.

    Laurent et al. 2020 (arXiv:2006.12279), section 3, the quadratic model of single weights; here
    the signed terms of all weights that read the unit are summed before the absolute value, and g
    is the mean gradient over all samples.
    """
    terms = expand(of, slopes=True)
    return {
        g.name: (0.5 * terms[g.name].curvature - terms[g.name].slope).abs() + _locality(g, of)
        for g in of.groups
    }


def _gradients(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    parameters: Mapping[TensorName, nn.Parameter],
) -> dict[TensorName, Tensor]:
    """Gradients of the mean loss of a batch, which goes through the network in parts."""
    if not parameters:  # nothing reads a unit
        return {}
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    size = parts(images)
    for some, theirs in zip(images.split(size), labels.split(size), strict=True):
        found = torch.autograd.grad(
            losses(model(some), theirs).sum() / len(images),
            list(parameters.values()),
            allow_unused=True,
            materialize_grads=True,  # a parameter that the loss does not reach has gradient zero
        )
        for name, gradient in zip(parameters, found, strict=True):
            total[name] += gradient
    return {name: gradient.cpu().float() for name, gradient in total.items()}


def _locality(group: ChannelGroup, of: Subject) -> Tensor:
    """The regulariser: half of lambda times the squared length of the step that a cut is."""
    return 0.5 * of.regulariser * _over_readers(group, of, of.weights)


def _over_readers(group: ChannelGroup, of: Subject, factors: Mapping[TensorName, Tensor]) -> Tensor:
    """Per unit, the sum of its reading weights times ``factors``."""
    total = torch.zeros(len(group.units))
    for piece in matrices(group, of, roles=("consumer",)):
        name = (piece.module, piece.tensor)
        total += per_unit(piece, of.weights[name] * factors[name])
    return total
