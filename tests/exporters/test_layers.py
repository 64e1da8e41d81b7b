import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from exporters.layer_files import COLOURS, layer_file
from exporters.layers import Layer, layers_of

IMAGES = torch.randn(2, 6, 9, 9, generator=torch.Generator().manual_seed(0))

LAYERS = {
    "plain": nn.Conv2d(6, 8, 3, padding=1),
    "without bias": nn.Conv2d(6, 8, 3, stride=2, bias=False),
    "dilated": nn.Conv2d(6, 8, 3, padding=2, dilation=2),
    "same": nn.Conv2d(6, 8, (5, 3), padding="same", dilation=(1, 2)),
    "valid": nn.Conv2d(6, 8, 4, padding="valid"),
    "grouped": nn.Conv2d(6, 8, 3, groups=2),
    "depthwise": nn.Conv2d(6, 6, 3, groups=6),
    "transposed": nn.ConvTranspose2d(6, 8, 3, stride=2, output_padding=1),
    "linear over places": nn.Linear(9, 8),
}


def shape_of(layer: Layer, *, behind_another: bool = False) -> tuple[int, ...]:
    """What the layer's file makes of one image."""
    generator = np.random.default_rng(0)
    content = layer_file(layer, generator=generator, behind_another=behind_another)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    reads = (COLOURS, *layer.input[1:]) if behind_another else layer.input
    image = np.zeros((1, *reads), dtype=np.float32)
    return tuple(session.run(None, {"images": image})[0].shape[1:])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_file_has_the_layers_shapes(name: str) -> None:
    (layer,) = layers_of(nn.Sequential(LAYERS[name]), IMAGES)["0"]
    expected = tuple(LAYERS[name](IMAGES).shape[1:])
    assert shape_of(layer) == expected
    if layer.operator == "Conv":
        assert shape_of(layer, behind_another=True) == expected


@pytest.mark.parametrize(
    ("name", "dims", "sizes", "narrower"),
    [
        ("plain", (1, 0), (3, 4), nn.Conv2d(3, 4, 3, padding=1)),
        ("grouped", (0,), (4,), nn.Conv2d(3, 4, 3, groups=1)),
        ("depthwise", (0,), (3,), nn.Conv2d(3, 3, 3, groups=3)),
        ("transposed", (0, 1), (3, 4), nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1)),
        ("linear over places", (1, 0), (3, 4), nn.Linear(3, 4)),
    ],
)
def test_a_narrower_layer_is_the_layer_that_has_those_widths(
    name: str, dims: tuple[int, ...], sizes: tuple[int, ...], narrower: nn.Module
) -> None:
    (layer,) = layers_of(nn.Sequential(LAYERS[name]), IMAGES)["0"]
    assert layer.dims == dims
    images = IMAGES[..., :3] if isinstance(narrower, nn.Linear) else IMAGES[:, :3]
    (expected,) = layers_of(nn.Sequential(narrower), images)["0"]
    assert layer.at(sizes) == expected
    assert shape_of(layer.at(sizes)) == tuple(narrower(images).shape[1:])


def test_a_linear_layer_behind_a_pool_is_a_gemm() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    (layer,) = layers_of(model, IMAGES)["2"]
    assert layer.operator == "Gemm"
    assert shape_of(layer) == (4,)


def test_layers_alike_are_equal_and_a_layer_run_twice_is_there_twice() -> None:
    twice = nn.Conv2d(6, 6, 3, padding=1)
    model = nn.Sequential(twice, nn.MaxPool2d(2), twice, nn.Conv2d(6, 6, 3, padding=1))
    found = layers_of(model, IMAGES)
    assert [layer.input for layer in found["0"]] == [(6, 9, 9), (6, 4, 4)]
    assert found["3"] == found["0"][1:]


def test_watching_leaves_the_network_alone() -> None:
    model = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8)).train()
    layers_of(model, IMAGES)
    assert model.training
    assert model.state_dict()["1.num_batches_tracked"] == 0
    assert not model[0]._forward_hooks
