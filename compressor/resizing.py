"""A network of one size for images of another: it resizes them itself, as its first step.

Hooks do it, and no module around the network, so that layers, weights and what is told of them keep
their names. Whatever copies, cuts, trains, exports or times the network takes the hooks along.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.config_schema import Input

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class TakeAt:
    """A forward pre-hook: images [n c h w] come to the network in this size."""

    size: Size

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        (images,) = inputs
        return _resized(images, self.size)


@dataclass(frozen=True, slots=True)
class AnswerAt:
    """A forward hook: an answer to every pixel of what the network saw becomes one of its images.

    That is one [n classes h w] of the size ``own``; any other answer stays as it is.
    """

    own: Size
    size: Size

    def __call__(self, _module: nn.Module, _inputs: object, output: object) -> object:
        if isinstance(output, Tensor) and tuple(output.shape[2:]) == self.own:
            return _resized(output, self.size)
        return output


def take_images_at(model: nn.Module, source: Input) -> None:
    """Let ``model``, which is changed, resize its images if ``source`` asks for it."""
    if source.resize is not None:
        model.register_forward_pre_hook(TakeAt(source.resize))


def answer_images_at(model: nn.Module, source: Input) -> None:
    """Let ``model``, which is changed, answer every pixel of its images and not of what it sees.

    What it answers must be one tensor by now: hooks run in the order in which they came.
    """
    if source.resize is not None:
        _, height, width = source.size
        model.register_forward_hook(AnswerAt(source.resize, (height, width)))


def said_of(source: Input) -> tuple[str, ...]:
    """What is resized to what, for people; nothing where nothing is."""
    if source.resize is None:
        return ()
    _, height, width = source.size
    own = " x ".join(map(str, source.resize))
    return (f"it resizes its images from {height} x {width} to {own} (bilinear, antialiased)",)


def _resized(images: Tensor, size: Size) -> Tensor:
    """Triangle-filtered as Pillow's bilinear is; ONNX calls it linear with antialias."""
    # Autocast makes half precision of answers, which torch 2.15 does not resize so on a CPU.
    half = images.dtype in {torch.bfloat16, torch.float16}
    return functional.interpolate(
        images.float() if half else images,
        size=size,
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
