"""Processes that retrain one network together: which of them this is, and what they share."""

import copy
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Which process this is, and how many there are.

    All draw the same random numbers in the same order, so that all know every batch and each takes
    its own part of it.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what the others need not."""
        return self.rank == 0

    def share(self, batch: NDArray[np.intp]) -> NDArray[np.intp]:
        """This process's part of a batch's positions [n]. All parts are equally large.

        The mean of their gradients is then that of the batch. What is left over of a last, smaller
        batch waits for another epoch's order.
        """
        whole = len(batch) // self.size * self.size
        return batch[: whole if self.size > 1 else None][self.rank :: self.size]

    def joined(self, network: nn.Module, example: Tensor) -> nn.Module:
        """The network as it is called in training: gradients are the mean over all processes.

        BatchNorm computes with each process's own images; the statistics that are kept are those of
        the first process (Li et al. 2020, arXiv:2006.15704, section 4.1).
        """
        if self.size == 1:
            return network
        return DistributedDataParallel(
            network, find_unused_parameters=not _reaches_all(network, example)
        )

    def total(self, *counts: float, device: torch.device) -> tuple[float, ...]:
        """Each count summed over all processes; ``device`` carries the sums."""
        if self.size == 1:
            return counts
        sums = torch.tensor(counts, dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        return tuple(sums.tolist())


def _reaches_all(network: nn.Module, example: Tensor) -> bool:
    """Whether every parameter has a part in the answer: gradients of others are waited for in vain.

    To look for them in every step takes time, and PyTorch complains where there are none.
    """
    probe = copy.deepcopy(network).eval()
    probe(example).sum().backward()
    return all(parameter.grad is not None for parameter in probe.parameters())


ALONE: Final = Team()
