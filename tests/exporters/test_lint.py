"""Each rule finds what it is about, in files that a user could have, and nothing in a good one."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from exporters.lint import RULES, Finding, lint
from exporters.network_file import SignatureError
from exporters.onnx import serialise
from exporters.sessions import CPU
from tests.exporters import odd_models

CUDA = "CUDAExecutionProvider"


def found(path: Path, *, provider: str = CPU) -> Mapping[str, Finding]:
    return {finding.rule: finding for finding in lint(path, provider=provider).findings}


def exported_net(path: Path, *widths: int) -> Path:
    """Convolutions of these widths on images [n 3 8 8]."""
    layers: list[nn.Module] = []
    for before, width in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 5))
    path.write_bytes(serialise(net, torch.zeros(1, 3, 8, 8), metadata={}))
    return path


def test_a_network_that_was_cut_well_has_no_findings(tmp_path: Path) -> None:
    linted = lint(exported_net(tmp_path / "good.onnx", 32, 64, 40))
    assert linted.findings == ()
    assert (linted.convolutions, linted.fast) == (3, 3)


def test_odd_widths_are_off_the_fast_path_and_counted(tmp_path: Path) -> None:
    linted = lint(exported_net(tmp_path / "odd.onnx", 32, 33, 64, 64))
    rules = {finding.rule: finding for finding in linted.findings}
    # 33 channels are made by one convolution, which may fill up a block, and read by another.
    assert linted.convolutions == 4
    assert linted.fast in {2, 3}
    slow = rules["slow-convolution"]
    assert slow.what.startswith(f"{linted.fast} of 4 convolutions run in blocks")
    assert len(slow.nodes) == 4 - linted.fast
    assert "33" in rules["unaligned-width"].what
    assert "search.align" in rules["unaligned-width"].remedy


def test_the_number_of_classes_is_nobodys_choice(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 101))
    path = tmp_path / "classes.onnx"
    path.write_bytes(serialise(net, torch.zeros(1, 3, 8, 8), metadata={}))
    assert found(path) == {}


def test_on_a_gpu_it_is_not_told_what_is_fast_on_a_cpu(tmp_path: Path) -> None:
    linted = lint(exported_net(tmp_path / "odd.onnx", 33), provider=CUDA)
    assert linted.fast is None
    assert [finding.rule for finding in linted.findings] == ["unaligned-width"]


def test_a_fixed_batch_is_found(odd: Callable[[str], Path]) -> None:
    assert "batches of 8" in found(odd("fixed_batch"))["fixed-batch"].what


def test_half_precision_on_a_cpu_is_found(odd: Callable[[str], Path]) -> None:
    assert "half-on-cpu" in found(odd("half_inside"))
    assert "half-on-cpu" not in found(odd("half_inside"), provider=CUDA)


def test_a_normalisation_that_was_not_folded_is_found(tmp_path: Path, ours: Path) -> None:
    def edit(model: ModelProto) -> None:
        channels = [1.5, 2.0, 3.0]
        names = [
            odd_models.constant(model, name, torch.tensor(channels).numpy())
            for name in ("own_scale", "own_shift", "own_mean", "own_var")
        ]
        normalise = helper.make_node("BatchNormalization", ["pixels", *names], ["images"])
        odd_models.prepended(model, normalise)
        odd_models.shape_of(model.graph.input[0], ["n", 3, 8, 8])

    odd_models.edited(ours, tmp_path / "made.onnx", edit)
    assert "1 BatchNormalization" in found(tmp_path / "made.onnx")["unfused-normalisation"].what


def shapes(model: ModelProto) -> None:
    """Reshapes the logits by a shape that is computed from them."""
    odd_models.appended("Shape")(model)
    (output,) = model.graph.output
    logits = model.graph.node[-1].input[0]
    model.graph.node.append(helper.make_node("Reshape", [logits, "appended"], ["reshaped"]))
    output.CopyFrom(helper.make_tensor_value_info("reshaped", TensorProto.FLOAT, ["n", 4]))


def selects(model: ModelProto) -> None:
    """Gives the places of the logits that are not zero: as many as there happen to be."""
    odd_models.appended("NonZero")(model)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("appended", TensorProto.INT64, [2, "found"])
    )


def branches(model: ModelProto) -> None:
    """Twice the logits where their sum is positive."""
    (output,) = model.graph.output
    two = helper.make_node("Add", [output.name, output.name], ["twice"])
    one = helper.make_node("Identity", [output.name], ["once"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("twice", "once")]
    zero = odd_models.constant(model, "zero", torch.zeros(()).numpy())
    model.graph.node.extend(
        [
            helper.make_node("ReduceSum", [output.name], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", zero], ["positive"]),
            helper.make_node(
                "If",
                ["positive"],
                ["chosen"],
                then_branch=helper.make_graph([two], "then", [], [ends[0]]),
                else_branch=helper.make_graph([one], "else", [], [ends[1]]),
            ),
        ]
    )
    output.name = "chosen"


@pytest.mark.parametrize(
    "edit, rule, kind",
    [
        (shapes, "shape-arithmetic", "1 Shape"),
        (selects, "data-dependent-size", "1 NonZero"),
        (branches, "control-flow", "1 If"),
    ],
)
def test_what_holds_up_a_gpu_is_found(
    make: Callable[[odd_models.Edit], Path], edit: odd_models.Edit, rule: str, kind: str
) -> None:
    finding = found(make(edit))[rule]
    assert finding.what.startswith(kind)
    assert finding.nodes and finding.remedy
    assert rule in found(make(edit), provider=CUDA), "it is told without a GPU, too"


def test_every_rule_is_under_the_name_that_its_findings_have(odd: Callable[[str], Path]) -> None:
    for name in odd_models.EXACT:
        assert set(found(odd(name))) <= set(RULES)


def test_a_file_that_does_not_load_is_refused(tmp_path: Path, images: Tensor) -> None:
    del images
    path = tmp_path / "text.onnx"
    path.write_text("not a network")
    with pytest.raises(SignatureError, match="is not an ONNX file"):
        lint(path)
