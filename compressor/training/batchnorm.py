"""BatchNorm statistics of the network that is, not of the one that was.

Removing channels changes what every later layer receives, while the running means and variances
still describe the dense network. One pass over a few hundred training images puts them right,
without labels.
"""

import copy
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from compressor.training.recipe import TrainingError

_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def reestimate(model: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """A copy in evaluation mode whose BatchNorm statistics are those of ``batches``.

    Plain averages over the batches (float32 [n c h w], normalised, of equal size: a smaller one
    counts as much). They come from training images, never from those of the gate. A model without
    running statistics comes back as a plain copy, and ``batches`` is not read.

    Raises:
        TrainingError: there are fewer than two images.
    """
    network = copy.deepcopy(model).eval()
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BATCH_NORMS) and module.track_running_stats
    ]
    if not norms:
        return network
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative average instead of a decaying one
        norm.train()
    seen = 0
    with torch.no_grad():
        for images in batches:
            seen += len(images)
            if len(images) > 1:  # one image has no variance, and would count as much as a batch
                network(images)
    if seen < 2:
        raise TrainingError(
            f"{seen} images to estimate BatchNorm from; give at least two, better some hundreds"
        )
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return network
