"""One rung of the ladder: a smaller network, and how it came to be."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.allocation import ALLOCATIONS, UnreachableRatioError, allocate
from compressor.pruning.attention import with_plain_attention
from compressor.pruning.blocks import Align, alignment, choices, relative, units_left
from compressor.pruning.compensation import fold_means
from compressor.pruning.cost import Cost, cost
from compressor.pruning.exchange import exchanged
from compressor.pruning.finding import TIME_LIMIT_S, find, reasons
from compressor.pruning.groups import ChannelGroup, LeftAlone, compact
from compressor.pruning.importance import IMPORTANCES, scorable, score
from compressor.pruning.importance.measured import few, laid_out, mean_loss
from compressor.pruning.importance.subject import CPU
from compressor.pruning.layer_times import LatencyTable
from compressor.pruning.plain import in_time, plain
from compressor.pruning.price import Budget, Price, price, shapes_of
from compressor.pruning.surgery import cut, self_test
from compressor.pruning.tracing import TraceError, load

COMPENSATION_BATCHES: Final = 4
"""Batches that removed channels are averaged over; the mean of a thousand images is known well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """A network with its channel groups: what cuts start from."""

    model: nn.Module
    groups: tuple[ChannelGroup, ...]
    left_alone: tuple[LeftAlone, ...]
    cost: Cost
    example: Tensor
    """Inputs [n c h w] on which every cut is tested."""
    notes: tuple[str, ...] = ()
    """What was done to the network that was handed in, to make it one that can be cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What decides which channels go."""

    importance: str = "l2"
    allocation: str = "global"
    align: Align = "auto"
    of: Budget = "params"
    """What ratios are shares of."""
    steps: int = 1
    """Equal steps in which a cut is made, with scores estimated anew between them."""
    regulariser: float = 0.0
    """How much a model of the loss is believed near the present weights only."""
    exchanges: int = 0
    """Whole networks that are measured to correct the widths; 0: the allocation's are taken."""
    latencies: LatencyTable = field(default_factory=dict)
    """For ratios of latency: how long each layer takes."""
    compensate: bool = True
    """Whether what removed channels gave on average goes into the next bias."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """Per group name, the units of the dense network that stay. Plain data."""

    kept: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A physically smaller network that passed the self-test."""

    ratio: float
    """Share that was asked to be gone, of what ``Method.of`` says."""
    model: nn.Module
    plan: PrunePlan
    cost: Cost
    difference: float
    """Largest relative output difference of the self-test."""


def prunable(
    model: nn.Module, example: Tensor, *, seed: int, time_limit_s: float = TIME_LIMIT_S
) -> Prunable:
    """Find what of ``model`` can be cut rightly; the rest is named and left alone.

    Args:
        model: one tensor in, one tensor out; not changed.
        example: inputs [n c h w], n >= 2.
        seed: of the trial cuts.
        time_limit_s: seconds for all of it; groups that are not tested by then are left alone.

    Raises:
        TraceError: the network cannot be traced, or not within the limit.
    """
    load()
    cost(nn.Identity(), torch.zeros(1))  # the first count imports PyTorch's compiler: seconds too
    started = time.monotonic()
    with in_time(time_limit_s):
        made = plain(model, example)
        model, replaced = with_plain_attention(made.model, example)
        counted = cost(model, example)
    left_s = max(time_limit_s - (time.monotonic() - started), 0.0)
    groups, left_alone = find(model, example, seed=seed, time_limit_s=left_s)
    return Prunable(
        model=model,
        notes=(*made.notes, *replaced),
        groups=groups,
        left_alone=left_alone,
        cost=counted,
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
    scores: Mapping[str, Tensor] | None = None,
    device: torch.device = CPU,
) -> Candidate:
    """The next rung: ``before`` (or the dense network) cut down to ``ratio``, and tested.

    Args:
        dense: the network that the ladder started from.
        before: the previous rung, retrained; None for the first.
        ratio: share to be gone in all, of what ``method.of`` says the dense network costs.
        method: which channels go.
        batches: normalised training images and labels, for importances that look at them and for
            what removed channels give on average; gone through for each of ``method.steps``.
        seed: of the random importance.
        scores: ``dense_scores``, where they are known, for a rung that starts from there.
        device: where whole networks are measured, by ``ablation`` and for exchanges.

    Raises:
        TraceError: there is nothing that can be cut.
        UnreachableRatioError: no aligned choice of channels comes near the ratio.
        SurgeryError: the cut is not right.
    """
    if not dense.groups:
        raise TraceError(f"no channels of the network can be cut: {reasons(dense.left_alone)}")
    model = before.model if before else dense.model
    groups = compact(dense.groups, before.plan.kept) if before else list(dense.groups)
    rates = price(
        dense.model, dense.groups, dense.example, of=method.of, latencies=method.latencies
    )
    gone = 1.0 - rates.of(shapes_of(model)) / rates.of(shapes_of(dense.model))
    difference = 0.0
    for goal in _goals(gone, ratio, steps=method.steps):
        if scores is None or model is not dense.model:
            scores = _scores(
                model, groups, method=method, batches=batches, seed=seed, device=device
            )
        try:
            kept = _kept(
                dense, model, groups, scores, goal=goal, method=method, rates=rates,
                batches=batches, device=device,
            )  # fmt: skip
        except UnreachableRatioError:
            if goal == ratio:
                raise
            continue  # no aligned widths are near this step: it is taken with the next one
        if method.compensate:
            seen = islice((images for images, _ in batches), COMPENSATION_BATCHES)
            model = fold_means(model, groups, kept, seen)
        smaller = cut(model, groups, kept)
        difference = max(difference, self_test(model, smaller, groups, kept, dense.example))
        model, groups = smaller, compact(groups, kept)
    return Candidate(
        ratio=ratio,
        model=model,
        plan=PrunePlan(kept={group.name: group.units for group in groups}),
        cost=cost(model, dense.example),
        difference=difference,
    )


