"""What the gate's time goes into."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Wall time by what it was spent on."""

    load: float = 0.0
    """Reading pixels into memory."""
    shift: float = 0.0
    """Moving them away from what the model was trained on."""
    infer: float = 0.0
    """Asking the model."""

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(
            load=self.load + other.load,
            shift=self.shift + other.shift,
            infer=self.infer + other.infer,
        )

    @property
    def total(self) -> float:
        return self.load + self.shift + self.infer


class Clock:
    """A clock for each kind of work."""

    def __init__(self) -> None:
        self._seconds = {"load": 0.0, "shift": 0.0, "infer": 0.0}

    @contextmanager
    def on(self, work: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[work] += time.perf_counter() - start

    def seconds(self) -> Seconds:
        return Seconds(**self._seconds)
