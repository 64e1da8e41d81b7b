import pytest
import torch
import torch_pruning
from torch import nn

from compressor.demo.network import sign_net


def multiply_adds(net: nn.Module, images: torch.Tensor) -> int:
    count, _ = torch_pruning.utils.count_ops_and_params(net, images)
    return int(count)


def test_sign_net_is_small_and_its_widths_are_multiples_of_eight() -> None:
    net = sign_net().eval()
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 12)
    assert 5e6 < multiply_adds(net, torch.zeros(1, 3, 32, 32)) < 12e6
    widths = [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert not [width for width in widths if width % 8]


def test_sign_net_has_as_many_outputs_as_classes() -> None:
    assert sign_net(classes=5).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_sign_net_can_be_pruned_through_its_shortcuts(ratio: float) -> None:
    net, images = sign_net().eval(), torch.zeros(1, 3, 32, 32)
    before = multiply_adds(net, images)
    torch_pruning.pruner.MagnitudePruner(
        net,
        images,
        importance=torch_pruning.importance.MagnitudeImportance(),
        pruning_ratio=ratio,
        ignored_layers=[net[-1]],  # type: ignore[index]  # a Sequential
    ).step()
    assert net(torch.zeros(3, 3, 32, 32)).shape == (3, 12)
    assert multiply_adds(net, images) < (1 - ratio) * before
