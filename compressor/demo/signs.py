"""Traffic signs drawn by a seed: a data set that needs no download and no licence.

Each image depends on nothing but (seed, index): its class, place, size, tilt, light, background
and noise. Longer sets begin with shorter ones.

Signs must not be mirrored in training: left would become right.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Point = tuple[float, float]
Pen = ImageDraw.ImageDraw

# Boards are drawn once, in units where the sign reaches from -1 to 1.
_BOARD: Final = 128
_UNIT: Final = 62.0

_RED: Final = (190, 25, 35)
_BLUE: Final = (20, 70, 170)
_YELLOW: Final = (250, 195, 20)
_WHITE: Final = (245, 245, 245)
_BLACK: Final = (25, 25, 25)


def _pixels(points: Sequence[Point]) -> list[Point]:
    return [(_BOARD / 2 + _UNIT * x, _BOARD / 2 + _UNIT * y) for x, y in points]


def _disk(pen: Pen, radius: float, colour: tuple[int, int, int], *, at: Point = (0, 0)) -> None:
    x, y = at
    pen.ellipse(_pixels([(x - radius, y - radius), (x + radius, y + radius)]), fill=colour)


def _area(pen: Pen, colour: tuple[int, int, int], *points: Point) -> None:
    pen.polygon(_pixels(points), fill=colour)


def _stroke(pen: Pen, colour: tuple[int, int, int], *points: Point, width: float) -> None:
    pen.line(_pixels(points), fill=colour, width=round(width * _UNIT), joint="curve")


def _text(pen: Pen, text: str, colour: tuple[int, int, int], *, height: float) -> None:
    font = ImageFont.load_default(height * _UNIT)
    middle = _pixels([(0, 0)])[0]
    pen.text(middle, text, fill=colour, font=font, anchor="mm", stroke_width=2, stroke_fill=colour)


def _ring(pen: Pen) -> None:
    _disk(pen, 1, _RED)
    _disk(pen, 0.76, _WHITE)


def _speed(limit: str) -> Callable[[Pen], None]:
    def draw_limit(pen: Pen) -> None:
        _ring(pen)
        _text(pen, limit, _BLACK, height=1.05)

    return draw_limit


def _stop(pen: Pen) -> None:
    angles = np.pi / 8 + np.arange(8) * np.pi / 4
    for radius, colour in ((1.0, _WHITE), (0.93, _RED)):
        _area(pen, colour, *[(radius * np.cos(a), radius * np.sin(a)) for a in angles])
    _text(pen, "STOP", _WHITE, height=0.62)


def _yield(pen: Pen) -> None:
    _area(pen, _RED, (-1, -0.8), (1, -0.8), (0, 0.95))
    _area(pen, _WHITE, (-0.6, -0.57), (0.6, -0.57), (0, 0.49))


def _priority(pen: Pen) -> None:
    for reach, colour in ((1.0, _BLACK), (0.95, _WHITE), (0.68, _YELLOW)):
        _area(pen, colour, (0, -reach), (reach, 0), (0, reach), (-reach, 0))


def _no_entry(pen: Pen) -> None:
    _disk(pen, 1, _RED)
    _area(pen, _WHITE, (-0.72, -0.18), (0.72, -0.18), (0.72, 0.18), (-0.72, 0.18))


def _no_overtaking(pen: Pen) -> None:
    _ring(pen)
    for x, colour in ((-0.32, _RED), (0.32, _BLACK)):
        _area(pen, colour, (x - 0.26, 0.05), (x + 0.26, 0.05), (x + 0.26, 0.32), (x - 0.26, 0.32))
        _area(pen, colour, (x - 0.17, -0.2), (x + 0.17, -0.2), (x + 0.22, 0.08), (x - 0.22, 0.08))


def _turn(side: int) -> Callable[[Pen], None]:
    """To the right for 1, to the left for -1."""

    def draw_arrow(pen: Pen) -> None:
        _disk(pen, 1, _WHITE)
        _disk(pen, 0.95, _BLUE)
        bend = ((-0.3 * side, 0.62), (-0.3 * side, -0.12), (0.25 * side, -0.12))
        _stroke(pen, _WHITE, *bend, width=0.24)
        _area(pen, _WHITE, (0.15 * side, -0.5), (0.66 * side, -0.12), (0.15 * side, 0.26))

    return draw_arrow


def _roundabout(pen: Pen) -> None:
    _disk(pen, 1, _WHITE)
    _disk(pen, 0.95, _BLUE)
    for start in np.radians((0.0, 120.0, 240.0)):
        curve = start + np.radians(np.arange(0, 71, 10))
        _stroke(pen, _WHITE, *[(0.5 * np.cos(a), 0.5 * np.sin(a)) for a in curve], width=0.2)
        tip = start + np.radians(108)
        head = [(0.5, tip), (0.24, curve[-1]), (0.76, curve[-1])]
        _area(pen, _WHITE, *[(r * np.cos(a), r * np.sin(a)) for r, a in head])


def _pedestrians(pen: Pen) -> None:
    _area(pen, _RED, (-1, 0.8), (1, 0.8), (0, -0.95))
    _area(pen, _WHITE, (-0.62, 0.58), (0.62, 0.58), (0, -0.51))
    _disk(pen, 0.1, _BLACK, at=(0.02, -0.16))
    _stroke(pen, _BLACK, (0, -0.03), (0, 0.24), width=0.16)
    _stroke(pen, _BLACK, (-0.2, 0.14), (0, 0.0), (0.2, 0.14), width=0.08)
    _stroke(pen, _BLACK, (-0.17, 0.54), (0, 0.24), (0.17, 0.54), width=0.1)


SIGNS: Final[Mapping[str, Callable[[Pen], None]]] = {
    "speed limit 30": _speed("30"),
    "speed limit 50": _speed("50"),
    "speed limit 80": _speed("80"),
    "stop": _stop,
    "yield": _yield,
    "priority road": _priority,
    "no entry": _no_entry,
    "no overtaking": _no_overtaking,
    "turn left": _turn(-1),
    "turn right": _turn(1),
    "roundabout": _roundabout,
    "pedestrians": _pedestrians,
}
CLASSES: Final = tuple(SIGNS)


def draw(*, count: int, seed: int, size: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """RGB images [count 3 size size] and labels [count], the classes taking turns."""
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    boards = [_board(SIGNS[name]) for name in CLASSES]
    images = np.empty((count, 3, size, size), dtype=np.uint8)
    for index, label in enumerate(labels):
        rng = np.random.default_rng([seed, index])
        images[index] = _photograph(boards[label], rng, size=size).transpose(2, 0, 1)
    return images, labels


def _board(sign: Callable[[Pen], None]) -> Image.Image:
    """The sign alone, seen from the front in white light, transparent around it."""
    board = Image.new("RGBA", (_BOARD, _BOARD))
    sign(ImageDraw.Draw(board))
    return board


def _photograph(board: Image.Image, rng: np.random.Generator, *, size: int) -> NDArray[np.uint8]:
    """One image [size size 3]: background, sign, light, lens and sensor, in this order."""
    fine = 2 * size  # drawn twice as large, then averaged: smooth edges
    corners = _view(rng, size=fine)
    sign = board.transform(
        (fine, fine), Image.Transform.PERSPECTIVE, corners, Image.Resampling.BILINEAR
    )
    layers = np.asarray(sign, dtype=np.float64)
    # Old paint: each colour fades towards white by its own share, under one layer of dirt.
    paint = 255 - rng.uniform(0.75, 1, size=3) * (255 - layers[..., :3] * rng.uniform(0.7, 1.05))
    opacity = layers[..., 3:] / 255
    scene = _background(rng, size=fine) * (1 - opacity) + paint * opacity
    scene = _obstacle(scene, rng)
    small = scene.reshape(size, 2, size, 2, 3).mean((1, 3))
    return _sensor(_light(small, rng), rng)


def _view(rng: np.random.Generator, *, size: int) -> tuple[float, ...]:
    """Coefficients of a random perspective, from pixels of the image to pixels of the board."""
    reach = size * rng.uniform(0.26, 0.47)
    turn = rng.normal(0, 0.12)
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) + rng.normal(0, 0.07, size=(4, 2))
    square *= (rng.uniform(0.75, 1), 1)  # seen from the side, a sign looks narrow
    rotation = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    centre = size / 2 + rng.uniform(-1, 1, size=2) * max(size / 2 - 0.9 * reach, 0) * 0.8
    image = square @ rotation * reach + centre
    target = np.array([(0, 0), (_BOARD, 0), (_BOARD, _BOARD), (0, _BOARD)])
    equations = np.zeros((8, 8))
    for row, ((x, y), (u, v)) in enumerate(zip(image, target, strict=True)):
        equations[2 * row] = (x, y, 1, 0, 0, 0, -u * x, -u * y)
        equations[2 * row + 1] = (0, 0, 0, x, y, 1, -v * x, -v * y)
    return tuple(np.linalg.solve(equations, target.ravel()).tolist())


def _background(rng: np.random.Generator, *, size: int) -> NDArray[np.float64]:
    """Blurred blobs of one tint, with a few hard-edged things in front."""
    cells = int(rng.integers(2, 10))
    tint = rng.uniform(40, 210) + rng.normal(0, 20, size=3)
    blobs = tint + rng.normal(0, 35, (cells, cells, 1)) + rng.normal(0, 10, (cells, cells, 3))
    image = Image.fromarray(blobs.clip(0, 255).astype(np.uint8))
    image = image.resize((size, size), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(0, size, size=2)
        w, h = rng.uniform(1, size / 2, size=2)
        tones = rng.uniform(20, 235) + rng.normal(0, 35, size=3)
        colour = tuple(tones.clip(0, 255).astype(int).tolist())
        box = (x - w, y - h, x + w, y + h)
        (pen.rectangle if rng.random() < 0.6 else pen.ellipse)(box, fill=colour)
    return np.asarray(image, dtype=np.float64)


def _obstacle(scene: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A leaf or a post in front of one sign in four."""
    if rng.random() < 0.25:
        size = len(scene)
        w, h = rng.uniform(0.08, 0.32, size=2) * size
        x, y = rng.uniform(0, size - w), rng.uniform(0, size - h)
        scene[int(y) : int(y + h), int(x) : int(x + w)] = rng.uniform(20, 200, size=3)
    return scene


def _light(scene: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Exposure, contrast, colour of the light, and a shadow that grows across the image."""
    size = len(scene)
    slope = rng.normal(0, 0.25, size=2) / size
    rows, columns = np.arange(size)[:, None] - size / 2, np.arange(size)[None] - size / 2
    shade = 1 + slope[0] * rows + slope[1] * columns
    colour = np.exp(rng.normal(0, 0.07, size=3))
    contrast, exposure = rng.uniform(0.45, 1.1), rng.uniform(0.5, 1.15)
    haze = rng.uniform(60, 190)
    lit: NDArray[np.float64] = shade[..., None] * colour * (haze + contrast * (scene - haze))
    return exposure * lit


def _sensor(scene: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Defocus and noise, then bytes."""
    image = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.0)))
    noise = rng.normal(0, rng.uniform(0, 7), size=scene.shape)
    return (np.asarray(blurred) + noise).clip(0, 255).astype(np.uint8)
