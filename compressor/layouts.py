"""How images lie in memory while a network computes."""

import copy

import torch
from torch import Tensor, nn


def fastest_layout(model: nn.Module, images: Tensor) -> torch.memory_format:
    """Channels last, a fifth faster in training, unless the model's code cannot run on it.

    A ``view`` that flattens feature maps fails on channels-last tensors, and inputs that are no
    images [n c h w] have no such layout. ``images`` is one or a few of what the model is to take.
    """
    layout = torch.channels_last
    network = copy.deepcopy(model).to(memory_format=layout).eval()
    try:
        with torch.inference_mode():
            network(images.contiguous(memory_format=layout))
    except RuntimeError:
        # Whatever else is wrong with the model fails again, visibly, where it is used.
        return torch.contiguous_format
    return layout
