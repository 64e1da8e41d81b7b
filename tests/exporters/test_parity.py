from collections.abc import Callable

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from exporters.parity import ParityError, check_parity

NetFactory = Callable[[int], nn.Module]


def changed(content: bytes, *, initializer: str, factor: float) -> bytes:
    """The file with one weight tensor scaled."""
    model = onnx.load_from_string(content)
    (tensor,) = (t for t in model.graph.initializer if t.name == initializer)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, initializer))
    altered: bytes = model.SerializeToString()
    return altered


def test_a_right_file_agrees_in_every_batch_size(
    make_net: NetFactory, content: bytes, images: Tensor
) -> None:
    parity = check_parity(make_net(8), content, images)
    assert parity.max_relative_error < 1e-5
    assert (parity.agreement, parity.images, parity.batches) == (1.0, 40, (1, 2, 3, 32))


def test_batches_beyond_the_images_are_cut(
    make_net: NetFactory, content: bytes, images: Tensor
) -> None:
    assert check_parity(make_net(8), content, images[:7]).batches == (1, 2, 3, 7)
    with pytest.raises(ParityError, match="at least 3 images, not 2"):
        check_parity(make_net(8), content, images[:2])


def test_the_model_is_compared_in_evaluation_mode_and_left_as_it_was(
    make_net: NetFactory, content: bytes, images: Tensor
) -> None:
    net = make_net(8).train()
    check_parity(net, content, images)
    assert net.training
    assert torch.equal(net[1].running_mean, torch.zeros(8))  # type: ignore[index]  # a Sequential


@pytest.mark.parametrize("factor", [1.01, -1.0, float("nan")])
def test_a_changed_weight_is_found(
    make_net: NetFactory, content: bytes, images: Tensor, factor: float
) -> None:
    wrong = changed(content, initializer="5.weight", factor=factor)
    with pytest.raises(ParityError, match="the exported file is wrong"):
        check_parity(make_net(8), wrong, images)


class CloseClasses(nn.Module):
    """Two logits on a common offset of 10, at most 4e-4 apart, the second raised by ``tilt``."""

    def __init__(self, *, tilt: float) -> None:
        super().__init__()
        self.tilt = tilt

    def forward(self, x: Tensor) -> Tensor:
        features = x.mean((2, 3))
        first = 10 + 0.02 * features[:, :1]
        return torch.cat([first, first + 4e-4 * features[:, 1:2].tanh() + self.tilt], dim=1)


def test_errors_small_beside_a_common_offset_are_found_by_the_top_class(images: Tensor) -> None:
    wrong = lenient_export(CloseClasses(tilt=9e-4), images)
    with pytest.raises(ParityError, match="agree on the top class"):
        check_parity(CloseClasses(tilt=0.0), wrong, images)


@pytest.mark.parametrize("scale", [0.0, 1e-9])
def test_logits_that_hardly_depend_on_the_image_prove_nothing(
    make_net: NetFactory, content: bytes, images: Tensor, scale: float
) -> None:
    net = make_net(8)
    head = net.get_parameter("5.weight")
    with torch.no_grad():
        head.mul_(scale)
    with pytest.raises(ParityError, match="agreement would prove nothing"):
        check_parity(net, content, images)


def test_infinite_logits_are_the_network_s_fault(
    make_net: NetFactory, content: bytes, images: Tensor
) -> None:
    net = make_net(8)
    with torch.no_grad():
        net.get_parameter("5.bias").fill_(float("inf"))
    with pytest.raises(ParityError, match="own logits are not finite"):
        check_parity(net, content, images)


class EvenBatches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))[: 2 * (x.size(0) // 2)]


class BatchParity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * (2.0 if x.size(0) % 2 else 1.0)


def lenient_export(network: nn.Module, images: Tensor) -> bytes:
    """A file as other tools make it: accepted though it holds for some batch sizes only."""
    program = torch.onnx.export(
        network.eval(),
        (images[:2],),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    lenient: bytes = program.model_proto.SerializeToString()
    return lenient


def test_a_forward_pass_that_depends_on_the_batch_size_is_found(images: Tensor) -> None:
    with pytest.raises(ParityError, match=r"batch of [13] "):
        check_parity(BatchParity(), lenient_export(BatchParity(), images), images)


def test_a_file_of_fixed_batch_is_found(images: Tensor) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) + torch.zeros(2, 1)

    class Free(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    with pytest.raises(ParityError, match="batch of"):
        check_parity(Free(), lenient_export(Fixed(), images), images)


def test_bytes_that_are_no_model_are_named(make_net: NetFactory, images: Tensor) -> None:
    with pytest.raises(ParityError, match="cannot load the file"):
        check_parity(make_net(8), b"not a model", images)
