"""Importances that go by weights alone, and the random control."""

from typing import Final

import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup
from compressor.pruning.importance.subject import Subject, UnscorableError, matrices, per_unit

_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def l1(group: ChannelGroup, of: Subject) -> Tensor:
    """Sum of the absolute weights that make or read the unit.

    Li et al. 2017 (arXiv:1608.08710), section 3.1, has it for filters; here for the group.
    """
    return sum(
        (
            per_unit(piece, of.weights[piece.module, piece.tensor].abs())
            for piece in matrices(group, of, roles=("producer", "consumer"))
        ),
        torch.zeros(len(group.units)),
    )


def l2(group: ChannelGroup, of: Subject) -> Tensor:
    """Euclidean norm of all weights that make or read the unit.

    Fang et al. 2023 (arXiv:2301.12900), eq. 4, without the learned regularisation; of filters
    alone He et al. 2018 (arXiv:1808.06866), eq. 2.
    """
    return _squares(group, of).sqrt()


def lamp(group: ChannelGroup, of: Subject) -> Tensor:
    """Squared norm of the unit, over those of all units of the group that are not smaller.

    Lee et al. 2021 (arXiv:2010.07611), eq. 3, for weights of a layer: ``w_u^2 / sum_{v >= u}
    w_v^2`` in ascending order, equal ones by position. Here units take the place of weights, and
    the norm is that of ``l2``. The largest unit of each group has 1, so no group goes as a whole.
    """
    squares = _squares(group, of).double()
    order = squares.argsort(stable=True)
    ascending = squares[order]
    not_smaller = ascending.flip(0).cumsum(0).flip(0)
    tiny = torch.finfo(torch.double).tiny  # a group of zeros: all are 0
    scores = torch.empty_like(squares)
    scores[order] = ascending / not_smaller.clamp_min(tiny)
    return scores.float()


def fpgm(group: ChannelGroup, of: Subject) -> Tensor:
    """Sum of the unit's distances to all units: what lies in their midst can be replaced.

    He et al. 2019 (arXiv:1811.00250), eq. 6: ``sum_v |F_u - F_v|_2``, least near the geometric
    median of the filters. A unit's filter is all that makes it, of all the layers of the group.
    """
    pieces = matrices(group, of, roles=("producer",)) or [
        piece for piece in matrices(group, of, roles=("between",)) if piece.dim == 0
    ]
    filters = torch.cat(
        [
            of.weights[p.module, p.tensor]
            .transpose(0, p.dim)[torch.tensor(p.positions)]  # [units positions ...]
            .flatten(1)
            for p in pieces
        ],
        dim=1,
    )
    # By products, which is ten times as fast, and in double, where filters that are nearly equal
    # do not lose their distance by it.
    wide = filters.double()
    return torch.cdist(wide, wide, compute_mode="use_mm_for_euclid_dist").sum(1).float()


def bn_scale(group: ChannelGroup, of: Subject) -> Tensor:
    """Mean absolute scale that BatchNorm gives the unit.

    Liu et al. 2017, "Network Slimming" (arXiv:1708.06519), section 3: ``|gamma|``. Where several
    BatchNorms scale a unit, as along a residual stream, their mean.

    Raises:
        UnscorableError: no BatchNorm with a scale acts on the group.
    """
    found = _batch_norm_scale(group, of)
    if found is None:
        raise UnscorableError(
            f"bn_scale cannot score the channels of {group.name}: no BatchNorm with a scale stands "
            f"between {', '.join(group.modules)}; choose bn_scale_or_l2, which scores such groups "
            "by l2, or another importance (search.importance)"
        )
    return found


def bn_scale_or_l2(group: ChannelGroup, of: Subject) -> Tensor:
    """``bn_scale`` where a BatchNorm with a scale acts on the group, ``l2`` elsewhere.

    For networks of which some layers have no BatchNorm, as the hidden layers of VGG's classifier.
    The two are on different scales: only an allocation that compares no groups, or relates scores
    to their group's mean, may use them together.
    """
    found = _batch_norm_scale(group, of)
    return l2(group, of) if found is None else found


def random(group: ChannelGroup, of: Subject) -> Tensor:
    """Uniform scores: the control that any criterion has to beat."""
    return torch.rand(len(group.units), generator=of.generator)


def _squares(group: ChannelGroup, of: Subject) -> Tensor:
    return sum(
        (
            per_unit(piece, of.weights[piece.module, piece.tensor].square())
            for piece in matrices(group, of, roles=("producer", "consumer"))
        ),
        torch.zeros(len(group.units)),
    )


def _batch_norm_scale(group: ChannelGroup, of: Subject) -> Tensor | None:
    """Mean absolute scale per unit; None where no BatchNorm scales the group."""
    modules = dict(of.model.named_modules())
    total, count = torch.zeros(len(group.units)), 0
    for piece in group.slices:
        scale = of.weights.get((piece.module, piece.tensor))
        if (
            scale is not None
            and piece.tensor == "weight"
            and isinstance(modules[piece.module], _BATCH_NORMS)
        ):
            total += per_unit(piece, scale.abs())
            count += len(piece.positions[0])
    return total / count if count else None
