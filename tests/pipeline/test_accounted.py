from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from compressor.accounted import accounted_shifts
from compressor.training.augment import Augment
from gates.shifts import SHIFTS, Component, Distribution, sample, shifted
from policies import FolderRule, MixtureRule, Policy, Rule, ShiftRule, load_policy

COUNT = 400
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(COUNT, 3, 8, 8)).astype(np.uint8)
IDS = RNG.integers(2**63, size=COUNT).astype(np.uint64)


def policy(*rules: Rule) -> Policy:
    return Policy(
        apiVersion="compress/v1", name="p", summary="s", alpha=0.05, min_images=1, shifts=rules
    )


def rule(name: str, *, accounted: bool) -> ShiftRule:
    severity = None if name == "clean" else 5
    return ShiftRule(
        name=name, severity=severity, tolerance=0.1, reason="a test", accounted=accounted
    )


def mixture(*names: str, severity: int | tuple[int, int]) -> MixtureRule:
    return MixtureRule(
        id="mixed",
        mixture=names,
        severity=severity,
        tolerance=0.1,
        reason="a test",
        accounted=True,
    )


ROBUST = Path(__file__).parents[2] / "examples" / "cifar10" / "robust.yaml"

NOISE = policy(rule("clean", accounted=False), rule("gaussian_noise", accounted=True))


def augment_of(policy: Policy, *, seed: int = 0) -> Augment:
    augment = accounted_shifts(policy, seed=seed)
    assert augment is not None
    return augment


