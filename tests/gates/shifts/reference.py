"""What the shifts are compared with: the code of imagecorruptions-imaug, on draws that are known.

The package maintains the functions of Hendrycks & Dietterich's generator (arXiv:1903.12261), with
the parameters of ImageNet-C written into them and with numpy's global generator. Its source is
compiled here into a module of its own, in which

* ``np.random`` is a generator of the test, whose numbers the shift under test is given too,
* for another table than ImageNet-C's the parameters are those of ``gates.shifts.tables``,
* the one thing in which the package leaves the original (``CORRECTIONS``) is put right.
"""

import ast
import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats

from gates.shifts import SHIFTS
from gates.shifts.tables import TABLES, Parameters
from tests.gates.shifts.injected import Injected
from tests.gates.shifts.pictures import Pixels

Names = dict[str, Any]
"""What the package's functions find under the names that they use, and the functions themselves."""

_OWN_TABLE: Final = "imagenet-c"
"""The table that the package's functions hold."""


def ours(name: str, image: Pixels, *, table: str, severity: int, seed: int) -> Pixels:
    """The shift under test, on the numbers that the reference draws from this seed."""
    parameters = TABLES[table][name][severity - 1]
    numbers = DRAWS[name](seed, image, parameters)
    moved = SHIFTS[name].apply(
        torch.from_numpy(image.transpose(2, 0, 1)[None].copy()),
        parameters=parameters,
        draws=Injected(*(np.asarray(entry)[None] for entry in numbers)),
    )
    return moved[0].numpy().transpose(1, 2, 0)


def theirs(
    name: str, image: Pixels, *, table: str, severity: int, seed: int, corrected: bool = True
) -> Pixels:
    """The reference, as the bytes that the generator would have saved."""
    parameters = TABLES[table][name][severity - 1]
    names: Names = {"__name__": "corruptions", "__package__": "imagecorruptions"}
    exec(_code(own_parameters=table == _OWN_TABLE), names)
    names["np"] = _With(np, random=np.random.RandomState(seed))
    names["ROW"] = _ROWS.get(name, _row)(parameters)
    # Compiled, this would draw from numba's generator; the plain function draws from np.random.
    shuffle = "_shuffle_pixels_njit_glass_blur"
    names[shuffle] = names[shuffle].py_func
    if corrected and name in CORRECTIONS:
        CORRECTIONS[name](names, parameters)
    seeded = {"seed": seed} if name in {"glass_blur", "impulse_noise"} else {}
    moved = names[name](Image.fromarray(image), severity, **seeded)
    return np.asarray(moved).astype(np.uint8)


