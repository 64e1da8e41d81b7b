"""torchvision's segmentation networks, as its users have them: cut to half, tested, exported."""

import pytest
import torch
from torchvision.models import segmentation

from compressor.pruning.candidate import Method, propose, prunable
from exporters.onnx import serialise
from exporters.parity import check_parity

CLASSES, SIDE = 5, 32

NAMES = ("deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large")


def pictures() -> torch.Tensor:
    """Unlike noise, these have different means, so that random networks tell them apart."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(6, 3, SIDE, SIDE, generator=generator)
    return images * torch.linspace(0.2, 4.0, 6).view(-1, 1, 1, 1) + torch.linspace(
        -3.0, 3.0, 6
    ).view(-1, 1, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large"]
)
def test_half_of_it_goes_with_its_auxiliary_head_and_the_file_agrees(name: str) -> None:
    extra = {} if name.startswith("lraspp") else {"aux_loss": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(segmentation, name)(
            weights=None, weights_backbone=None, num_classes=CLASSES, **extra
        ).eval()
    images = pictures()
    dense = prunable(network, images[:4], seed=0)
    heads = {layer for item in dense.left_alone for layer in item.modules}
    assert heads == ({"classifier.4"} if extra else {
        "classifier.low_classifier", "classifier.high_classifier",
    }), "all but the layers that give the classes can be cut"  # fmt: skip
    assert not [key for key in dense.model.state_dict() if key.startswith("aux")]
    made = propose(dense, None, ratio=0.5, method=Method(compensate=False), batches=(), seed=0)
    assert made.cost.params == pytest.approx(dense.cost.params / 2, rel=0.02)
    assert made.difference < 1e-5
    with torch.inference_mode():
        assert made.model.eval()(images).shape == (6, CLASSES, SIDE, SIDE)
    parity = check_parity(made.model, serialise(made.model, images, metadata={}), images)
    assert parity.max_relative_error < 1e-4
    assert parity.agreement >= 0.999
