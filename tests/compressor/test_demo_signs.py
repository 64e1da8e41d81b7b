import numpy as np
import pytest

from compressor.demo.signs import CLASSES, SIGNS, _board, draw


def test_the_same_seed_draws_the_same_images() -> None:
    first, labels = draw(count=24, seed=3)
    again, _ = draw(count=24, seed=3)
    other, _ = draw(count=24, seed=4)
    np.testing.assert_array_equal(first, again)
    assert not (first == other).all(axis=(1, 2, 3)).any()
    assert first.shape == (24, 3, 32, 32)
    assert (first.dtype.name, labels.dtype.name) == ("uint8", "int64")


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    short, short_labels = draw(count=5, seed=0)
    long, long_labels = draw(count=13, seed=0)
    np.testing.assert_array_equal(long[:5], short)
    np.testing.assert_array_equal(long_labels[:5], short_labels)


def test_classes_are_balanced() -> None:
    _, labels = draw(count=10 * len(CLASSES), seed=0)
    assert np.bincount(labels).tolist() == [10] * len(CLASSES)


def test_no_two_images_are_the_same() -> None:
    images, _ = draw(count=240, seed=0)
    assert len({image.tobytes() for image in images}) == 240


@pytest.mark.parametrize("size", [16, 33, 64])
def test_images_come_in_any_size(size: int) -> None:
    images, _ = draw(count=12, seed=0, size=size)
    assert images.shape == (12, 3, size, size)
    assert images.std(axis=(1, 2, 3)).min() > 1


def test_boards_of_different_classes_look_different() -> None:
    boards = {np.asarray(_board(sign)).tobytes() for sign in SIGNS.values()}
    assert len(boards) == len(CLASSES) == 12


def test_left_is_the_mirror_image_of_right() -> None:
    left, right = (
        np.asarray(_board(SIGNS[name]), dtype=int) for name in ("turn left", "turn right")
    )
    assert np.abs(left[:, ::-1] - right).mean() < np.abs(left - right).mean() / 3