def changed(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = (images != IMAGES).any(axis=(1, 2, 3))
    return different


def test_a_policy_that_accounts_for_nothing_gives_no_augmentation() -> None:
    assert accounted_shifts(policy(rule("brightness", accounted=False)), seed=0) is None
    assert accounted_shifts(load_policy("nominal"), seed=0) is None


def test_a_folder_of_the_users_own_is_never_trained_on() -> None:
    folder = FolderRule(id="field", folder="field", tolerance=0.1, reason="a test")
    assert accounted_shifts(policy(folder), seed=0) is None


@given(seed=st.integers(0, 2**31), cut=st.integers(1, COUNT - 1))
def test_an_image_gets_the_same_in_any_batch_and_order(seed: int, cut: int) -> None:
    augment = augment_of(
        policy(
            rule("gaussian_noise", accounted=True),
            mixture("contrast", "impulse_noise", severity=(1, 3)),
        ),
        seed=seed,
    )
    order = np.random.default_rng(seed).permutation(COUNT)
    whole = augment(IMAGES, IDS, 3)
    parts = [augment(IMAGES[part], IDS[part], 3) for part in (order[:cut], order[cut:])]
    assert (np.concatenate(parts) == whole[order]).all()


@given(epoch=st.integers(0, 1000), seed=st.integers(0, 2**31))
def test_same_images_ids_and_epoch_give_the_same_images(epoch: int, seed: int) -> None:
    first, second = (augment_of(NOISE, seed=seed)(IMAGES, IDS, epoch) for _ in range(2))
    assert (first == second).all()


def test_images_that_are_given_are_left_alone() -> None:
    before = IMAGES.copy()
    augment_of(NOISE)(IMAGES, IDS, 0)
    assert (before == IMAGES).all()


@pytest.mark.statistical
@pytest.mark.parametrize("names", [("gaussian_noise",), ("gaussian_noise", "contrast")])
def test_about_half_of_the_images_stay_clean(names: tuple[str, ...]) -> None:
    augment = augment_of(policy(*(rule(name, accounted=True) for name in names)))
    moved = np.array([changed(augment(IMAGES, IDS, epoch)).sum() for epoch in range(25)])
    # Binomial over 10,000 draws: the standard deviation is half a percent.
    assert moved.sum() / (25 * COUNT) == pytest.approx(0.5, abs=0.02)


@pytest.mark.statistical
@pytest.mark.parametrize("share", [0.2, 5 / 6, 1.0])
def test_the_share_of_shifted_images_is_the_one_asked_for(share: float) -> None:
    augment = accounted_shifts(NOISE, seed=0, share=share)
    assert augment is not None
    moved = np.array([changed(augment(IMAGES, IDS, epoch)).sum() for epoch in range(25)])
    # Binomial over 10,000 draws: the standard deviation is half a percent at most.
    assert moved.sum() / (25 * COUNT) == pytest.approx(share, abs=0.02)


def test_a_share_of_none_gives_no_augmentation() -> None:
    assert accounted_shifts(NOISE, seed=0, share=0.0) is None


def test_five_sixths_of_nine_shifts_are_the_mix_of_the_paper() -> None:
    """One of nine corruptions at severity 0 to 5, 0 being none: shares of 1/6 and 1/54."""
    policy = load_policy(str(ROBUST))
    augment = accounted_shifts(policy, seed=0, share=5 / 6)
    assert augment is not None
    rng = np.random.default_rng(1)
    images = rng.integers(256, size=(2700, 3, 32, 32)).astype(np.uint8)
    ids = rng.integers(2**63, size=2700).astype(np.uint64)
    seen = augment(images, ids, 0)
    kept = (seen == images).all(axis=(1, 2, 3)).mean()
    assert kept == pytest.approx(1 / 6, abs=0.02)
    for severity in (1, 5):
        contrast = shifted(
            images, ids, name="contrast", severity=severity, seed=0, profile=policy.profile
        )
        # The standard deviation of 50 of 2,700 is 7.
        assert (seen == contrast).all(axis=(1, 2, 3)).sum() == pytest.approx(50, abs=30)


def test_the_papers_split_parts_its_nineteen_corruptions() -> None:
    clean, seen, held_out = load_policy(str(ROBUST)).shifts
    assert isinstance(seen, MixtureRule) and isinstance(held_out, MixtureRule)
    assert isinstance(clean, ShiftRule) and not clean.accounted
    assert seen.accounted and not held_out.accounted
    assert (len(seen.mixture), len(held_out.mixture)) == (9, 10)
    published = {name for name, shift in SHIFTS.items() if shift.suite in {"benchmark", "extra"}}
    named = {name.removesuffix("_synthetic") for name in (*seen.mixture, *held_out.mixture)}
    assert named == published - {"clean"}


def test_every_accounted_shift_is_used_and_no_other() -> None:
    rules = policy(
        rule("contrast", accounted=True),
        rule("brightness", accounted=True),
        rule("impulse_noise", accounted=False),
    )
    seen = augment_of(rules)(IMAGES, IDS, 0)
    matching = {
        name: (seen == shifted(IMAGES, IDS, name=name, severity=severity, seed=0)).all((1, 2, 3))
        for name, severity in (("clean", None), ("contrast", 5), ("brightness", 5))
    }
    assert np.logical_or.reduce(list(matching.values())).all()
    assert all(found.any() for found in matching.values())


def test_a_mixture_gives_each_of_its_shifts_and_severities() -> None:
    names = ("contrast", "brightness")
    seen = augment_of(policy(mixture(*names, severity=(2, 3))))(IMAGES, IDS, 0)
    parts = [("clean", None), *((name, severity) for name in names for severity in (2, 3))]
    matching = np.array(
        [
            (seen == shifted(IMAGES, IDS, name=name, severity=severity, seed=0)).all((1, 2, 3))
            for name, severity in parts
        ]
    )
    assert matching.any(axis=0).all()
    # Of 400 images, 200 stay clean and 50 get each part; the standard deviations are 10 and 7.
    assert matching.sum(axis=1) == pytest.approx([200, 50, 50, 50, 50], abs=35)


@pytest.mark.statistical
def test_a_rule_gets_the_same_share_whether_it_is_one_shift_or_many() -> None:
    rules = policy(
        rule("contrast", accounted=True), mixture("pixelate", "brightness", severity=(1, 5))
    )
    augment = augment_of(rules)
    contrast = shifted(IMAGES, IDS, name="contrast", severity=5, seed=0)
    shares = [
        (augment(IMAGES, IDS, epoch) == contrast).all(axis=(1, 2, 3)).mean() for epoch in range(25)
    ]
    # Binomial over 10,000 draws: the standard deviation is 0.4 %.
    assert np.mean(shares) == pytest.approx(0.25, abs=0.02)


def test_a_level_is_the_rules_own() -> None:
    levelled = ShiftRule(
        name="uniform_noise", level=0.02, tolerance=0.1, reason="a test", accounted=True
    )
    seen = augment_of(policy(levelled))(IMAGES, IDS, 0)
    # Half a width of 0.02 is 5.1 bytes; what lies between two bytes is cut off.
    assert np.abs(seen.astype(int) - IMAGES.astype(int)).max() == 6


def test_a_last_jpeg_is_the_rules_own() -> None:
    saved = ShiftRule(
        name="contrast", severity=1, save_jpeg=30, tolerance=0.1, reason="a test", accounted=True
    )
    distribution = Distribution(components=(Component(name="contrast", severity=1),), save_jpeg=30)
    seen = augment_of(policy(saved))(IMAGES, IDS, 0)
    expected = sample(IMAGES, IDS, distribution=distribution, seed=0)
    assert changed(seen).any()
    assert (seen[changed(seen)] == expected[changed(seen)]).all()


def test_another_epoch_and_another_seed_draw_anew() -> None:
    images = [
        augment_of(NOISE)(IMAGES, IDS, 0),
        augment_of(NOISE)(IMAGES, IDS, 1),
        augment_of(NOISE, seed=1)(IMAGES, IDS, 0),
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = changed(images[one]) & changed(images[other])
        same = (images[one] == images[other]).all(axis=(1, 2, 3))
        assert both.any() and not (same & both).any()
        assert (changed(images[one]) != changed(images[other])).any()


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_draws_are_never_those_of_the_gate(seed: int) -> None:
    gate = shifted(IMAGES, IDS, name="gaussian_noise", severity=5, seed=seed)
    for epoch in range(10):
        assert not (augment_of(NOISE, seed=seed)(IMAGES, IDS, epoch) == gate).all((1, 2, 3)).any()
