import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from exporters.network_file import SignatureError, network_digest, read_model, strip_remarks
from tests.exporters.odd_models import beside, edited

ROOT = Path(__file__).parents[2]

Edit = Callable[[onnx.ModelProto], None]


def retold(model: onnx.ModelProto) -> None:
    """Everything that a tool says and that changes no output."""
    model.producer_name, model.producer_version = "another", "9.9"
    model.domain, model.model_version, model.doc_string = "org.example", 7, "documented"
    model.graph.name, model.graph.doc_string = "renamed", "documented"
    model.metadata_props.add(key="author", value="somebody")
    model.graph.metadata_props.add(key="author", value="somebody")
    for node in model.graph.node:
        node.doc_string = "a stack trace"
        node.metadata_props.add(key="line", value="12")
    model.graph.initializer[0].doc_string = "a kernel"
    model.graph.input[0].doc_string = "photographs"


def nudged(model: onnx.ModelProto) -> None:
    (tensor,) = (t for t in model.graph.initializer if t.name == "5.bias")
    values = numpy_helper.to_array(tensor).copy()
    values[0] = np.nextafter(values[0], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def strided(model: onnx.ModelProto) -> None:
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    attribute = next(a for a in convolution.attribute if a.name == "strides")
    attribute.ints[:] = [2, 2]


def replaced(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Sigmoid"


def test_remarks_do_not_change_the_digest(ours: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    model = onnx.load(ours)
    retold(model)
    onnx.save(model, other)
    assert other.read_bytes() != ours.read_bytes()
    assert network_digest(other) == network_digest(ours)


@pytest.mark.parametrize("edit", [nudged, strided, replaced])
def test_what_changes_an_answer_changes_the_digest(ours: Path, tmp_path: Path, edit: Edit) -> None:
    plain, changed = tmp_path / "plain.onnx", tmp_path / "changed.onnx"
    edited(ours, plain, lambda model: None)
    edited(ours, changed, edit)
    assert network_digest(changed) != network_digest(plain)


def test_weights_beside_the_file_count_as_those_inside(ours: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart.onnx"
    beside(ours, apart)
    assert network_digest(apart) == network_digest(ours)
    weights = tmp_path / "apart.onnx.data"
    content = bytearray(weights.read_bytes())
    content[3] ^= 1
    weights.write_bytes(content)
    assert network_digest(apart) != network_digest(ours)


def test_another_process_finds_the_same_digest(ours: Path) -> None:
    script = (
        "import sys, pathlib; from exporters.network_file import network_digest as d\n"
        "print(d(pathlib.Path(sys.argv[1])))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(ours)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert process.stdout.strip() == network_digest(ours)


def test_remarks_are_stripped_at_every_level(ours: Path) -> None:
    model = onnx.load(ours)
    retold(model)
    inner = helper.make_graph([], "inner", [], [], doc_string="inside")
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inner))
    strip_remarks(model)
    assert "doc_string" not in str(model) and "metadata_props" not in str(model)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "holds no whole network"),
        (b"PK\x03\x04 a zip, as torch.save writes", "is not an ONNX file$"),
        (b'{"ir_version": 8}', "is not an ONNX file$"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "run git lfs pull"),
    ],
)
def test_what_is_no_onnx_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(content)
    for read in (read_model, network_digest):
        with pytest.raises(SignatureError, match=said) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"cannot read .*: No such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(SignatureError, match=r"cannot read .*: Is a directory"):
        read_model(tmp_path)


def test_a_file_cut_off_anywhere_in_its_network_is_refused(ours: Path, tmp_path: Path) -> None:
    content = ours.read_bytes()
    model = onnx.load(ours)
    model.ClearField("metadata_props")
    whole = len(model.SerializeToString())
    path = tmp_path / "cut.onnx"
    for length in range(1, whole):
        path.write_bytes(content[:length])
        with pytest.raises(SignatureError, match=r"cut off or damaged|holds no whole network"):
            read_model(path)


def test_missing_and_short_files_of_weights_are_named(ours: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart.onnx"
    beside(ours, apart)
    weights = tmp_path / "apart.onnx.data"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(SignatureError, match=r"the weights of .* cannot be read: .*50 bytes"):
        network_digest(apart)
    weights.unlink()
    with pytest.raises(
        SignatureError, match=r"keeps weights in apart.onnx.data, which is not besi"
    ):
        read_model(apart)


@pytest.mark.parametrize("place", ["../weights.data", "/etc/passwd"])
def test_weights_outside_the_folder_are_refused(ours: Path, tmp_path: Path, place: str) -> None:
    apart = tmp_path / "apart.onnx"
    beside(ours, apart)
    model = onnx.load(apart, load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.external_data)
    tensor.external_data[0].value = place
    onnx.save(model, apart)
    with pytest.raises(SignatureError, match="outside its folder"):
        read_model(apart)
