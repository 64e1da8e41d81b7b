from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.repeat import TOLERANCE, NotRepeatableError, check_repeatable
from exporters.runtime import predictor
from tests.exporters.odd_models import EXACT, NORMALISED, ROUNDED, noisy

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)


def saying(*answers: list[list[float]]) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Gives these logits, one after the other."""
    waiting = iter(answers)
    return lambda images: np.array(next(waiting), np.float32)


@pytest.mark.parametrize("name", [*EXACT, *NORMALISED, *ROUNDED])
def test_networks_without_randomness_repeat(odd: Callable[[str], Path], name: str) -> None:
    predict = predictor(odd(name), threads=2)
    check_repeatable(predict, IMAGES, tolerance=0.0)


def test_a_network_with_noise_in_it_does_not(ours: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noisy.onnx"
    noisy(ours, noise)
    with pytest.raises(NotRepeatableError, match=r"same 9 images differ by up to \d.*range is \d"):
        check_repeatable(predictor(noise, threads=1), IMAGES)


def test_the_limit_is_a_share_of_the_range() -> None:
    below, above = 10 * TOLERANCE * 0.9, 10 * TOLERANCE * 1.1
    check_repeatable(saying([[0, 10]], [[below, 10]]), IMAGES[:1])
    with pytest.raises(NotRepeatableError, match=r"by up to 0\.011 in logits whose range is 10 "):
        check_repeatable(saying([[0, 10]], [[above, 10]]), IMAGES[:1])


def test_a_common_offset_hides_nothing() -> None:
    with pytest.raises(NotRepeatableError, match=r"up to 0\.5 in logits whose range is 1 "):
        check_repeatable(saying([[1e4, 1e4 + 1]], [[1e4, 1e4 + 0.5]]), IMAGES[:1])


def test_logits_without_range_must_be_equal() -> None:
    check_repeatable(saying([[2, 2]], [[2, 2]]), IMAGES[:1])
    with pytest.raises(NotRepeatableError, match="differ"):
        check_repeatable(saying([[2, 2]], [[2, 2.001]]), IMAGES[:1])


@pytest.mark.parametrize("odd_one", [float("inf"), float("nan")])
def test_what_is_not_finite_must_repeat_in_place_and_kind(odd_one: float) -> None:
    check_repeatable(saying([[odd_one, 1]], [[odd_one, 1]]), IMAGES[:1])
    for second in ([[0.0, 1.0]], [[-float("inf"), 1.0]], [[1.0, odd_one]]):
        with pytest.raises(NotRepeatableError, match="infinite or not a number"):
            check_repeatable(saying([[odd_one, 1]], second), IMAGES[:1])
