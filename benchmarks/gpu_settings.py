"""What the GPU suite measures, in full and in brief."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of everything."""

    provider: Literal["cpu", "cuda"]
    quick: bool
    networks: tuple[str, ...]
    """Of torchvision, the most important first."""
    side: int
    """Pixels of their images."""
    batches: tuple[int, ...]
    """The most important first."""
    seconds: float
    """For each measurement."""
    stages: tuple[str, ...]
    cifar: Path | None
    """Folder with train/ and test/ of CIFAR-10; None to draw traffic signs instead."""
    weights: Path | None
    """Of the ResNet-20 for it."""
    until_s: float
    """On the clock of ``time.monotonic``: nothing is started after it."""
    began_s: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds until the end."""
        return self.until_s - time.monotonic()
