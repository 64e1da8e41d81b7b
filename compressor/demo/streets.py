"""Street scenes drawn by a seed, with a mask for each: what a camera in a car might see.

Each image depends on nothing but (seed, index): skyline, road, vehicles, people, light and noise.
Longer sets begin with shorter ones. Pixels on the edge between two things, and the car's own
bonnet, are not labelled, as in data sets of real streets.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from compressor.labels import NOT_LABELLED

CLASSES: Final = ("road", "building", "sky", "vehicle", "person")

_ROAD, _BUILDING, _SKY, _VEHICLE, _PERSON = range(len(CLASSES))

# Drawn larger, then averaged: smooth edges, and pixels of which one knows that they are mixed.
_FINE: Final = 2

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


class _Canvas:
    """A picture and its mask, drawn on at once; coordinates are shares of the side, 0..1."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.picture = Image.new("RGB", (side, side))
        self.mask = Image.new("L", (side, side), NOT_LABELLED)
        self._pens = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.mask)

    def shape(
        self, kind: Callable[[ImageDraw.ImageDraw], Callable[..., None]], where: object,
        colour: Colour, label: int,
    ) -> None:  # fmt: skip
        for pen, fill in zip(self._pens, (colour, label), strict=True):
            kind(pen)(where, fill=fill)

    def rectangle(self, box: Box, colour: Colour, label: int) -> None:
        self.shape(lambda pen: pen.rectangle, self._pixels(box), colour, label)

    def ellipse(self, box: Box, colour: Colour, label: int) -> None:
        self.shape(lambda pen: pen.ellipse, self._pixels(box), colour, label)

    def polygon(self, points: tuple[float, ...], colour: Colour, label: int) -> None:
        self.shape(lambda pen: pen.polygon, self._pixels(points), colour, label)

    def _pixels(self, shares: tuple[float, ...]) -> list[float]:
        return [share * self.side for share in shares]


