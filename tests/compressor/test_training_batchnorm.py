import copy

import pytest
import torch
from torch import Tensor, nn

from compressor.training.batchnorm import reestimate
from compressor.training.recipe import TrainingError


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_batches() -> list[Tensor]:
    return [torch.randn(8, 3, 6, 6, generator=generator(s)) * 3 + 2 for s in range(5)]


def test_statistics_are_plain_averages_over_the_batches() -> None:
    batches = some_batches()
    norm = reestimate(nn.Sequential(nn.BatchNorm2d(3)), batches)[0]  # type: ignore[index]  # a Sequential comes back
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)


def test_the_model_given_keeps_its_statistics_and_mode() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = copy.deepcopy(model.state_dict())
    fresh = reestimate(model, some_batches())
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module.training for module in fresh.modules())
    assert [m.momentum for m in fresh.modules() if isinstance(m, nn.BatchNorm2d)] == [0.1]


def test_dropout_stays_off_while_statistics_are_estimated() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3))
    first, second = (reestimate(model, some_batches()).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_without_running_statistics_does_not_read_the_batches() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    fresh = reestimate(model, iter([]))
    assert all(
        torch.equal(a, b) for a, b in zip(fresh.parameters(), model.parameters(), strict=True)
    )


def test_no_batches_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"0 images.* at least two"):
        reestimate(nn.BatchNorm2d(3), [])
