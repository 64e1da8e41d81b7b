"""Models of the loss against gradients and Hessians that torch computes its own way."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

from compressor.pruning.controls import prunable_weights
from compressor.pruning.masks import mask
from compressor.study.losing import in_steps, mean_loss
from compressor.study.loss_models import CRITERIA, expansion, loss_model
from compressor.study.scratch import anew

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(12, 3, 6, 6, generator=GENERATOR)
LABELS = torch.arange(12) % 3
SAMPLE = [(IMAGES[:7], LABELS[:7]), (IMAGES[7:], LABELS[7:])]


class Twice(nn.Module):
    """A convolution that is used at two places, and a transposed one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.again(torch.tanh(self.again(x))))
        out: Tensor = self.head(self.up(x).mean((2, 3)))
        return out


def plain() -> nn.Module:
    return anew(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)), seed=1
    )


NETWORKS = {"plain": plain, "twice": lambda: anew(Twice(), seed=2)}


def gauss_newton(network: nn.Module, name: str) -> Tensor:
    """Diagonal of mean J^T (diag p - p p^T) J by the weight ``name``, with all of J."""
    weight = network.get_parameter(name).detach()

    def logits(value: Tensor) -> Tensor:
        out: Tensor = functional_call(network, {name: value}, (IMAGES,))
        return out

    rows = jacobian(logits, weight).flatten(2)
    p = network(IMAGES).detach().softmax(1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    diagonal = torch.einsum("nkw,nkl,nlw->nw", rows, inner, rows).mean(0)
    return diagonal.detach().view(weight.shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_slopes_are_the_mean_gradient_and_curves_the_gauss_newton_diagonal(name: str) -> None:
    network = NETWORKS[name]()
    reference = NETWORKS[name]()
    nn.functional.cross_entropy(reference(IMAGES), LABELS).backward()
    slopes, curves = expansion(network, SAMPLE, curved=True)
    assert slopes.keys() == curves.keys() == prunable_weights(network).keys()
    for weight, slope in slopes.items():
        expected = reference.get_parameter(weight).grad
        assert expected is not None
        assert torch.allclose(slope, expected, atol=1e-6), weight
        diagonal = gauss_newton(reference, weight)
        assert torch.allclose(curves[weight], diagonal, rtol=1e-4), weight


def test_of_a_linear_network_the_curvature_is_the_hessian_itself() -> None:
    network = anew(nn.Sequential(nn.Flatten(), nn.Linear(108, 3, bias=False)), seed=3)
    weight = network.get_parameter("1.weight").detach()

    def loss(value: Tensor) -> Tensor:
        out = functional_call(network, {"1.weight": value}, (IMAGES,))
        return nn.functional.cross_entropy(out, LABELS)

    full = hessian(loss, weight).view(324, 324)
    _, curves = expansion(network, SAMPLE, curved=True)
    expected = full.diagonal().view(3, 108)
    assert torch.allclose(curves["1.weight"], expected, rtol=1e-4, atol=1e-6)


def scores(criterion: str, *, regulariser: float = 0.0) -> dict[str, Tensor]:
    control = loss_model(criterion, regulariser=regulariser)
    return dict(control(plain(), SAMPLE, torch.Generator()))


def test_scores_are_the_formulas() -> None:
    slopes, curves = expansion(plain(), SAMPLE, curved=True)
    for name, weight in prunable_weights(plain()).items():
        w, g, h = weight.detach(), slopes[name], curves[name]
        expected = {
            "MP": w**2 / 2,
            "LM": (g * w).abs(),
            "QM": (-g * w + h * w**2 / 2).abs(),
            "OBD": h * w**2 / 2,
        }
        assert expected.keys() == CRITERIA.keys()
        for criterion, value in expected.items():
            assert torch.allclose(scores(criterion)[name], value), criterion


@pytest.mark.parametrize("criterion", ["LM", "QM", "OBD"])
def test_a_strong_pull_towards_the_weights_ranks_by_magnitude(criterion: str) -> None:
    near = torch.cat([s.flatten() for s in scores(criterion, regulariser=1e6).values()])
    size = torch.cat([s.flatten() for s in scores("MP").values()])
    assert torch.equal(near.argsort(stable=True), size.argsort(stable=True))


def test_a_single_step_is_one_mask_and_several_are_nested() -> None:
    once = in_steps(
        plain(), criterion="QM", regulariser=0.0, share=0.8, steps=1, sample=SAMPLE, seed=0
    )
    one = mask(
        plain(), control=loss_model("QM", regulariser=0.0), ratio=0.8, batches=SAMPLE, seed=0
    )
    assert all(torch.equal(once.masks[name], one.masks[name]) for name in one.masks)
    several = in_steps(
        plain(), criterion="QM", regulariser=0.0, share=0.8, steps=5, sample=SAMPLE, seed=0
    )
    assert several.share == pytest.approx(0.8, abs=0.01)


def trained(seed: int) -> nn.Module:
    network = anew(plain(), seed=seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(IMAGES), LABELS).backward()
        optimiser.step()
    return network


@pytest.mark.parametrize("criterion", ["LM", "QM", "OBD"])
def test_small_steps_keep_the_loss_better_than_one(criterion: str) -> None:
    """Laurent et al. 2020 (arXiv:2006.12279): the models hold near the present weights."""
    gaps = {1: 0.0, 14: 0.0}
    for network in map(trained, range(4)):
        before = mean_loss(network, SAMPLE)
        for steps in gaps:
            pruned = in_steps(
                network,
                criterion=criterion,
                regulariser=0.0,
                share=0.9,
                steps=steps,
                sample=SAMPLE,
                seed=0,
            )
            after = mean_loss(pruned.model, SAMPLE)
            assert after is not None
            assert before is not None
            gaps[steps] += abs(after - before)
    assert gaps[14] < 0.8 * gaps[1]


def test_no_images_are_no_model() -> None:
    with pytest.raises(ValueError, match="none was given"):
        expansion(plain(), [], curved=False)
