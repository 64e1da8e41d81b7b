"""Each shift against its definition, computed here in another way."""

import colorsys
import io
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from gates.shifts import SHIFTS, blur, digital, noise, shifted
from gates.shifts.draws import draws_for
from gates.shifts.tables import TABLES, Parameters

IDS = np.array([3, 2**64 - 1], np.uint64)


def some_images(channels: int = 3, side: int = 20, dtype: torch.dtype = torch.float64) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (2, channels, side, side)) / 255.0).to(dtype)


def apply(name: str, images: Tensor, parameters: Parameters) -> NDArray[np.float64]:
    module = next(module for module in (blur, digital, noise) if hasattr(module, name))
    draws = draws_for(IDS[: len(images)], shift=name, strength="1", seed=0)
    moved = getattr(module, name)(images, parameters=parameters, draws=draws)
    return cast("NDArray[np.float64]", moved.numpy())


def rows(name: str) -> list[Parameters]:
    """Every row of every table, once."""
    return sorted({row for table in TABLES.values() for row in table[name]})


def test_gaussian_noise_adds_normal_numbers() -> None:
    images = torch.full((2, 3, 64, 64), 0.5, dtype=torch.float64)
    noise = apply("gaussian_noise", images, (0.1,)) - 0.5
    assert noise.mean() == pytest.approx(0.0, abs=0.003)
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert np.abs(np.corrcoef(noise.reshape(6, -1)) - np.eye(6)).max() < 0.06


def test_uniform_noise_fills_its_interval_evenly() -> None:
    images = torch.full((2, 3, 64, 64), 0.5, dtype=torch.float64)
    noise = apply("uniform_noise", images, (0.1,)) - 0.5
    assert -0.1 <= noise.min() < -0.099
    assert 0.099 < noise.max() <= 0.1
    assert noise.std() == pytest.approx(0.2 / 12**0.5, rel=0.02)


def test_speckle_noise_grows_with_the_pixel() -> None:
    noise = apply("speckle_noise", torch.ones(2, 3, 64, 64, dtype=torch.float64), (0.2,)) - 1.0
    half = apply("speckle_noise", torch.full((2, 3, 64, 64), 0.5, dtype=torch.float64), (0.2,))
    black = apply("speckle_noise", torch.zeros(2, 3, 64, 64, dtype=torch.float64), (0.2,))
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    np.testing.assert_allclose(half - 0.5, noise / 2, atol=1e-15)
    assert not black.any()


def test_impulse_noise_hits_its_share_of_values_half_white_half_black() -> None:
    images = torch.full((2, 3, 128, 128), 64, dtype=torch.uint8)
    result = apply("impulse_noise", images, (0.2,))
    assert set(np.unique(result)) == {0, 64, 255}
    hit = result != 64
    assert hit.mean() == pytest.approx(0.2, abs=0.006)
    assert (result[hit] == 255).mean() == pytest.approx(0.5, abs=0.02)
    # Channels are hit apart: all three at once happens with probability .2 ** 3.
    assert hit.all(axis=1).mean() == pytest.approx(0.008, abs=0.003)


@pytest.mark.parametrize("parameters", rows("gaussian_blur"))
def test_gaussian_blur_is_scipys(parameters: Parameters) -> None:
    images = some_images()
    (sigma,) = parameters
    expected = ndimage.gaussian_filter(
        images.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0
    )
    np.testing.assert_allclose(apply("gaussian_blur", images, parameters), expected, atol=1e-12)


def softened_disk(radius: float, sigma: float) -> NDArray[np.float64]:
    """The kernel by its definition: a disk on a grid, then a 3 x 3 or 5 x 5 Gaussian."""
    half, reach = (8, 1) if radius <= 8 else (10, 2)
    offsets = range(-half, half + 1)
    disk = np.array([[float(x * x + y * y <= radius * radius) for x in offsets] for y in offsets])
    taps = range(-reach, reach + 1)
    bell = np.array([[np.exp(-(x * x + y * y) / (2 * sigma**2)) for x in taps] for y in taps])
    return ndimage.correlate(disk / disk.sum(), bell / bell.sum(), mode="mirror")


