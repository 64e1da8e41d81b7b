from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from onnx import ModelProto, helper
from torch import nn

from compressor.pruning.cost import cost
from exporters.network_file import read_model
from exporters.onnx import serialise
from exporters.products import macs, products
from tests.exporters import odd_models

NETS: dict[str, Callable[[], nn.Module]] = {
    "strided": lambda: nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.Conv2d(16, 8, 1)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(3, 12, 3), nn.Conv2d(12, 24, 3, groups=3)),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, groups=8)),
    "transposed": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 2, stride=2)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_file_has_the_multiply_adds_of_its_network(name: str, tmp_path: Path) -> None:
    body = NETS[name]()
    net = nn.Sequential(body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(7)).eval()
    example = torch.randn(1, 3, 16, 16)
    net(example)
    path = tmp_path / "net.onnx"
    path.write_bytes(serialise(net, example, metadata={}))
    assert macs(read_model(path)) == cost(net, example).macs


@pytest.mark.parametrize("name", ["fixed_batch", "channels_last", "beside", "qdq", "half_inside"])
def test_the_same_network_has_the_same_multiply_adds_however_it_is_written(
    name: str, odd: Callable[[str], Path], ours: Path
) -> None:
    assert macs(read_model(odd(name))) == macs(read_model(ours)) is not None


def test_weights_are_seen_through_what_hands_them_on(odd: Callable[[str], Path]) -> None:
    weights = [product.weight for product in products(read_model(odd("qdq")))]
    assert (8, 3, 3, 3) in weights


def test_what_cannot_be_counted_is_not_known(make: Callable[[odd_models.Edit], Path]) -> None:
    def looped(model: ModelProto) -> None:
        (output,) = model.graph.output
        model.graph.node.append(
            helper.make_node("Einsum", [output.name, output.name], ["pairs"], equation="ij,ij->ij")
        )
        output.name = "pairs"

    assert macs(read_model(make(looped))) is None


def test_an_open_image_size_leaves_them_unknown(odd: Callable[[str], Path]) -> None:
    assert macs(read_model(odd("all_open"))) is None
