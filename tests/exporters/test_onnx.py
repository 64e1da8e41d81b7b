import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from compressor.files import sha256_of
from exporters.onnx import OPSET, ExportError, export, serialise
from gates import Accepted, Rejected

NetFactory = Callable[[int], nn.Module]

ROOT = Path(__file__).parents[2]

SERIALISE_AGAIN = """
import hashlib, json, runpy, sys, torch
from exporters.onnx import serialise
conftest = runpy.run_path(sys.argv[1])
content = serialise(conftest["tiny_net"](8), torch.zeros(3, 3, 8, 8), metadata=conftest["METADATA"])
print(hashlib.sha256(content).hexdigest())
"""


def accepted(candidate: str) -> Accepted:
    return Accepted(candidate=candidate, name="ratio 0.50", position=0, ratio=0.5, steps=())


def test_another_process_and_example_give_the_same_bytes(exported: Path) -> None:
    conftest = str(Path(__file__).with_name("conftest.py"))
    process = subprocess.run(
        [sys.executable, "-c", SERIALISE_AGAIN, conftest],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert process.stdout.strip() == sha256_of(exported)


def test_metadata_order_does_not_matter_but_its_values_do(
    make_net: NetFactory, images: Tensor, content: bytes, metadata: Mapping[str, object]
) -> None:
    turned = {name: metadata[name] for name in reversed(list(metadata))}
    assert serialise(make_net(8), images, metadata=turned) == content
    assert serialise(make_net(8), images, metadata={"source": "other"}) != content


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_any_batch_runs(content: bytes, images: Tensor, batch: int) -> None:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images[:batch].numpy()})
    assert logits.shape == (batch, 4)


def test_the_file_is_complete_and_says_what_it_is(
    content: bytes, metadata: Mapping[str, object]
) -> None:
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    found = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert found == {f"compressor.{name}": value for name, value in metadata.items()}


def test_the_file_tells_nothing_about_this_machine(content: bytes) -> None:
    for trace in (str(Path.cwd()), str(Path.home()), "site-packages", ".py", "torch.nn.modules"):
        assert trace.encode() not in content
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    assert "metadata_props" not in str(model)
    assert "doc_string" not in str(model)


def test_the_model_is_left_as_it_was(make_net: NetFactory, images: Tensor) -> None:
    net = make_net(8).to(memory_format=torch.channels_last).train()
    net(images).sum().backward()
    before = copy.deepcopy(net)
    serialise(net, images, metadata={})
    assert net.training
    for now, then in zip(net.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then) and now.stride() == then.stride()
        assert now.requires_grad and now.grad is not None
    for value, earlier in zip(net.buffers(), before.buffers(), strict=True):
        assert torch.equal(value, earlier)


def test_channels_last_weights_export_the_same_graph(
    make_net: NetFactory, images: Tensor, content: bytes, metadata: Mapping[str, object]
) -> None:
    net = make_net(8).to(memory_format=torch.channels_last)
    turned = images.to(memory_format=torch.channels_last)
    assert serialise(net, turned, metadata=metadata) == content


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x


class MapOutput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2]


class WrongWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


class LooksAtPixels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class EvenBatches(nn.Module):
    """Right for every even batch; an odd one loses its last image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[: 2 * (x.size(0) // 2)]


class NotInOnnx(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        sys.stdout.write("a network that talks")
        waves: Tensor = torch.special.bessel_j0(x)
        return waves.flatten(1)


def inside(network: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Identity(), network)


@pytest.mark.parametrize(
    "network, said",
    [
        (TwoOutputs(), "returns a tuple; export needs one tensor"),
        (MapOutput(), r"returns torch.float32 \[2, 3, 8, 4\]"),
        (inside(WrongWidth()), "in its module '1.head'"),
        (inside(LooksAtPixels()), "cannot be traced in its module '1'.*data-dependent"),
        (EvenBatches(), "cannot be traced: Not all values of batch"),
        (inside(NotInOnnx()), r"cannot express .* in its module '1'.*prims\.bessel_j0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_network_that_cannot_be_exported_is_named_quietly(
    network: nn.Module, said: str, images: Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        serialise(network, images, metadata={})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_published_is_what_was_judged(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "model.onnx"
    artifact = export(exported, accepted(sha256_of(exported)), path=path)
    assert path.read_bytes() == exported.read_bytes()
    assert (artifact.path, artifact.sha256) == (path, sha256_of(path))
    assert artifact.size_bytes == path.stat().st_size


def test_a_permit_for_other_bytes_publishes_nothing(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "model.onnx"
    with pytest.raises(ExportError, match=r"accepts the file 00000.*judge this file first"):
        export(exported, accepted("0" * 64), path=path)
    assert list(path.parent.iterdir()) == []


def test_a_rejection_is_no_permit_for_mypy_nor_at_run_time(exported: Path, tmp_path: Path) -> None:
    rejected = Rejected(steps=(), reasons=("too large a drop",))
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match="accepting verdict, not Rejected"):
        # Mypy reports an ignored error that does not occur: this comment claims that it does.
        export(exported, rejected, path=path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [exported]
