"""What the streams and the banks promise."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gates.shifts import draws
from gates.shifts.draws import BANK_SIZE, Draws, draws_for

IDS = np.array([3, 2**64 - 1], np.uint64)


def drawn(
    ids: NDArray[np.uint64] = IDS,
    *,
    shift: str = "a",
    strength: str = "1",
    seed: int = 0,
    draw: int = 0,
) -> Draws:
    return draws_for(ids, shift=shift, strength=strength, seed=seed, draw=draw)


def test_draws_are_golden() -> None:
    """Changing one of these changes what recorded evidence means."""
    golden = draws_for(np.array([42], np.uint64), shift="fog", strength="3", seed=7)
    assert golden.uniform(3)[0].tolist() == pytest.approx(GOLDEN_UNIFORM, abs=1e-15)
    assert golden.normal(3)[0].tolist() == pytest.approx(GOLDEN_NORMAL, abs=1e-12)
    assert golden.integers(-4, 4, 6)[0].tolist() == GOLDEN_INTEGERS


GOLDEN_UNIFORM = [0.9084523544438426, 0.9936970135279087, 0.355901098847074]
GOLDEN_NORMAL = [-1.375418286737235, -0.08139592776227997, -1.0588618242523518]
GOLDEN_INTEGERS = [-2, 1, -2, -1, 1, -4]


@pytest.mark.parametrize(
    "other", [{"shift": "b"}, {"strength": "2"}, {"seed": 1}, {"draw": 1}, {}], ids=str
)
def test_no_two_purposes_images_or_calls_share_a_number(other: dict[str, str | int]) -> None:
    first = drawn()
    numbers = [first.uniform(64), first.uniform(64), first.uniform(64)]
    if other:
        numbers[2] = drawn(**other).uniform(64)  # type: ignore[arg-type] # a table of keywords
    assert len(torch.cat(numbers).unique()) == 6 * 64


def test_the_number_of_a_call_and_not_its_kind_chooses_its_stream() -> None:
    one, other = drawn(), drawn()
    one.normal(5)
    other.integers(0, 3, 999)
    assert torch.equal(one.uniform(4), other.uniform(4))


def test_an_image_draws_the_same_whoever_else_is_in_the_batch() -> None:
    alone, together = drawn(IDS[1:]), drawn()
    for _ in range(2):
        assert torch.equal(alone.normal(2, 3), together.normal(2, 3)[1:])


def test_shapes_are_one_per_image() -> None:
    assert drawn().uniform().shape == (2,)
    assert drawn().integers(0, 2, 3, 4).shape == (2, 3, 4)
    assert drawn(IDS[:0]).normal(5).shape == (0, 5)


def numbers(draws: Draws, *, size: tuple[int, int], parameters: tuple[float, ...]) -> Tensor:
    """A layer that is a single number, for ``layers`` to choose from."""
    assert size == (2, 3)
    assert parameters == (0.5,)
    return draws.uniform()


def test_a_bank_has_as_many_layers_as_it_says_and_images_use_them_evenly() -> None:
    ids = np.arange(40 * BANK_SIZE, dtype=np.uint64)
    seen = drawn(ids).layers(numbers, size=(2, 3), parameters=(0.5,))
    layers, counts = seen.unique(return_counts=True)
    assert len(layers) == BANK_SIZE
    # 40 expected; a Poisson number of mean 40 beyond these has a chance of 1e-5 in 256.
    assert counts.min() > 12
    assert counts.max() < 75


def test_an_image_keeps_its_layer_in_any_batch_and_changes_it_with_the_draw() -> None:
    ids = np.arange(64, dtype=np.uint64)

    def layer(which: NDArray[np.uint64], draw: int = 0) -> Tensor:
        return drawn(which, draw=draw).layers(numbers, size=(2, 3), parameters=(0.5,))

    assert torch.equal(layer(ids[::-1]), layer(ids).flip(0))
    assert torch.equal(layer(ids[10:20]), layer(ids)[10:20])
    assert (layer(ids, 1) != layer(ids)).sum() > 55


def test_two_seeds_have_two_banks() -> None:
    ids = np.arange(512, dtype=np.uint64)
    one = drawn(ids).layers(numbers, size=(2, 3), parameters=(0.5,))
    other = drawn(ids, seed=1).layers(numbers, size=(2, 3), parameters=(0.5,))
    assert not np.isin(one.numpy(), other.numpy()).any()


def test_how_many_layers_are_made_at_a_time_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.arange(64, dtype=np.uint64)
    before = drawn(ids, seed=5).layers(numbers, size=(2, 3), parameters=(0.5,))
    draws._bank.cache_clear()
    monkeypatch.setattr(draws, "_BANK_CHUNK", 7)
    assert torch.equal(drawn(ids, seed=5).layers(numbers, size=(2, 3), parameters=(0.5,)), before)
