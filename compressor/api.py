"""Pruning from Python: a network in, a smaller one out. Nothing is retrained or judged here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.pruning.allocation import ALLOCATIONS, UnreachableRatioError
from compressor.pruning.blocks import Align
from compressor.pruning.candidate import Method, propose, prunable
from compressor.pruning.cost import Cost
from compressor.pruning.groups import LeftAlone
from compressor.pruning.importance import IMPORTANCES
from compressor.pruning.plain import answering_as_before
from compressor.pruning.surgery import SurgeryError
from compressor.pruning.tracing import TraceError
from compressor.training.batchnorm import reestimate

__all__ = [
    "ALLOCATIONS",
    "IMPORTANCES",
    "Cost",
    "LeftAlone",
    "Pruned",
    "SurgeryError",
    "TraceError",
    "UnreachableRatioError",
    "prune",
    "reestimate",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A smaller network, and what was and was not done to get it."""

    model: nn.Module
    """Of plain layers; takes, returns and weighs in what the network that was given does."""
    cost: Cost
    dense: Cost
    """What the network that was given costs."""
    kept: dict[str, tuple[int, ...]]
    """Per group of channels that could be cut, by the name of its first layer: those that stay."""
    left_alone: tuple[LeftAlone, ...]
    """Layers that stay whole, and why."""
    notes: tuple[str, ...]
    """What was changed before the cut: wrappers taken off, computed weights made plain."""
    difference: float
    """Between the smaller network and the given one with those channels set to zero, relative."""


def prune(
    model: nn.Module,
    example: Tensor,
    *,
    ratio: float = 0.5,
    importance: str = "l2",
    allocation: str = "global",
    align: Align = "auto",
    of: Literal["params", "macs"] = "params",
    steps: int = 1,
    exchanges: int = 0,
    batches: Sequence[tuple[Tensor, Tensor]] = (),
    seed: int = 0,
) -> Pruned:
    """Cut the least important channels out of a copy of ``model``; that one is not changed.

    Args:
        model: takes one tensor; its output is one tensor or holds one.
        example: inputs [n c h w], normalised as the network wants them.
        ratio: share to remove, between 0 and 1, of what ``of`` says.
        importance: a name in ``IMPORTANCES``.
        allocation: a name in ``ALLOCATIONS``.
        align: kept channels are a multiple of this; "auto" is 8, and less in narrow layers.
        of: parameters, or multiply-adds.
        steps: equal steps in which the cut is made, with scores estimated anew between them.
        exchanges: networks that are measured on ``batches`` to correct the widths; 0 for none.
        batches: inputs [n c h w] and labels [n], for importances that look at images. Where there
            are any, what removed channels gave on average goes into the next layer's bias.
        seed: of every random choice.

    Raises:
        ValueError: an argument is out of range, or an importance looks at images and has none.
        TraceError: the network cannot be cut; names the module.
        UnreachableRatioError: no aligned widths come near the ratio; a ValueError too.
        SurgeryError: the cut network would not compute what it should.
    """
    _check(
        example,
        ratio=ratio,
        importance=importance,
        allocation=allocation,
        of=of,
        exchanges=exchanges,
        batches=batches,
    )
    tensors = [value for value in model.parameters() if value.is_floating_point()]
    dtype = tensors[0].dtype if tensors else torch.float32
    images = example.detach().cpu().float()
    dense = prunable(model, images, seed=seed)
    method = Method(
        importance=importance,
        allocation=allocation,
        align=align,
        of=of,
        steps=steps,
        exchanges=exchanges,
        compensate=bool(batches),
    )
    made = propose(
        dense,
        None,
        ratio=ratio,
        method=method,
        batches=[(seen.detach().cpu().float(), labels.cpu()) for seen, labels in batches],
        seed=seed,
    )
    home = tensors[0].device if tensors else torch.device("cpu")
    smaller = answering_as_before(made.model).to(device=home, dtype=dtype)
    return Pruned(
        model=smaller.train(model.training),
        cost=made.cost,
        dense=dense.cost,
        kept=dict(made.plan.kept),
        left_alone=dense.left_alone,
        notes=dense.notes,
        difference=made.difference,
    )


def _check(
    example: object,
    *,
    ratio: float,
    importance: str,
    allocation: str,
    of: str,
    exchanges: int,
    batches: Sequence[tuple[Tensor, Tensor]],
) -> None:
    if not isinstance(example, Tensor) or not len(example):
        kind = type(example).__name__
        raise ValueError(f"example is a {kind}; give one tensor of at least one input [n c h w]")
    if not 0.0 < ratio < 1.0:
        raise ValueError(f"ratio is {ratio}, and must be between 0 and 1: the share to remove")
    for name, chosen, known in (
        ("importance", importance, IMPORTANCES),
        ("allocation", allocation, ALLOCATIONS),
        ("of", of, ("params", "macs")),
    ):
        if chosen not in known:
            raise ValueError(f"{name} is {chosen!r}; known are {', '.join(known)}")
    if IMPORTANCES[importance].needs_batches and not batches:
        raise ValueError(
            f"the importance {importance!r} looks at images; give batches=[(inputs, labels), ...]"
        )
    if exchanges < 0:
        raise ValueError(f"exchanges is {exchanges}, and must be 0 or more: networks to measure")
    if exchanges and not batches:
        raise ValueError("exchanges are measured on images; give batches=[(inputs, labels), ...]")
