"""What two pruned networks have in common besides the pruning: the setups of Wang et al.

Wang et al. 2023, "Why is the State of Neural Network Pruning so Confusing?" (arXiv:2301.05219):
the advantage of a method must come from the pruning, not from the base model or the
retraining. S1: data set, network and size are the same; S2: the base model too; S3.1: the number
of retraining epochs; S3.2: its learning rates (the least that is fair); S4.1: the number of pruning
epochs; S4.2: their learning rates. SX-A: the same epochs in all, training of the base included;
SX-B: the same multiply-adds in all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from compressor.study.analyses.rows import Network
from compressor.study.trials import Json

LEVELS: Final = ("S1", "S2", "S3.1", "S3.2", "S4.1", "S4.2")
"""From the loosest to the strictest; each includes those before it."""

FAIR: Final = "S3.2"

_RATES: Final = ("schedule", "lr", "final_lr", "warm_up", "original")
_SAME_WORK: Final = 0.01
"""Share by which two sums of multiply-adds may differ and still be the same budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms one network was made."""

    train: str
    """Digest of the training images."""
    asked: str
    """Digest of the images asked about."""
    dense_params: int
    dense_macs: int
    base: str
    """Digest of the dense network's file."""
    base_epochs: int | None
    """It was trained for; None where the study does not say."""
    prune_epochs: int
    """Retraining between the cuts before the last one; 0 for one shot."""
    prune_rates: dict[str, Json] | None
    """Learning rates of those; None where there are none."""
    retrain_epochs: int
    rates: dict[str, Json]
    """Learning rates of the retraining."""
    others: dict[str, Json]
    """The rest of the recipe, which no setup asks to be the same."""
    macs: int


def terms(
    network: Network,
    *,
    train: str,
    asked: str,
    base_epochs: int | None,
    before: Sequence[float] = (),
) -> Terms:
    """The terms of a network of a study.

    Args:
        network: the network.
        train: digest of the training images.
        asked: digest of the images asked about.
        base_epochs: how long the dense network was trained, if the study says so.
        before: ratios that the same network was cut to and retrained at before this one.
    """
    recipe = dict(network.recipe)
    rates = {name: recipe.pop(name) for name in _RATES}
    epochs = recipe.pop("epochs")
    nothing = network.kind != "prune"
    return Terms(
        train=train,
        asked=asked,
        dense_params=network.dense_params,
        dense_macs=network.dense_macs,
        base="nothing" if nothing else network.dense_sha256,
        base_epochs=0 if nothing else base_epochs,
        prune_epochs=epochs * len(before),
        prune_rates=rates if before else None,
        retrain_epochs=epochs,
        rates=rates,
        others=recipe,
        macs=network.macs,
    )


def level(first: Terms, second: Terms) -> str | None:
    """The strictest of ``LEVELS`` that holds for two networks; None if not even S1 does."""
    asked = (
        ("train", "asked", "dense_params", "dense_macs"),
        ("base",),
        ("retrain_epochs",),
        ("rates",),
        ("prune_epochs",),
        ("prune_rates",),
    )
    found = None
    for name, fields in zip(LEVELS, asked, strict=True):
        if any(getattr(first, field) != getattr(second, field) for field in fields):
            return found
        found = name
    return found


def budgets(first: Terms, second: Terms) -> tuple[str, ...]:
    """Of SX-A and SX-B, those that hold: the same epochs, the same multiply-adds, in all."""
    if level(first, second) is None or first.base_epochs is None or second.base_epochs is None:
        return ()
    found = []
    if _epochs(first) == _epochs(second):
        found.append("SX-A")
    works = sorted((_work(first), _work(second)))
    if works[1] - works[0] <= _SAME_WORK * works[1]:
        found.append("SX-B")
    return tuple(found)


def differing(first: Terms, second: Terms) -> tuple[str, ...]:
    """What is not the same, of everything but the size of the result; for people."""
    names = (
        "train", "asked", "dense_params", "dense_macs", "base", "retrain_epochs", "prune_epochs",
        "prune_rates",
    )  # fmt: skip
    found = [name for name in names if getattr(first, name) != getattr(second, name)]
    for of_first, of_second in ((first.rates, second.rates), (first.others, second.others)):
        found += [
            name
            for name in sorted(of_first.keys() | of_second.keys())
            if of_first.get(name) != of_second.get(name)
        ]
    return tuple(found)


def _epochs(terms: Terms) -> int:
    return (terms.base_epochs or 0) + terms.prune_epochs + terms.retrain_epochs


def _work(terms: Terms) -> float:
    """Multiply-adds per training image, forward only; networks between cuts counted as dense."""
    dense = (terms.base_epochs or 0) + terms.prune_epochs
    return float(dense * terms.dense_macs + terms.retrain_epochs * terms.macs)
