"""The pixels that an answer rests on: backward selection, exact and by gradients.

Carter et al. 2019, "What made you do this?" (arXiv:1810.03805): starting from the whole image, mask
again and again the pixel without which the confidence stays highest. The last ones left are the
most informative. A masked pixel is 0 in all channels of the normalised image, the mean.

The exact form asks about every pixel that is left, pixels^2 / 2 times in all. The batched one
(Carter et al. 2021, arXiv:2003.08907) takes the gradient of the confidence by the mask instead and
masks a share of the pixels that are left at once: those along which it falls least.
"""

import math

import torch
from torch import Tensor, nn


def backward_selection(network: nn.Module, images: Tensor, *, share: float, step: float) -> Tensor:
    """Which pixels stay, bool [n h w], by gradients; as many as ``share``, rounded up, in each.

    Args:
        network: normalised images [n c h w] to logits [n classes]; in evaluation mode.
        images: normalised.
        share: of the pixels, that stay.
        step: share of those still there that goes between two gradients; at least one pixel does.
    """
    n, _, h, w = images.shape
    wanted = math.ceil(share * h * w)
    classes = _named(network, images)
    left = torch.ones(n, h * w, dtype=torch.bool, device=images.device)
    while (count := int(left[0].sum())) > wanted:
        going = min(max(1, math.floor(step * count)), count - wanted)
        slopes = _slopes(network, images, left, classes).masked_fill(~left, torch.inf)
        lowest = slopes.argsort(dim=1, stable=True)[:, :going]
        left.scatter_(1, lowest, value=False)
    return left.view(n, h, w)


def exact_selection(network: nn.Module, image: Tensor, *, share: float) -> Tensor:
    """The same of one image [c h w], asking about every pixel that is left: bool [h w]."""
    _, h, w = image.shape
    wanted = math.ceil(share * h * w)
    classes = _named(network, image[None])
    left = torch.ones(h * w, dtype=torch.bool, device=image.device)
    while int(left.sum()) > wanted:
        places = left.nonzero()[:, 0]
        tried = left.repeat(len(places), 1)
        tried[torch.arange(len(places)), places] = False
        confidence = _confidence(network, image.expand(len(places), -1, -1, -1), tried, classes)
        left[places[confidence.argmax()]] = False
    return left.view(h, w)


def confidences(network: nn.Module, images: Tensor, kept: Tensor, classes: Tensor) -> Tensor:
    """Softmax of ``classes`` [n] on images [n c h w] of which the pixels ``kept`` [n h w] stay."""
    with torch.inference_mode():
        logits: Tensor = network(images * kept[:, None])
        found: Tensor = logits.double().softmax(1).gather(1, classes[:, None])[:, 0]
    return found


def _named(network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        named: Tensor = network(images).argmax(1)
    return named.clone()


def _slopes(network: nn.Module, images: Tensor, left: Tensor, classes: Tensor) -> Tensor:
    """Gradient [n pixels] of the confidence's log-odds by the mask."""
    with torch.enable_grad():
        mask = left.to(images.dtype).requires_grad_()
        logits = network(images * mask.view(len(images), 1, *images.shape[2:]))
        total = _log_odds(logits, classes).sum()
        (slopes,) = torch.autograd.grad(total, mask)
    found: Tensor = slopes
    return found


def _confidence(network: nn.Module, images: Tensor, left: Tensor, classes: Tensor) -> Tensor:
    with torch.inference_mode():
        logits = network(images * left.view(len(images), 1, *images.shape[2:]))
        return _log_odds(logits, classes.expand(len(logits)))


def _log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Of the classes [n] against all others: they order masks as the confidence does.

    A confidence near 1 is 1 in floating point, and its gradient 0; its log-odds are neither.
    """
    own = torch.nn.functional.one_hot(classes, logits.shape[1]).bool()
    others = logits.masked_fill(own, -torch.inf).logsumexp(1)
    return logits.masked_fill(~own, 0.0).sum(1) - others
