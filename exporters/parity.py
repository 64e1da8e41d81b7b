"""Does the ONNX file compute what the network computes, for every batch size?"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.onnx import INPUT, ExportError
from exporters.sessions import SESSION_ERRORS, cpu_threads, session

MAX_RELATIVE_ERROR: Final = 1e-4
"""Largest accepted max|onnx - torch| / max|torch|.

Correct exports of ResNet, DenseNet and MobileNet measured 4e-7 to 2e-5.
"""

MIN_AGREEMENT: Final = 0.999
"""Smallest accepted share of images, or of all their pixels, with the same top class."""

# Logits closer than this share of the scale are a tie: float32 sums of another order, some
# hundred roundings of 1.2e-7, decide which one is on top.
_TIE: Final = 1e-5

# Logits that vary less than this between images would agree whatever the file computes.
_MIN_VARIATION: Final = 10 * MAX_RELATIVE_ERROR

_MIN_IMAGES: Final = 3


class ParityError(ExportError):
    """The ONNX file does not compute what the network computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How close the file is to the network."""

    max_relative_error: float
    """max|onnx - torch| / max|torch| over all images, classes and batch sizes."""
    agreement: float
    """Share of images with the same top class, ties counted as agreement; of a segmentation, of all
    their pixels."""
    images: int
    batches: tuple[int, ...]


def check_parity(
    model: nn.Module, content: bytes, images: Tensor, *, batches: Sequence[int] = (1, 2, 3, 32)
) -> Parity:
    """Compare network and file on ``images``, normalised float32 [n c h w], on the CPU.

    The first images are compared in a batch of each size (odd sizes find a forward pass that
    depends on the batch), then all images in batches of the largest. Sizes beyond n are cut to n.

    Raises:
        ParityError: They differ, the file fails, or the logits are too dull to tell.
    """
    if len(images) < _MIN_IMAGES:
        raise ParityError(f"parity needs at least {_MIN_IMAGES} images, not {len(images)}")
    sizes = tuple(sorted({min(size, len(images)) for size in batches}))
    network = copy.deepcopy(model).to("cpu").eval()
    opened = _session(content)
    wanted, produced = [], []
    for part in _parts(len(images), sizes):
        batch = images[part].to("cpu")
        with torch.inference_mode():
            wanted.append(network(batch).numpy())
        produced.append(_logits(opened, batch.numpy(), like=wanted[-1]))
    # The last parts are all images, once each.
    scale = _scale(np.concatenate(wanted[len(sizes) :]))
    error = max(
        _checked(torch_logits, onnx_logits, scale=scale)
        for torch_logits, onnx_logits in zip(wanted, produced, strict=True)
    )
    agreement = _agreement(
        np.concatenate(wanted[len(sizes) :]), np.concatenate(produced[len(sizes) :]), scale=scale
    )
    return Parity(max_relative_error=error, agreement=agreement, images=len(images), batches=sizes)


def _session(content: bytes) -> onnxruntime.InferenceSession:
    try:
        return session(content, threads=cpu_threads())
    except SESSION_ERRORS as error:
        raise ParityError(f"ONNX Runtime cannot load the file: {error}") from error


def _parts(n: int, sizes: Sequence[int]) -> Iterator[slice]:
    yield from (slice(size) for size in sizes)
    yield from (slice(start, start + sizes[-1]) for start in range(0, n, sizes[-1]))


def _logits(
    opened: onnxruntime.InferenceSession, batch: NDArray[np.float32], *, like: NDArray[np.float32]
) -> NDArray[np.float32]:
    try:
        logits: NDArray[np.float32] = opened.run(None, {INPUT: batch})[0]
    except SESSION_ERRORS as error:
        raise ParityError(f"the file fails on a batch of {len(batch)}: {error}") from error
    if logits.shape != like.shape:
        raise ParityError(
            f"a batch of {len(batch)} gives logits {list(logits.shape)} in ONNX Runtime, "
            f"{list(like.shape)} in PyTorch; the forward pass must not depend on the batch size"
        )
    return logits


def _scale(logits: NDArray[np.float32]) -> float:
    """max|y|, after checking that the logits can tell right from wrong."""
    if not np.isfinite(logits).all():
        raise ParityError("the network's own logits are not finite; its weights are broken")
    scale = float(np.abs(logits).max())
    variation = float(logits.std(axis=0).max())
    # A scale of 0 fails here too: 0 is not more than 0.
    if not variation > _MIN_VARIATION * scale:
        raise ParityError(
            f"the network gives nearly the same logits for all {len(logits)} images (they vary "
            f"by {variation:.1e}, on a scale of {scale:.1e}); agreement would prove nothing: "
            "use a trained network and different images"
        )
    return scale


def _checked(wanted: NDArray[np.float32], produced: NDArray[np.float32], *, scale: float) -> float:
    """The relative error of one batch, if it is small enough."""
    error = float(np.abs(produced - wanted).max()) / scale
    # Written so that NaN, which compares false with everything, fails.
    if not error <= MAX_RELATIVE_ERROR:
        raise ParityError(
            f"ONNX Runtime and PyTorch differ by {error:.1e} of the largest logit in a batch of "
            f"{len(wanted)} (limit {MAX_RELATIVE_ERROR:.0e}); the exported file is wrong"
        )
    return error


def _agreement(
    wanted: NDArray[np.float32], produced: NDArray[np.float32], *, scale: float
) -> float:
    """Share of images with the same top class or a tie.

    The error limit bounds this already where classes are far apart compared with it; logits that
    differ by less than the limit, on top of a large common offset, are seen only here.
    """
    top = np.expand_dims(produced.argmax(axis=1), 1)
    lost = wanted.max(axis=1) - np.take_along_axis(wanted, top, axis=1)[:, 0]
    agreement = float((lost <= _TIE * scale).mean())
    if agreement < MIN_AGREEMENT:
        raise ParityError(
            f"ONNX Runtime and PyTorch agree on the top class of {agreement:.2%} of "
            f"{lost.size} {'images' if lost.ndim == 1 else 'pixels'} (at least {MIN_AGREEMENT:.1%})"
            "; the exported file is wrong"
        )
    return agreement