@pytest.mark.parametrize("side", [8, 20])
@pytest.mark.parametrize("parameters", rows("defocus_blur"))
def test_defocus_blur_is_a_mirrored_correlation_with_a_soft_disk(
    parameters: Parameters, side: int
) -> None:
    images = some_images(side=side)
    kernel = softened_disk(*parameters)
    expected = ndimage.correlate(images.numpy(), kernel[None, None], mode="mirror")
    np.testing.assert_allclose(apply("defocus_blur", images, parameters), expected, atol=1e-12)


def test_the_widest_disk_of_cifar_10_c_is_the_mean_of_nine_pixels() -> None:
    point = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    point[..., 4, 4] = 1.0
    expected = np.zeros((9, 9))
    expected[3:6, 3:6] = 1 / 9
    np.testing.assert_allclose(apply("defocus_blur", point, (1.5, 0.1))[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "contrast"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_flat_image_stays_as_it_is(name: str, severity: int) -> None:
    """Its exact result is a whole byte; truncation must not make it one less."""
    flat = np.arange(256, dtype=np.uint8).repeat(1024).reshape(256, 1, 32, 32)
    ids = np.arange(256, dtype=np.uint64)
    assert np.array_equal(shifted(flat, ids, name=name, severity=severity, seed=0), flat)


@pytest.mark.parametrize("parameters", rows("brightness"))
def test_brightness_raises_v_of_hsv(parameters: Parameters) -> None:
    images = some_images(side=12)
    images[0, :, :2] = 0.0
    images[0, :, 2:4] = 1.0
    (gain,) = parameters
    result = apply("brightness", images, parameters)
    for (n, y, x), _ in np.ndenumerate(result[:, 0]):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[n, :, y, x].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + gain, 1.0))
        np.testing.assert_allclose(result[n, :, y, x], expected, atol=1e-12)


@pytest.mark.parametrize("parameters", rows("saturate"))
def test_saturate_changes_s_of_hsv(parameters: Parameters) -> None:
    images = some_images(side=12)
    images[0, :, :2] = 0.0
    images[0, :, 2:4] = 0.6
    factor, offset = parameters
    result = apply("saturate", images, parameters)
    for (n, y, x), _ in np.ndenumerate(result[:, 0]):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[n, :, y, x].tolist())
        wanted = min(max(factor * saturation + offset, 0.0), 1.0)
        expected = colorsys.hsv_to_rgb(hue, wanted, value)
        np.testing.assert_allclose(result[n, :, y, x], expected, atol=1e-12)


@pytest.mark.parametrize("parameters", rows("shot_noise"))
def test_shot_noise_has_the_mean_and_the_variance_of_counted_photons(
    parameters: Parameters,
) -> None:
    (photons,) = parameters
    images = torch.full((2, 3, 128, 128), 0.5, dtype=torch.float64)
    counts = apply("shot_noise", images, parameters) * photons
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    assert counts.mean() == pytest.approx(photons / 2, rel=0.01)
    assert counts.var() == pytest.approx(photons / 2, rel=0.03)


@pytest.mark.parametrize("profile", TABLES)
def test_pixelate_averages_boxes_both_ways(profile: str) -> None:
    """Pillow scales BOX up too: a pixel over two boxes is their mean, not the nearer one."""
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for severity, (factor,) in enumerate(TABLES[profile]["pixelate"], start=1):
        small = box_resized(box_resized(image, int(40 * factor)), 40)
        result = shifted(
            image.transpose(2, 0, 1)[None], IDS[:1], name="pixelate", severity=severity, seed=0,
            profile=profile,
        )  # fmt: skip
        assert np.abs(result[0].transpose(1, 2, 0).astype(int) - small).max() <= 1


