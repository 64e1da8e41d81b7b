"""A network small enough to export in a second, and what is made of it once."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from exporters.onnx import serialise
from tests.exporters import odd_models
from tests.loaded_once import loaded_once  # noqa: F401 # a fixture

METADATA = {"source": "tiny", "widths": [8], "mean": {"r": 0.5}}


def tiny_net(width: int) -> nn.Module:
    """Images [n 3 8 8] to logits [n 4]; the same weights in every process."""
    net = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 4),
    )
    with torch.no_grad():
        for number, weights in enumerate(net.parameters()):
            values = torch.sin(torch.arange(weights.numel()) * 1.7 + number)
            weights.copy_(values.reshape(weights.shape))
    return net


@pytest.fixture(scope="session")
def make_net() -> Callable[[int], nn.Module]:
    return tiny_net


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Normalised images [40 3 8 8] whose means differ, as photographs' do."""
    generator = torch.Generator().manual_seed(0)
    brightness = torch.randn(40, 3, 1, 1, generator=generator)
    return torch.randn(40, 3, 8, 8, generator=generator) + brightness


@pytest.fixture(scope="session")
def metadata() -> Mapping[str, object]:
    return METADATA


@pytest.fixture(scope="session")
def content(images: Tensor) -> bytes:
    return serialise(tiny_net(8), images[:1], metadata=METADATA)


@pytest.fixture
def exported(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "dense.onnx"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="session")
def ours(images: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as the pipeline exports it: with preprocessing and names of classes."""
    path = tmp_path_factory.mktemp("ours") / "ours.onnx"
    path.write_bytes(serialise(tiny_net(8), images[:1], metadata=odd_models.METADATA))
    return path


@pytest.fixture(scope="session")
def odd(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file made from ``ours`` by the builder of this name, made once."""

    @functools.cache
    def build(name: str) -> Path:
        target = tmp_path_factory.mktemp("odd") / f"{name}.onnx"
        builders = {**odd_models.EXACT, **odd_models.NORMALISED, **odd_models.ROUNDED}
        builders[name](ours, target)
        return target

    return build


@pytest.fixture
def make(ours: Path, tmp_path: Path) -> Callable[[odd_models.Edit], Path]:
    """Our file after an edit."""

    def build(edit: odd_models.Edit) -> Path:
        odd_models.edited(ours, tmp_path / "made.onnx", edit)
        return tmp_path / "made.onnx"

    return build
