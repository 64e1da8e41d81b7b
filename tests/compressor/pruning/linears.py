"""Linear layers in a row, whose prices are easily worked out by hand."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from compressor.pruning.blocks import Alignment, Choices, choices, relative
from compressor.pruning.groups import ChannelGroup, Slice
from compressor.pruning.layer_times import LatencyTable
from compressor.pruning.price import Budget, price, shapes_of

ANY_WIDTH = Alignment(multiple=1, least_share=0.0)


def linears(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(i, o, bias=False) for i, o in pairwise(widths)))


def hidden_groups(*widths: int, names: Sequence[str] = ("a", "b")) -> list[ChannelGroup]:
    """One group per hidden layer of ``linears``."""
    return [
        ChannelGroup(
            name=name,
            units=tuple(range(width)),
            channels_per_unit=1,
            slices=tuple(
                Slice(
                    module=str(layer),
                    tensor="weight",
                    dim=dim,
                    role="consumer" if dim else "producer",
                    positions=tuple((k,) for k in range(width)),
                )
                for layer, dim in ((at, 0), (at + 1, 1))
            ),
        )
        for at, (name, width) in enumerate(zip(names, widths[1:-1], strict=True))
    ]


def choices_of(
    *widths: int,
    scores: Mapping[str, Sequence[float]],
    alignment: Alignment = ANY_WIDTH,
    of: Budget = "params",
    latencies: LatencyTable | None = None,
) -> Choices:
    """What an allocation of ``linears`` chooses from; scores become relative to their group's."""
    model, groups = linears(*widths), hidden_groups(*widths, names=tuple(scores))
    rates = price(model, groups, torch.zeros(2, widths[0]), of=of, latencies=latencies or {})
    return choices(
        model,
        groups,
        relative({name: torch.tensor(values) for name, values in scores.items()}),
        dense_units={g.name: len(g.units) for g in groups},
        alignment=alignment,
        price=rates,
        dense_price=rates.of(shapes_of(model)),
    )


def random_scores(groups: Sequence[ChannelGroup], *, seed: int) -> dict[str, Tensor]:
    """Uniform scores of 0..1."""
    generator = torch.Generator().manual_seed(seed)
    return {g.name: torch.rand(len(g.units), generator=generator) for g in groups}
