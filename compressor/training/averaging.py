"""An exponential moving average of a network's weights.

An average of the last weights lies nearer to the middle of the basin that stochastic gradient
descent circles in (Polyak & Juditsky 1992, doi:10.1137/0330046; Izmailov et al. 2018,
arXiv:1803.05407, who also re-estimate BatchNorm after averaging).
"""

import itertools

import torch
from torch import nn


def decay_at(step: int, decay: float) -> float:
    """The decay of a step, counted from 0: min(decay, (1 + step) / (10 + step)).

    Small at first, so that an average of few steps is not one of the weights from before them.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move ``average``, a copy of ``network``, to decay * average + (1 - decay) * network.

    Parameters and buffers of floating point, BatchNorm's statistics among them; counters are
    copied.
    """
    theirs = dict(itertools.chain(network.named_parameters(), network.named_buffers()))
    for name, mine in itertools.chain(average.named_parameters(), average.named_buffers()):
        if mine.is_floating_point():
            mine.lerp_(theirs[name], 1 - decay)
        else:
            mine.copy_(theirs[name])
