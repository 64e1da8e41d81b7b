"""What every shift promises. A new shift is tested by being in the table."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

import gates.shifts.suite
from gates.shifts import PROFILES, SHIFTS, ShiftError, available, parameters, profile_of, shifted
from gates.shifts.tables import TABLES

Pixels = NDArray[np.uint8]

DRAWN = sorted(name for name, shift in SHIFTS.items() if shift.chance != "none")
FIXED = sorted(set(SHIFTS) - set(DRAWN))

# Where a higher severity is another kind of change and not a larger one, in the generator's tables.
NOT_RISING = {
    ("elastic_transform", *TABLES): "the affine jitter falls as the displacement rises",
    ("fog", "imagenet-c"): "severity 4 is as dense as 3 and only coarser",
    ("frost", *TABLES): "more ice, but a darker image under it",
    ("frost_synthetic", *TABLES): "more ice, but a darker image under it",
    ("glass_blur", *TABLES): "severities trade the blur against the number of shuffles",
    ("saturate", *TABLES): "severities 1 and 2 take colour away, 3 to 5 add it",
    ("spatter", "cifar-10-c"): "severities 1 to 3 are water, 4 and 5 mud",
}
RISING = sorted(
    {(name, profile) for name in SHIFTS if name != "clean" for profile in TABLES}
    - {(name, profile) for name, *profiles in NOT_RISING for profile in profiles}
)

STRENGTHS = [
    (name, severity)
    for name in SHIFTS
    for severity in ([None] if name == "clean" else [1, 2, 3, 4, 5])
]
STRONG = [(name, None if name == "clean" else 5) for name in SHIFTS]


def scenes(n: int, *, channels: int = 3, side: int = 32, seed: int = 0) -> Pixels:
    """Images with large shapes and fine texture, like photographs have both."""
    rng = np.random.default_rng(seed)
    shapes = ndimage.gaussian_filter(
        rng.normal(size=(n, channels, side, side)), (0, 0, side / 12, side / 12)
    )
    shapes *= 50 / shapes.std()
    texture = rng.normal(scale=8.0, size=shapes.shape)
    return np.clip(128 + shapes + texture, 0, 255).astype(np.uint8)


def numbered(images: Pixels) -> NDArray[np.uint64]:
    return np.arange(1000, 1000 + len(images), dtype=np.uint64)


def moved(images: Pixels, name: str, severity: int | None, *, seed: int = 7) -> Pixels:
    return shifted(images, numbered(images), name=name, severity=severity, seed=seed)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches on a busy machine are many times slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (24, 50), (8, 8)])
@pytest.mark.parametrize(("name", "severity"), STRONG)
def test_shape_and_type_are_kept(
    name: str, severity: int | None, size: tuple[int, int], channels: int
) -> None:
    images = scenes(2, channels=channels, side=50)[..., : size[0], : size[1]]
    result = moved(images, name, severity)
    assert result.shape == images.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize(("name", "severity"), STRONG)
def test_no_images_stay_no_images(name: str, severity: int | None) -> None:
    assert moved(scenes(1)[:0], name, severity).shape == (0, 3, 32, 32)


def test_clean_is_the_identity_on_every_byte() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    result = moved(images, "clean", None)
    assert np.array_equal(result, images)
    assert not np.shares_memory(result, images)


@pytest.mark.parametrize(("name", "profile"), RISING)
def test_a_higher_severity_moves_images_further(name: str, profile: str) -> None:
    # Enough images that chance (the angle of a streak, the bank) does not decide.
    images = scenes(100, side={"cifar-10-c": 32, "tiny-imagenet-c": 48, "imagenet-c": 96}[profile])
    distances = [
        np.square(
            shifted(
                images, numbered(images), name=name, severity=severity, seed=0, profile=profile
            ).astype(float)
            - images
        ).mean()
        for severity in (1, 2, 3, 4, 5)
    ]
    assert distances[0] > 0
    assert all(low < high for low, high in pairwise(distances))


@pytest.mark.parametrize(("name", "severity"), STRENGTHS)
def test_batch_size_and_order_change_no_byte(name: str, severity: int | None) -> None:
    images = scenes(21)
    ids = numbered(images)
    whole = moved(images, name, severity)
    for size in (1, 3, 7):
        parts = [
            shifted(
                images[start : start + size],
                ids[start : start + size],
                name=name,
                severity=severity,
                seed=7,
            )
            for start in range(0, len(images), size)
        ]
        assert np.array_equal(np.concatenate(parts), whole)
    backwards = shifted(images[::-1], ids[::-1], name=name, severity=severity, seed=7)
    assert np.array_equal(backwards[::-1], whole)


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "contrast"])
def test_sums_in_another_order_change_no_byte_of_many_images(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (400, 3, 32, 32), dtype=np.uint8)
    at_once = {severity: moved(images, name, severity) for severity in (1, 2, 3, 4, 5)}
    monkeypatch.setattr(gates.shifts.suite, "_CHUNK_VALUES", 11 * images[0].size)
    for severity, expected in at_once.items():
        assert np.array_equal(moved(images, name, severity), expected)


@pytest.mark.parametrize(("name", "severity"), STRONG)
def test_threads_change_no_byte(name: str, severity: int | None) -> None:
    images = scenes(20, side=64)
    alone = moved(images, name, severity)
    torch.set_num_threads(2)
    assert np.array_equal(moved(images, name, severity), alone)


def test_the_callers_number_of_threads_is_as_it_was() -> None:
    torch.set_num_threads(2)
    moved(scenes(2), "gaussian_blur", 3)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("name", "severity"), STRONG)
def test_a_read_only_memory_map_is_only_read(
    name: str, severity: int | None, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", scenes(3))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    result = moved(images, name, severity)
    assert type(result) is np.ndarray
    assert result.flags.writeable
    assert np.array_equal(images, scenes(3))


@pytest.mark.parametrize(("name", "severity"), STRONG)
def test_a_writable_array_is_left_alone(name: str, severity: int | None) -> None:
    images = scenes(3)
    moved(images, name, severity)
    assert np.array_equal(images, scenes(3))


@pytest.mark.parametrize("name", DRAWN)
def test_random_shifts_hang_on_seed_and_id_alone(name: str) -> None:
    twice = np.repeat(scenes(1), 2, axis=0)
    first = moved(twice, name, 3, seed=1)
    assert np.array_equal(first, moved(twice, name, 3, seed=1))
    assert not np.array_equal(first, moved(twice, name, 3, seed=2))
    assert not np.array_equal(first[0], first[1])
    same_id = shifted(twice, np.array([4, 4], np.uint64), name=name, severity=3, seed=1)
    assert np.array_equal(same_id[0], same_id[1])


@pytest.mark.parametrize("name", FIXED)
def test_other_shifts_ignore_the_seed(name: str) -> None:
    severity = None if name == "clean" else 3
    images = scenes(2)
    assert np.array_equal(
        moved(images, name, severity, seed=1), moved(images, name, severity, seed=2)
    )


COLOURED = {
    "jpeg_compression": "stores grey as one channel, colour as three",
    "saturate": "gives grey a hue where there is an offset",
    "frost": "ice has a colour",
    "frost_synthetic": "ice has a colour",
    "spatter": "water and mud have colours",
    **{name: "is drawn per channel" for name, s in SHIFTS.items() if s.family == "noise"},
}


@pytest.mark.parametrize("name", sorted(set(SHIFTS) - set(COLOURED) - {"clean"}))
def test_a_grey_image_is_treated_as_its_three_equal_channels(name: str) -> None:
    grey = scenes(2, channels=1)
    colour = np.repeat(grey, 3, axis=1)
    assert np.array_equal(moved(colour, name, 3), np.repeat(moved(grey, name, 3), 3, axis=1))


@pytest.mark.parametrize("name", DRAWN)
def test_another_draw_is_another_draw_of_the_same_image(name: str) -> None:
    images = scenes(8)

    def draw(number: int) -> Pixels:
        return shifted(images, numbered(images), name=name, severity=3, seed=0, draw=number)

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(0), draw(1))


@pytest.mark.parametrize(("name", "severity"), STRONG)
def test_float_images_are_rounded_to_the_bytes_that_they_stand_for(
    name: str, severity: int | None
) -> None:
    images = scenes(2)
    floats = (images / 255.0).astype(np.float32)
    result = shifted(floats, numbered(images), name=name, severity=severity, seed=7)  # type: ignore[arg-type] # bytes are the norm
    assert np.array_equal(result, moved(images, name, severity))


def test_every_table_has_every_shift_at_five_severities() -> None:
    for table in TABLES.values():
        assert {"clean", *table} == set(available())
        for name, rows in table.items():
            assert len(rows) == 5
            assert {len(row) for row in rows} == {len(SHIFTS[name].parameters)}


def test_the_suite_is_the_published_one() -> None:
    """Hendrycks & Dietterich 2019: 15 corruptions in four families, and 4 for validation."""
    suites = {s: [n for n in SHIFTS if SHIFTS[n].suite == s] for s in ("benchmark", "extra")}
    assert len(suites["benchmark"]) == 15
    assert sorted(suites["extra"]) == ["gaussian_blur", "saturate", "spatter", "speckle_noise"]
    families = [SHIFTS[name].family for name in suites["benchmark"]]
    assert {family: families.count(family) for family in families} == {
        "noise": 3, "blur": 4, "weather": 4, "digital": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("side", "profile"),
    [
        (8, "cifar-10-c"),
        (48, "cifar-10-c"),
        (49, "tiny-imagenet-c"),
        (128, "tiny-imagenet-c"),
        (129, "imagenet-c"),
        (512, "imagenet-c"),
    ],
)
def test_the_shorter_side_chooses_the_table(side: int, profile: str) -> None:
    assert profile_of(side) == profile
    images = np.full((1, 1, side, 520), 128, np.uint8)
    chosen = shifted(
        images, numbered(images), name="brightness", severity=1, seed=0, profile=profile
    )
    assert np.array_equal(moved(images, "brightness", 1), chosen)
    assert parameters("brightness", severity=1, side=side) == TABLES[profile]["brightness"][0]


def test_parameters_are_what_the_generators_say() -> None:
    assert parameters("gaussian_noise", severity=3, side=32) == (0.08,)
    assert parameters("gaussian_noise", severity=3, side=64) == (0.12,)
    assert parameters("gaussian_noise", severity=3, side=224) == (0.18,)
    assert parameters("defocus_blur", severity=5, side=32) == (1.5, 0.1)
    assert parameters("jpeg_compression", severity=5, profile="imagenet-c", side=32) == (7,)
    assert parameters("clean", severity=None, side=32) == ()


GOOD = np.zeros((2, 3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("images", "name", "severity", "profile", "message"),
    [
        (GOOD, "gaussian_nois", 3, "auto", "did you mean 'gaussian_noise'.*clean.*jpeg_compress"),
        (GOOD, "zzz", 3, "auto", "no shift 'zzz'; there are: clean, gaussian_noise"),
        (GOOD / 2 - 1, "clean", None, "auto", r"must lie in \[0, 1\], got -1 to -1"),
        (GOOD + np.nan, "clean", None, "auto", "image 0 holds values that are not finite"),
        (GOOD.astype(np.int32), "clean", None, "auto", r"uint8 or floats in \[0, 1\], got int32"),
        (GOOD, "contrast", 0, "auto", "contrast has severities 1 to 5, got 0"),
        (GOOD, "contrast", 6, "auto", "contrast has severities 1 to 5, got 6"),
        (GOOD, "contrast", None, "auto", "contrast has severities 1 to 5, got None"),
        (GOOD, "clean", 1, "auto", "clean has no severity, got 1"),
        (GOOD, "contrast", 1, "cifar", "no profile 'cifar'; there are: auto, cifar-10-c, tiny"),
        (GOOD[0], "clean", None, "auto", r"must be \[n c h w\], got \[3, 8, 8\]"),
        (GOOD[:, :2], "clean", None, "auto", "1 or 3 channels .grey or RGB., got 2"),
        (GOOD[..., :7], "clean", None, "auto", "at least 8 pixels high and wide, got 8 x 7"),
    ],
)
def test_an_error_says_what_came_and_what_is_allowed(
    images: Pixels, name: str, severity: int | None, profile: str, message: str
) -> None:
    with pytest.raises(ShiftError, match=message):
        shifted(images, numbered(images), name=name, severity=severity, seed=0, profile=profile)


def test_every_image_needs_an_id() -> None:
    with pytest.raises(ShiftError, match=r"2 images need as many ids, got \[1\]"):
        shifted(GOOD, np.zeros(1, np.uint64), name="clean", severity=None, seed=0)


def test_every_profile_is_named() -> None:
    assert PROFILES == ("auto", "cifar-10-c", "tiny-imagenet-c", "imagenet-c")