def draw(*, count: int, seed: int, size: int = 64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB images [count 3 size size] and masks [count size size] of classes and NOT_LABELLED."""
    images = np.empty((count, 3, size, size), dtype=np.uint8)
    masks = np.empty((count, size, size), dtype=np.uint8)
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        canvas = _scene(rng, side=_FINE * size)
        images[index] = _photograph(canvas.picture, rng, size=size).transpose(2, 0, 1)
        masks[index] = _labels(canvas.mask, size=size)
    return images, masks


def _scene(rng: np.random.Generator, *, side: int) -> _Canvas:
    """From back to front: sky, buildings, road, what is on it, the bonnet."""
    canvas = _Canvas(side)
    horizon = rng.uniform(0.36, 0.52)
    _sky(canvas, rng)
    _buildings(canvas, rng, horizon=horizon)
    _road(canvas, rng, horizon=horizon)
    # The farther ones first, for the nearer ones stand in front of them.
    depths = np.sort(rng.uniform(0.03, 0.42, size=rng.integers(1, 6)))
    for depth in depths:
        thing = _vehicle if rng.random() < 0.55 else _person
        thing(canvas, rng, foot=horizon + float(depth), scale=0.12 + 1.1 * float(depth))
    if rng.random() < 0.3:
        canvas.ellipse((-0.2, 0.9, 1.2, 1.4), _tint(rng, 60, 25), NOT_LABELLED)
    return canvas


def _sky(canvas: _Canvas, rng: np.random.Generator) -> None:
    blue, grey = np.array((120.0, 165.0, 225.0)), np.full(3, rng.uniform(140, 220))
    tone = blue + rng.random() * (grey - blue)
    for step in range(12):
        lighter = (tone + (245 - tone) * step / 14).clip(0, 255).astype(int)
        canvas.rectangle((0, step / 16, 1, 1), _colour(lighter), _SKY)
    for _ in range(rng.integers(0, 4)):
        x, y, w = rng.uniform(0, 1), rng.uniform(0, 0.25), rng.uniform(0.08, 0.3)
        canvas.ellipse((x - w, y - w / 4, x + w, y + w / 4), _tint(rng, 225, 12), _SKY)


def _buildings(canvas: _Canvas, rng: np.random.Generator, *, horizon: float) -> None:
    left = rng.uniform(-0.1, 0.05)
    while left < 1:
        width, height = rng.uniform(0.12, 0.34), rng.uniform(0.05, 0.42)
        if rng.random() < 0.82:  # else a gap, with sky down to the road
            top = horizon - height
            canvas.rectangle((left, top, left + width, 1), _tint(rng, rng.uniform(60, 190), 25),
                             _BUILDING)  # fmt: skip
            _windows(canvas, rng, (left, top, left + width, horizon))
        left += width


def _windows(canvas: _Canvas, rng: np.random.Generator, box: Box) -> None:
    left, top, right, bottom = box
    step, colour = rng.uniform(0.045, 0.08), _tint(rng, rng.choice((45.0, 215.0)), 15)
    for y in np.arange(top + step / 2, bottom - step / 2, step):
        for x in np.arange(left + step / 2, right - step / 2, step):
            window = (float(x), float(y), float(x + step / 2), float(y + step / 2))
            canvas.rectangle(window, colour, _BUILDING)


def _road(canvas: _Canvas, rng: np.random.Generator, *, horizon: float) -> None:
    grey = rng.uniform(60, 130)
    canvas.rectangle((0, horizon, 1, 1), _tint(rng, grey + rng.uniform(10, 60), 10), _ROAD)
    meet, spread = rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.8)
    edges = (meet - 0.03, horizon, meet + 0.03, horizon, 0.5 + spread, 1.0, 0.5 - spread, 1.0)
    canvas.polygon(edges, _tint(rng, grey, 6), _ROAD)
    for near, far in ((0.98, 0.8), (0.7, 0.58), (0.5, 0.42)):
        ys = [horizon + share * (1 - horizon) for share in (near, far)]
        xs = [meet + (0.5 - meet) * share for share in (near, far)]
        mark = (xs[0] - 0.015, ys[0], xs[0] + 0.015, ys[0], xs[1] + 0.01, ys[1], xs[1], ys[1])
        canvas.polygon(mark, _tint(rng, 225, 8), _ROAD)


def _vehicle(canvas: _Canvas, rng: np.random.Generator, *, foot: float, scale: float) -> None:
    """A car from behind or from the side, or a van."""
    wide, high = scale * rng.uniform(0.5, 0.95), scale * rng.uniform(0.3, 0.55)
    x, paint = rng.uniform(0, 1), _tint(rng, rng.uniform(35, 225), 60)
    left, right, top = x - wide / 2, x + wide / 2, foot - high
    middle = foot - 0.55 * high
    for wheel in (left + 0.2 * wide, right - 0.2 * wide):
        r = 0.16 * high
        canvas.ellipse((wheel - r, foot - r, wheel + r, foot + r), (22, 22, 24), _VEHICLE)
    canvas.rectangle((left, middle, right, foot - 0.06 * high), paint, _VEHICLE)
    cabin = (left + 0.12 * wide, middle, left + 0.24 * wide, top, right - 0.24 * wide, top,
             right - 0.1 * wide, middle)  # fmt: skip
    canvas.polygon(cabin, paint, _VEHICLE)
    glass = (left + 0.27 * wide, top + 0.08 * high, right - 0.27 * wide, middle)
    canvas.rectangle(glass, _tint(rng, 80, 25), _VEHICLE)


def _person(canvas: _Canvas, rng: np.random.Generator, *, foot: float, scale: float) -> None:
    high = scale * rng.uniform(0.6, 0.85)
    x, wide = rng.uniform(0.03, 0.97), 0.2 * high
    top, hip = foot - high, foot - 0.45 * high
    for side in (-1, 1):
        leg = x + side * rng.uniform(0.12, 0.4) * wide
        canvas.polygon(
            (x - 0.3 * wide, hip, x + 0.3 * wide, hip, leg + 0.22 * wide, foot, leg - 0.22 * wide,
             foot),
            _tint(rng, 55, 25),
            _PERSON,
        )  # fmt: skip
    body = (x - wide / 2, top + 0.16 * high, x + wide / 2, hip + 0.04 * high)
    canvas.ellipse(body, _tint(rng, rng.uniform(40, 220), 55), _PERSON)
    r = 0.09 * high
    canvas.ellipse((x - r, top, x + r, top + 2 * r), _tint(rng, 165, 30), _PERSON)


def _tint(rng: np.random.Generator, tone: float, spread: float) -> Colour:
    """A colour near a grey of this tone."""
    return _colour((tone + rng.normal(0, spread, size=3)).clip(0, 255).astype(int))


def _colour(values: NDArray[np.int64]) -> Colour:
    red, green, blue = values.tolist()
    return red, green, blue


def _photograph(picture: Image.Image, rng: np.random.Generator, *, size: int) -> NDArray[np.uint8]:
    """One image [size size 3]: light, lens and sensor."""
    fine = np.asarray(picture, dtype=np.float64)
    small = fine.reshape(size, _FINE, size, _FINE, 3).mean((1, 3))
    haze, contrast = rng.uniform(90, 180), rng.uniform(0.55, 1.1)
    colour = rng.uniform(0.6, 1.15) * np.exp(rng.normal(0, 0.06, size=3))
    lit = (colour * (haze + contrast * (small - haze))).clip(0, 255)
    lens = ImageFilter.GaussianBlur(rng.uniform(0, 0.7))
    blurred = Image.fromarray(lit.astype(np.uint8)).filter(lens)
    noise = rng.normal(0, rng.uniform(0, 7), size=lit.shape)
    pixels: NDArray[np.uint8] = (np.asarray(blurred) + noise).clip(0, 255).astype(np.uint8)
    return pixels


def _labels(mask: Image.Image, *, size: int) -> NDArray[np.uint8]:
    """A mask [size size]: pixels of one class alone have it."""
    fine = np.asarray(mask).reshape(size, _FINE, size, _FINE)
    low, high = fine.min((1, 3)), fine.max((1, 3))
    return np.where(low == high, low, NOT_LABELLED).astype(np.uint8)
