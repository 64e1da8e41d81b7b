"""One rung of the ladder: a smaller network, and how it came to be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from compressor.pruning.allocation import ALLOCATIONS, Alignment, allocate
from compressor.pruning.cost import Cost, cost
from compressor.pruning.groups import ChannelGroup, LeftAlone, compact
from compressor.pruning.importance import IMPORTANCES, score
from compressor.pruning.surgery import cut, self_test, sound_groups
from compressor.pruning.tracing import trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """A network with its channel groups: what cuts start from."""

    model: nn.Module
    groups: tuple[ChannelGroup, ...]
    left_alone: tuple[LeftAlone, ...]
    cost: Cost
    example: Tensor
    """Inputs [n c h w] on which every cut is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What decides which channels go."""

    importance: str = "l2"
    allocation: str = "global"
    align: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """Per group name, the units of the dense network that stay. Plain data."""

    kept: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A physically smaller network that passed the self-test."""

    ratio: float
    """Share of the dense parameters that was asked to be gone."""
    model: nn.Module
    plan: PrunePlan
    cost: Cost
    difference: float
    """Largest relative output difference of the self-test."""


def prunable(model: nn.Module, example: Tensor, *, seed: int) -> Prunable:
    """Find what of ``model`` can be cut rightly; the rest is named and left alone.

    Args:
        model: one tensor in, one tensor out; not changed.
        example: inputs [n c h w], n >= 2.
        seed: of the trial cuts.

    Raises:
        TraceError: the network cannot be traced.
    """
    found, untraceable = trace(model, example)
    groups, unsound = sound_groups(model, found, example, seed=seed)
    return Prunable(
        model=model,
        groups=groups,
        left_alone=(*untraceable, *unsound),
        cost=cost(model, example),
        example=example,
    )


def propose(
    dense: Prunable,
    before: Candidate | None,
    *,
    ratio: float,
    method: Method,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
) -> Candidate:
    """The next rung: ``before`` (or the dense network) cut down to ``ratio``, and tested.

    Args:
        dense: the network that the ladder started from.
        before: the previous rung, retrained; None for the first.
        ratio: share of the dense parameters to be gone in all.
        method: which channels go.
        batches: normalised training images and labels, for importances that need gradients.
        seed: of the random importance.

    Raises:
        UnreachableRatioError: no aligned choice of channels comes near the ratio.
        SurgeryError: the cut is not right.
    """
    model = before.model if before else dense.model
    groups = compact(dense.groups, before.plan.kept) if before else list(dense.groups)
    scores = score(
        model, groups, criterion=IMPORTANCES[method.importance], batches=batches, seed=seed
    )
    kept = allocate(
        model,
        groups,
        scores,
        dense_params=dense.cost.params,
        dense_units={g.name: len(g.units) for g in dense.groups},
        ratio=ratio,
        alignment=Alignment(multiple=method.align),
        priority=ALLOCATIONS[method.allocation],
    )
    smaller = cut(model, groups, kept)
    difference = self_test(model, smaller, groups, kept, dense.example)
    return Candidate(
        ratio=ratio,
        model=smaller,
        plan=PrunePlan(kept=kept),
        cost=cost(smaller, dense.example),
        difference=difference,
    )


def rebuild(dense: Prunable, plan: PrunePlan, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network that ``plan`` describes, with ``weights`` in it."""
    model = cut(dense.model, dense.groups, plan.kept)
    model.load_state_dict(dict(weights))
    return model
