"""What a network weighs and computes, counted on the network itself."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Parameters and multiply-adds of one network."""

    params: int
    macs: int
    """Multiply-adds for one image (one multiply-add counts as one)."""


def cost(model: nn.Module, example: Tensor) -> Cost:
    """Count ``model`` on one image of ``example`` [n c h w].

    Convolutions, linear layers and attention products are counted as PyTorch executes them;
    normalisations, activations and additions are not.
    """
    twin = copy.deepcopy(model).eval()
    # Not inference_mode: counting takes some operations apart, which that mode forbids.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(example[:1])
    return Cost(params=count_params(model), macs=int(counter.get_total_flops()) // 2)


def count_params(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def removed_share(dense: Cost, pruned: Cost) -> Mapping[str, float]:
    """Shares of parameters and multiply-adds that are gone, 0..1."""
    return {
        "params": 1.0 - pruned.params / dense.params,
        "macs": 1.0 - pruned.macs / dense.macs,
    }
