"""How a pruned network is retrained: the recipe and its learning rates.

References:
    Wang et al. 2023, "Why is the State of Neural Network Pruning so Confusing?",
    arXiv:2301.05219: retraining must be the same for everything that is compared, and its
    learning rates follow three rules, see ``halving``.
    Hinton et al. 2015, arXiv:1503.02531: distillation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from compressor.training.augment import AUGMENTS

LONGEST_STAGE_EPOCHS: Final = 30


class TrainingError(RuntimeError):
    """Retraining cannot start or cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a retraining besides the model, the images and the seed.

    Raises:
        TrainingError: a value is out of range or an augmentation has no such name.
    """

    epochs: int
    """Passes over the training images; 0 leaves the weights as they are."""
    lr: float
    """Learning rate of the first stage."""
    final_lr: float = 1e-5
    """Learning rate of the last stage; the same for every model that is compared."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 128
    distill: float = 0.5
    """Share of the loss that follows the teacher, 0 (labels alone) to 1 (teacher alone)."""
    temperature: float = 4.0
    """Softens teacher and student before they are compared."""
    augment: tuple[str, ...] = ("flip", "crop")
    """Names in ``AUGMENTS``, applied in this order."""
    amp: bool = True
    """Convolutions in bfloat16 where the device computes it natively; float32 elsewhere."""

    def __post_init__(self) -> None:
        faults = [f"{name} = {value}, must be {rule}" for name, value, rule in self._broken_rules()]
        if faults:
            raise TrainingError("unusable recipe: " + "; ".join(faults))

    def _broken_rules(self) -> list[tuple[str, object, str]]:
        known = ", ".join(AUGMENTS)
        rules: Sequence[tuple[str, object, str, bool]] = (
            ("epochs", self.epochs, "0 or more", self.epochs >= 0),
            ("lr", self.lr, f"at least final_lr = {self.final_lr}", self.lr >= self.final_lr),
            ("final_lr", self.final_lr, "above 0", self.final_lr > 0),
            ("momentum", self.momentum, "in (0, 1): Nesterov needs one", 0 < self.momentum < 1),
            ("weight_decay", self.weight_decay, "0 or more", self.weight_decay >= 0),
            ("batch_size", self.batch_size, "2 or more", self.batch_size >= 2),
            ("distill", self.distill, "in [0, 1]", 0 <= self.distill <= 1),
            ("temperature", self.temperature, "above 0", self.temperature > 0),
            ("augment", self.augment, f"among {known}", set(self.augment) <= set(AUGMENTS)),
        )
        return [(name, value, rule) for name, value, rule, holds in rules if not holds]


def halving(length: int, lr: float, *, final: float, longest: int) -> list[float]:
    """Learning rates of ``length`` epochs or steps: tenfold smaller in each of few stages.

    The rules of Wang et al. 2023 (arXiv:2301.05219): every network ends at the same ``final``
    rate; half of what is left goes to each stage, rounded up; no stage is longer than ``longest``.
    With epochs as the unit and ``longest=30`` this gives the schedules that they print.

    Two cases the rules leave open. A budget of more than ``longest`` per stage keeps them from
    holding together: ``longest`` then grows to an equal share. A budget too short for all stages
    drops the last ones, so short budgets are better counted in steps: two epochs of a few hundred
    steps still pass through every stage.
    """
    # 1e-9: the logarithm of a power of ten may come out a rounding error above its integer.
    stages = 1 + max(0, math.ceil(math.log10(lr / final) - 1e-9))
    longest = max(longest, math.ceil(length / stages))
    rates: list[float] = []
    for stage in range(stages):
        left = length - len(rates)
        last = stage == stages - 1
        share = left if last else min(math.ceil(left / 2), longest)
        rates += [final if last else lr / 10**stage] * share
    return rates
