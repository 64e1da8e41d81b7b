"""Files that resize their images: as PyTorch does, at any size, with no arithmetic on shapes."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from exporters.closeness import closeness, require_exact
from exporters.lint import lint
from exporters.metadata import Preprocessing
from exporters.onnx import serialise
from exporters.parity import check_parity
from exporters.pixel_input import with_pixel_input
from exporters.precision import PRECISIONS, Precision
from exporters.providers import EXECUTION_PROVIDERS
from exporters.resize import factor_between, with_known_factors
from exporters.runtime import predictor
from exporters.signature import read_signature

BEFORE = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))

Size = tuple[int, int]

# From, to: smaller by a whole factor and by others, larger, one side of each.
SIZES: list[tuple[Size, Size]] = [
    ((40, 56), (20, 14)), ((41, 57), (17, 23)), ((10, 12), (31, 17)), ((16, 24), (32, 8)),
]  # fmt: skip

FAR = {"fp16": 5e-3, "int8": 0.05}


class Resizing(nn.Module):
    """A small network behind a resize, or one whose answer is resized."""

    def __init__(self, size: tuple[int, int], *, antialias: bool = True) -> None:
        super().__init__()
        self.size, self.antialias = size, antialias
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2)
            self.end = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, self.size, mode="bilinear", antialias=self.antialias)
        found = functional.relu(self.two(functional.relu(self.one(x))))
        ended: Tensor = self.end(found.mean((2, 3)))
        return ended


class Answering(Resizing):
    """Answers every pixel of what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        seen = functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        return functional.interpolate(
            self.two(functional.relu(self.one(seen))), x.shape[2:], mode="bilinear", antialias=True
        )


NETWORKS: Mapping[str, type[Resizing]] = {"resizing": Resizing, "answering": Answering}


def frames(size: tuple[int, int], count: int = 33) -> np.ndarray:
    """Pixels [n c h w] of smooth pictures, as noise would be grey once it is small."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 4, 4)))
    return functional.interpolate(coarse, size, mode="bilinear").round().numpy().astype(np.uint8)


def normalised(pixels: np.ndarray) -> Tensor:
    mean, std = (np.array(v, np.float32).reshape(-1, 1, 1) for v in (BEFORE.mean, BEFORE.std))
    return torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std)


@cache
def exported(name: str, taken: Size, own: Size) -> bytes:
    return serialise(NETWORKS[name](own).eval(), normalised(frames(taken)), metadata={})


def operators(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


@pytest.mark.parametrize(
    "name, taken, own",
    [*(("resizing", *sizes) for sizes in SIZES), *(("answering", *sizes) for sizes in SIZES[1:3])],
)
def test_the_file_resizes_as_the_network_does_in_batches_of_any_size(
    name: str, taken: Size, own: Size
) -> None:
    net, images = NETWORKS[name](own).eval(), normalised(frames(taken))
    content = exported(name, taken, own)
    onnx.checker.check_model(content, full_check=True)
    assert check_parity(net, content, images, batches=(1, 2, 5, 33)).max_relative_error < 1e-5
    assert operators(content).count("Resize") == 1 + (name == "answering")
    assert {"Shape", "Concat"}.isdisjoint(operators(content))


@pytest.mark.parametrize("provider", [EXECUTION_PROVIDERS["cpu"], EXECUTION_PROVIDERS["cuda"]])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("taken, own", SIZES[1:3])
def test_a_file_of_any_precision_takes_the_camera_s_pixels(
    name: str, taken: Size, own: Size, precision: Precision, provider: str
) -> None:
    pixels = frames(taken)
    images = normalised(pixels)
    content = PRECISIONS[precision](
        exported(name, taken, own), calibration=images.numpy(), provider=provider
    )
    made = with_pixel_input(content, BEFORE)
    found = closeness(NETWORKS[name](own).eval(), made, images, pixels=pixels)
    if precision == "fp32":
        require_exact(found)
    else:
        assert 0 < found.max_relative_error < FAR[precision]


def test_int8_rounds_the_images_behind_the_resize() -> None:
    taken, own = SIZES[1]
    content = PRECISIONS["int8"](
        exported("resizing", taken, own),
        calibration=normalised(frames(taken)).numpy(),
        provider=EXECUTION_PROVIDERS["cpu"],
    )
    graph = onnx.load_from_string(content).graph
    (resize,) = [node for node in graph.node if node.op_type == "Resize"]
    assert resize.input[0] == graph.input[0].name


def test_what_a_resizing_file_takes_is_read_from_it_and_nothing_in_it_costs_time(
    tmp_path: Path,
) -> None:
    said = {
        "size": [3, 40, 56], "mean": list(BEFORE.mean), "std": list(BEFORE.std),
        "scale": "pixel / 255", "layout": "nchw", "resize": [16, 24],
    }  # fmt: skip
    net, pixels = Resizing((16, 24)).eval(), frames((40, 56))
    content = serialise(net, normalised(pixels), metadata={"preprocessing": said})
    path = tmp_path / "net.onnx"
    path.write_bytes(with_pixel_input(content, BEFORE))
    found = read_signature(path)
    assert (found.size, found.layout, found.dtype) == ((3, 40, 56), "nhwc", "uint8")
    assert found.resize == (16, 24)
    assert "shape-arithmetic" not in [finding.rule for finding in lint(path).findings]
    with torch.no_grad():
        wanted = net(normalised(pixels)).numpy()
    np.testing.assert_allclose(predictor(path, threads=1)(pixels), wanted, atol=1e-5)


def test_a_resize_of_another_kind_stays_as_torch_wrote_it() -> None:
    images = normalised(frames((20, 28)))
    content = serialise(Resizing((16, 16), antialias=False).eval(), images, metadata={})
    assert "Shape" in operators(content)
    model = onnx.load_from_string(content)
    with_known_factors(model)
    assert model == onnx.load_from_string(content)


def test_factors_are_four_and_leave_batch_and_channels() -> None:
    graph = onnx.load_from_string(exported("resizing", *SIZES[0])).graph
    (resize,) = [node for node in graph.node if node.op_type == "Resize"]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    factors = numpy_helper.to_array(constants[resize.input[2]])
    assert factors.tolist() == [1, 1, 0.5, 0.25]
    assert constants.keys() <= {name for node in graph.node for name in node.input}


@given(before=st.integers(1, 10_000), after=st.integers(1, 10_000))
def test_a_factor_rounds_to_the_size_that_was_asked_for(before: int, after: int) -> None:
    factor = np.float32(factor_between(before, after))
    assert int(np.floor(np.float32(before) * factor)) == after
    assert int(before * float(factor)) == after
    assert abs(float(factor) * before / after - 1) < 1e-6
