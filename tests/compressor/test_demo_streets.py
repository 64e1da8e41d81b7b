import numpy as np
import pytest
import torch

from compressor.demo.network import street_net
from compressor.demo.streets import CLASSES, draw
from compressor.labels import NOT_LABELLED
from compressor.pruning.cost import cost


def test_the_same_seed_draws_the_same_scenes_and_masks() -> None:
    images, masks = draw(count=12, seed=3)
    again, masks_again = draw(count=12, seed=3)
    other, _ = draw(count=12, seed=4)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(masks, masks_again)
    assert not (images == other).all(axis=(1, 2, 3)).any()
    assert (images.shape, masks.shape) == ((12, 3, 64, 64), (12, 64, 64))
    assert images.dtype == masks.dtype == np.uint8


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    short, masks = draw(count=3, seed=0)
    long, more = draw(count=7, seed=0)
    np.testing.assert_array_equal(long[:3], short)
    np.testing.assert_array_equal(more[:3], masks)


def test_every_class_is_seen_and_a_little_is_not_labelled() -> None:
    _, masks = draw(count=60, seed=1)
    assert set(np.unique(masks)) == {*range(len(CLASSES)), NOT_LABELLED}
    known = masks[masks != NOT_LABELLED]
    shares = np.bincount(known, minlength=len(CLASSES)) / known.size
    assert shares.min() > 0.005 and shares.max() < 0.65
    assert 0.01 < (masks == NOT_LABELLED).mean() < 0.15
    assert ((masks != NOT_LABELLED).mean(axis=(1, 2)) > 0.7).all()


def test_a_mask_lies_on_what_it_names() -> None:
    """Inside one thing colours change little, from one thing to the next they change a lot."""
    images, masks = draw(count=40, seed=2)
    grey = images.mean(axis=1)
    same, crossing = [], []
    for step in (1, 2):
        left, right = masks[:, :, :-step], masks[:, :, step:]
        change = np.abs(grey[:, :, :-step] - grey[:, :, step:])
        known = (left != NOT_LABELLED) & (right != NOT_LABELLED)
        same.append(change[known & (left == right)])
        crossing.append(change[known & (left != right)])
    assert np.concatenate(crossing).mean() > 2 * np.concatenate(same).mean()


@pytest.mark.parametrize("size", [16, 32, 96])
def test_scenes_come_in_any_size(size: int) -> None:
    images, masks = draw(count=3, seed=0, size=size)
    assert images.shape == (3, 3, size, size)
    assert masks.shape == (3, size, size)
    assert (masks != NOT_LABELLED).any(axis=(1, 2)).all()


def test_the_network_of_the_demo_answers_every_pixel_and_is_small() -> None:
    network, images = street_net().eval(), torch.zeros(2, 3, 64, 64)
    assert network(images).shape == (2, len(CLASSES), 64, 64)
    counted = cost(network, images)
    assert 2e5 < counted.params < 5e5
    assert 2e7 < counted.macs < 5e7
