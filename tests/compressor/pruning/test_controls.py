import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.pruning.controls import CONTROLS, gradient, magnitude, prunable_weights, sipp

SEEDS = torch.Generator().manual_seed(3)
IMAGES = torch.randn(6, 2, 5, 5, generator=SEEDS)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
BATCH = (IMAGES, LABELS)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def linear(*rows: tuple[float, ...]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def net() -> nn.Sequential:
    """Two convolutions, the second in groups, and a head: biases everywhere."""
    generator = torch.Generator().manual_seed(5)
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 2, groups=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layers.eval()


def relative(weights: Tensor, inputs: Tensor) -> Tensor:
    """g of the weights of one output at one position, one by one."""
    g = torch.zeros(len(weights))
    for sign in (1.0, -1.0):
        for side in (1.0, -1.0):
            parts = (weights * sign).clamp(min=0) * (inputs * side).clamp(min=0)
            for j, part in enumerate(parts):
                if part > 0:
                    g[j] = max(g[j], part / parts.sum())
    return g


def brute_conv(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Sensitivity of a convolution by loops over images, outputs and positions."""
    padding, stride, size = int(layer.padding[0]), layer.stride[0], layer.kernel_size[0]
    weights, per_group = layer.weight.detach(), layer.out_channels // layer.groups
    read, high = weights.shape[1], (inputs.shape[-1] + 2 * padding - size) // stride + 1
    highest = torch.zeros_like(weights)
    for image in functional.pad(inputs, [padding] * 4):
        for out in range(layer.out_channels):
            first = out // per_group * read
            sides = {1.0: torch.zeros_like(weights[0]), -1.0: torch.zeros_like(weights[0])}
            for y in range(high):
                for x in range(high):
                    seen = image[first : first + read, y * stride :, x * stride :]
                    seen = seen[:, :size, :size].flatten()
                    for side in sides:
                        part = relative(weights[out].flatten(), (seen * side).clamp(min=0))
                        sides[side] += part.view_as(weights[0]) / high**2
            highest[out] = torch.stack([highest[out], *sides.values()]).amax(0)
    return highest


def brute_linear(weights: Tensor, inputs: Tensor) -> Tensor:
    return torch.stack(
        [torch.stack([relative(row, x) for x in inputs]).amax(0) for row in weights.detach()]
    )


def test_the_weights_are_those_of_linear_layers_and_convolutions() -> None:
    layers = nn.ModuleDict(
        {
            "linear": nn.Linear(2, 2),
            "conv": nn.Conv2d(2, 2, 1, groups=2),
            "up": nn.ConvTranspose1d(2, 2, 1),
            "norm": nn.BatchNorm2d(2),
            "names": nn.Embedding(2, 2),
            "attention": nn.MultiheadAttention(2, 1),
            "normed": nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        }
    )
    names = ["linear.weight", "conv.weight", "up.weight", "attention.out_proj.weight"]
    assert list(prunable_weights(layers)) == names


def test_a_layer_that_makes_its_own_of_a_weight_is_left_alone() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return functional.conv2d(x, self.weight - self.weight.mean())

    assert prunable_weights(nn.Sequential(Standardised(2, 2, 1))) == {}


def test_a_layer_by_itself_and_a_shared_weight_are_named_once() -> None:
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert list(prunable_weights(tied)) == ["0.weight"]
    assert list(prunable_weights(nn.Linear(2, 2))) == ["weight"]


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_scores_every_weight(name: str) -> None:
    scores = CONTROLS[name](net(), [BATCH], generator())
    shapes = {name: weight.shape for name, weight in prunable_weights(net()).items()}
    assert {name: values.shape for name, values in scores.items()} == shapes
    assert all(bool((values >= 0).all()) for values in scores.values())


def test_magnitude_is_the_size_of_the_weight() -> None:
    scores = magnitude(linear((1.0, -2.0), (0.0, 3.0)), [], generator())
    assert scores["weight"].tolist() == [[1.0, 2.0], [0.0, 3.0]]


def test_gradient_agrees_with_the_derivative_by_hand() -> None:
    # Equal logits: dL/dlogit = 1/2 - [label], so that dL/dW of label 0 is [-x/2, x/2].
    layer = linear((1.0, 2.0), (1.0, 2.0))
    batch = torch.tensor([[4.0, 3.0], [2.0, 1.0]]), torch.tensor([0, 0])
    assert gradient(layer, [batch], generator())["weight"].tolist() == [[1.5, 2.0], [1.5, 2.0]]


def test_gradient_of_a_frozen_layer_is_that_of_any_other() -> None:
    frozen = net().requires_grad_(requires_grad=False)
    expected = gradient(net(), [BATCH], generator())
    for name, values in gradient(frozen, [BATCH], generator()).items():
        assert torch.equal(values, expected[name])


def test_gradient_is_of_all_images_and_not_of_their_batches() -> None:
    whole = gradient(net(), [BATCH], generator())
    parts = gradient(net(), [(IMAGES[:1], LABELS[:1]), (IMAGES[1:], LABELS[1:])], generator())
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values)


def test_gradients_of_images_cancel() -> None:
    layer = linear((1.0,), (1.0,))
    batch = torch.tensor([[4.0], [4.0]]), torch.tensor([0, 1])
    assert gradient(layer, [batch], generator())["weight"].tolist() == [[0.0], [0.0]]


def test_gradient_of_what_the_loss_does_not_reach_is_zero() -> None:
    layers = net()
    layers.add_module("frozen", nn.Linear(3, 3).requires_grad_(requires_grad=False))
    layers.frozen.forward = lambda x: x  # type: ignore[union-attr] # runs and reads no weight
    assert float(gradient(layers, [BATCH], generator())["frozen.weight"].sum()) == 0.0


def test_sipp_agrees_with_shares_by_hand() -> None:
    # Image (1, 3, 2): positive 1, 6 of 7; negative 2 of 2. Image (4, 1, 0): 4, 2 of 6; 0 / 0.
    layer = linear((1.0, 2.0, -1.0))
    images = torch.tensor([[1.0, 3.0, 2.0], [4.0, 1.0, 0.0]])
    scores = sipp(layer, [(images, LABELS[:2])], generator())["weight"]
    torch.testing.assert_close(scores, torch.tensor([[4 / 6, 6 / 7, 1.0]]).double())


def test_sipp_takes_inputs_of_both_signs_as_two() -> None:
    # Positive part (2, 0, 1): 2, 1 of 3. Negative part (0, 5, 0): 5 of 5.
    scores = sipp(
        linear((1.0, 1.0, 1.0)), [(torch.tensor([[2.0, -5.0, 1.0]]), LABELS[:1])], generator()
    )
    torch.testing.assert_close(scores["weight"], torch.tensor([[2 / 3, 1.0, 1 / 3]]).double())


def test_sipp_takes_the_mean_over_the_positions_of_an_image() -> None:
    # Kernel (1, 1) on (1, 3, 0): shares (1/4, 3/4) and (1, 0).
    layer = nn.Conv1d(1, 1, 2, bias=False)
    layer.weight.data = torch.ones(1, 1, 2)
    scores = sipp(layer, [(torch.tensor([[[1.0, 3.0, 0.0]]]), LABELS[:1])], generator())
    torch.testing.assert_close(scores["weight"], torch.tensor([[[0.625, 0.375]]]).double())


def test_sipp_agrees_with_loops_over_everything() -> None:
    layers = net()
    with torch.no_grad():
        second = layers[:3](IMAGES)
        head = layers[:6](IMAGES)
    scores = sipp(layers, [BATCH], generator())
    assert isinstance(layers[0], nn.Conv2d)
    assert isinstance(layers[3], nn.Conv2d)
    expected = {
        "0.weight": brute_conv(layers[0], IMAGES),
        "3.weight": brute_conv(layers[3], second),
        "6.weight": brute_linear(layers.get_parameter("6.weight"), head),
    }
    assert set(scores) == set(expected)
    for name, values in expected.items():
        torch.testing.assert_close(scores[name].float(), values)


def test_sipp_takes_tokens_as_the_positions_of_a_convolution() -> None:
    conv = nn.Conv2d(2, 3, 1)
    tokens = nn.Linear(2, 3)
    tokens.weight.data = conv.weight.data.flatten(1)
    of_conv = sipp(conv, [BATCH], generator())["weight"]
    of_tokens = sipp(tokens, [(IMAGES.flatten(2).transpose(1, 2), LABELS)], generator())["weight"]
    torch.testing.assert_close(of_tokens, of_conv.flatten(1))


def test_sipp_of_a_transposed_convolution_is_that_of_the_same_sums() -> None:
    # On one pixel a transposed convolution is a linear layer whose outputs are its positions.
    up = nn.ConvTranspose2d(2, 1, 2, bias=False)
    up.weight.data = torch.tensor([1.0, 2.0, -1.0, 1.0, 3.0, 2.0, -3.0, -1.0]).view(2, 1, 2, 2)
    pixel = torch.tensor([1.0, 1.0]).view(1, 2, 1, 1)
    shares = [[1 / 4, 1 / 2, 1 / 4, 1.0], [3 / 4, 1 / 2, 3 / 4, 1.0]]
    scores = sipp(up, [(pixel, LABELS[:1])], generator())["weight"]
    torch.testing.assert_close(scores.view(2, 4) * 4, torch.tensor(shares).double())


def test_sipp_of_a_layer_that_runs_twice_is_the_larger() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear((1.0, 1.0), (1.0, 1.0))

        def forward(self, x: Tensor) -> Tensor:
            twice: Tensor = self.layer(self.layer(x) * torch.tensor([9.0, 1.0]))
            return twice

    scores = sipp(Twice(), [(torch.tensor([[1.0, 3.0]]), LABELS[:1])], generator())
    expected = torch.tensor([[0.9, 0.75], [0.9, 0.75]]).double()
    torch.testing.assert_close(scores["layer.weight"], expected)


def test_sipp_of_tiny_activations_is_a_share_all_the_same() -> None:
    image = torch.full((1, 2), 1e-44)
    scores = sipp(linear((1e-3, 1e-3)), [(image, LABELS[:1])], generator())["weight"]
    torch.testing.assert_close(scores, torch.full((1, 2), 0.5).double())


def test_sipp_names_a_layer_whose_inputs_it_cannot_see() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(2, 1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            seen: Tensor = self.inner(x, x, x, need_weights=False)[0]
            return seen.mean(1)

    batch = (torch.rand(2, 3, 2), LABELS[:2])
    with pytest.raises(ValueError, match=r"inner\.out_proj\.weight.*another control"):
        sipp(Attention().eval(), [batch], generator())


@pytest.mark.parametrize("name", ["gradient", "sipp"])
def test_no_image_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} scores weights on training images"):
        CONTROLS[name](net(), [], generator())
