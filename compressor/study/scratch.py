"""Networks that start from nothing: the control of every comparison."""

import copy

import torch
from torch import nn


def anew(model: nn.Module, *, seed: int) -> nn.Module:
    """A copy with the weights that its layers start with, drawn with ``seed``.

    Raises:
        ValueError: a parameter belongs to a layer that cannot be started anew.
    """
    network = copy.deepcopy(model)
    settled: set[int] = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # noqa: TID251 - does not leak: forked; layers take no generator
        for layer in network.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
                settled |= {id(parameter) for parameter in layer.parameters(recurse=False)}
    left = [name for name, parameter in network.named_parameters() if id(parameter) not in settled]
    if left:
        raise ValueError(
            f"{', '.join(left[:5])} cannot be started anew: the layer has no reset_parameters; a "
            "control would keep a part of the dense network"
        )
    return network
