"""Each precision is a file of its own: the same every time, near the network, and runnable."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from exporters.closeness import closeness, pixels_of, require_exact
from exporters.metadata import Preprocessing
from exporters.onnx import ExportError, serialise
from exporters.parity import ParityError
from exporters.pixel_input import with_pixel_input
from exporters.precision import PRECISIONS, Precision, worth_trying
from exporters.providers import EXECUTION_PROVIDERS
from exporters.runtime import predictor
from exporters.sessions import CPU, session
from exporters.signature import read_signature

TENSORRT = EXECUTION_PROVIDERS["tensorrt"]
BEFORE = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))

# How far the logits may be from float32's, as a share of the largest.
NEAR: Mapping[Precision, float] = {"fp32": 0.0, "fp16": 5e-3, "int8": 0.1}

ANOTHER_PROCESS = """\
import hashlib, sys
import numpy as np
from exporters.precision import PRECISIONS
content, images = open(sys.argv[1], "rb").read(), np.load(sys.argv[2])
for provider in sys.argv[3:]:
    for convert in PRECISIONS.values():
        made = convert(content, calibration=images, provider=provider)
        print(hashlib.sha256(made).hexdigest())
"""


def logits(content: bytes, images: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    opened = session(content, threads=1)
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = opened.run(
        None, {"images": images.numpy()}
    )[0]
    return found


def scales(model: onnx.ModelProto, operator: str) -> dict[str, np.ndarray]:
    """Zero points that nodes of this kind take, by node."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {n.name: values[n.input[2]] for n in model.graph.node if n.op_type == operator}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Images [40 3 8 8] whose brightness differs."""
    rng = np.random.default_rng(0)
    bright = rng.integers(60, 190, size=(40, 3, 1, 1))
    drawn = bright + rng.integers(-60, 60, size=(40, 3, 8, 8))
    return drawn.clip(0, 255).astype(np.uint8)


def normalised(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (BEFORE.mean, BEFORE.std))
    return (torch.from_numpy(pixels).float() / 255 - mean) / std


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_stays_near_the_network_at_any_batch(
    content: bytes, images: Tensor, precision: Precision
) -> None:
    made = PRECISIONS[precision](content, calibration=images.numpy(), provider=CPU)
    for batch in (1, 3, 40):
        wanted, found = logits(content, images[:batch]), logits(made, images[:batch])
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() <= NEAR[precision] * np.abs(wanted).max()


def test_the_same_network_and_images_give_the_same_bytes_in_every_process(
    content: bytes, images: Tensor, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    np.save(tmp_path / "images.npy", images.numpy())
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path / "net.onnx")]
    command += [str(tmp_path / "images.npy"), CPU, TENSORRT]
    told = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    of_one, of_other = np.split(np.array(told[0].split()), 2)
    assert len(set(of_one)) == len(set(of_other)) == len(PRECISIONS)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_a_file_says_of_itself_survives(
    content: bytes, images: Tensor, precision: Precision
) -> None:
    made = PRECISIONS[precision](content, calibration=images.numpy(), provider=CPU)
    before, after = (onnx.ModelProto.FromString(c).metadata_props for c in (content, made))
    assert sorted((p.key, p.value) for p in before) == sorted((p.key, p.value) for p in after)


def test_int8_for_cpus_is_unsigned_by_seven_bits_signed(content: bytes, images: Tensor) -> None:
    made = PRECISIONS["int8"](content, calibration=images.numpy(), provider=CPU)
    model = onnx.ModelProto.FromString(made)
    assert {z.dtype for z in scales(model, "QuantizeLinear").values()} == {np.dtype(np.uint8)}
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer]
    kernels = [w for w in weights if w.dtype == np.int8 and w.ndim > 1]
    assert kernels
    assert max(int(np.abs(k.astype(int)).max()) for k in kernels) <= 64


def test_int8_for_tensorrt_is_symmetric(content: bytes, images: Tensor) -> None:
    made = PRECISIONS["int8"](content, calibration=images.numpy(), provider=TENSORRT)
    model = onnx.ModelProto.FromString(made)
    for operator in ("QuantizeLinear", "DequantizeLinear"):
        points = scales(model, operator).values()
        assert {z.dtype for z in points} == {np.dtype(np.int8)}
        assert not any(z.any() for z in points)


def test_weights_have_a_scale_per_channel(content: bytes, images: Tensor) -> None:
    made = PRECISIONS["int8"](content, calibration=images.numpy(), provider=CPU)
    model = onnx.ModelProto.FromString(made)
    assert 8 in {z.size for z in scales(model, "DequantizeLinear").values()}


def test_logits_are_not_rounded_to_256_values(content: bytes, images: Tensor) -> None:
    made = PRECISIONS["int8"](content, calibration=images.numpy(), provider=CPU)
    graph = onnx.ModelProto.FromString(made).graph
    maker = next(n for n in graph.node if graph.output[0].name in n.output)
    assert maker.op_type not in {"DequantizeLinear", "QuantizeLinear"}


