"""Looks are fixed beforehand, and the images of an early one are a sample of all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates import look_sizes
from gates.looks import reading_order
from policies import Looks, Method, Policy, ShiftRule

FOG = ShiftRule(name="fog", severity=3, tolerance=0.03, reason="because")
SEEDS = st.integers(0, 2**63)


def policy(method: Method) -> Policy:
    return Policy(
        apiVersion="compress/v1",
        name="test",
        summary="For tests.",
        alpha=0.05,
        method=method,
        min_images=1,
        shifts=(FOG,),
    )


def ids(count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.random.default_rng(0).integers(0, 2**64, size=count, dtype=np.uint64)


@pytest.mark.parametrize(
    ("method", "n", "sizes"),
    [
        ("fixed", 1000, (1000,)),
        ("looks", 1000, (250, 500, 750, 1000)),
        ("looks", 1001, (251, 501, 751, 1001)),
        ("looks", 2, (1, 1, 2, 2)),
        ("anytime", 1000, (256, 512, 768, 1000)),
        ("anytime", 512, (256, 512)),
        ("anytime", 100, (100,)),
    ],
)
def test_looks_are_where_the_method_says(method: Method, n: int, sizes: tuple[int, ...]) -> None:
    assert look_sizes(policy(method), n, batch=256) == sizes


def test_a_policy_may_choose_its_looks() -> None:
    looks = Looks(fractions=(0.1, 1.0), spend=(0.5, 0.5))
    two = policy("looks").model_copy(update={"looks": looks})
    assert look_sizes(two, 995, batch=256) == (100, 995)


@given(n=st.integers(1, 10_000), batch=st.integers(1, 500))
@pytest.mark.parametrize("method", ["fixed", "looks", "anytime"])
def test_looks_never_shrink_and_end_with_all_images(method: Method, n: int, batch: int) -> None:
    sizes = look_sizes(policy(method), n, batch=batch)
    assert list(sizes) == sorted(sizes)
    assert sizes[0] >= 1
    assert sizes[-1] == n


@pytest.mark.parametrize(("n", "batch"), [(0, 256), (100, 0)])
def test_without_images_or_batches_there_are_no_looks(n: int, batch: int) -> None:
    with pytest.raises(ValueError, match=f"not {n} and {batch}"):
        look_sizes(policy("looks"), n, batch=batch)


@given(seed=SEEDS)
def test_every_image_is_read_once(seed: int) -> None:
    assert sorted(reading_order(ids(300), seed=seed)) == list(range(300))


@given(seed=SEEDS, shuffle=st.integers(0, 100))
def test_an_image_keeps_its_place_wherever_a_folder_lists_it(seed: int, shuffle: int) -> None:
    names = ids(200)
    moved = np.random.default_rng(shuffle).permutation(names)
    in_order, in_other_order = (n[reading_order(n, seed=seed)] for n in (names, moved))
    assert in_order.tolist() == in_other_order.tolist()


def test_another_seed_is_another_order() -> None:
    first, second = (reading_order(ids(1000), seed=seed) for seed in (0, 1))
    assert np.count_nonzero(first == second) < 10


@pytest.mark.statistical
def test_early_images_are_a_sample_of_all_though_ids_come_class_by_class() -> None:
    n = 4000
    labels = np.repeat(np.arange(10), n // 10)
    early = [
        np.bincount(labels[reading_order(np.arange(n, dtype=np.uint64), seed=seed)[: n // 4]])
        for seed in range(40)
    ]
    # Hypergeometric: 100 expected of each class, with a standard deviation of 8.2.
    assert np.std(early) == pytest.approx(8.2, abs=1.5)
    assert np.abs(np.mean(early, axis=0) - 100).max() < 5
