import math

import pytest

from compressor.training.recipe import Recipe, TrainingError, halving


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
