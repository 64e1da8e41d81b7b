"""How near a file of any precision and input comes to the network that it was made from."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.onnx import ExportError
from exporters.parity import MAX_RELATIVE_ERROR, Parity, ParityError
from exporters.sessions import SESSION_ERRORS, cpu_threads, session

_BATCHES = (1, 3, 32)


def closeness(
    model: nn.Module, content: bytes, images: Tensor, *, pixels: NDArray[np.uint8]
) -> Parity:
    """Compare answers on the CPU, in batches of odd and even size: told, whatever it is.

    Args:
        model: The network.
        content: The file; one that takes uint8 is given ``pixels``, another one ``images``.
        images: Normalised float32 [n c h w].
        pixels: What they were made of, [n c h w].

    Raises:
        ParityError: The file fails, or answers with what is no number.
    """
    network = copy.deepcopy(model).to("cpu").eval()
    with torch.inference_mode():
        wanted = network(images.to("cpu")).numpy()
    try:
        opened = session(content, threads=cpu_threads())
        source = opened.get_inputs()[0]
        given = images.cpu().numpy() if source.type == "tensor(float)" else _laid_out(pixels)
        sizes = tuple(sorted({min(size, len(given)) for size in _BATCHES}))
        found = np.concatenate(
            [
                opened.run(None, {source.name: given[start : start + size]})[0]
                for size in sizes
                for start in range(0, len(given), size)
            ]
        )
    except SESSION_ERRORS as error:
        raise ParityError(f"the file does not run: {error}") from error
    if not np.isfinite(found).all():
        raise ParityError(
            "the file answers with infinities, or with what is no number: the network's values do "
            "not fit this precision; export it as fp32"
        )
    target = np.concatenate([wanted] * len(sizes))
    if found.shape != target.shape:
        raise ParityError(
            f"the file gives {list(found.shape)} where the network gives {list(target.shape)}"
        )
    return Parity(
        max_relative_error=float(np.abs(found - target).max() / np.abs(target).max()),
        agreement=float((found.argmax(axis=1) == target.argmax(axis=1)).mean()),
        images=len(given),
        batches=sizes,
    )


def require_exact(found: Parity) -> Parity:
    """What was compared, of a file that must compute the same as the network.

    Raises:
        ParityError: it does not.
    """
    # Written so that NaN, which compares false with everything, fails.
    if not found.max_relative_error <= MAX_RELATIVE_ERROR:
        raise ParityError(
            f"with preprocessing inside, the file differs from the network by "
            f"{found.max_relative_error:.1e} of the largest logit (limit {MAX_RELATIVE_ERROR:.0e})"
        )
    return found


def pixels_of(
    images: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.uint8]:
    """The whole numbers [n c h w] that normalised images were made of.

    Raises:
        ExportError: they were not made of any.
    """
    mean_c11 = np.array(mean, np.float64).reshape(-1, 1, 1)
    std_c11 = np.array(std, np.float64).reshape(-1, 1, 1)
    values = (images.cpu().numpy() * std_c11 + mean_c11) * 255
    whole = values.round()
    if np.abs(values - whole).max() > 0.01 or whole.min() < 0 or whole.max() > 255:
        raise ExportError("the images to compare with are no normalised pixels of 0..255")
    return whole.astype(np.uint8)


def _laid_out(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
