import pytest
import torch
from torch import Tensor, nn

from compressor.study.scratch import anew
from compressor.study.selection import backward_selection, confidences, exact_selection


class Linear(nn.Module):
    """Two classes whose log-odds are a sum over pixels: each pixel has its own part in it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).flatten(1).sum(1, keepdim=True)
        return torch.cat([score, -score], dim=1)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def net(seed: int) -> nn.Module:
    made = anew(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        ),
        seed=seed,
    )  # fmt: skip
    return made.eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("step", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_where_pixels_add_up_the_gradients_find_what_exact_selection_finds(
    seed: int, step: float
) -> None:
    network, image = Linear(drawn(3, 5, 5, seed=seed)), drawn(3, 5, 5, seed=seed + 10)
    parts = (network.weight * image).sum(0).flatten()
    if network(image[None]).argmax() == 1:
        parts = -parts
    most = torch.zeros(25, dtype=torch.bool)
    most[parts.argsort()[-5:]] = True
    exact = exact_selection(network, image, share=0.2)
    batched = backward_selection(network, image[None], share=0.2, step=step)[0]
    assert torch.equal(exact.flatten(), most)
    assert torch.equal(batched, exact)


def test_the_exact_form_is_the_greedy_one_written_out() -> None:
    network, image = net(0), drawn(3, 4, 4, seed=1)
    chosen = int(network(image[None]).argmax())
    left = set(range(16))
    while len(left) > 4:

        def confidence(without: int, left: set[int] = left) -> float:
            kept = torch.tensor([float(p in left and p != without) for p in range(16)]).view(4, 4)
            return float(network((image * kept)[None]).softmax(1)[0, chosen])

        left = left - {max(sorted(left), key=confidence)}
    found = exact_selection(network, image, share=0.25)
    assert set(found.flatten().nonzero()[:, 0].tolist()) == left


def test_on_small_images_gradients_keep_nearly_the_confidence_that_exact_selection_keeps() -> None:
    exact_total = batched_total = random_total = shared = 0.0
    for seed in range(8):
        network, image = net(seed), 2.0 * drawn(3, 8, 8, seed=seed + 50)
        classes = network(image[None]).argmax(1)
        exact = exact_selection(network, image, share=0.2)[None]
        batched = backward_selection(network, image[None], share=0.2, step=0.02)
        random = torch.zeros(64, dtype=torch.bool)
        random[torch.randperm(64, generator=torch.Generator().manual_seed(seed))[:13]] = True
        exact_total += float(confidences(network, image[None], exact, classes))
        batched_total += float(confidences(network, image[None], batched, classes))
        random_total += float(confidences(network, image[None], random.view(1, 8, 8), classes))
        shared += float((exact & batched).sum()) / 13 / 8
    assert exact_total >= batched_total > random_total
    # Of what exact selection gains over pixels at random, gradients gain most.
    assert batched_total - random_total > 0.7 * (exact_total - random_total)
    assert shared > 0.5


@pytest.mark.parametrize(("share", "pixels"), [(0.1, 7), (0.5, 32), (0.99, 64)])
@pytest.mark.parametrize("step", [0.001, 0.1, 1.0])
def test_every_image_keeps_the_asked_share_rounded_up(
    share: float, pixels: int, step: float
) -> None:
    kept = backward_selection(net(0), drawn(5, 3, 8, 8, seed=0), share=share, step=step)
    assert kept.shape == (5, 8, 8)
    assert kept.flatten(1).sum(1).tolist() == [pixels] * 5


def test_an_image_is_selected_from_without_regard_to_its_neighbours_in_the_batch() -> None:
    images = drawn(4, 3, 6, 6, seed=2)
    together = backward_selection(net(1), images, share=0.2, step=0.1)
    alone = [backward_selection(net(1), image[None], share=0.2, step=0.1)[0] for image in images]
    assert torch.equal(together, torch.stack(alone))


def test_confidence_is_the_softmax_of_the_class_on_the_pixels_that_stay() -> None:
    network, images = net(3), drawn(2, 3, 4, 4, seed=3)
    kept = torch.zeros(2, 4, 4, dtype=torch.bool)
    kept[:, 1] = True
    found = confidences(network, images, kept, torch.tensor([2, 0]))
    masked = images.clone()
    masked[:, :, [0, 2, 3]] = 0
    expected = network(masked).softmax(1)[torch.arange(2), torch.tensor([2, 0])]
    assert torch.allclose(found.float(), expected)
