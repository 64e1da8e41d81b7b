import math

import pytest
import torch
from torch import Tensor, nn

from compressor.training.averaging import decay_at, follow


def tensors(layer: nn.BatchNorm1d) -> list[Tensor]:
    return [value for value in layer.state_dict().values() if value.is_floating_point()]


def at(value: float, counter: int = 0) -> nn.BatchNorm1d:
    """A layer whose parameters and statistics are all of one value."""
    layer = nn.BatchNorm1d(2)
    layer.load_state_dict(
        {name: torch.full_like(t, value) for name, t in layer.state_dict().items()}
    )
    layer.load_state_dict({"num_batches_tracked": torch.tensor(counter)}, strict=False)
    return layer


def test_the_average_of_a_known_sequence() -> None:
    average = at(8.0)
    for value, wanted in ((4.0, 6.0), (2.0, 4.0), (0.0, 2.0)):
        follow(average, at(value, counter=7), decay=0.5)
        assert len(tensors(average)) == 4
        assert all(torch.equal(tensor, torch.full((2,), wanted)) for tensor in tensors(average))
    assert average.num_batches_tracked == 7


def test_after_n_steps_at_one_value_the_rest_is_the_decay_to_the_power_of_n() -> None:
    average = at(1.0)
    for _ in range(20):
        follow(average, at(0.0), decay=0.9)
    torch.testing.assert_close(average.weight.detach(), torch.full((2,), 0.9**20))


def test_a_weight_that_two_layers_share_moves_once() -> None:
    def twice(value: float) -> nn.Module:
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, value)
        return nn.Sequential(layer, layer)

    average = twice(4.0)
    follow(average, twice(0.0), decay=0.5)
    assert [float(value.detach()) for value in average.parameters()] == [2.0]


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.1), (8, 0.5), (80, 0.9), (890, 0.99)])
def test_the_decay_grows_up_to_the_one_asked_for(step: int, wanted: float) -> None:
    assert math.isclose(decay_at(step, 0.9999), wanted)
    assert decay_at(step, 0.3) == min(wanted, 0.3)
