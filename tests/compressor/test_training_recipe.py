import math
from dataclasses import replace
from typing import Any

import pytest

from compressor.training.recipe import SCHEDULES, Recipe, TrainingError
from compressor.training.schedules import Original, cosine, halving, rewinding


def starts(rates: list[float]) -> dict[int, float]:
    """Where the learning rate changes, in the notation of the paper."""
    return {
        at: rate
        for at, rate in enumerate(rates)
        if at == 0 or not math.isclose(rate, rates[at - 1])
    }


@pytest.mark.parametrize(
    ("epochs", "lr", "printed"),
    [
        (90, 1e-1, {0: 1e-1, 30: 1e-2, 60: 1e-3, 75: 1e-4, 83: 1e-5}),
        (60, 1e-2, {0: 1e-2, 30: 1e-3, 45: 1e-4, 53: 1e-5}),
        (90, 1e-2, {0: 1e-2, 30: 1e-3, 60: 1e-4, 75: 1e-5}),
    ],
)
def test_halving_gives_the_schedules_that_wang_et_al_print(
    epochs: int, lr: float, printed: dict[int, float]
) -> None:
    rates = halving(epochs, lr, final=1e-5, longest=30)
    assert len(rates) == epochs
    assert starts(rates) == pytest.approx(printed)


def test_two_epochs_counted_in_steps_pass_through_every_stage() -> None:
    rates = halving(2 * 100, 0.05, final=1e-5, longest=30 * 100)
    assert starts(rates) == pytest.approx({0: 0.05, 100: 5e-3, 150: 5e-4, 175: 5e-5, 188: 1e-5})


@pytest.mark.parametrize("rates", [[], [0.1], [0.1, 0.01], [0.1, 0.1, 0.01]])
def test_a_budget_shorter_than_the_stages_drops_the_last_ones(rates: list[float]) -> None:
    assert halving(len(rates), 0.1, final=1e-5, longest=30) == pytest.approx(rates)


@pytest.mark.parametrize("length", [1, 7, 90, 150, 151, 400])
@pytest.mark.parametrize("lr", [1e-1, 5e-2, 3e-3, 1e-5])
def test_halving_spends_the_budget_and_never_raises_the_rate(length: int, lr: float) -> None:
    rates = halving(length, lr, final=1e-5, longest=30)
    stages = 1 + max(0, math.ceil(math.log10(lr / 1e-5) - 1e-9))
    assert len(rates) == length
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == lr
    assert max(rates.count(rate) for rate in rates) <= max(30, math.ceil(length / stages))


def test_a_recipe_names_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(TrainingError, match=r"epochs = -1.*augment = .*among flip, crop"):
        Recipe(epochs=-1, lr=0.1, augment=("flop",))


def test_a_cosine_is_lr_then_the_middle_then_final() -> None:
    rates = cosine(5, 1.0, final=0.2, warm_up=0)
    assert rates == pytest.approx([1.0, 0.6 + 0.4 * 2**-0.5, 0.6, 0.6 - 0.4 * 2**-0.5, 0.2])


def test_a_warm_up_is_a_straight_line_to_the_peak() -> None:
    rates = cosine(6, 0.8, final=0.0, warm_up=3)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.4, 0.0])
    assert cosine(2, 0.8, final=0.0, warm_up=3) == pytest.approx([0.4 * 2 / 3, 0.8 * 2 / 3])
    assert cosine(1, 0.8, final=0.0, warm_up=0) == [0.8]


def test_rewinding_is_the_tail_of_the_original_schedule() -> None:
    """ResNet-20 as Liebenwein et al. 2021 trained it: tenfold less at epochs 91 and 136 of 182."""
    original = Original(epochs=182, lr=0.1, milestones=(91, 136), warm_up=5)
    whole = original.rates(4)
    assert len(whole) == 4 * 182
    assert whole[:3] == pytest.approx([0.1 / 21, 0.2 / 21, 0.3 / 21])
    assert starts(whole[20:]) == pytest.approx({0: 0.1, 4 * 86: 0.01, 4 * 131: 0.001})
    for epochs in (1, 40, 182):
        assert rewinding(epochs, 4, original) == whole[-4 * epochs :]
    assert rewinding(0, 4, original) == []
    recipe = Recipe(epochs=60, lr=0.5, schedule="rewinding", original=original)
    assert recipe.rates(4) == whole[-4 * 60 :]


def test_a_cosine_is_rewound_to_where_it_was() -> None:
    original = Original(epochs=10, lr=0.1, cosine=True, warm_up=2)
    rates = rewinding(3, 2, original)
    assert rates == cosine(20, 0.1, final=0.0, warm_up=4)[-6:]
    assert rates[-1] == 0.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_has_a_rate_for_every_step(schedule: str) -> None:
    original = Original(epochs=9, lr=0.1) if schedule == "rewinding" else None
    recipe = Recipe(epochs=3, lr=0.1, schedule=schedule, original=original)
    assert len(recipe.rates(7)) == 21
    assert all(rate > 0 for rate in recipe.rates(7))


ORIGINAL = Original(epochs=9, lr=0.1)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"schedule": "step"}, "schedule = step, must be among halving, rewinding, cosine"),
        ({"schedule": "rewinding"}, r"original = None, must be the dense network's own schedule"),
        ({"original": ORIGINAL}, r"original = .*and nothing without"),
        ({"schedule": "cosine", "warm_up": 3.0}, r"warm_up = 3\.0, must be 0 or more and below"),
        ({"warm_up": 1.0}, r"warm_up = 1\.0, must be 0 except with cosine"),
        ({"ema": 1.0}, r"ema = 1\.0, must be in \[0, 1\)"),
        ({"choose": "best"}, "choose = best, must be among last, best_on_tune"),
    ],
)
def test_what_does_not_go_together_is_named(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        Recipe(epochs=3, lr=0.1, **fields)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"epochs": 2}, r"epochs = 3, must be at most original\.epochs = 2"),
        ({"lr": 0.0}, r"original\.lr = 0\.0, must be above 0"),
        ({"milestones": (4, 4)}, r"original\.milestones = \(4, 4\), must be rising"),
        ({"milestones": (9,)}, r"between 0 and epochs"),
        ({"milestones": (4,), "cosine": True}, "left out with cosine"),
        ({"factor": 0.0}, r"original\.factor"),
        ({"warm_up": 9}, r"original\.warm_up = 9"),
    ],
)
def test_an_original_that_cannot_be_replayed_is_refused(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(TrainingError, match=complaint):
        Recipe(epochs=3, lr=0.1, schedule="rewinding", original=replace(ORIGINAL, **fields))
