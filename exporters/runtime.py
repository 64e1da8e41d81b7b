"""Predictions from an ONNX file of any origin: pixels in, logits out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.sessions import CPU, SESSION_ERRORS, cpu_threads
from exporters.signature import (
    Preprocessing,
    Signature,
    SignatureError,
    Size,
    open_network,
    said,
)

__all__ = ["CPU", "Predict", "Preprocessing", "cpu_threads", "predictor"]

# The logarithm of a probability that was rounded to zero must be finite.
_TINY: Final = np.finfo(np.float32).tiny

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]


class Predict(Protocol):
    """Images in, logits out."""

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]: ...


def predictor(
    path: Path,
    preprocessing: Preprocessing | None = None,
    *,
    size: Size | None = None,
    provider: str = CPU,
    threads: int,
) -> Predict:
    """The network in ``path`` as a function: uint8 images [n c h w] to float32 logits [n classes].

    Those of a segmentation are [n classes h w].

    Whatever layout, type and batch the file wants, it gets; probabilities become logits by their
    logarithm. A network that quantises dynamically gets its images one by one: in a batch, the
    answer to an image would depend on the others.

    Args:
        path: The ONNX file.
        preprocessing: What a network that takes floats needs; None to take it from our own
            metadata. Networks that take uint8 get the pixels as they are.
        size: Channels, height and width of the images, for files that leave them open.
        provider: ONNX Runtime's name of the execution provider.
        threads: CPU threads.

    Raises:
        SignatureError: The file cannot be judged, or takes another number of channels than the
            preprocessing has, or floats without any; later, it fails on some images.
        ProviderError: The network would not run on ``provider``.
    """
    opened, signature = open_network(path, size=size, provider=provider, threads=threads)
    prepare = _preparation(path, signature, preprocessing)
    source = opened.get_inputs()[0].name

    def run(images: Images) -> Logits:
        try:
            output = opened.run(None, {source: prepare(images)})[0]
        except SESSION_ERRORS as error:
            raise SignatureError(
                f"{path} fails on images {list(images.shape)}: {said(error)}"
            ) from error
        places = images.shape[2:] if output.ndim == 4 else ()
        if output.shape[:1] + output.shape[2:] != (len(images), *places) or output.ndim < 2:
            raise SignatureError(
                f"{path} gives {list(output.shape)} for {len(images)} images, not [n classes], nor "
                "[n classes h w] at their size"
            )
        return _logits(output, signature)

    if signature.batch_coupled:
        return _in_parts(run, part=1, batch=signature.batch or 1)
    if signature.batch is not None:
        return _in_parts(run, part=signature.batch, batch=signature.batch)
    return run


def _preparation(
    path: Path, signature: Signature, given: Preprocessing | None
) -> Callable[[Images], NDArray[Any]]:
    """From pixels [n c h w] to what the network takes."""
    if signature.dtype == "uint8":
        return lambda images: _laid_out(images, signature)
    preprocessing = given or signature.preprocessing
    if preprocessing is None:
        raise SignatureError(
            f"{path} takes floats and does not say of which mean and standard deviation: give them"
        )
    channels = signature.size[0]
    if not len(preprocessing.mean) == len(preprocessing.std) == channels:
        raise SignatureError(
            f"{path} takes {channels} channels; the preprocessing has "
            f"{len(preprocessing.mean)} means and {len(preprocessing.std)} standard deviations"
        )
    mean_c11 = np.array(preprocessing.mean, np.float32).reshape(-1, 1, 1)
    std_c11 = np.array(preprocessing.std, np.float32).reshape(-1, 1, 1)

    def normalised(images: Images) -> NDArray[Any]:
        # In place: one float32 copy of the batch, in the order of operations that torch uses.
        pixels = images.astype(np.float32, order="C")
        pixels /= np.float32(255)
        pixels -= mean_c11
        pixels /= std_c11
        # A standard deviation near zero may exceed half precision; the logits will show it.
        with np.errstate(over="ignore"):
            return _laid_out(pixels.astype(signature.dtype, copy=False), signature)

    return normalised


def _laid_out(pixels: NDArray[Any], signature: Signature) -> NDArray[Any]:
    """[n c h w] in the network's layout, contiguous."""
    if signature.layout == "nhwc":
        pixels = pixels.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def _logits(output: NDArray[Any], signature: Signature) -> Logits:
    scores: Logits = output.astype(np.float32, copy=False)
    if signature.gives == "probabilities":
        scores = np.log(np.maximum(scores, _TINY))
    return scores


def _in_parts(run: Predict, *, part: int, batch: int) -> Predict:
    """Asks for ``part`` images at a time, each part filled up to ``batch`` with its last image."""

    def predict(images: Images) -> Logits:
        answers = []
        for start in range(0, len(images), part):
            asked = images[start : start + part]
            filling = np.repeat(asked[-1:], batch - len(asked), axis=0)
            answers.append(run(np.concatenate([asked, filling]))[: len(asked)])
        return np.concatenate(answers)

    return predict
