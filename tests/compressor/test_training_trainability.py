import copy

import numpy as np
import pytest
import torch
from torch import nn

from compressor.training.checkpoint import EpochLog
from compressor.training.trainability import (
    JACOBIAN_LOGITS,
    first_stage_accuracy,
    jacobian_singular_values,
)

CPU = torch.device("cpu")
IMAGES = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(2))


def linear(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, classes))


def test_of_a_linear_network_they_are_those_of_its_weights_in_every_image() -> None:
    model = linear(7)
    weight = model[1].weight.detach().double().numpy()  # type: ignore[index]  # a Sequential
    expected = np.linalg.svd(weight, compute_uv=False)
    found = jacobian_singular_values(model, IMAGES, device=CPU).numpy()
    np.testing.assert_allclose(found, np.tile(expected, (5, 1)), rtol=1e-5)


def test_of_many_classes_so_many_rows_are_taken_spread_evenly() -> None:
    model = linear(2 * JACOBIAN_LOGITS - 1)
    rows = model[1].weight.detach().double().numpy()[::2]  # type: ignore[index]  # a Sequential
    found = jacobian_singular_values(model, IMAGES, device=CPU).numpy()
    np.testing.assert_allclose(found[0], np.linalg.svd(rows, compute_uv=False), rtol=1e-5)


def test_they_are_those_of_torchs_own_jacobian_of_each_image() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(), linear_of(24)
    )
    model(IMAGES)
    found = jacobian_singular_values(model, IMAGES, device=CPU)
    model.eval()
    for image, values in zip(IMAGES, found, strict=True):
        jacobian = torch.func.jacrev(lambda x: model(x[None])[0])(image).flatten(1)
        torch.testing.assert_close(values, torch.linalg.svdvals(jacobian.detach().double()))


def linear_of(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 4))


def test_the_model_is_not_changed_and_gradients_may_be_off() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), linear(4)).train()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        jacobian_singular_values(model, IMAGES, device=CPU)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def entry(epoch: int, first: float, last: float, accuracy: float | None) -> EpochLog:
    return EpochLog(
        epoch=epoch,
        lr_first=first,
        lr_last=last,
        loss=1.0,
        accuracy=0.5,
        seconds=1.0,
        tune_accuracy=accuracy,
    )


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ([entry(1, 0.1, 0.1, 0.5), entry(2, 0.1, 0.1, 0.7), entry(3, 0.01, 0.01, 0.9)], 0.6),
        ([entry(1, 0.1, 0.1, 0.5), entry(2, 0.1, 0.01, 0.7), entry(3, 0.1, 0.1, 0.9)], 0.5),
        ([entry(1, 0.1, 0.09, 0.5), entry(2, 0.09, 0.01, 0.7)], None),
        ([entry(1, 0.1, 0.1, None)], None),
        ([], None),
    ],
    ids=["a stage of two epochs", "a stage and a half", "a cosine", "no tune images", "no epochs"],
)
def test_the_accuracy_of_the_first_stage(log: list[EpochLog], wanted: float | None) -> None:
    found = first_stage_accuracy(log)
    assert found == (None if wanted is None else pytest.approx(wanted))
