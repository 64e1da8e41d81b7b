import numpy as np
import pytest

from compressor.training.augment import AUGMENTS, crop, flip

IMAGES = np.random.default_rng(0).integers(0, 256, size=(64, 3, 12, 10), dtype=np.uint8)


@pytest.mark.parametrize("name", AUGMENTS)
def test_every_augmentation_is_seeded_and_leaves_its_images_alone(name: str) -> None:
    before = IMAGES.copy()
    first, again, other = (AUGMENTS[name](IMAGES, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(IMAGES, before)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == IMAGES.shape
    assert first.dtype == np.uint8


def test_flip_mirrors_about_half_and_keeps_the_rest() -> None:
    flipped = flip(IMAGES, np.random.default_rng(0))
    kept = [bool((new == old).all()) for new, old in zip(flipped, IMAGES, strict=True)]
    mirrored = [
        bool((new == old[..., ::-1]).all()) for new, old in zip(flipped, IMAGES, strict=True)
    ]
    assert all(k != m for k, m in zip(kept, mirrored, strict=True))
    assert 20 <= sum(kept) <= 44


def test_crop_shows_a_window_of_the_mirrored_image_at_every_offset() -> None:
    image = IMAGES[:1]
    padded = np.pad(image[0], ((0, 0), (4, 4), (4, 4)), mode="reflect")
    windows = [padded[:, y : y + 12, x : x + 10].tobytes() for y in range(9) for x in range(9)]
    seen = {view.tobytes() for view in crop(image.repeat(2000, axis=0), np.random.default_rng(0))}
    assert seen == set(windows)