def box_resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Mean over the box [i, i + 1) * scale in pixels, first along rows, then along columns.

    Going up, the box is the one pixel that the centre falls into, or two where it falls between.
    """
    before = len(image)
    scale = before / side
    reach = max(scale, 1.0) / 2
    weights = np.zeros((side, before))
    for row in range(side):
        centre = (row + 0.5) * scale
        low, high = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), before)
        for column in range(low, high):
            offset = (column + 0.5 - centre) / max(scale, 1.0)
            weights[row, column] = float(-0.5 < offset <= 0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    across = np.floor(np.einsum("xj,ijc->ixc", weights, image.astype(float)) + 0.5)
    down = np.einsum("yi,ixc->yxc", weights, across)
    rounded: NDArray[np.uint8] = np.floor(down + 0.5).astype(np.uint8)
    return rounded


@pytest.mark.parametrize("parameters", rows("contrast"))
def test_contrast_keeps_means_and_shrinks_deviations(parameters: Parameters) -> None:
    images = some_images()
    (kept,) = parameters
    result = apply("contrast", images, parameters)
    before = images.numpy()
    mean = before.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(result.mean(axis=(2, 3), keepdims=True), mean, atol=1e-12)
    np.testing.assert_allclose(result - mean, kept * (before - mean), atol=1e-12)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("profile", TABLES)
@pytest.mark.parametrize("severity", [1, 5])
def test_jpeg_compression_is_pillows(severity: int, profile: str, mode: str) -> None:
    (quality,) = TABLES[profile]["jpeg_compression"][severity - 1]
    ramp = np.add.outer(np.arange(24), 3 * np.arange(32)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp.T.reshape(24, 32), 255 - ramp], axis=-1))
    image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(quality))
    expected = np.atleast_3d(np.asarray(Image.open(file))).transpose(2, 0, 1)
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)[None]
    result = shifted(
        pixels, IDS[:1], name="jpeg_compression", severity=severity, seed=0, profile=profile
    )
    assert np.array_equal(result[0], expected)


def test_bytes_are_golden() -> None:
    """Changing one of these changes what recorded evidence means.

    JPEG is left out, since its bytes are libjpeg's.
    """
    assert set(GOLDEN_BYTES) == set(SHIFTS) - {"clean", "jpeg_compression"}
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    for name, expected in GOLDEN_BYTES.items():
        result = shifted(ramp, IDS[:1], name=name, severity=3, seed=0)
        assert result[0, 0, 7, :6].tolist() == expected, name


GOLDEN_BYTES = {
    "gaussian_noise": [96, 81, 105, 116, 107, 112],
    "shot_noise": [130, 137, 132, 91, 104, 132],
    "impulse_noise": [112, 113, 114, 115, 116, 117],
    "speckle_noise": [97, 123, 119, 120, 129, 69],
    "uniform_noise": [106, 99, 110, 129, 120, 111],
    "defocus_blur": [112, 113, 114, 115, 116, 117],
    "glass_blur": [112, 112, 98, 114, 115, 101],
    "motion_blur": [98, 99, 100, 101, 102, 103],
    "zoom_blur": [105, 106, 107, 108, 109, 110],
    "gaussian_blur": [112, 113, 114, 115, 116, 117],
    "snow": [130, 131, 132, 133, 134, 135],
    "frost": [196, 193, 195, 196, 196, 188],
    "frost_synthetic": [139, 141, 160, 151, 158, 160],
    "fog": [104, 105, 105, 103, 100, 99],
    "brightness": [150, 151, 152, 153, 154, 155],
    "spatter": [112, 113, 114, 115, 116, 117],
    "contrast": [121, 121, 122, 122, 122, 123],
    "elastic_transform": [160, 158, 155, 152, 148, 145],
    "pixelate": [120, 121, 123, 123, 124, 125],
    "saturate": [112, 113, 114, 115, 116, 117],
}
