"""Is the model fast enough? A measured ratio against what the policy asks for.

This is no promise about a population: the interval says how well the ratio is known on the machine
that measured it, and the noise, the same interval for a network against itself, what that machine
calls a difference where there is none. What lies within it is not distinguishable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from gates.cell import Outcome
from policies import MinSpeedup


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a candidate is, measured in turns with the dense model.

    Attributes:
        candidate: sha256 of the measured file.
        batch: images per call.
        times: dense time divided by the candidate's.
        interval: of ``times``, two-sided, 95 %.
        noise: the same interval for the dense model against itself.

    Raises:
        ValueError: a ratio of times is not positive, or an interval upside down.
    """

    candidate: str
    batch: int
    times: float
    interval: tuple[float, float]
    noise: tuple[float, float]

    def __post_init__(self) -> None:
        for low, high in (self.interval, self.noise):
            if not 0.0 < low <= high or not self.times > 0.0:
                raise ValueError(f"ratios of times are positive, and intervals rise: {self}")

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval, widened by what the machine calls a difference where there is none."""
        band = max(1 / self.noise[0], self.noise[1], 1.0)
        low, high = self.interval
        return low / band, high * band


def speed_of(speeds: Sequence[Speed], candidate: str, *, batch: int) -> Speed | None:
    """What was measured of a candidate at a batch size; None if nothing was."""
    return next((s for s in speeds if (s.candidate, s.batch) == (candidate, batch)), None)


def judge_speed(rule: MinSpeedup, speed: Speed) -> Outcome:
    """Fast enough, too slow, or not distinguishable from what is asked for."""
    low, high = speed.bounds
    if log(low) >= log(rule.times):
        return Outcome.ACCEPTED
    return Outcome.VIOLATED if log(high) < log(rule.times) else Outcome.UNDECIDED


def describe_speed(rule: MinSpeedup, speed: Speed, *, name: str) -> str:
    """One sentence on what was asked for and what was found."""
    low, high = speed.interval
    measured = (
        f"{name} is {speed.times:.2f} [{low:.2f}, {high:.2f}] times as fast as the dense model at "
        f"batch {speed.batch}"
    )
    asked = f"the {rule.times:g} times that the policy asks for"
    match judge_speed(rule, speed):
        case Outcome.ACCEPTED:
            return f"{measured}: at least {asked}"
        case Outcome.VIOLATED:
            return (
                f"{measured}, less than {asked}: what it loses buys too little; remove more, "
                "allow another precision, or ask for less"
            )
        case Outcome.UNDECIDED:
            noise = f"[{speed.noise[0]:.3f}, {speed.noise[1]:.3f}]"
            return (
                f"{measured}, not distinguishable from {asked} where the dense model against "
                f"itself gives {noise}; raise latency.seconds, or measure on an idle machine"
            )
