"""How a pruned network is retrained: the recipe and its table of learning-rate schedules.

References:
    Wang et al. 2023, "Why is the State of Neural Network Pruning so Confusing?",
    arXiv:2301.05219: retraining must be the same for everything that is compared, and its
    learning rates follow three rules, see ``schedules.halving``.
    Renda et al. 2020, arXiv:2003.02389: learning-rate rewinding, see ``schedules.rewinding``.
    Hinton et al. 2015, arXiv:1503.02531: distillation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from compressor.training.augment import AUGMENTS
from compressor.training.schedules import Original, cosine, halving, rewinding

LONGEST_STAGE_EPOCHS: Final = 30

CHOICES: Final = ("last", "best_on_tune")


class TrainingError(RuntimeError):
    """Retraining cannot start or cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a retraining besides the model, the images and the seed.

    Raises:
        TrainingError: a value is out of range, or a name is in no table.
    """

    epochs: int
    """Passes over the training images; 0 leaves the weights as they are."""
    lr: float
    """Learning rate at its peak; ``rewinding`` does not read it."""
    schedule: str = "halving"
    """Name in ``SCHEDULES``."""
    final_lr: float = 1e-5
    """Last learning rate, the same for every model that is compared; not of ``rewinding``."""
    warm_up: float = 0.0
    """Epochs in which ``cosine`` rises to its peak."""
    original: Original | None = None
    """The dense network's own schedule, of which ``rewinding`` replays the end."""
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
    ema: float = 0.0
    """Decay per step of the average of the weights that is the result; 0 averages nothing."""
    choose: str = "last"
    """``last`` epoch, or ``best_on_tune``: the one that did best on the tune split."""
    processes: int = 1
    """That share every batch in equal parts, on a graphics processor each where there are any."""

    def __post_init__(self) -> None:
        faults = [f"{name} = {value}, must be {rule}" for name, value, rule in self._broken_rules()]
        if faults:
            raise TrainingError("unusable recipe: " + "; ".join(faults))

    def rates(self, steps: int) -> list[float]:
        """The learning rate of every step, at ``steps`` steps an epoch."""
        return SCHEDULES[self.schedule](self, steps)

    def _broken_rules(self) -> list[tuple[str, object, str]]:
        known, schedules = ", ".join(AUGMENTS), ", ".join(SCHEDULES)
        rules: Sequence[tuple[str, object, str, bool]] = (
            ("epochs", self.epochs, "0 or more", self.epochs >= 0),
            ("lr", self.lr, f"at least final_lr = {self.final_lr}", self.lr >= self.final_lr),
            ("schedule", self.schedule, f"among {schedules}", self.schedule in SCHEDULES),
            ("final_lr", self.final_lr, "above 0", self.final_lr > 0),
            ("momentum", self.momentum, "in (0, 1): Nesterov needs one", 0 < self.momentum < 1),
            ("weight_decay", self.weight_decay, "0 or more", self.weight_decay >= 0),
            ("batch_size", self.batch_size, "2 or more", self.batch_size >= 2),
            ("distill", self.distill, "in [0, 1]", 0 <= self.distill <= 1),
            ("temperature", self.temperature, "above 0", self.temperature > 0),
            ("augment", self.augment, f"among {known}", set(self.augment) <= set(AUGMENTS)),
            ("ema", self.ema, "in [0, 1)", 0 <= self.ema < 1),
            ("choose", self.choose, f"among {', '.join(CHOICES)}", self.choose in CHOICES),
            ("processes", self.processes, "1 or more", self.processes >= 1),
            (
                "batch_size",
                self.batch_size,
                f"a multiple of processes = {self.processes}, with two images or more for each",
                self.processes < 2
                or (
                    self.batch_size % self.processes == 0 and self.batch_size >= 2 * self.processes
                ),
            ),
        )
        broken = [(name, value, rule) for name, value, rule, holds in rules if not holds]
        return broken + self._broken_schedule()

    def _broken_schedule(self) -> list[tuple[str, object, str]]:
        """What does not go together with the schedule."""
        cosine, rewinding = self.schedule == "cosine", self.schedule == "rewinding"
        rising = 0 <= self.warm_up < max(1, self.epochs)
        rules: Sequence[tuple[str, object, str, bool]] = (
            ("warm_up", self.warm_up, "0 or more and below epochs", rising),
            ("warm_up", self.warm_up, "0 except with cosine", cosine or self.warm_up == 0),
            (
                "original",
                self.original,
                "the dense network's own schedule with rewinding, and nothing without",
                rewinding == (self.original is not None),
            ),
        )
        broken = [(name, value, rule) for name, value, rule, holds in rules if not holds]
        if self.original is not None and not broken:
            broken += self.original.faults()
            if self.epochs > self.original.epochs:
                rule = f"at most original.epochs = {self.original.epochs}"
                broken.append(("epochs", self.epochs, rule))
        return broken


def _halving(recipe: Recipe, steps: int) -> list[float]:
    longest = LONGEST_STAGE_EPOCHS * steps
    return halving(recipe.epochs * steps, recipe.lr, final=recipe.final_lr, longest=longest)


def _cosine(recipe: Recipe, steps: int) -> list[float]:
    warm_up = round(recipe.warm_up * steps)
    return cosine(recipe.epochs * steps, recipe.lr, final=recipe.final_lr, warm_up=warm_up)


def _rewinding(recipe: Recipe, steps: int) -> list[float]:
    if recipe.original is None:
        raise TrainingError("rewinding has no schedule to replay; give original")
    return rewinding(recipe.epochs, steps, recipe.original)


SCHEDULES: Final[Mapping[str, Callable[[Recipe, int], list[float]]]] = {
    "halving": _halving,
    "rewinding": _rewinding,
    "cosine": _cosine,
}
"""Recipe and steps an epoch to the learning rate of every step."""
