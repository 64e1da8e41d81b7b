"""Frost from photographs that the test takes itself, and drawn ice."""

import hashlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gates.shifts.draws import draws_for
from gates.shifts.frost import frost, frost_synthetic, textures
from gates.shifts.ice import ice
from gates.shifts.shift import on_unit
from gates.shifts.tables import TABLES, Parameters, ShiftError
from tests.gates.shifts.injected import Injected

NAMES = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"]
SIZES = [(60, 90), (50, 75), (75, 50), (64, 64), (55, 81)]
ROWS = sorted({row for table in TABLES.values() for row in table["frost"]})
SYNTHETIC_ROWS = sorted({row for table in TABLES.values() for row in table["frost_synthetic"]})


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.uint8]]:
    """An installed package that must not be imported, and its photographs [h w 3]."""
    folder = tmp_path / "imagecorruptions" / "frost"
    folder.mkdir(parents=True)
    folder.with_name("__init__.py").write_text("raise AssertionError('imported')\n")
    rng = np.random.default_rng(0)
    for name, (height, width) in zip([*NAMES, "frost6.jpg"], [*SIZES, (60, 60)], strict=True):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, quality=95)
    monkeypatch.delitem(sys.modules, "imagecorruptions", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return [np.asarray(Image.open(folder / name)) for name in NAMES]


def some_images(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((n, channels, height, width)))


def place(index: int, top: int, left: int, *, room: tuple[int, int]) -> list[float]:
    """The uniform numbers that choose a photograph and a corner, each amid its interval."""
    numbers = zip((index, top, left), (5, *room), strict=True)
    return [(number + 0.5) / bound for number, bound in numbers]


@pytest.mark.parametrize("index", range(5))
def test_frost_adds_the_chosen_piece_of_the_chosen_photograph(
    photographs: list[NDArray[np.uint8]], index: int
) -> None:
    images = some_images(2, 3, 20, 31)
    height, width, _ = photographs[index].shape
    room = (height - 20, width - 31)
    draws = Injected(
        [place(index, 4, 7, room=room), place(index, *(r - 1 for r in room), room=room)]
    )
    result = frost(images, parameters=(0.7, 0.6, 1.0), draws=draws)
    assert draws.used_up()
    for image, moved, (top, left) in zip(
        images, result, [(4, 7), (room[0] - 1, room[1] - 1)], strict=True
    ):
        piece = photographs[index][top : top + 20, left : left + 31].transpose(2, 0, 1) / 255
        np.testing.assert_allclose(moved, 0.7 * image.numpy() + 0.6 * piece, atol=1e-12)


@pytest.mark.parametrize("parameters", ROWS)
def test_the_weights_are_those_of_the_table_and_grey_images_get_grey_ice(
    photographs: list[NDArray[np.uint8]], parameters: Parameters
) -> None:
    grey = some_images(1, 1, 8, 8)
    where = [0.1, 0.0, 0.0]
    one, three = (
        frost(images, parameters=parameters, draws=Injected([where]))
        for images in (grey, grey.expand(1, 3, 8, 8))
    )
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).reshape(3, 1, 1)
    np.testing.assert_allclose(one[0, 0], (weights * three[0]).sum(0), atol=1e-12)
    image_weight, ice_weight, scale = parameters
    if scale == 1.0:
        piece = photographs[0][:8, :8].transpose(2, 0, 1) / 255
        expected = image_weight * grey[0].numpy() + ice_weight * piece
        np.testing.assert_allclose(three[0], expected, atol=1e-12)


def test_a_fifth_of_a_photograph_is_every_fifth_pixel(
    photographs: list[NDArray[np.uint8]],
) -> None:
    """Without smoothing: the centre of a pixel five times as wide is that of a pixel."""
    result = frost(
        torch.zeros(1, 3, 10, 10, dtype=torch.float64),
        parameters=(1.0, 1.0, 0.2),
        draws=Injected([place(1, 0, 0, room=(1, 5))]),
    )
    expected = photographs[1][2::5, 2::5][:10, :10].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(result[0], expected, atol=1e-12)


def between(pixels: NDArray[np.uint8], y: float, x: float) -> NDArray[np.float64]:
    """The colour at a place between pixel centres, the edge repeated outwards."""
    last = np.array(pixels.shape[:2]) - 1
    (top, down), (left, right) = (divmod(place, 1.0) for place in (y, x))
    colour = np.zeros(3)
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for column, weight in ((left, 1 - right), (left + 1, right)):
            nearest = np.clip((row, column), 0, last).astype(int)
            colour += row_weight * weight * pixels[tuple(nearest)]
    return colour


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((8, 9), 0.3),
        # Larger than the photograph of 55 x 81 pixels: just large enough for the image.
        ((100, 20), 100 / 55),
        ((60, 162), 2.0),
    ],
)
def test_a_photograph_is_scaled_linearly(
    photographs: list[NDArray[np.uint8]], size: tuple[int, int], scale: float
) -> None:
    result = frost(
        torch.zeros(1, 3, *size, dtype=torch.float64),
        parameters=(1.0, 1.0, min(scale, 1.0)),
        draws=Injected([[0.9, 0.0, 0.0]]),
    )
    pixels = np.rint(255 * result[0].numpy()).transpose(1, 2, 0)
    for y, x in itertools.product(range(0, size[0], 3), range(0, size[1], 4)):
        expected = between(photographs[4], (y + 0.5) / scale - 0.5, (x + 0.5) / scale - 0.5)
        np.testing.assert_allclose(pixels[y, x], expected, atol=1.0)


