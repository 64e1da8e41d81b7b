import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from exporters.signature import (
    Preprocessing,
    Signature,
    SignatureError,
    network_digest,
    read_signature,
)
from tests.exporters.odd_models import (
    EXACT,
    MEAN,
    METADATA,
    NORMALISED,
    ROUNDED,
    STD,
    Edit,
    beside,
    taking,
    without_metadata,
)

Odd = Callable[[str], Path]
Make = Callable[[Edit], Path]

OURS = Signature(
    size=(3, 8, 8),
    layout="nchw",
    dtype="float32",
    batch=None,
    classes=4,
    per_pixel=False,
    gives="logits",
    batch_coupled=False,
    params=260,
    precision="fp32",
    preprocessing=Preprocessing(mean=MEAN, std=STD),
    class_names=("ant", "bee", "cat", "dog"),
    resize=None,
    data_files=(),
)


def test_a_file_of_ours_says_all_about_itself(ours: Path) -> None:
    assert read_signature(ours) == OURS


@pytest.mark.parametrize(
    "name, differs",
    [
        ("fixed_batch", {"batch": 8}),
        ("channels_last", {"layout": "nhwc"}),
        ("raw_pixels", {"layout": "nhwc", "dtype": "uint8", "preprocessing": None, "params": 266}),
        ("all_open", {}),
        ("softmax", {"gives": "probabilities"}),
        ("log_softmax", {"gives": "log-probabilities"}),
        ("half", {"dtype": "float16", "precision": "fp16"}),
        ("half_inside", {"precision": "fp16"}),
        ("qdq", {"precision": "int8"}),
        ("qdq_per_channel", {"precision": "int8"}),
        ("qoperator", {"precision": "int8"}),
        ("dynamic", {"precision": "int8", "batch_coupled": True}),
    ],
)
def test_what_other_tools_make_of_it_differs_as_it_should(
    odd: Odd, name: str, differs: dict[str, object]
) -> None:
    found = read_signature(odd(name))
    for field in Signature.__slots__:
        assert getattr(found, field) == differs.get(field, getattr(OURS, field)), field


def test_files_with_weights_are_named(ours: Path, tmp_path: Path) -> None:
    beside(ours, tmp_path / "apart.onnx")
    assert read_signature(tmp_path / "apart.onnx").data_files == (tmp_path / "apart.onnx.data",)


def test_every_odd_file_has_a_digest_of_its_own(ours: Path, odd: Odd) -> None:
    others = [name for name in {**EXACT, **NORMALISED, **ROUNDED} if name != "beside"]
    assert len({network_digest(file) for file in [ours, *map(odd, others)]}) == len(others) + 1


@pytest.mark.parametrize("open_dims", [("n", 3, "h", "w"), ("n", "c", 8, "w"), (-1, -1, -1, -1)])
def test_an_open_size_is_that_of_the_images(make: Make, open_dims: tuple[int | str, ...]) -> None:
    file = make(without_metadata(taking(*open_dims)))
    assert read_signature(file, size=(3, 8, 8)).size == (3, 8, 8)
    assert read_signature(file, size=(3, 8, 8)).batch is None
    with pytest.raises(SignatureError, match=r"say the size \(c h w\)"):
        read_signature(file)


def test_an_open_size_in_a_file_of_ours_is_in_its_metadata(make: Make) -> None:
    assert read_signature(make(taking("n", 3, "h", "w"))).size == (3, 8, 8)


def test_a_size_that_contradicts_the_metadata_wins(make: Make) -> None:
    file = make(taking("n", 3, 16, 16))
    assert read_signature(file).size == (3, 16, 16)
    assert read_signature(make(taking("n", 3, "h", "w")), size=(3, 9, 9)).size == (3, 9, 9)


def test_inputs_that_are_weights_are_no_inputs(make: Make) -> None:
    """Files of the first versions list every weight among the inputs."""

    def edit(model: onnx.ModelProto) -> None:
        model.graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in model.graph.initializer
        )

    assert read_signature(make(edit)) == OURS


PREPROCESSING = METADATA["preprocessing"]
assert isinstance(PREPROCESSING, dict)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "not json",
        "[" * 100_000,
        "null",
        json.dumps({**PREPROCESSING, "scale": "pixel"}),
        json.dumps({**PREPROCESSING, "layout": "hwc"}),
        json.dumps({**PREPROCESSING, "std": [0.2, 0.0, 0.4]}),
        json.dumps({**PREPROCESSING, "mean": [0.5, float("nan"), 0.3]}),
        json.dumps({**PREPROCESSING, "mean": ["0.5", "0.4", "0.3"]}),
        json.dumps({**PREPROCESSING, "mean": [0.5]}),
        json.dumps({**PREPROCESSING, "size": [3, 8]}),
        json.dumps({**PREPROCESSING, "crop": 7}),
    ],
    ids=range(12),
)
def test_a_preprocessing_that_we_would_not_have_written_says_nothing(
    make: Make, value: str
) -> None:
    def edit(model: onnx.ModelProto) -> None:
        (entry,) = (e for e in model.metadata_props if e.key == "compressor.preprocessing")
        entry.value = value

    found = read_signature(make(edit))
    assert found.preprocessing is None
    assert found.size == (3, 8, 8)


@pytest.mark.parametrize("value", ["{}", '["ant", 7, "cat", "dog"]', '["ant", "bee"]', "[]", "ant"])
def test_names_of_classes_that_do_not_fit_say_nothing(make: Make, value: str) -> None:
    def edit(model: onnx.ModelProto) -> None:
        (entry,) = (e for e in model.metadata_props if e.key == "compressor.classes")
        entry.value = value

    assert read_signature(make(edit)).class_names is None
