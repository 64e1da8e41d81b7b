import pytest
import torch
from torch import nn

from compressor.study.noise import facts, similarity
from compressor.study.scratch import anew

IMAGES = torch.linspace(-1, 1, 300 * 12).view(300, 3, 2, 2)
LABELS = torch.arange(300) % 3


class Constant(nn.Module):
    """Answers the same to all images."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


def compared(
    first: nn.Module, second: nn.Module, *, level: float, draws: int = 2
) -> dict[str, object]:
    found = similarity(
        first, second, IMAGES, LABELS, level=level, draws=draws, seed=3, device=torch.device("cpu")
    )
    return facts(found, level=level, draws=draws)


def linear(seed: int) -> nn.Module:
    return anew(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), seed=seed)


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_a_network_is_its_own_double_under_any_noise(level: float) -> None:
    found = compared(linear(0), linear(0), level=level)
    assert (found["matching"], found["distance"]) == (1.0, 0.0)
    assert found["only_dense"] == found["only_pruned"] == 0
    assert found["n"] == 300


def test_the_distance_is_that_of_the_softmax_outputs() -> None:
    # Softmax (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4): apart by sqrt(2) / 4.
    first = Constant([2.0**0, 0.0, 0.0])
    first.logits.data = torch.tensor([0.5, 0.25, 0.25]).log()
    second = Constant([0.0] * 3)
    second.logits.data = torch.tensor([0.25, 0.5, 0.25]).log()
    found = compared(first, second, level=0.3)
    assert found["distance"] == pytest.approx(2**0.5 / 4, abs=1e-6)
    assert found["distance_std"] == pytest.approx(0.0, abs=1e-6)
    assert found["matching"] == 0.0
    assert (found["only_dense"], found["only_pruned"], found["both_wrong"]) == (100, 100, 100)


def test_noise_is_uniform_of_the_half_width_on_the_normalised_images() -> None:
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return torch.zeros(len(x), 3)

    compared(Spy(), Constant([0.0] * 3), level=0.5, draws=1)
    noise = torch.cat(seen) - IMAGES
    assert float(noise.abs().max()) <= 0.5
    assert float(noise.abs().mean()) == pytest.approx(0.25, abs=0.01)
    assert bool((torch.cat(seen) > 1).any())


def test_a_control_can_be_made_of_layers_that_start_anew_only() -> None:
    with pytest.raises(ValueError, match=r"logits cannot be started anew"):
        anew(Constant([1.0, 2.0]), seed=0)


def test_starting_anew_draws_by_the_seed_and_leaves_the_network_alone() -> None:
    given = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    state = torch.get_rng_state()
    first, same, other = anew(given, seed=1), anew(given, seed=1), anew(given, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.get_parameter("0.weight"), same.get_parameter("0.weight"))
    assert not torch.equal(first.get_parameter("0.weight"), other.get_parameter("0.weight"))
    assert all(torch.equal(given.state_dict()[name], tensor) for name, tensor in before.items())
