import gc
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import cache

import pytest
import torch
import torchvision
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, LeftAlone
from compressor.pruning.tracing import TraceError, trace
from tests.compressor.pruning.tiny_nets import EXAMPLE, TINY_NETS, Do, chain, classifier, conv, made


def state_of(model: nn.Module) -> tuple[object, ...]:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return (
        {name: value.tolist() for name, value in weights.items()},
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [p.grad for p in model.parameters()],
    )


@cache
def traced(name: str) -> tuple[tuple[ChannelGroup, ...], tuple[LeftAlone, ...]]:
    """The groups of a network, which must be as it was afterwards."""
    model = made(name).train()
    before = state_of(model)
    found = trace(model, EXAMPLE)
    assert state_of(model) == before
    return found


def refusal(model: nn.Module, *, time_limit_s: float = 30.0, size: int = 16) -> str:
    """The sentence of the TraceError; no child may outlive it."""
    with pytest.raises(TraceError) as caught:
        trace(model, torch.zeros(2, 3, size, size), time_limit_s=time_limit_s)
    assert multiprocessing.active_children() == []
    return str(caught.value)


def for_ever(x: Tensor) -> Tensor:
    while x.dim() == 4:
        time.sleep(0.01)
    return x


def mismatch(x: Tensor) -> Tensor:
    raise ValueError("expected 7 channels\nand more lines")


class Heads(nn.Module):
    """Two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(3, 8), conv(3, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(x), self.two(x)


def exits(x: Tensor) -> Tensor:
    os._exit(3)


@pytest.mark.parametrize("name", TINY_NETS)
def test_tracing_leaves_the_model_alone(name: str) -> None:
    traced(name)


@pytest.mark.parametrize("name", TINY_NETS)
def test_every_layer_with_channels_is_in_a_group_or_left_alone(name: str) -> None:
    groups, left = traced(name)
    named = {m for g in groups for m in g.modules} | {m for item in left for m in item.modules}
    layers = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    assert {n for n, m in made(name).named_modules() if isinstance(m, layers)} <= named


@pytest.mark.parametrize("name", TINY_NETS)
def test_every_slice_covers_each_unit_with_positions_of_its_own(name: str) -> None:
    model = made(name)
    for group in traced(name)[0]:
        for piece in group.slices:
            size = getattr(model.get_submodule(piece.module), piece.tensor).shape[piece.dim]
            positions = [p for unit in piece.positions for p in unit]
            assert len({len(unit) for unit in piece.positions}) == 1
            assert (
                len(set(positions)) == len(positions) == len(group.units) * len(piece.positions[0])
            )
            assert 0 <= min(positions) <= max(positions) < size


@pytest.mark.parametrize("name", TINY_NETS)
def test_the_outputs_are_never_in_a_group(name: str) -> None:
    groups, left = traced(name)
    (outputs,) = [i.modules for i in left if i.reason == "these are the network's outputs"]
    assert not any(s.module in outputs and s.role == "producer" for g in groups for s in g.slices)


def test_tracing_twice_finds_the_same() -> None:
    assert trace(made("u-net"), EXAMPLE) == traced("u-net")


def test_tracing_works_after_a_backward_pass_in_the_same_process() -> None:
    model = made("plain")
    model(EXAMPLE).sum().backward()
    groups, _ = trace(model, EXAMPLE)
    assert groups


def test_tracing_works_where_gradients_are_off() -> None:
    with torch.no_grad():
        groups, _ = trace(made("plain").requires_grad_(False), EXAMPLE)
    assert groups


@pytest.mark.parametrize(
    ("act", "sentence"), [(mismatch, "ValueError: expected 7 channels"), (exits, "tracing died")]
)
def test_whatever_the_forward_does_becomes_a_trace_error(
    act: Callable[[Tensor], Tensor], sentence: str
) -> None:
    assert sentence in refusal(chain(stem=conv(3, 8), act=Do(act)))


def test_a_forward_that_does_not_end_is_given_up_at_the_time_limit() -> None:
    started = time.monotonic()
    said = refusal(chain(stem=conv(3, 8), act=Do(for_ever)), time_limit_s=1.0)
    assert "did not end within 1 s" in said
    assert time.monotonic() - started < 60.0


class OwnsAThread:
    """Garbage that waits, when it is freed, for a thread that no fork has: as a session does."""

    def __init__(self) -> None:
        self.home, self.itself = os.getpid(), self

    def __del__(self) -> None:
        if os.getpid() != self.home:
            time.sleep(60)


def test_what_the_caller_threw_away_is_not_waited_for() -> None:
    garbage = OwnsAThread()
    gc.collect()  # among what is old, where no collection before that of the forward finds it
    del garbage

    def collecting(x: Tensor) -> Tensor:
        gc.collect()
        return x

    groups, _ = trace(
        classifier(8, stem=conv(3, 8), act=Do(collecting), body=conv(8, 8)), EXAMPLE,
        time_limit_s=20.0,
    )  # fmt: skip
    assert groups


def test_two_outputs_are_refused() -> None:
    assert "a network with one tensor as output is needed" in refusal(Heads())


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_torchscript_is_refused() -> None:
    scripted = torch.jit.trace(made("plain"), EXAMPLE, check_trace=False)
    assert isinstance(scripted, nn.Module)
    assert "TorchScript" in refusal(scripted)


def test_a_compiled_model_is_refused() -> None:
    compiled = torch.compile(made("plain"))
    assert isinstance(compiled, nn.Module)
    assert "torch.compile" in refusal(compiled)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = made("plain")
    model.cache = model(EXAMPLE)  # not a leaf of autograd
    assert "cannot be copied" in refusal(model)


def test_a_channel_shuffle_that_cannot_be_traced_says_so() -> None:
    said = refusal(torchvision.models.shufflenet_v2_x0_5(weights=None), size=32)
    assert "cannot be traced" in said


def test_whose_line_raised_is_told_and_the_whole_traceback_is_kept() -> None:
    with pytest.raises(TraceError, match=r"\(torch_pruning\.[\w.]+, line \d+\)") as caught:
        trace(torchvision.models.shufflenet_v2_x0_5(weights=None), torch.zeros(2, 3, 32, 32))
    (note,) = caught.value.__notes__
    assert "in _raw_groups" in note


def test_windowed_attention_hits_the_time_limit() -> None:
    said = refusal(torchvision.models.swin_t(weights=None), size=32, time_limit_s=2.0)
    assert "did not end within 2 s" in said
