"""The only code that cuts, and the proof that the cut was right."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from compressor.pruning.deadline import DeadlineError, deadline
from compressor.pruning.groups import ChannelGroup, LeftAlone, removed_positions

EQUIVALENCE_LIMIT = 1e-4
"""Largest accepted difference of the self-test, relative to the output's scale.

Right cuts stay below 2e-6 in float32 (accumulation order); a channel mapped to the wrong place
shows up at 0.1 and more, so the limit is far from both.
"""

# Whatever a user's forward raises on widths that it does not expect.
_FORWARD_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

_NO_TIME: Final = "not tested within the time limit; it needs a larger search.time_limit_s"

Kept = Mapping[str, Sequence[int]]
"""Per group name, the units that stay. A missing name keeps its whole group."""


class SurgeryError(RuntimeError):
    """A cut changed the function that the remaining channels compute; it must not be used."""


def cut(model: nn.Module, groups: Sequence[ChannelGroup], kept: Kept) -> nn.Module:
    """A physically smaller copy of ``model`` without the units that ``kept`` leaves out.

    Args:
        model: the network that ``groups`` describes; not changed.
        groups: its channel groups.
        kept: the units to keep.

    Raises:
        SurgeryError: nothing of a layer would be left.
    """
    smaller = copy.deepcopy(model)
    modules, originals = dict(smaller.named_modules()), dict(model.named_modules())
    for (module, tensor, dim), positions in removed_positions(groups, kept).items():
        if positions:
            _remove(modules[module], tensor, dim=dim, positions=positions)
    for module in {s.module for group in groups for s in group.slices}:
        _fit_attributes(modules[module], originals[module])
    return smaller


def self_test(
    before: nn.Module, after: nn.Module, groups: Sequence[ChannelGroup], kept: Kept, example: Tensor
) -> float:
    """The largest relative difference between ``after`` and ``before`` with the channels zeroed.

    Zeroing the weights that *read* a channel removes its contribution whatever activation stands
    between; a network with those columns zeroed and one without the channels must agree.

    Args:
        before: the network before the cut.
        after: the network after it.
        groups: the channel groups of ``before``.
        kept: the units that stayed.
        example: inputs [n c h w].

    Raises:
        SurgeryError: ``after`` does not run, or the outputs differ, changed shape or dtype, or
            cannot be compared.
    """
    expected = _output(_with_columns_zeroed(before, groups, kept), example)
    found = _output(copy.deepcopy(after), example)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise SurgeryError(
            f"the output was {tuple(expected.shape)} {expected.dtype} and became "
            f"{tuple(found.shape)} {found.dtype}"
        )
    for name, output in (("dense", expected), ("pruned", found)):
        if not bool(torch.isfinite(output).all()):
            raise SurgeryError(f"the {name} network's output is not finite")
    scale = float(expected.abs().max())
    if scale == 0.0:
        raise SurgeryError("the output is zero everywhere, so a wrong cut could not be seen")
    difference = float((found - expected).abs().max()) / scale
    if difference > EQUIVALENCE_LIMIT:
        raise SurgeryError(
            f"the pruned network differs from the dense one with those channels zeroed by "
            f"{difference:.1e} of the output's scale (limit {EQUIVALENCE_LIMIT:.0e})"
        )
    return difference


def sound_groups(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    example: Tensor,
    *,
    seed: int,
    until: float = math.inf,
) -> tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]:
    """Split groups into those that can be cut rightly and those to leave alone.

    Half of each group's units are removed on trial. All groups at once first; where the
    self-test fails, halves of them, down to the single groups at fault. What is found this way
    are the networks that a tracer misreads: zero-padded shortcuts, channel shuffles, constants
    in ``view``. Groups that are not tested by the time ``until`` (of ``time.monotonic``) are
    left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    trial: dict[str, list[int]] = {}
    for group in groups:
        order = torch.randperm(len(group.units), generator=generator).tolist()
        trial[group.name] = sorted(group.units[i] for i in order[len(order) // 2 :])
    left: list[LeftAlone] = []

    def leave(doubtful: Sequence[ChannelGroup], reason: str) -> list[ChannelGroup]:
        left.extend(LeftAlone(modules=group.modules, reason=reason) for group in doubtful)
        return []

    def sound(doubtful: Sequence[ChannelGroup], trusted: list[ChannelGroup]) -> list[ChannelGroup]:
        try:
            with deadline(until):
                complaint = _complaint(model, [*trusted, *doubtful], trial, example)
                # Should the network's own output tell nothing, then it does so whatever is cut.
                first = bool(complaint) and len(doubtful) == len(groups)
                dull = _complaint(model, [], {}, example) if first else ""
        except DeadlineError:
            return leave(doubtful, _NO_TIME)
        if not complaint:
            return list(doubtful)
        if dull or len(doubtful) == 1:
            return leave(doubtful, dull or complaint)
        middle = len(doubtful) // 2
        before = sound(doubtful[:middle], trusted)
        return before + sound(doubtful[middle:], trusted + before)

    chosen = {group.name for group in (sound(groups, []) if groups else [])}
    return tuple(g for g in groups if g.name in chosen), tuple(left)


def _complaint(
    model: nn.Module, groups: Sequence[ChannelGroup], kept: Kept, example: Tensor
) -> str:
    """Why cutting these groups together goes wrong; empty when it does not."""
    try:
        self_test(model, cut(model, groups, kept), groups, kept, example)
    except SurgeryError as error:
        return str(error)
    except (IndexError, RuntimeError) as error:
        return f"the channels that the tracer found do not exist: {_first_line(error)}"
    return ""


def _output(model: nn.Module, example: Tensor) -> Tensor:
    try:
        with torch.inference_mode():
            output: Tensor = model.eval()(example)
    except _FORWARD_ERRORS as error:
        raise SurgeryError(f"the network no longer runs: {_first_line(error)}") from error
    return output


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _with_columns_zeroed(model: nn.Module, groups: Sequence[ChannelGroup], kept: Kept) -> nn.Module:
    masked = copy.deepcopy(model)
    modules = dict(masked.named_modules())
    consumers = {s.key for group in groups for s in group.slices if s.role == "consumer"}
    with torch.no_grad():
        for key, positions in removed_positions(groups, kept).items():
            if key in consumers and positions:
                module, tensor, dim = key
                index = torch.tensor(positions)
                getattr(modules[module], tensor).index_fill_(dim, index, 0.0)
    return masked


def _remove(module: nn.Module, tensor: str, *, dim: int, positions: Sequence[int]) -> None:
    value: Tensor = getattr(module, tensor)
    gone = set(positions)
    stays = [i for i in range(value.shape[dim]) if i not in gone]
    if not stays:
        raise SurgeryError(f"the cut would leave nothing of a {type(module).__name__}'s {tensor}")
    index = torch.tensor(stays, device=value.device)
    smaller = value.detach().index_select(dim, index).contiguous()
    if isinstance(value, nn.Parameter):
        setattr(module, tensor, nn.Parameter(smaller, requires_grad=value.requires_grad))
    else:
        setattr(module, tensor, smaller)


def _fit_attributes(module: Any, original: Any) -> None:  # noqa: ANN401 # torch layers by their fields
    """Make a layer's declared sizes agree with its cut tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif hasattr(module, "num_features"):
        sized = module.weight if module.weight is not None else module.running_mean
        if sized is not None:
            module.num_features = sized.shape[0]
    elif module.transposed:
        module.in_channels, module.out_channels = module.weight.shape[:2]
    else:
        rows, columns = module.weight.shape[:2]
        if original.groups > 1:  # whole groups went, so the groups shrink as the rows do
            module.groups = original.groups * rows // original.weight.shape[0]
        module.out_channels, module.in_channels = rows, columns * module.groups
