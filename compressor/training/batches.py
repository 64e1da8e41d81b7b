"""Bytes to the numbers a network reads: normalised, in the fastest layout and precision."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.labels import NOT_LABELLED, Labels, are_masks

PIXELS_AT_ONCE: Final = 2**21
"""Of images with masks, that are not trained on: a gigabyte or two of a ResNet-50's features."""

_BFLOAT16_INSTRUCTIONS: Final = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """What a network learns from or is measured on."""

    images: NDArray[np.uint8]
    """[n c h w], often memory-mapped."""
    labels: Labels
    """[n], or masks [n h w]."""
    ids: NDArray[np.uint64]
    """[n], the same for the same pixels."""
    mean: tuple[float, ...]
    """Per channel, of pixels scaled to 0..1."""
    std: tuple[float, ...]
    """Per channel, of pixels scaled to 0..1."""


def normalised(images: NDArray[np.uint8], data: LabelledImages, *, device: torch.device) -> Tensor:
    """Pixels [n c h w] as the network expects them: (pixel / 255 - mean) / std, float32."""
    mean = torch.tensor(data.mean, device=device).view(-1, 1, 1)
    std = torch.tensor(data.std, device=device).view(-1, 1, 1)
    pixels = torch.from_numpy(images).to(device).float()
    return pixels.mul_(1 / (255 * std)).sub_(mean / std)


def batches(
    data: LabelledImages, *, batch_size: int = 256, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in their order: float32 [n c h w], normalised, and labels [n] or masks [n h w].

    There are at most ``batch_size`` at once, of large images with masks fewer.
    """
    at_once = images_at_once(data, most=batch_size)
    for first in range(0, len(data.labels), at_once):
        chosen = slice(first, first + at_once)
        # A copy: the memory map is read-only, and torch warns of tensors that share such memory.
        images = np.array(data.images[chosen])
        labels = torch.from_numpy(np.array(data.labels[chosen])).to(device).long()
        yield normalised(images, data, device=device), labels


def images_at_once(data: LabelledImages, *, most: int) -> int:
    """How many images go through a network together: ``most``, or fewer where masks are large.

    A network that answers every pixel holds its features at nearly every pixel. Never less than
    four, if ``most`` is not: BatchNorm wants several.
    """
    if not are_masks(data.labels):
        return most
    return min(most, max(4, PIXELS_AT_ONCE // math.prod(data.labels.shape[1:])))


def accuracy(
    model: nn.Module, data: LabelledImages, *, batch_size: int = 256, device: torch.device
) -> float:
    """Share of the images that the network names right, in float32; the model is not changed.

    With masks, the mean over images of the share of an image's labelled pixels.

    Raises:
        ValueError: there are no images.
    """
    if not len(data.labels):
        raise ValueError("no images: the accuracy on nothing is not a number")
    network = on_device(model, device).eval()
    right = 0.0
    with torch.inference_mode():
        for images, labels in batches(data, batch_size=batch_size, device=device):
            named, asked = right_answers(network(images), labels)
            right += float((named.double() / asked).sum())
    return right / len(data.labels)


def right_answers(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Right answers to each image [n], and how many were asked for [n]: 1, or labelled pixels.

    Args:
        logits: [n classes], or [n classes h w].
        labels: [n], or masks [n h w].
    """
    right = logits.argmax(1) == labels
    if labels.dim() == 1:
        return right.long(), torch.ones_like(labels)
    return right.flatten(1).sum(1), (labels != NOT_LABELLED).flatten(1).sum(1)


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of the model on a device."""
    return copy.deepcopy(model).to(device)


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware.

    Elsewhere it is emulated, slower than float32: on a CPU with AVX-512 but without its bfloat16
    instructions, for one. ARM processors are left out because nobody has measured them here.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(bool(found.get(name)) for name in _BFLOAT16_INSTRUCTIONS)
