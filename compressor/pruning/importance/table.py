"""The table of importances, and the call that scores with one of them."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup
from compressor.pruning.importance.ablation import ablation
from compressor.pruning.importance.inputs import activation, pfp, thinet
from compressor.pruning.importance.loss import obd, quadratic, taylor
from compressor.pruning.importance.subject import (
    CPU,
    Importance,
    UnscorableError,
    each_group,
    is_read,
    subject,
)
from compressor.pruning.importance.weights import (
    bn_scale,
    bn_scale_or_l2,
    fpgm,
    l1,
    l2,
    lamp,
    random,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """An importance, and what it needs and allows."""

    score: Importance
    needs_batches: bool = False
    models_loss: bool = False
    """It estimates the change of the loss, so a regulariser can be added to it."""
    one_scale: bool = False
    """Scores of different groups can be compared as they are, not only inside a group."""
    reads: bool = False
    """It goes by what a layer reads of the unit, and queries and keys are read by none."""


IMPORTANCES: Final[Mapping[str, Criterion]] = {
    "l1": Criterion(score=each_group(l1)),
    "l2": Criterion(score=each_group(l2)),
    "bn_scale": Criterion(score=each_group(bn_scale), one_scale=True),
    "bn_scale_or_l2": Criterion(score=each_group(bn_scale_or_l2)),
    "fpgm": Criterion(score=each_group(fpgm)),
    "lamp": Criterion(score=each_group(lamp), one_scale=True),
    "taylor": Criterion(score=taylor, needs_batches=True, models_loss=True, one_scale=True),
    "obd": Criterion(score=obd, needs_batches=True, models_loss=True, one_scale=True, reads=True),
    "quadratic": Criterion(
        score=quadratic, needs_batches=True, models_loss=True, one_scale=True, reads=True
    ),
    "pfp": Criterion(score=pfp, needs_batches=True, one_scale=True, reads=True),
    "thinet": Criterion(score=thinet, needs_batches=True, one_scale=True, reads=True),
    "activation": Criterion(score=activation, needs_batches=True, reads=True),
    "ablation": Criterion(score=ablation, needs_batches=True, one_scale=True),
    "random": Criterion(score=each_group(random)),
}


def scorable(
    groups: Sequence[ChannelGroup], model: nn.Module, *, criterion: Criterion
) -> list[ChannelGroup]:
    """The groups that ``criterion`` can tell something of; the others stay whole under it."""
    if not criterion.reads:
        return list(groups)
    return [group for group in groups if is_read(group, model)]


def score(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    *,
    criterion: Criterion,
    batches: Iterable[tuple[Tensor, Tensor]],
    seed: int,
    regulariser: float = 0.0,
    device: torch.device = CPU,
) -> dict[str, Tensor]:
    """Scores of every group's units under ``criterion``: [units], higher is kept.

    Args:
        model: the network; neither its weights nor its gradients are changed.
        groups: its channel groups.
        criterion: an entry of ``IMPORTANCES``.
        batches: normalised training images [n c h w] and labels [n] (or [n h w], where the
            network answers for every place); read once, all of them, when the criterion needs
            batches, and not at all otherwise.
        seed: of whatever the criterion draws.
        regulariser: lambda of Laurent et al. 2020, section 3: ``lambda / 2 * sum w^2`` over the
            weights that a cut sets to zero is added to a model of the loss, so that it is
            believed near the present weights only.
        device: where a criterion that runs whole networks again and again does so.

    Raises:
        UnscorableError: the criterion has nothing to go by for some group, or models no loss that
            a regulariser could be added to.
        ValueError: no batch was given to a criterion that needs them.
    """
    if regulariser and not criterion.models_loss:
        known = ", ".join(name for name, each in IMPORTANCES.items() if each.models_loss)
        raise UnscorableError(
            f"a regulariser ({regulariser:g}) belongs to importances that model the loss, as "
            f"{known}; set search.regulariser to 0, or choose one of those"
        )
    if not criterion.needs_batches:
        of = subject(model, groups, (), seed=seed)
        return criterion.score(of)
    # On a copy: which parameters have gradients, and test mode, are the importance's own there.
    twin = copy.deepcopy(model).eval()
    of = subject(twin, groups, batches, seed=seed, regulariser=regulariser, device=device)
    with torch.inference_mode(mode=False), torch.enable_grad():
        return criterion.score(of)