def test_scaling_rounds_as_opencv_does(photographs: list[NDArray[np.uint8]]) -> None:
    """Fixed values of ``cv2.resize(pattern, (0, 0), fx=0.3, fy=0.3)``, OpenCV 5.0."""
    y, x = np.mgrid[:60, :90]
    pattern = ((37 * y + 91 * x + 17 * x * y) % 256).astype(np.uint8)
    folder = Path(sys.path[0]) / "imagecorruptions" / "frost"
    Image.fromarray(pattern).save(folder / NAMES[0])
    black = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    result = on_unit(frost)(black, parameters=(1.0, 1.0, 0.3), draws=Injected([[0.0, 0.0, 0.0]]))
    assert result[0, 0, :3, :4].tolist() == [
        [165, 136, 108, 171],
        [84, 88, 113, 95],
        [75, 146, 83, 197],
    ]


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-53])
def test_every_draw_finds_a_piece(photographs: list[NDArray[np.uint8]], uniform: float) -> None:
    draws = Injected([[uniform, uniform, uniform]])
    image = some_images(1, 3, 50, 64)
    assert frost(image, parameters=ROWS[0], draws=draws).shape == image.shape


def test_textures_are_the_five_files_and_their_digests(
    photographs: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    digests = {
        name: hashlib.sha256((tmp_path / "imagecorruptions" / "frost" / name).read_bytes())
        for name in NAMES
    }
    assert textures() == {name: digest.hexdigest() for name, digest in digests.items()}


def draw_frost() -> object:
    return frost(some_images(1, 3, 8, 8), parameters=ROWS[0], draws=Injected([[0.0] * 3]))


@pytest.mark.parametrize("needing", [textures, draw_frost])
def test_missing_photographs_are_one_clear_error(
    needing: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "imagecorruptions", raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ShiftError, match=r"pip install 'compressor\[frost\]'.*frost_synthetic"):
        needing()


@pytest.mark.parametrize("missing", NAMES)
def test_four_photographs_are_not_enough(
    photographs: list[NDArray[np.uint8]], tmp_path: Path, missing: str
) -> None:
    (tmp_path / "imagecorruptions" / "frost" / missing).unlink()
    with pytest.raises(ShiftError, match=missing):
        textures()


# ------------------------------------------------ drawn ice


def drawn(n: int, size: tuple[int, int]) -> Tensor:
    draws = draws_for(np.arange(n, dtype=np.uint64), shift="ice", strength="1", seed=0)
    return ice(draws, size=size, parameters=())


@pytest.mark.parametrize("size", [(8, 8), (9, 24), (24, 9)])
def test_ice_has_any_size_and_is_the_same_from_the_same_draws(size: tuple[int, int]) -> None:
    layers = drawn(5, size)
    assert layers.dtype == torch.uint8
    assert layers.shape == (5, 3, *size)
    assert torch.equal(layers, drawn(5, size))
    assert torch.equal(layers[:2], drawn(2, size))
    assert len(torch.unique(layers, dim=0)) == 5


@pytest.mark.parametrize("side", [32, 64])
def test_ice_is_as_bright_uneven_and_blue_as_the_photographs(side: int) -> None:
    """These: means of 160 and 39 between pieces, 22 within one; red 16 below, blue 12 above."""
    layers = drawn(200, (side, side)).double()
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).reshape(3, 1, 1)
    bright = (weights * layers).sum(1)
    assert bright.mean().item() == pytest.approx(160, abs=8)
    assert bright.mean(dim=(1, 2)).std().item() == pytest.approx(39, abs=10)
    assert bright.std(dim=(1, 2)).mean().item() == pytest.approx(22, abs=3)
    tint = (layers - bright[:, None]).mean(dim=(0, 2, 3)).tolist()
    assert tint == pytest.approx([-16, 6, 12], abs=5)
    assert ((layers == 0) | (layers == 255)).double().mean().item() < 0.03


@pytest.mark.parametrize("parameters", SYNTHETIC_ROWS)
def test_synthetic_frost_adds_ice_with_the_weights_of_the_table(parameters: Parameters) -> None:
    ids = np.arange(3, dtype=np.uint64)
    images = some_images(3, 3, 9, 12)

    def moved(images: Tensor) -> NDArray[np.float64]:
        draws = draws_for(ids, shift="frost_synthetic", strength="1", seed=0)
        shifted: NDArray[np.float64] = frost_synthetic(
            images, parameters=parameters, draws=draws
        ).numpy()
        return shifted

    image_weight, ice_weight = parameters
    layers = draws_for(ids, shift="frost_synthetic", strength="1", seed=0).layers(
        ice, size=(9, 12), parameters=()
    )
    expected = image_weight * images.numpy() + ice_weight * layers.numpy() / 255
    np.testing.assert_allclose(moved(images), expected, atol=1e-12)
    coloured = moved(images[:, :1].expand(3, 3, 9, 12))
    grey = np.tensordot([0.299, 0.587, 0.114], coloured, axes=(0, 1))
    np.testing.assert_allclose(moved(images[:, :1])[:, 0], grey, atol=1e-12)


def test_no_images_are_no_problem(photographs: list[NDArray[np.uint8]]) -> None:
    nothing = torch.empty(0, 3, 8, 10, dtype=torch.float64)
    draws = draws_for(np.empty(0, dtype=np.uint64), shift="frost", strength="1", seed=0)
    assert frost(nothing, parameters=ROWS[0], draws=draws).shape == nothing.shape
    result = frost_synthetic(nothing, parameters=SYNTHETIC_ROWS[0], draws=draws)
    assert result.shape == nothing.shape