def dense_scores(
    dense: Prunable,
    *,
    method: Method,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
    device: torch.device = CPU,
) -> Mapping[str, Tensor]:
    """What ``propose`` computes first when it starts from the dense network, whatever the ratio."""
    return _scores(
        dense.model, dense.groups, method=method, batches=batches, seed=seed, device=device
    )


def _goals(gone: float, ratio: float, *, steps: int) -> list[float]:
    """Shares to be gone after each of so many equal steps, the last of them ``ratio`` itself.

    Laurent et al. 2020 (arXiv:2006.12279), section 3.3: scores foresee small changes only, so
    they are estimated anew between small cuts.
    """
    between = [gone + (ratio - gone) * step / steps for step in range(1, steps)]
    return [*(share for share in between if gone < share < ratio), ratio]


def _scores(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    *,
    method: Method,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
    device: torch.device,
) -> Mapping[str, Tensor]:
    """Scores that can be compared between groups."""
    criterion = IMPORTANCES[method.importance]
    scores = score(
        model,
        scorable(groups, model, criterion=criterion),
        criterion=criterion,
        batches=batches,
        seed=seed,
        regulariser=method.regulariser,
        device=device,
    )
    return scores if criterion.one_scale else relative(scores)


def _kept(
    dense: Prunable,
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    *,
    goal: float,
    method: Method,
    rates: Price,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
) -> dict[str, tuple[int, ...]]:
    """The units that stay, so that ``goal`` is gone."""
    scored = [group for group in groups if group.name in scores]
    allowed = alignment(method.align)
    given = choices(
        model,
        scored,
        scores,
        dense_units={g.name: len(g.units) for g in dense.groups},
        alignment=allowed,
        price=rates,
        dense_price=rates.of(shapes_of(dense.model)),
    )
    gone = allocate(
        given,
        ratio=goal,
        of=method.of,
        alignment=allowed,
        allocation=ALLOCATIONS[method.allocation],
    )
    if method.exchanges:
        chosen = few(batches)

        def measure(gone: Mapping[str, int]) -> float:
            smaller = cut(model, scored, units_left(scored, given, gone))
            return mean_loss(smaller, laid_out(smaller, chosen, device=device))

        gone = exchanged(given, gone, ratio=goal, measure=measure, most=method.exchanges)
    return units_left(scored, given, gone)


def rebuild(dense: Prunable, plan: PrunePlan, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network that ``plan`` describes, with ``weights`` in it."""
    model = cut(dense.model, dense.groups, plan.kept)
    model.load_state_dict(dict(weights))
    return model
