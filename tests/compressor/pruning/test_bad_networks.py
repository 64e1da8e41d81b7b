"""Networks as people have them: wrapped, frozen, computed, in other types, with other outputs."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torchvision.ops import FrozenBatchNorm2d

from compressor.pruning.allocation import UnreachableRatioError
from compressor.pruning.candidate import Method, Prunable, propose, prunable
from compressor.pruning.plain import answering_as_before, plain
from compressor.pruning.tracing import TraceError
from tests.compressor.pruning.tiny_nets import EXAMPLE, Do, chain, classifier, conv

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning"),
]


class Pair(NamedTuple):
    logits: Tensor
    loss: Tensor | None


@dataclass
class Answer:
    logits: Tensor
    loss: Tensor | None = None


def network(
    stem: nn.Module | None = None, norm: nn.Module | None = None, head: nn.Module | None = None
) -> nn.Sequential:
    """Two convolutions; both can be cut."""
    parts = {
        "stem": conv(3, 16) if stem is None else stem,
        "norm": nn.BatchNorm2d(16) if norm is None else norm,
        "relu": nn.ReLU(),
        "body": conv(16, 24),
        "act": nn.ReLU(),
    }
    if head is None:
        return classifier(24, **parts)
    return chain(**parts, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=head)


def masked() -> nn.Module:
    stem = conv(3, 16)
    prune.l1_unstructured(stem, "weight", 0.3)
    return stem


def frozen_norm() -> nn.Module:
    norm: nn.Module = FrozenBatchNorm2d(16)
    for value in norm.buffers():
        value.uniform_(0.5, 1.5)
    return norm


def shared_frozen_norm() -> nn.Module:
    norm = frozen_norm()
    net: nn.Sequential = network(norm=norm)
    net[1] = chain(one=norm, same=conv(16, 16), two=norm)
    return net


def run_lazily() -> nn.Module:
    net = network(stem=nn.LazyConv2d(16, 3, padding=1), norm=nn.LazyBatchNorm2d())
    net(EXAMPLE)
    return net


def loaded_lazily() -> nn.Module:
    lazy = network(stem=nn.LazyConv2d(16, 3, padding=1), head=nn.LazyLinear(4))
    lazy.load_state_dict(network().state_dict())
    return lazy


def compiled_in_place() -> nn.Module:
    net = network()
    net.compile()
    return net


def remembering() -> nn.Module:
    net = network()
    net.last = net(EXAMPLE)  # a tensor with a history
    return net


def ending_in(output: Callable[[Tensor], Any]) -> nn.Module:
    return Do(lambda x, f: output(f(x)), body=network())


HANDLED: Final[Mapping[str, tuple[Callable[[], nn.Module], str]]] = {
    "frozen": (lambda: network().requires_grad_(False), ""),
    "weight_norm as a hook": (lambda: network(weight_norm(conv(3, 16))), "'stem'"),
    "weight_norm": (lambda: network(parametrizations.weight_norm(conv(3, 16))), "'stem'"),
    "spectral_norm as a hook": (lambda: network(spectral_norm(conv(3, 16))), "'stem'"),
    "spectral_norm": (lambda: network(parametrizations.spectral_norm(conv(3, 16))), "'stem'"),
    "orthogonal": (
        lambda: network(head=parametrizations.orthogonal(nn.Linear(24, 4))), "'head'",
    ),
    "masks": (lambda: network(masked()), "'stem'"),
    "FrozenBatchNorm2d": (lambda: network(norm=frozen_norm()), "BatchNorm2d"),
    "FrozenBatchNorm2d in two places": (shared_frozen_norm, "BatchNorm2d"),
    "DataParallel": (lambda: nn.DataParallel(network()), "DataParallel"),
    "DataParallel inside": (lambda: network(nn.DataParallel(conv(3, 16))), "DataParallel (stem)"),
    "compiled": (lambda: compiled(network()), "OptimizedModule"),
    "compiled inside": (lambda: network(compiled(conv(3, 16))), "OptimizedModule (stem)"),
    "compiled in place": (compiled_in_place, ""),
    "lazy, run once": (run_lazily, ""),
    "lazy, with weights": (loaded_lazily, ""),
    "float64": (lambda: network().double(), "float64 become float32"),
    "half": (lambda: network().half(), "float16 become float32"),
    "bfloat16": (lambda: network().bfloat16(), "bfloat16 become float32"),
    "a tensor with a history": (remembering, ""),
    "a dictionary": (lambda: ending_in(lambda y: OrderedDict(out=y)), "['out'] is taken"),
    "a tuple": (lambda: ending_in(lambda y: (y, None)), "[0] is taken"),
    "a named tuple": (lambda: ending_in(lambda y: Pair(y, None)), ".logits is taken"),
    "a dataclass": (lambda: ending_in(Answer), ".logits is taken"),
    "nested": (lambda: ending_in(lambda y: {"a": [Answer(y)]}), "['a'][0].logits is taken"),
}  # fmt: skip
"""Networks that are cut all the same, and a part of what is said."""


def compiled(module: nn.Module) -> nn.Module:
    found = torch.compile(module)
    assert isinstance(found, nn.Module)
    return found


def made(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HANDLED[name][0]().eval()


@cache
def found_in(name: str) -> Prunable:
    return prunable(made(name), EXAMPLE, seed=0)


def last_tensor(output: object) -> Tensor:
    while not isinstance(output, Tensor):
        if isinstance(output, Mapping):
            output = next(iter(output.values()))
        elif isinstance(output, Answer):
            output = output.logits
        else:
            assert isinstance(output, list | tuple)
            output = output[0]
    return output


def state_of(model: nn.Module) -> tuple[object, ...]:
    return (
        {name: value.clone().float().tolist() for name, value in model.state_dict().items()},
        [(name, type(module)) for name, module in model.named_modules()],
        [module.training for module in model.modules()],
        [(p.dtype, p.requires_grad) for p in model.parameters()],
    )


@pytest.mark.parametrize("name", HANDLED)
def test_both_layers_can_be_cut_and_what_was_done_is_said(name: str) -> None:
    found = found_in(name)
    producers = {s.module for g in found.groups for s in g.slices if s.role == "producer"}
    assert {"stem", "body"} <= {name.rpartition(".")[2] for name in producers}
    assert HANDLED[name][1] in " ".join(found.notes)
    assert bool(found.notes) == bool(HANDLED[name][1])


@pytest.mark.parametrize("name", HANDLED)
def test_the_network_that_was_given_stays_as_it_was(name: str) -> None:
    model = made(name)
    before = state_of(model)
    plain(model, EXAMPLE)
    assert state_of(model) == before


@pytest.mark.parametrize("name", [n for n in HANDLED if not n.startswith("compiled")])
def test_a_plain_network_computes_what_the_given_one_does(name: str) -> None:
    model = made(name)
    kind = next(model.parameters()).dtype
    with torch.no_grad():
        wanted = last_tensor(model(EXAMPLE.to(kind))).float()
        answer = found_in(name).model(EXAMPLE)
    loose = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(kind, 1e-5)
    assert float((answer - wanted).abs().max()) <= loose * float(wanted.abs().max())


@pytest.mark.parametrize("name", HANDLED)
def test_a_cut_gives_a_network_that_runs_and_trains(name: str) -> None:
    candidate = propose(
        found_in(name),
        None,
        ratio=0.4,
        method=Method(importance="taylor", align=1),
        batches=[(EXAMPLE, torch.tensor([0, 1, 2, 3]))],
        seed=0,
    )
    network = copy.deepcopy(candidate.model).train().requires_grad_()
    network(EXAMPLE).square().sum().backward()
    assert candidate.model(EXAMPLE).shape == (4, 4)
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", ["a dictionary", "a tuple", "a dataclass", "nested", "frozen"])
def test_a_network_can_answer_as_before(name: str) -> None:
    wanted = made(name)(EXAMPLE)
    answer = answering_as_before(found_in(name).model)(EXAMPLE)
    assert type(answer) is type(wanted)
    assert torch.allclose(last_tensor(answer), last_tensor(wanted))


def test_a_plain_network_comes_back_itself() -> None:
    model = network()
    assert plain(model, EXAMPLE).model is model


class Two(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, image: Tensor, scale: Tensor, offset: float = 0.0) -> Tensor:
        return self.body(image) * scale + offset  # type: ignore[no-any-return]


def mismatch(_: Tensor) -> Tensor:
    raise LookupError("no such key\nand more")


REFUSED: Final[Mapping[str, tuple[Callable[[], nn.Module], tuple[str, ...]]]] = {
    "scripted": (lambda: torch.jit.script(network()), ("the network is TorchScript", "give the")),
    "traced": (
        lambda: torch.jit.trace(network().eval(), EXAMPLE, check_trace=False),
        ("the network is TorchScript",),
    ),
    "scripted inside": (
        lambda: network(torch.jit.script(conv(3, 16))),
        ("'stem' is TorchScript", "give the Python"),
    ),
    "lazy": (
        lambda: network(nn.LazyConv2d(16, 3), head=nn.LazyLinear(4)),
        ("'stem' (LazyConv2d), the module 'head' (LazyLinear)", "run the network once"),
    ),
    "meta": (lambda: network(conv(3, 16).to("meta")), ("'stem' (Conv2d)", "load its weights")),
    "two inputs": (Two, ("takes 2 inputs (image, scale)", "wrap it")),
    "two outputs": (
        lambda: ending_in(lambda y: {"masks": y, "aux": y}),
        (
            "2 tensors (['masks'], ['aux'])",
            "model: {output: masks}",
            "returns network(images)['masks']",
        ),
    ),
    "no tensor": (
        lambda: ending_in(lambda y: y.detach().tolist()), ("a list with no tensor", "wrap it"),
    ),
    "a forward that fails": (
        lambda: network(Do(mismatch)), ("in its module 'stem'", "no such key"),
    ),
    "images of another kind": (lambda: network(conv(1, 16)), ("module 'stem'", "RuntimeErr")),
}  # fmt: skip
"""Networks that cannot be cut, and parts of what is said."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cut_is_named_with_what_to_do(name: str) -> None:
    build, told = REFUSED[name]
    with pytest.raises(TraceError) as caught:
        prunable(build(), EXAMPLE, seed=0)
    said = str(caught.value)
    assert all(part in said for part in told), said
    assert "\n" not in said


def test_a_ratio_that_alignment_does_not_allow_is_refused_with_what_is_possible() -> None:
    found = prunable(network(), EXAMPLE, seed=0)
    with pytest.raises(UnreachableRatioError, match=r"multiples of 16.*smaller alignment"):
        propose(found, None, ratio=0.9, method=Method(align=16), batches=(), seed=0)


def test_one_image_is_enough_for_a_gradient() -> None:
    one = [(EXAMPLE[:1], torch.tensor([2]))]
    found = prunable(network(), EXAMPLE, seed=0)
    method = Method(importance="taylor", align=1)
    made = propose(found, None, ratio=0.4, method=method, batches=one, seed=0)
    assert made.cost.params < found.cost.params


def test_weights_that_were_computed_are_parameters_also_where_gradients_are_off() -> None:
    with torch.no_grad():
        found = prunable(made("weight_norm"), EXAMPLE, seed=0)
    frozen = prunable(made("weight_norm").requires_grad_(False), EXAMPLE, seed=0)
    for dense in (found, frozen):
        assert isinstance(dense.model.get_submodule("stem").weight, nn.Parameter)
        assert {group.name for group in dense.groups} == {"stem", "body"}