@pytest.mark.parametrize(
    "calibration", [np.empty((0, 3, 8, 8), np.float32), np.full((2, 3, 8, 8), np.nan, np.float32)]
)
def test_int8_needs_images_that_are_numbers(
    content: bytes,
    calibration: np.ndarray,
) -> None:
    with pytest.raises(ExportError, match="images to calibrate int8 with"):
        PRECISIONS["int8"](content, calibration=calibration, provider=CPU)


def test_where_a_precision_cannot_be_faster_it_is_not_tried() -> None:
    tried, without = worth_trying(CPU)
    assert (tried, set(without)) == (("fp32", "int8"), {"fp16"})
    tried, without = worth_trying(EXECUTION_PROVIDERS["cuda"])
    assert (tried, set(without)) == (("fp32", "fp16"), {"int8"})
    assert worth_trying(TENSORRT)[0] == tuple(PRECISIONS)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_file_that_takes_pixels_answers_as_one_that_takes_numbers(
    make_net: Callable[[int], nn.Module],
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    tmp_path: Path,
    precision: Precision,
) -> None:
    images, files = normalised(pixels), {name: tmp_path / f"{name}.onnx" for name in "ab"}
    plain = serialise(make_net(8), images[:1], metadata={})
    made = PRECISIONS[precision](plain, calibration=images.numpy(), provider=CPU)
    files["a"].write_bytes(made)
    files["b"].write_bytes(with_pixel_input(made, BEFORE))
    outside = predictor(files["a"], BEFORE, provider=CPU, threads=1)(pixels)
    inside = predictor(files["b"], provider=CPU, threads=1)(pixels[:3])
    # A pixel that lies between two steps of int8 may fall to either side.
    limit = 0.03 if precision == "int8" else 1e-3 if precision == "fp16" else 1e-5
    assert np.abs(outside[:3] - inside).max() <= limit * np.abs(outside).max()


def test_a_file_that_takes_pixels_says_so(
    make_net: Callable[[int], nn.Module], images: Tensor, tmp_path: Path
) -> None:
    said = {"size": [3, 8, 8], "mean": list(BEFORE.mean), "std": list(BEFORE.std)}
    said |= {"scale": "pixel / 255", "layout": "nchw"}
    plain = serialise(make_net(8), images[:1], metadata={"preprocessing": said})
    path = tmp_path / "net.onnx"
    path.write_bytes(with_pixel_input(plain, BEFORE))
    found = read_signature(path)
    assert (found.dtype, found.layout, found.size) == ("uint8", "nhwc", (3, 8, 8))
    assert found.preprocessing is None
    told = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert '"inside": true' in told["compressor.preprocessing"]
    assert '"layout": "nhwc"' in told["compressor.preprocessing"]
    operators = [n.op_type for n in onnx.load(path).graph.node][:6]
    assert operators == ["Reshape", "Cast", "Mul", "Add", "Reshape", "Transpose"]


def test_layout_is_known_where_the_shape_alone_does_not_tell(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain = serialise(net, torch.zeros(1, 3, 3, 3), metadata={})
    for name, content in (("plain", plain), ("pixels", with_pixel_input(plain, BEFORE))):
        (tmp_path / name).write_bytes(content)
    assert read_signature(tmp_path / "plain").layout == "nchw"
    assert read_signature(tmp_path / "pixels").layout == "nhwc"


def test_preprocessing_of_another_number_of_channels_is_refused(content: bytes) -> None:
    grey = Preprocessing(mean=(0.5,), std=(0.5,))
    with pytest.raises(ExportError, match=r"with 1 means and 1 standard deviations"):
        with_pixel_input(content, grey)


def test_closeness_tells_a_wrong_normalisation(
    make_net: Callable[[int], nn.Module], pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    net, images = make_net(8), normalised(pixels)
    plain = serialise(net, images[:1], metadata={})
    right = closeness(net, with_pixel_input(plain, BEFORE), images, pixels=pixels)
    assert require_exact(right).max_relative_error < 1e-5
    other = Preprocessing(mean=BEFORE.mean[::-1], std=BEFORE.std)
    wrong = closeness(net, with_pixel_input(plain, other), images, pixels=pixels)
    with pytest.raises(ParityError, match="with preprocessing inside, the file differs"):
        require_exact(wrong)


def test_answers_that_are_no_numbers_are_refused(
    make_net: Callable[[int], nn.Module], content: bytes, images: Tensor
) -> None:
    broken = onnx.ModelProto.FromString(content)
    for tensor in broken.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            overflown = np.full_like(values, np.inf)
            tensor.CopyFrom(numpy_helper.from_array(overflown, tensor.name))
    made = broken.SerializeToString()
    with pytest.raises(ParityError, match="do not fit this precision; export it as fp32"):
        closeness(make_net(8), made, images, pixels=np.zeros(images.shape, np.uint8))


def test_normalised_images_give_their_pixels_back(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    found = pixels_of(normalised(pixels), mean=BEFORE.mean, std=BEFORE.std)
    np.testing.assert_array_equal(found, pixels)
    with pytest.raises(ExportError, match="no normalised pixels"):
        pixels_of(torch.randn(2, 3, 8, 8), mean=BEFORE.mean, std=BEFORE.std)
