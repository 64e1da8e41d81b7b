"""Functional similarity: how alike two networks answer under growing noise.

Liebenwein et al. 2021 (arXiv:2103.03014): uniform noise from [-eps, eps] on normalised images, not
clipped; the share of images on which both networks give the same first answer, and the L2 norm of
the difference of their softmax outputs, averaged over draws and then over images.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from compressor.study.trials import Json
from compressor.training.batches import on_device

BATCH: Final = 256
"""Part of what the noise is: draws follow the batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Two networks at one level of noise."""

    matching: Tensor
    """[n], share of an image's draws with the same first answer."""
    distance: Tensor
    """[n], L2 norm of the difference of the softmax outputs, mean over draws."""
    right: Tensor
    """[2 n], bool: whether the first and the second network name the image on the first draw."""


def similarity(
    first: nn.Module,
    second: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    level: float,
    draws: int,
    seed: int,
    device: torch.device,
) -> Alike:
    """Compare two networks on normalised ``images`` [n c h w] with noise of this half width."""
    networks = [on_device(network, device).eval() for network in (first, second)]
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.inference_mode():
        for number, (batch, named) in enumerate(
            zip(images.split(BATCH), labels.split(BATCH), strict=True)
        ):
            # One stream a batch, so that a draw does not hang on how many there are.
            generator = torch.Generator().manual_seed(_stream(seed, number))
            answers = [
                _answers(networks, _noisy(batch, level, generator).to(device))
                for _ in range(draws if level else 1)
            ]
            same = torch.stack([(p[0].argmax(1) == p[1].argmax(1)).double() for p in answers])
            apart = torch.stack([(p[0] - p[1]).norm(dim=1) for p in answers])
            right = torch.stack([p.argmax(1).cpu() == named for p in answers[0]])
            parts.append((same.mean(0).cpu(), apart.mean(0).cpu(), right))
    return Alike(
        matching=torch.cat([part[0] for part in parts]),
        distance=torch.cat([part[1] for part in parts]),
        right=torch.cat([part[2] for part in parts], dim=1),
    )


def facts(alike: Alike, *, level: float, draws: int) -> dict[str, Json]:
    """What the ledger keeps of a level: numbers, each with its n."""
    first, second = alike.right
    n = len(alike.matching)
    return {
        "level": level,
        "n": n,
        "draws": draws if level else 1,
        "matching": float(alike.matching.mean()),
        "distance": float(alike.distance.mean()),
        "distance_std": float(alike.distance.std()) if n > 1 else None,
        "both_right": int((first & second).sum()),
        "only_dense": int((first & ~second).sum()),
        "only_pruned": int((~first & second).sum()),
        "both_wrong": int((~first & ~second).sum()),
    }


def _noisy(images: Tensor, level: float, generator: torch.Generator) -> Tensor:
    return images + level * (2.0 * torch.rand(images.shape, generator=generator) - 1.0)


def _answers(networks: list[nn.Module], images: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (network(images).double().softmax(1) for network in networks)
    return first, second


def _stream(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number) % 2**63
