from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import nn

from exporters.runtime import Preprocessing, predictor
from exporters.sessions import session
from exporters.signature import SignatureError
from tests.exporters.odd_models import (
    EXACT,
    MEAN,
    NORMALISED,
    ROUNDED,
    STD,
    appended,
    edited,
    half,
    shape_of,
)

Odd = Callable[[str], Path]

PREPROCESSING = Preprocessing(mean=MEAN, std=STD)

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)

# Unlike noise, these have different means, so that the network tells them apart.
PICTURES = (
    np.random.default_rng(1).integers(0, 256, (19, 3, 1, 1))
    * np.random.default_rng(2).uniform(0.5, 1, (19, 3, 8, 8))
).astype(np.uint8)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def test_predictions_are_the_network_s_on_normalised_images(
    make_net: Callable[[int], nn.Module], exported: Path
) -> None:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        expected = make_net(8).eval()((torch.from_numpy(PIXELS) / 255 - mean) / std).numpy()
    logits = predictor(exported, PREPROCESSING, threads=1)(PIXELS)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_predictions_repeat_to_the_byte_and_leave_the_images_alone(exported: Path) -> None:
    before = PIXELS.copy()
    first, second = (
        predictor(exported, PREPROCESSING, threads=2)(PIXELS).tobytes() for _ in range(2)
    )
    assert first == second
    assert np.array_equal(PIXELS, before)


def test_strided_and_read_only_images_are_taken(exported: Path) -> None:
    predict = predictor(exported, PREPROCESSING, threads=1)
    channels_last = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1))
    channels_last.flags.writeable = False
    assert np.array_equal(predict(channels_last.transpose(0, 3, 1, 2)), predict(PIXELS))


def test_preprocessing_of_another_channel_count_is_refused(exported: Path) -> None:
    grey = Preprocessing(mean=(0.5,), std=(0.2,))
    with pytest.raises(ValueError, match="takes 3 channels; the preprocessing has 1 means"):
        predictor(exported, grey, threads=1)


def test_a_file_of_ours_gets_the_same_floats_as_ever(exported: Path) -> None:
    """Evidence of earlier runs stays what it is: to the bit, and in one batch."""
    c11 = (3, 1, 1)
    pixels = PICTURES.astype(np.float32)
    pixels /= np.float32(255)
    pixels -= np.array(MEAN, np.float32).reshape(c11)
    pixels /= np.array(STD, np.float32).reshape(c11)
    expected = session(exported, threads=1).run(None, {"images": pixels})[0]
    logits = predictor(exported, PREPROCESSING, threads=1)(PICTURES)
    assert logits.tobytes() == expected.tobytes()


def test_a_file_of_ours_needs_no_preprocessing_from_elsewhere(ours: Path) -> None:
    given = predictor(ours, PREPROCESSING, threads=1)(PIXELS)
    assert np.array_equal(predictor(ours, threads=1)(PIXELS), given)


def test_what_is_given_wins_over_the_metadata(ours: Path) -> None:
    other = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    given = predictor(ours, other, threads=1)(PIXELS)
    assert not np.allclose(predictor(ours, threads=1)(PIXELS), given, atol=0.1)


def test_floats_without_mean_and_deviation_are_refused(exported: Path) -> None:
    with pytest.raises(SignatureError, match=r"takes floats .* of which mean .*: give them"):
        predictor(exported, threads=1)


@pytest.mark.parametrize("name", EXACT)
def test_whatever_a_file_takes_the_logits_are_the_same(ours: Path, odd: Odd, name: str) -> None:
    expected = predictor(ours, threads=1)(PICTURES)
    logits = predictor(odd(name), threads=1)(PICTURES)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NORMALISED)
def test_probabilities_become_logits_with_the_same_softmax(ours: Path, odd: Odd, name: str) -> None:
    expected = log_softmax(predictor(ours, threads=1)(PICTURES))
    logits = predictor(odd(name), threads=1)(PICTURES)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ROUNDED)
def test_lower_precision_gives_nearly_the_same_logits(ours: Path, odd: Odd, name: str) -> None:
    expected = predictor(ours, threads=1)(PICTURES)
    logits = predictor(odd(name), threads=1)(PICTURES)
    assert logits.dtype == np.float32
    error = np.abs(logits - expected).max() / np.ptp(expected)
    assert 0 < error < 0.05


def test_a_probability_of_zero_becomes_a_finite_logit(ours: Path, tmp_path: Path) -> None:
    certain = tmp_path / "certain.onnx"

    def edit(model: onnx.ModelProto) -> None:
        (output,) = model.graph.output
        model.graph.node.extend(
            [
                helper.make_node("Mul", [output.name, "many"], ["sharp"]),
                helper.make_node("Softmax", ["sharp"], ["chances"]),
            ]
        )
        model.graph.initializer.append(helper.make_tensor("many", 1, [], [1e4]))
        output.name = "chances"

    edited(ours, certain, edit)
    logits = predictor(certain, threads=1)(PICTURES)
    assert np.isfinite(logits).all()
    assert logits.min() < -87
    assert np.array_equal(logits.argmax(1), predictor(ours, threads=1)(PICTURES).argmax(1))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 19])
def test_a_fixed_batch_takes_any_number_of_images(ours: Path, odd: Odd, n: int) -> None:
    logits = predictor(odd("fixed_batch"), threads=1)(PICTURES[:n])
    assert logits.shape == (n, 4)
    expected = predictor(ours, threads=1)(PICTURES[:n])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_answers_under_dynamic_quantisation_do_not_depend_on_the_other_images(odd: Odd) -> None:
    file = odd("dynamic")
    together = predictor(file, threads=1)(PICTURES)
    alone = [predictor(file, threads=1)(image[None])[0] for image in PICTURES]
    assert np.array_equal(together, alone)
    # ... as they would, if the images were given to the network at once.
    pixels = (PICTURES / np.float32(255) - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    at_once = session(file, threads=1).run(None, {"images": pixels.astype(np.float32)})[0]
    assert not np.allclose(at_once, together, atol=1e-4)


def test_a_standard_deviation_near_zero_overflows_half_precision_in_the_open(
    ours: Path, tmp_path: Path
) -> None:
    tiny = tmp_path / "half.onnx"
    half(ours, tiny)
    logits = predictor(tiny, Preprocessing(mean=(0.5,) * 3, std=(1e-8,) * 3), threads=1)(PICTURES)
    assert not np.isfinite(logits).all()


def test_images_of_another_size_are_named(exported: Path) -> None:
    predict = predictor(exported, PREPROCESSING, threads=1)
    with pytest.raises(SignatureError, match=r"fails on images \[2, 3, 9, 9\]: Got invalid dim"):
        predict(np.zeros((2, 3, 9, 9), np.uint8))


def test_an_output_that_loses_images_is_named(ours: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.onnx"

    def edit(model: onnx.ModelProto) -> None:
        appended("ReduceMean", keepdims=1)(model)
        model.graph.node[-1].input.append("over_images")
        model.graph.initializer.append(helper.make_tensor("over_images", 7, [1], [0]))
        shape_of(model.graph.output[0], ["n", 4])

    edited(ours, one, edit)
    with pytest.raises(SignatureError, match=r"gives \[1, 4\] for 5 images, not \[n classes\]"):
        predictor(one, threads=1)(PIXELS)