@cache
def _code(*, own_parameters: bool) -> CodeType:
    """The package's functions; without their own parameters they look for ``ROW``."""
    package = importlib.util.find_spec("imagecorruptions")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).with_name("corruptions.py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        for line in function.body:
            if not own_parameters and ast.unparse(line).startswith("c = ["):
                assert isinstance(line, ast.Assign)
                line.value = ast.copy_location(ast.Name("ROW", ast.Load()), line.value)
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


class _With:
    """A module with some names replaced, without a change to the module."""

    def __init__(self, module: ModuleType, **instead: object) -> None:
        self._module = module
        vars(self).update(instead)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


def _row(parameters: Parameters) -> object:
    return parameters[0] if len(parameters) == 1 else parameters


_ROWS: Final[Mapping[str, Callable[[Parameters], object]]] = {
    "zoom_blur": lambda parameters: np.arange(1, *parameters),
}


def _snow(names: Names, parameters: Parameters) -> None:
    """The package keeps the upper left part of the zoomed flakes; the original, their middle.

    And the original makes them bytes before they are blurred, by ImageMagick, which cuts its result
    off where the package rounds. (The same helper zooms in ``zoom_blur``, whose factors are too
    small to leave anything to trim.)
    """
    zoomed, blurred = names["clipped_zoom"], names["_motion_blur"]

    def trimmed(layer: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
        larger: NDArray[np.float64] = zoomed(layer, factor)
        top, left = ((np.array(larger.shape) - layer.shape)[:2] // 2).tolist()
        return larger[top : top + layer.shape[0], left : left + layer.shape[1]]

    def blurred_bytes(layer: NDArray[np.float64], **how: float) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = blurred(np.uint8(255 * layer) / 255.0, **how)
        # What is a whole number by now, the package's rounding leaves as it is. The slack is for
        # its single precision.
        return np.floor(255 * moved + 1e-3) / 255.0

    names.update(clipped_zoom=trimmed, _motion_blur=blurred_bytes)


def _pixelate(names: Names, parameters: Parameters) -> None:
    """The package enlarges with NEAREST; the original with BOX, the mean where two are as near."""
    names["Image"] = _With(Image, NEAREST=Image.Resampling.BOX)


def _frost(names: Names, parameters: Parameters) -> None:
    """The original draws from five photographs, not six, and scales them by a factor of its own.

    Whole numbers are made from uniform ones, since these are what the shift takes.
    """
    uniform, scale, opencv = names["np"].random.random_sample, parameters[2], names["cv2"]

    def randint(low: int, high: int | None = None) -> int:
        if high is None:
            assert low == 6
            low, high = 0, 5
        return low + int(uniform() * (high - low))

    def resize(photograph: Pixels, *, dsize: object, interpolation: int) -> Pixels:
        scaled: Pixels = opencv.resize(photograph, (0, 0), fx=scale, fy=scale)
        return photograph if scale == 1.0 else scaled

    names["np"] = _With(np, random=_With(np.random, randint=randint))
    names["cv2"] = _With(opencv, resize=resize)


def _elastic_transform(names: Names, parameters: Parameters) -> None:
    """The package has another transform under this name, so this is not its code.

    The original: three corners of a square in the middle of the image move by up to ``jitter``, and
    the image with them, the border mirrored without repeating the edge; then every pixel is fetched
    from ``scale`` times a smooth random field away. (The original exchanges x and y in the middle
    of the square, which makes no difference to its images: all are square.)
    """
    scale, sigma, jitter = parameters
    uniform, opencv, gaussian = names["np"].random.uniform, names["cv2"], names["gaussian"]

    def elastic_transform(image: Image.Image, severity: int) -> NDArray[np.float32]:
        pixels = np.asarray(image).astype(np.float32) / 255
        height, width, _ = pixels.shape
        middle, arm = np.array([width // 2, height // 2]), min(height, width) // 3
        before = (middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])).astype(np.float32)
        after = before + uniform(-jitter, jitter, size=(3, 2)).astype(np.float32)
        pixels = opencv.warpAffine(
            pixels,
            opencv.getAffineTransform(before, after),
            (width, height),
            borderMode=opencv.BORDER_REFLECT_101,
        )
        right, down = (
            scale * gaussian(uniform(-1, 1, (height, width)), sigma, mode="reflect", truncate=3)
            for _ in range(2)
        )
        rows, columns = np.mgrid[:height, :width]
        channels = [
            ndimage.map_coordinates(
                channel, (rows + down, columns + right), order=1, mode="reflect"
            )
            for channel in pixels.transpose(2, 0, 1)
        ]
        return 255 * np.stack(channels, axis=-1).clip(0, 1)

    names["elastic_transform"] = elastic_transform


CORRECTIONS: Final[Mapping[str, Callable[[Names, Parameters], None]]] = {
    "snow": _snow,
    "pixelate": _pixelate,
    "frost": _frost,
    "elastic_transform": _elastic_transform,
}


Numbers = tuple[NDArray[Any] | float, ...]
"""What the shift asks for, call by call, for one image."""


def _none(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    return ()


def _normal(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    return (np.random.RandomState(seed).normal(size=image.shape).transpose(2, 0, 1),)


def _counts(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    """Uniform numbers in the middle of what stands for the counts that the reference draws."""
    (photons,) = parameters
    means = image / 255.0 * photons
    counts = np.random.RandomState(seed).poisson(means)
    below, up_to = (np.asarray(stats.poisson.cdf(counts - k, means)) for k in (1, 0))
    return (((below + up_to) / 2).transpose(2, 0, 1),)


def _impulses(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    rng = np.random.default_rng(seed)
    hit, salt = rng.random(image.shape), rng.random(image.shape)
    return hit.transpose(2, 0, 1), salt.transpose(2, 0, 1)


def _steps(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    _, reach, iterations = (int(parameter) for parameter in parameters)
    inner = (side - 2 * reach for side in image.shape[:2])
    return (np.random.RandomState(seed).randint(-reach, reach, size=(iterations, *inner, 2)),)


def _angle(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    return (np.random.RandomState(seed).random_sample(),)


def _flakes(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    rng = np.random.RandomState(seed)
    return rng.normal(size=image.shape[:2]), rng.random_sample()


def _photograph(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    return (np.random.RandomState(seed).random_sample(3),)


def _landscape(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    """Three squares of numbers for each halving of the map, which are the first that are drawn."""
    rng = np.random.RandomState(seed)
    sides = [2**power for power in range(int(np.ceil(np.log2(max(image.shape)))))]
    return tuple(rng.random_sample((side, side)) for side in sides for _ in range(3))


def _field(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    rng = np.random.RandomState(seed)
    shapes = ((3, 2), image.shape[:2], image.shape[:2])
    return tuple(rng.random_sample(shape) for shape in shapes)


def _drops(seed: int, image: Pixels, parameters: Parameters) -> Numbers:
    return (np.random.RandomState(seed).normal(size=image.shape[:2]),)


DRAWS: Final[Mapping[str, Callable[[int, Pixels, Parameters], Numbers]]] = {
    "gaussian_noise": _normal,
    "shot_noise": _counts,
    "impulse_noise": _impulses,
    "speckle_noise": _normal,
    "defocus_blur": _none,
    "glass_blur": _steps,
    "motion_blur": _angle,
    "zoom_blur": _none,
    "gaussian_blur": _none,
    "snow": _flakes,
    "frost": _photograph,
    "fog": _landscape,
    "brightness": _none,
    "spatter": _drops,
    "contrast": _none,
    "elastic_transform": _field,
    "pixelate": _none,
    "jpeg_compression": _none,
    "saturate": _none,
}
"""Every shift that has a reference."""
