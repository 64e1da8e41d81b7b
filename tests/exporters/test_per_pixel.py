"""Files that answer every pixel: exported, compared, described and asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from exporters.onnx import ExportError, serialise
from exporters.parity import ParityError, check_parity
from exporters.runtime import Preprocessing, predictor
from exporters.signature import SignatureError, read_signature
from tests.exporters.odd_models import METADATA, Edit, appended, edited, shape_of

PREPROCESSING = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))

PIXELS = (
    np.random.default_rng(1).integers(0, 256, (9, 3, 1, 1))
    * np.random.default_rng(2).uniform(0.5, 1, (9, 3, 8, 8))
).astype(np.uint8)


class Streets(nn.Module):
    """Coarse features, read off as four classes and brought to the size of the images."""

    def __init__(self, *, enlarge: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.head = nn.Conv2d(8, 4, 1)
        self.enlarge = enlarge
        with torch.no_grad():
            for number, weights in enumerate(self.parameters()):
                values = torch.sin(torch.arange(weights.numel()) * 1.7 + number)
                weights.copy_(values.reshape(weights.shape))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x))
        if self.enlarge:
            found = functional.interpolate(found, x.shape[-2:], mode="bilinear")
        return found


@pytest.fixture(scope="module")
def file(images: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streets") / "streets.onnx"
    path.write_bytes(serialise(Streets(), images[:1], metadata=METADATA))
    return path


def test_a_number_for_each_class_and_pixel_comes_out_whatever_the_batch(
    file: Path, images: Tensor
) -> None:
    parity = check_parity(Streets(), file.read_bytes(), images)
    assert parity.max_relative_error < 1e-5
    assert (parity.agreement, parity.images, parity.batches) == (1.0, 40, (1, 2, 3, 32))
    (output,) = onnx.load(file).graph.output
    dims = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
    assert dims == ["batch", 4, 8, 8]


def test_logits_that_agree_on_most_pixels_are_no_agreement(file: Path, images: Tensor) -> None:
    """What all classes have in common hides a change below the error limit; the answers show it."""

    def alike(network: Streets) -> Streets:
        with torch.no_grad():
            assert network.head.bias is not None
            own = network.head.weight - network.head.weight.mean(0)
            network.head.weight.copy_(network.head.weight.mean(0) + 1e-3 * own)
            network.head.bias.fill_(20.0)
        return network

    network, other = alike(Streets()), alike(Streets())
    with torch.no_grad():
        assert other.head.bias is not None
        other.head.bias[2] += 15e-4
    content = serialise(other, images[:1], metadata={})
    with pytest.raises(ParityError, match=r"on the top class of .* of 2560 pixels"):
        check_parity(network, content, images)


def test_a_network_that_answers_at_fewer_places_is_refused(images: Tensor) -> None:
    with pytest.raises(ExportError, match=r"\[2, 4, 4, 4\] .*segmentation \[2, classes, 8, 8\]"):
        serialise(Streets(enlarge=False), images[:1], metadata={})


def test_a_file_says_that_it_answers_every_pixel(file: Path) -> None:
    signature = read_signature(file)
    assert signature.per_pixel
    assert (signature.classes, signature.size, signature.gives) == (4, (3, 8, 8), "logits")
    assert signature.class_names == ("ant", "bee", "cat", "dog")


def test_predictions_are_the_networks_at_every_pixel(file: Path) -> None:
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std)
    )
    with torch.inference_mode():
        expected = Streets().eval()((torch.from_numpy(PIXELS) / 255 - mean) / std).numpy()
    found = predictor(file, threads=1)(PIXELS)
    assert found.shape == (9, 4, 8, 8)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def made(file: Path, folder: Path, edit: Edit) -> Path:
    edited(file, folder / "made.onnx", edit)
    return folder / "made.onnx"


def fixed_batch(model: onnx.ModelProto) -> None:
    shape_of(model.graph.input[0], [4, 3, 8, 8])
    shape_of(model.graph.output[0], [4, 4, 8, 8])


def test_a_file_for_one_number_of_images_gets_the_last_part_filled_up(
    file: Path, tmp_path: Path
) -> None:
    found = predictor(made(file, tmp_path, fixed_batch), threads=1)(PIXELS)
    np.testing.assert_allclose(found, predictor(file, threads=1)(PIXELS), rtol=1e-5, atol=1e-5)


def test_probabilities_along_the_classes_become_logits(file: Path, tmp_path: Path) -> None:
    soft = made(file, tmp_path, appended("Softmax", axis=1))
    assert read_signature(soft).gives == "probabilities"
    logits, found = (predictor(path, threads=1)(PIXELS) for path in (file, soft))
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def shrunk(model: onnx.ModelProto) -> None:
    appended("AveragePool", kernel_shape=[2, 2], strides=[2, 2])(model)
    shape_of(model.graph.output[0], ["batch", 4, 4, 4])


def channels_last(model: onnx.ModelProto) -> None:
    appended("Transpose", perm=[0, 2, 3, 1])(model)
    shape_of(model.graph.output[0], ["batch", 8, 8, 4])


def chosen(model: onnx.ModelProto) -> None:
    appended("ArgMax", axis=1)(model)
    name = model.graph.output[0].name
    kind = onnx.TensorProto.INT64
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info(name, kind, ["batch", 1, 8, 8])
    )


@pytest.mark.parametrize(
    "edit, said",
    [
        (shrunk, r"\['batch', 4, 4, 4\].*as high and wide as the images: let it end in a resize"),
        (channels_last, r"\['batch', 8, 8, 4\].*channels first"),
        (appended("Softmax", axis=-1), "runs along axis -1, not along the classes"),
        (chosen, "export it without the operators that choose one"),
    ],
)
def test_what_is_no_answer_to_every_pixel_is_refused_in_one_sentence(
    edit: Callable[[onnx.ModelProto], None], said: str, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(SignatureError, match=said):
        read_signature(made(file, tmp_path, edit))


def test_a_wrong_weight_is_found(file: Path, images: Tensor) -> None:
    model = onnx.load(file)
    (bias,) = (t for t in model.graph.initializer if t.name == "head.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * 1.01, bias.name))
    with pytest.raises(ParityError, match="differ by"):
        check_parity(Streets(), model.SerializeToString(), images)
