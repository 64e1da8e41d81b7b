"""Learning rates, epoch by epoch or step by step: plain lists of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


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


def cosine(length: int, lr: float, *, final: float, warm_up: int) -> list[float]:
    """Learning rates of ``length`` steps: a straight rise to ``lr``, half a cosine to ``final``.

    Step t of the T after the warm-up has final + (lr - final) (1 + cos(pi t / (T - 1))) / 2, one
    cycle of Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5. The w steps of the warm-up
    (Goyal et al. 2017, arXiv:1706.02677, section 2.2) have lr (t + 1) / (w + 1).
    """
    rise = _rise(min(warm_up, length), lr)
    falling = length - len(rise)
    return rise + [
        final + (lr - final) * (1 + math.cos(math.pi * t / max(1, falling - 1))) / 2
        for t in range(falling)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The learning rates that the dense network was trained with, in epochs."""

    epochs: int
    lr: float
    """At its peak."""
    milestones: tuple[int, ...] = ()
    """Epochs, counted from 0, at which the rate is multiplied by ``factor``."""
    factor: float = 0.1
    cosine: bool = False
    """Half a cosine to zero instead of milestones."""
    warm_up: int = 0
    """Epochs of a straight rise to ``lr``."""

    def faults(self) -> list[tuple[str, object, str]]:
        """What is wrong with it: field, value, rule."""
        inside = all(0 < at < self.epochs for at in self.milestones)
        rises = inside and all(low < high for low, high in pairwise(self.milestones))
        either = not (self.cosine and self.milestones)
        below = 0 <= self.warm_up < max(1, self.epochs)
        rules: Sequence[tuple[str, object, str, bool]] = (
            ("epochs", self.epochs, "1 or more", self.epochs >= 1),
            ("lr", self.lr, "above 0", self.lr > 0),
            ("milestones", self.milestones, "rising, between 0 and epochs", rises),
            ("milestones", self.milestones, "left out with cosine", either),
            ("factor", self.factor, "above 0, at most 1", 0 < self.factor <= 1),
            ("warm_up", self.warm_up, "0 or more and below epochs", below),
        )
        return [(f"original.{name}", value, rule) for name, value, rule, fine in rules if not fine]

    def rates(self, steps: int) -> list[float]:
        """The rate of every step, at ``steps`` steps an epoch."""
        length, warm_up = self.epochs * steps, self.warm_up * steps
        if self.cosine:
            return cosine(length, self.lr, final=0.0, warm_up=warm_up)
        passed = [sum(step >= at * steps for at in self.milestones) for step in range(length)]
        rates = [self.lr * self.factor**count for count in passed]
        return _rise(warm_up, self.lr) + rates[warm_up:]


def rewinding(epochs: int, steps: int, original: Original) -> list[float]:
    """The last ``epochs`` of the original schedule once more, ``steps`` steps each.

    Learning-rate rewinding: Renda et al. 2020 (arXiv:2003.02389), section 2. The weights are those
    of the pruned network; the rate alone goes back.
    """
    rates = original.rates(steps)
    return rates[len(rates) - epochs * steps :]


def _rise(length: int, lr: float) -> list[float]:
    return [lr * (t + 1) / (length + 1) for t in range(length)]
