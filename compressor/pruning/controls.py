"""How much a single weight matters: the table of unstructured controls.

A control scores every prunable weight of a network; higher is kept. These are the criteria that
studies compare structured pruning with. They rank scalars, where an importance ranks channels.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

Batches = Iterable[tuple[Tensor, Tensor]]
"""Normalised training images [n c h w] and labels [n]."""

_LAYERS: Final = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_FORWARDS: Final[frozenset[Callable[..., Any]]] = frozenset(kind.forward for kind in _LAYERS)


class Control(Protocol):
    """Score every prunable weight of ``network``: by parameter name, of the weight's shape.

    ``network`` is a copy in evaluation mode that the control may spoil.
    """

    def __call__(
        self, network: nn.Module, batches: Batches, generator: torch.Generator
    ) -> Mapping[str, Tensor]: ...


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of linear layers and convolutions, grouped and transposed ones too, by name.

    Not: biases, normalisations, embeddings, attention's ``in_proj_weight``, the weights of a layer
    with a ``forward`` of its own (weight standardisation would turn a zero into something else),
    and those computed from other parameters (weight and spectral normalisation). A weight that
    two layers share is named once.
    """
    return {
        name: weight
        for name, weight in model.named_parameters()
        if name.rpartition(".")[2] == "weight"
        and type(model.get_submodule(name.rpartition(".")[0])).forward in _FORWARDS
    }


def magnitude(
    network: nn.Module, batches: Batches, generator: torch.Generator
) -> Mapping[str, Tensor]:
    """``|w|``: weight thresholding (WT). Han et al. 2015 (arXiv:1506.02626), section 3.

    One threshold for the whole network: Renda et al. 2020 (arXiv:2003.02389), section 2.
    """
    del batches, generator
    return {name: weight.detach().abs() for name, weight in prunable_weights(network).items()}


def gradient(
    network: nn.Module, batches: Batches, generator: torch.Generator
) -> Mapping[str, Tensor]:
    """``|w dL/dw|``, with L the mean cross-entropy over all images.

    The connection sensitivity of SNIP, Lee et al. 2019 (arXiv:1810.02340), eq. 6, of a trained
    network and without its normalisation, which changes no rank; the gradient-magnitude baseline
    of Blalock et al. 2020 (arXiv:2003.03033).
    """
    del generator
    network.requires_grad_()
    network.zero_grad()
    images_seen = 0
    for images, labels in batches:
        nn.functional.cross_entropy(network(images), labels, reduction="sum").backward()
        images_seen += len(labels)
    if images_seen == 0:
        raise ValueError("gradient scores weights on training images, and none was given")
    return {
        # A weight that the loss does not reach has gradient zero.
        name: torch.zeros_like(weight)
        if weight.grad is None
        else (weight.detach() * weight.grad / images_seen).abs()
        for name, weight in prunable_weights(network).items()
    }


def sipp(network: nn.Module, batches: Batches, generator: torch.Generator) -> Mapping[str, Tensor]:
    """Sensitivity: the share of a weight in its output's pre-activation, at most, on the images.

    SiPP, deterministic variant: Baykal et al. 2019 (arXiv:1910.05422), SIAM J. Math. Data Sci.
    4(1), 2022. For output i and input j of a layer, ``a >= 0`` and the weights of one sign:

        g_ij(x) = w_ij a_j(x) / sum_k w_ik a_k(x),    s_ij = max over images x of g_ij(x),

    k running over the weights of output i that have the sign of w_ij, so that g is in [0, 1]; the
    bias takes no part, and 0 / 0 is 0. Inputs of both signs are taken as two, their positive part
    and the size of their negative part, and s is the larger. A weight that acts at several
    positions of an image (a convolution; a linear layer on tokens) has the mean of g over them,
    as in the authors' deterministic tracker; an image is an entry of the layer's first dimension.

    Raises:
        ValueError: there is no image, or a layer's weight is used past its module, where its
            inputs cannot be seen.
    """
    del generator
    weights = prunable_weights(network)
    highest: dict[str, Tensor] = {}
    for layer, name in _users(network, weights):
        layer.register_forward_pre_hook(_watch(_bare(layer), name, highest))
    images_seen = 0
    with torch.no_grad():
        for images, _labels in batches:
            network(images)
            images_seen += len(images)
    if images_seen == 0:
        raise ValueError("sipp scores weights on training images, and none was given")
    if unseen := [name for name in weights if name not in highest]:
        raise ValueError(
            f"sipp saw no input of {', '.join(unseen)}: the network uses these weights past their "
            f"modules, or not at all; take another control"
        )
    return highest


def random(
    network: nn.Module, batches: Batches, generator: torch.Generator
) -> Mapping[str, Tensor]:
    """Uniform scores: what any criterion has to beat."""
    del batches
    return {
        name: torch.rand(weight.shape, generator=generator)
        for name, weight in prunable_weights(network).items()
    }


CONTROLS: Final[Mapping[str, Control]] = {
    "magnitude": magnitude,
    "gradient": gradient,
    "sipp": sipp,
    "random": random,
}


def _users(network: nn.Module, weights: Mapping[str, nn.Parameter]) -> list[tuple[nn.Module, str]]:
    """Every layer that has one of ``weights``, and the weight's name; shared ones have several."""
    names = {id(weight): name for name, weight in weights.items()}
    return [
        (layer, names[id(weight)])
        for layer in network.modules()
        for leaf, weight in layer.named_parameters(recurse=False)
        if leaf == "weight" and type(layer).forward in _FORWARDS and id(weight) in names
    ]


def _bare(layer: nn.Module) -> nn.Module:
    """The layer without bias, in double precision: there no ratio of float32 overflows."""
    bare = copy.deepcopy(layer).cpu().double()
    bare.register_parameter("bias", None)
    return bare


def _watch(
    bare: nn.Module, name: str, highest: dict[str, Tensor]
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    weight = bare.get_parameter("weight").detach()
    signs = (weight.clamp(min=0), weight.clamp(max=0))

    def watch(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        del layer
        best = highest.get(name, torch.zeros_like(weight))
        for image in inputs[0].detach().cpu().double().split(1):
            for part in (image.clamp(min=0), (-image).clamp(min=0)):
                if bool(part.any()):
                    best = best.maximum(_shares(bare, signs, part))
        highest[name] = best

    return watch


def _shares(bare: nn.Module, signs: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
    """The g of one image; a weight has one sign, so that one of the two terms is zero."""
    return _share(bare, signs[0], inputs) + _share(bare, signs[1], inputs)


def _share(bare: nn.Module, weight: Tensor, inputs: Tensor) -> Tensor:
    """Mean over positions p of ``w a_p / z_p``, with ``z = w a`` and no sign mixed in.

    The layer is linear in w: ``dz_p / dw`` is the input that meets w at p, whatever the stride,
    the padding and the groups, so that the sum over p is w times a gradient of z.
    """
    with torch.enable_grad():
        leaf = weight.detach().requires_grad_()
        outputs: Tensor = functional_call(bare, {"weight": leaf}, (inputs,))
    found = outputs.detach()
    inverse = torch.where(found == 0, 0.0, 1 / found)
    (total,) = torch.autograd.grad(outputs, leaf, grad_outputs=inverse)
    channel = -1 if isinstance(bare, nn.Linear) else 1
    positions = found.numel() // found.shape[channel]
    shares: Tensor = weight * total / positions
    return shares
