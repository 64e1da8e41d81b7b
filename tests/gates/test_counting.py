"""From answers to counts, image by image, against plain loops."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gates import DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.answers import UNLABELLED_ANSWER, labelled, unlabelled
from gates.counting import counts_of, in_group
from gates.counts import STEPS
from policies import FolderRule, MixtureRule, Rule, ShiftRule

CLASSES = ("car", "bus", "lorry", "tram", "bicycle", "horse", "cart")


def fog(**fields: Any) -> ShiftRule:  # noqa: ANN401 # any field of a rule
    return ShiftRule(name="fog", severity=3, tolerance=0.02, reason="test", **fields)


def field(**fields: Any) -> FolderRule:  # noqa: ANN401 # any field of a rule
    return FolderRule(id="yard", folder="yard", tolerance=0.02, reason="test", **fields)


MIXED = MixtureRule(
    id="weather", mixture=("fog", "snow"), severity=2, draws=3, tolerance=0.02, reason="test"
)


def answers(n: int = 60, *, draws: int = 1, seed: int = 0) -> NDArray[np.void]:
    """Of a model that knows a little; labels do not depend on the seed."""
    labels = np.repeat(np.arange(n) % len(CLASSES), draws)
    logits = np.random.default_rng(seed).standard_normal((n * draws, len(CLASSES)))
    logits[np.arange(n * draws), labels] += 1.0
    return labelled(logits.astype(np.float32), labels).reshape(n, draws)


DENSE, PRUNED = answers(seed=1), answers(seed=2)
DENSE_X3, PRUNED_X3 = answers(draws=3, seed=1), answers(draws=3, seed=2)


def counts(rule: Rule, dense: NDArray[np.void] = DENSE, pruned: NDArray[np.void] = PRUNED) -> Any:  # noqa: ANN401 # of any kind
    return counts_of(rule, dense, pruned, classes=CLASSES)


@pytest.mark.parametrize("metric, places", [("top1", 1), ("top5", 5)])
@pytest.mark.parametrize("make", [fog, field])
def test_an_image_is_right_when_its_label_is_among_the_first(
    make: Any,  # noqa: ANN401 # fog or field
    metric: str,
    places: int,
) -> None:
    found = counts(make(metric=metric))
    pairs = [
        (dense < places, pruned < places)
        for dense, pruned in zip(DENSE["rank"][:, 0], PRUNED["rank"][:, 0], strict=True)
    ]
    assert found == PairedCounts(
        both_right=pairs.count((True, True)),
        only_dense=pairs.count((True, False)),
        only_pruned=pairs.count((False, True)),
        both_wrong=pairs.count((False, False)),
    )
    assert min(found.only_dense, found.only_pruned, found.both_right) > 0


@pytest.mark.parametrize("metric, places", [("top1", 1), ("top5", 5)])
def test_of_several_draws_an_image_counts_once_by_its_net(metric: str, places: int) -> None:
    found = counts(fog(draws=3, metric=metric), DENSE_X3, PRUNED_X3)
    nets = [
        sum(rank < places for rank in dense) - sum(rank < places for rank in pruned)
        for dense, pruned in zip(DENSE_X3["rank"], PRUNED_X3["rank"], strict=True)
    ]
    assert isinstance(found, DrawCounts)
    assert found.differences == tuple(nets.count(net) for net in range(-3, 4))


def test_a_mixture_is_counted_as_a_shift_is() -> None:
    assert counts(MIXED, DENSE_X3, PRUNED_X3) == counts(fog(draws=3), DENSE_X3, PRUNED_X3)


def test_scores_grow_by_the_mean_over_draws() -> None:
    found = counts(fog(draws=3, metric="brier"), DENSE_X3, PRUNED_X3)
    assert isinstance(found, ScoreCounts)
    assert found.n == 60
    growth = PRUNED_X3["score"].mean(dtype=np.float64) - DENSE_X3["score"].mean(dtype=np.float64)
    assert growth <= found.drop <= growth + 1 / STEPS
    assert found.dense_score == pytest.approx(DENSE_X3["score"].mean(), abs=1 / STEPS)
    assert isinstance(counts(fog(metric="brier")), ScoreCounts)


def test_flips_are_told_with_labels_and_without() -> None:
    found = counts(fog(metric="flips"))
    flipped = int((DENSE["predicted"] != PRUNED["predicted"]).sum())
    assert found == FlipCounts(same=60 - flipped, flipped=flipped)
    assert flipped > 0
    bare = [np.zeros(60, UNLABELLED_ANSWER) for _ in range(2)]
    for kept, whole in zip(bare, (DENSE, PRUNED), strict=True):
        kept["predicted"] = whole["predicted"][:, 0]
    assert counts(field(labels="none"), *bare) == found


@pytest.mark.parametrize("metric", ["top1", "top5", "brier", "flips"])
def test_of_a_group_only_its_images_count(metric: str) -> None:
    rule = fog(metric=metric, only=("tram", "bus"), id="fog-rails")
    mine = np.isin(DENSE["label"][:, 0], [1, 3])
    assert 0 < mine.sum() < 60
    assert counts(rule) == counts(fog(metric=metric), DENSE[mine], PRUNED[mine])


def test_a_group_is_known_from_the_labels_alone() -> None:
    rule, labels = field(only=("cart", "car")), np.array([6, 0, 3, 6])
    assert in_group(rule, labels, classes=CLASSES).tolist() == [True, True, False, True]
    assert in_group(field(), labels, classes=CLASSES).all()
    assert not in_group(rule, np.array([1, 2]), classes=CLASSES).any()


def test_a_class_that_the_model_does_not_know_is_named() -> None:
    rule = fog(only=("bus", "ship"), id="fog-boats")
    with pytest.raises(ValueError, match=r"fog-boats is about 'ship', .* its 7 classes are 'car'"):
        counts(rule)
    many = [f"c{number}" for number in range(1000)]
    with pytest.raises(ValueError, match=r"'c7' and 992 more$"):
        in_group(rule, np.array([0]), classes=many)


def test_a_group_without_images_is_refused() -> None:
    dense, pruned = DENSE[:3], PRUNED[:3]
    with pytest.raises(ValueError, match="about 'tram', 'cart', of which there are no images"):
        counts(fog(only=("tram", "cart"), id="fog-x"), dense, pruned)


@pytest.mark.parametrize("classes, fits", [(5, False), (6, True)])
def test_top5_needs_more_than_five_classes(classes: int, fits: bool) -> None:
    labels = np.arange(classes)
    both = labelled(np.eye(classes, dtype=np.float32), labels)[:, None]
    if fits:
        assert counts_of(fog(metric="top5"), both, both, classes=CLASSES[:6]).n == 6
        return
    with pytest.raises(ValueError, match="top5, which is always right with 5 classes"):
        counts_of(fog(metric="top5"), both, both, classes=CLASSES[:5])


BARE = unlabelled(np.eye(7, dtype=np.float32))


@pytest.mark.parametrize(
    "rule, dense, pruned, told",
    [
        (fog(), BARE, BARE, "fog-3 needs labels, for top1"),
        (fog(metric="brier"), BARE, BARE, "fog-3-brier needs labels, for brier"),
        (fog(metric="flips", only=("bus",), id="f"), BARE, BARE, "f needs labels, for only"),
        (field(labels="none"), BARE, BARE[:5], "both must see the same images"),
        (field(labels="none"), BARE, PRUNED, "answers to labelled images are records"),
        (fog(draws=3), DENSE, PRUNED, "judged on 3 draws of each image, .* are to 1"),
        (field(), DENSE_X3, PRUNED_X3, "judged on 1 draws of each image, .* are to 3"),
        (fog(), DENSE, PRUNED[::-1], "not to the same images"),
    ],
)
def test_answers_that_do_not_fit_the_rule_are_refused(
    rule: Rule, dense: NDArray[np.void], pruned: NDArray[np.void], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        counts(rule, dense, pruned)


def test_labels_beyond_the_models_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="labels from 0 to 6 do not go with 6 classes"):
        counts_of(fog(), DENSE, PRUNED, classes=CLASSES[:6])
