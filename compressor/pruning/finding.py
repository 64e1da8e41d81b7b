"""What of a network can be cut rightly: torch-pruning first, the forward pass where that fails."""

import time
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from compressor.pruning.attention import attention_groups
from compressor.pruning.groups import ChannelGroup, LeftAlone
from compressor.pruning.surgery import sound_groups
from compressor.pruning.tracing import TraceError, refuse_wrappers, trace, trace_inner

TIME_LIMIT_S = 30.0
"""Seconds after which a network is done or refused."""

_SHARE_OF_TRACING = 0.5
"""Of the time limit; the rest is for the forward pass that is followed, and for trial cuts."""

_OUTPUTS = "these are the network's outputs"

Found = tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]


def find(
    model: nn.Module, example: Tensor, *, seed: int, time_limit_s: float = TIME_LIMIT_S
) -> Found:
    """The groups of ``model`` that can be cut rightly, and what is left alone and why.

    Where torch-pruning raises or does not end, only channels that are private to a few layers
    are cut, and the first entry of what is left alone says so. Where some of its groups fail the
    self-test, such channels are looked for among them.

    Args:
        model: one tensor in, one tensor out; not changed.
        example: inputs [n c h w], n >= 2, of which two are taken.
        seed: of the trial cuts.
        time_limit_s: seconds for all of it; groups that are not tested by then are left alone.

    Raises:
        TraceError: the network cannot be traced, or nothing of it can be cut.
    """
    until = time.monotonic() + time_limit_s
    refuse_wrappers(model)
    example = example[:2]  # every cut that is kept is tested on all
    try:
        traced, left = trace(model, example, time_limit_s=_SHARE_OF_TRACING * time_limit_s)
    except TraceError as error:
        return _inner_alone(model, example, error, seed=seed, until=until)
    traced, left = _with_attention(model, traced, left)
    groups, unsound = sound_groups(model, traced, example, seed=seed, until=until)
    if not unsound:
        return groups, left
    try:
        inner, _ = trace_inner(model, example, time_limit_s=_left_of(until))
    except TraceError as error:
        also = f"and what is private to a few layers was not found: {error}"
        told = tuple(replace(item, reason=f"{item.reason}; {also}") for item in unsound)
        return groups, (*left, *told)
    more = _apart_from(groups, inner)
    if more:
        groups, still = sound_groups(model, (*groups, *more), example, seed=seed, until=until)
        cut = {group.name for group in groups}
        unsound = tuple(u for u in (*unsound, *still) if u.modules[0] not in cut)
    return groups, (*left, *unsound)


def _inner_alone(
    model: nn.Module, example: Tensor, error: TraceError, *, seed: int, until: float
) -> Found:
    try:
        inner, left = trace_inner(model, example, time_limit_s=_left_of(until))
    except TraceError as again:
        raise error from again  # whose note has the traceback, should the fault be our own
    inner, left = _with_attention(model, inner, left)
    groups, unsound = sound_groups(model, inner, example, seed=seed, until=until)
    if not groups:
        said = reasons((*unsound, *left))
        raise TraceError(f"{error}; and no channels are private to a few layers: {said}") from error
    why = LeftAlone(
        modules=tuple(name for name, module in model.named_children()),
        reason=f"all but inner widths, which follow from one forward pass: {error}",
    )
    return groups, (why, *left, *unsound)


def reasons(left: Sequence[LeftAlone]) -> str:
    """Why layers stay whole, each reason once, behind the first layer that it is given for.

    That some are the network's outputs is said where there is nothing else to say.
    """
    modules: dict[str, list[str]] = {}
    for item in left:
        modules.setdefault(item.reason, []).extend(item.modules)
    told = {reason: names for reason, names in modules.items() if reason != _OUTPUTS} or modules
    return "; ".join(_of(names) + reason for reason, names in told.items())


def _of(names: Sequence[str]) -> str:
    """The first and how many more; nothing of a network that is one layer, which has no name."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}: " if names and names[0] else ""


def _with_attention(
    model: nn.Module, groups: Sequence[ChannelGroup], left: Sequence[LeftAlone]
) -> Found:
    """Heads are known by their module; what a tracer made of their insides is not needed."""
    heads = attention_groups(model)
    inside = {piece.key for group in heads for piece in group.slices}
    outside = [g for g in groups if inside.isdisjoint(piece.key for piece in g.slices)]
    made = {piece.module for group in heads for piece in group.slices if piece.dim == 0}
    rest = [
        replace(item, modules=names)
        for item in left
        if (names := tuple(name for name in item.modules if name not in made))
    ]
    return (*outside, *heads), tuple(rest)


def _apart_from(
    groups: Sequence[ChannelGroup], others: Sequence[ChannelGroup]
) -> list[ChannelGroup]:
    """Those of ``others`` that cut no tensor dimension that ``groups`` cut."""
    taken = {piece.key for group in groups for piece in group.slices}
    return [other for other in others if taken.isdisjoint(piece.key for piece in other.slices)]


def _left_of(until: float) -> float:
    return max(until - time.monotonic(), 0.0)
