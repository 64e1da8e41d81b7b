import time
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from compressor.pruning import tracing
from compressor.pruning.candidate import prunable
from compressor.pruning.finding import find, reasons
from compressor.pruning.groups import LeftAlone
from compressor.pruning.tracing import TraceError
from tests.compressor.pruning.odd_networks import build, vision_transformer
from tests.compressor.pruning.test_tracing import for_ever
from tests.compressor.pruning.tiny_nets import EXAMPLE, Do, chain, conv


def test_a_network_that_torch_pruning_cannot_trace_is_cut_inside_and_says_so() -> None:
    model = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    groups, left = find(model, torch.randn(2, 3, 32, 32), seed=0)
    assert {"stage2.1.branch2.0", "stage4.3.branch2.0"} <= {group.name for group in groups}
    assert left[0].reason.startswith("all but inner widths")
    assert "cannot be traced" in left[0].reason


def test_attention_stays_and_the_layers_between_are_cut() -> None:
    heads = nn.MultiheadAttention(16, 4, batch_first=True)
    model = vision_transformer(lambda: Do(lambda x, f: f(x, x, x)[0], mix=heads)).eval()
    groups, left = find(model, EXAMPLE, seed=0)
    assert [group.name for group in groups] == ["block.think.f.up"]
    assert any("block.attend.f.mix.out_proj" in item.modules for item in left)


def test_a_forward_that_does_not_end_is_refused_within_the_limit() -> None:
    started = time.monotonic()
    with pytest.raises(TraceError, match="did not end"):
        find(chain(stem=conv(3, 8), act=Do(for_ever)), EXAMPLE, seed=0, time_limit_s=2.0)
    assert time.monotonic() - started < 60.0


def test_no_time_is_a_refusal() -> None:
    model = build("transposed convolution")
    with pytest.raises(TraceError, match="did not end"):
        find(model, EXAMPLE, seed=0, time_limit_s=0.0)


def test_a_network_whose_output_is_zero_is_not_cut() -> None:
    model = build("inverted residual")
    head = model.get_submodule("head")
    assert isinstance(head, nn.Linear)
    head.requires_grad_(False).weight.zero_()
    head.bias.zero_()
    groups, left = find(model, EXAMPLE, seed=0)
    assert not groups
    assert any("zero everywhere" in item.reason for item in left)


def test_groups_that_fail_say_that_the_forward_pass_was_of_no_help_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("ours")

    model = build("inverted residual")
    nn.init.zeros_(model.get_parameter("head.weight"))
    nn.init.zeros_(model.get_parameter("head.bias"))
    monkeypatch.setattr(tracing, "follow", broken)
    _, left = find(model, EXAMPLE, seed=0)
    failed = [item.reason for item in left if "zero everywhere" in item.reason]
    assert failed
    assert all("was not found: " in reason and "LookupError: ours" in reason for reason in failed)


def test_a_network_that_was_given_too_little_time_says_how_to_give_more() -> None:
    model = build("transposed convolution")
    with pytest.raises(TraceError, match=r"larger search\.time_limit_s"):
        prunable(model, EXAMPLE, seed=0, time_limit_s=1e-9)
    assert prunable(model, EXAMPLE, seed=0).groups


def test_each_reason_is_told_once_and_outputs_only_where_nothing_else_is() -> None:
    outputs = LeftAlone(modules=("head",), reason="these are the network's outputs")
    norm = LeftAlone(modules=("a", "b"), reason="touches norm")
    assert reasons([outputs, norm, replace(norm, modules=("c",))]) == "a and 2 more: touches norm"
    assert reasons([outputs]) == "head: these are the network's outputs"
    assert reasons([replace(norm, modules=("",))]) == "touches norm"


def test_a_fault_of_our_own_tracing_is_the_cause_of_the_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("ours")

    monkeypatch.setattr(tracing, "_raw_groups", broken)
    monkeypatch.setattr(tracing, "follow", broken)
    with pytest.raises(TraceError) as caught:
        find(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)), EXAMPLE, seed=0)
    assert isinstance(caught.value.__cause__, TraceError)
    assert "in _inner_groups" in caught.value.__cause__.__notes__[0]
