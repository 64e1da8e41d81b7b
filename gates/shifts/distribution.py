"""A distribution to survive: one shift at one strength, or several, each image getting one."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gates.shifts.digital import through_jpeg
from gates.shifts.draws import BANK_SIZE
from gates.shifts.suite import SHIFTS, shifted
from gates.shifts.tables import AUTO, ShiftError, parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One shift at one strength: a severity of the tables, or a level of its own."""

    name: str
    severity: int | None = None
    """1 to 5; None for ``clean`` and where there is a level."""
    level: float | None = None
    """Half width of ``uniform_noise``, which has no published severities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Images under one of the components, each image under one, all equally likely.

    Attributes:
        components: at least one.
        draws: how many independent draws each image is seen under; one draw of a mixture draws
            the component too.
        save_jpeg: Pillow's quality, 1 to 95, of a JPEG that the moved image goes through at last,
            as the published ImageNet-C files did at 85; None for none.
    """

    components: tuple[Component, ...]
    draws: int = 1
    save_jpeg: int | None = None

    def __post_init__(self) -> None:
        if not self.components:
            raise ShiftError("a distribution needs at least one component, got none")
        if self.draws < 1:
            raise ShiftError(f"a distribution needs at least one draw, got {self.draws}")
        if self.draws > 1 and not self._has_chance():
            raise ShiftError(
                f"all {self.draws} draws of {self.components[0].name} are the same image, for no "
                "chance is in it; leave draws out"
            )
        if self.save_jpeg is not None and not 1 <= self.save_jpeg <= 95:
            raise ShiftError(f"save_jpeg is a quality from 1 to 95, got {self.save_jpeg}")

    def _has_chance(self) -> bool:
        if len(self.components) > 1:
            return True
        shift = SHIFTS.get(self.components[0].name)
        return shift is None or shift.chance != "none"


def sample(
    images: NDArray[np.uint8],
    ids: NDArray[np.uint64],
    *,
    distribution: Distribution,
    seed: int,
    draw: int = 0,
    profile: str = AUTO,
    device: torch.device | str = "cpu",
) -> NDArray[np.uint8]:
    """Draw number ``draw`` of the images [n c h w] from the distribution, as a new array.

    A component's images are those of ``shifted``: it matters to no pixel that others are mixed in.

    Raises:
        ShiftError: a component does not exist, or the images do not fit.
    """
    result = np.empty_like(images)
    chosen = _components(ids, distribution, seed=seed, draw=draw)
    for index, component in enumerate(distribution.components):
        mine = np.flatnonzero(chosen == index)
        if len(mine) or len(distribution.components) == 1:
            result[mine] = shifted(
                images[mine],
                ids[mine],
                name=component.name,
                severity=component.severity,
                level=component.level,
                seed=seed,
                draw=draw,
                profile=profile,
                device=device,
            )
    if distribution.save_jpeg is not None:
        return through_jpeg(torch.from_numpy(result), quality=distribution.save_jpeg).numpy()
    return result


def definition(
    distribution: Distribution, *, side: int, profile: str = AUTO
) -> Mapping[str, object]:
    """Everything that decides what the distribution is for images whose shorter side is ``side``.

    Raises:
        ShiftError: a component does not exist, or something that it needs is not installed.
    """
    return {
        "components": [
            _defined(item, side=side, profile=profile) for item in distribution.components
        ],
        "draws": distribution.draws,
        "save_jpeg": distribution.save_jpeg,
    }


def _defined(component: Component, *, side: int, profile: str) -> Mapping[str, object]:
    numbers = parameters(
        component.name,
        severity=component.severity,
        level=component.level,
        profile=profile,
        side=side,
    )
    shift = SHIFTS[component.name]
    return {
        "name": component.name,
        "severity": component.severity,
        "parameters": list(numbers),
        **({"bank": BANK_SIZE} if shift.chance == "banked" else {}),
        **({"materials": dict(shift.materials())} if shift.materials else {}),
    }


def _components(
    ids: NDArray[np.uint64], distribution: Distribution, *, seed: int, draw: int
) -> NDArray[np.int64]:
    """Which component each image [n] gets."""
    count = len(distribution.components)
    if count == 1:
        return np.zeros(len(ids), dtype=np.int64)
    purpose = f"{seed}/{distribution.components!r}/{draw}"
    digests = (
        hashlib.blake2b(f"{purpose}/{image}".encode(), digest_size=8).digest()
        for image in ids.tolist()
    )
    numbers = (int.from_bytes(digest, "little") % count for digest in digests)
    return np.fromiter(numbers, dtype=np.int64, count=len(ids))
