"""Wang et al. 2023 (arXiv:2301.05219): which setup holds for which pair of networks."""

import dataclasses

import pytest

from compressor.study.analyses.fairness import LEVELS, Terms, budgets, differing, level, terms
from compressor.study.analyses.ranking import Entry, duels, ranking
from compressor.study.trials import Json
from tests.study.rows_of import network


def made(*, before: int = 0, base_epochs: int | None = None, **recipe: Json) -> Terms:
    return terms(
        network(0.9, **recipe), train="t", asked="a", base_epochs=base_epochs, before=[0.1] * before
    )


SAME = made()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (dataclasses.replace(SAME, asked="others"), None),
        (dataclasses.replace(SAME, dense_macs=1), None),
        (dataclasses.replace(SAME, base="another"), "S1"),
        (made(epochs=20), "S2"),
        (made(lr=0.01), "S3.1"),
        (made(schedule="cosine"), "S3.1"),
        (made(before=2), "S3.2"),
        (dataclasses.replace(made(), prune_rates={"lr": 1.0}), "S4.1"),
        (made(distill=0.0), "S4.2"),
        (SAME, "S4.2"),
    ],
)
def test_the_strictest_setup_that_holds(other: Terms, expected: str | None) -> None:
    assert level(SAME, other) == level(other, SAME) == expected


def test_the_rest_of_the_recipe_is_named_though_no_setup_asks_for_it() -> None:
    assert differing(SAME, made(distill=0.0, weight_decay=0.0)) == ("distill", "weight_decay")


def test_total_epochs_are_compared_where_those_of_the_base_are_known() -> None:
    # 90 + 30 of one shot, 100 + 2 * 10 of two cuts.
    first = made(base_epochs=90, epochs=30)
    second = made(base_epochs=100, epochs=10, before=1)
    assert "SX-A" in budgets(first, second)
    assert budgets(made(epochs=30), second) == ()


def test_total_work_counts_the_smaller_network_as_smaller() -> None:
    # Dense 4000, pruned 2000: 10 * 4000 + 20 * 2000 = 15 * 4000 + 10 * 2000.
    first = made(base_epochs=10, epochs=20)
    second = made(base_epochs=15, epochs=10)
    assert budgets(first, second) == ("SX-B",)


def entry(method: str, accuracy: float, **recipe: Json) -> Entry:
    return Entry(
        study="s", method=method, ratio=0.5, compression=2.0, speedup=2.0, physical=True, seeds=1,
        n=1000, accuracy=accuracy, accuracy_std=None, trainability_accuracy=None,
        jacobian_before=None, jacobian_after=None, terms=made(**recipe),
    )  # fmt: skip


def test_entries_that_are_not_alike_enough_are_not_ranked_together() -> None:
    entries = [entry("a", 0.9), entry("b", 0.92, lr=0.01), entry("c", 0.8)]
    ranked, refused = ranking(entries, at_least="S3.2")
    assert [[each.method for each in group.entries] for group in ranked] == [["a", "c"], ["b"]]
    (no,) = refused
    assert (no.level, no.differing) == ("S3.1", ("lr",))


def test_told_to_it_ranks_them_and_says_how_alike_they_are() -> None:
    ranked, refused = ranking([entry("a", 0.9), entry("b", 0.92, lr=0.01)], at_least=None)
    assert [each.method for each in ranked[0].entries] == ["b", "a"]
    assert ranked[0].level == "S3.1"
    assert refused == []


def test_a_difference_within_the_noise_of_n_images_is_called_so() -> None:
    ranked, _ = ranking([entry("a", 0.90), entry("b", 0.91), entry("c", 0.7)], at_least="S3.2")
    assert [each.method for each in ranked[0].entries] == ["b", "a", "c"]
    assert ranked[0].apart == (False, True)


def test_a_winner_under_every_recipe_is_consistent_and_else_the_higher_accuracy_decides() -> None:
    same = [entry("a", 0.9), entry("b", 0.8), entry("a", 0.85, lr=0.01), entry("b", 0.84, lr=0.01)]
    (duel,) = duels(same)
    assert (duel.consistent, duel.winner) == (True, "a")
    (duel,) = duels([*same[:2], entry("a", 0.7, lr=0.01), entry("b", 0.95, lr=0.01)])
    assert duel.winners == ("a", "b")
    assert (duel.consistent, duel.winner) == (False, "b")


def test_one_recipe_is_no_cross_validation() -> None:
    assert duels([entry("a", 0.9), entry("b", 0.8)]) == []


def test_levels_are_in_the_order_of_the_paper() -> None:
    assert LEVELS == ("S1", "S2", "S3.1", "S3.2", "S4.1", "S4.2")
