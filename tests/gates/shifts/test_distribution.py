"""Mixtures, several draws and the JPEG at the end."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gates.shifts import Component, Distribution, ShiftError, definition, sample, shifted

NOISE = Component(name="gaussian_noise", severity=2)
LIGHT = Component(name="brightness", severity=3)
PLAIN = Component(name="clean")


def images(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 16, 16), dtype=np.uint8)


def ids(n: int) -> NDArray[np.uint64]:
    return np.arange(n, dtype=np.uint64) * 7919


def under(component: Component, n: int, *, draw: int = 0) -> NDArray[np.uint8]:
    return shifted(
        images(n), ids(n), name=component.name, severity=component.severity, level=component.level,
        seed=4, draw=draw,
    )  # fmt: skip


def mixed(
    n: int, *components: Component, draw: int = 0, save_jpeg: int | None = None
) -> NDArray[np.uint8]:
    distribution = Distribution(components=components, save_jpeg=save_jpeg)
    return sample(images(n), ids(n), distribution=distribution, seed=4, draw=draw)


def same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images [n] are equal in every byte."""
    equal: NDArray[np.bool_] = (one == other).all(axis=(1, 2, 3))
    return equal


def test_one_component_is_the_shift_itself() -> None:
    assert np.array_equal(mixed(9, NOISE), under(NOISE, 9))
    assert np.array_equal(mixed(9, NOISE, draw=2), under(NOISE, 9, draw=2))


def test_every_image_of_a_mixture_is_one_of_its_components_to_the_byte() -> None:
    n = 600
    result = mixed(n, NOISE, LIGHT, PLAIN)
    hits = np.stack([same(result, under(part, n)) for part in (NOISE, LIGHT, PLAIN)])
    assert (hits.sum(axis=0) == 1).all()
    # 200 each are expected; five standard deviations of Bin(600, 1/3) are 58.
    assert np.abs(hits.sum(axis=1) - 200).max() < 58


def test_who_else_is_in_the_batch_changes_no_images_component() -> None:
    distribution = Distribution(components=(NOISE, LIGHT))
    whole = mixed(40, NOISE, LIGHT)
    part = sample(images(40)[30:], ids(40)[30:], distribution=distribution, seed=4)
    assert np.array_equal(part, whole[30:])
    backwards = sample(images(40)[::-1], ids(40)[::-1], distribution=distribution, seed=4)
    assert np.array_equal(backwards[::-1], whole)


def test_another_draw_draws_the_component_anew() -> None:
    first, second = (same(mixed(300, NOISE, PLAIN, draw=d), images(300)) for d in (0, 1))
    assert 100 < (first != second).sum() < 200


def test_save_jpeg_is_pillows_jpeg_of_what_came_out() -> None:
    result = mixed(3, LIGHT, save_jpeg=85)
    for before, after in zip(under(LIGHT, 3), result, strict=True):
        file = io.BytesIO()
        Image.fromarray(before.transpose(1, 2, 0)).save(file, "JPEG", quality=85)
        assert np.array_equal(np.asarray(Image.open(file)).transpose(2, 0, 1), after)


def test_a_level_is_a_strength_of_its_own() -> None:
    loud = Component(name="uniform_noise", level=0.37)
    noise = np.abs(mixed(9, loud).astype(int) - images(9))
    assert 0.36 * 255 < noise.max() <= 0.37 * 255 + 1


def test_no_images_stay_no_images() -> None:
    assert mixed(0, NOISE, LIGHT, save_jpeg=85).shape == (0, 3, 16, 16)
    assert mixed(0, NOISE).shape == (0, 3, 16, 16)


def test_the_definition_says_what_decides_the_pixels() -> None:
    fog = Distribution(components=(Component(name="fog", severity=3), PLAIN), draws=3)
    assert definition(fog, side=32) == {
        "components": [
            {"name": "fog", "severity": 3, "parameters": [0.75, 2.5], "bank": 256},
            {"name": "clean", "severity": None, "parameters": []},
        ],
        "draws": 3,
        "save_jpeg": None,
    }


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Component(name="fogg", severity=1), "did you mean 'fog'"),
        (Component(name="fog", severity=6), "fog has severities 1 to 5, got 6"),
        (Component(name="fog", level=0.1), "only uniform_noise has a level"),
        (Component(name="uniform_noise", level=1.5), r"half width in \(0, 1\], got 1.5"),
        (Component(name="uniform_noise", level=0.1, severity=1), "not both: 1 and 0.1"),
        (Component(name="clean", level=0.1), "clean has no severity, got 0.1"),
    ],
)
def test_a_component_that_does_not_exist_is_refused(component: Component, message: str) -> None:
    distribution = Distribution(components=(component,))
    with pytest.raises(ShiftError, match=message):
        definition(distribution, side=32)
    with pytest.raises(ShiftError, match=message):
        sample(images(1), ids(1), distribution=distribution, seed=0)


def test_an_impossible_distribution_is_refused() -> None:
    with pytest.raises(ShiftError, match="at least one component, got none"):
        Distribution(components=())
    with pytest.raises(ShiftError, match="at least one draw, got 0"):
        Distribution(components=(NOISE,), draws=0)
    with pytest.raises(ShiftError, match="all 3 draws of brightness are the same image"):
        Distribution(components=(LIGHT,), draws=3)
    with pytest.raises(ShiftError, match="quality from 1 to 95, got 100"):
        Distribution(components=(NOISE,), save_jpeg=100)
