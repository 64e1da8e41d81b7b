"""Networks that return several tensors, in training or always: one is the answer, heads go."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.candidate import Method, propose, prunable
from compressor.pruning.cost import cost
from compressor.pruning.plain import answering_as_before, plain
from compressor.pruning.tracing import TraceError

EXAMPLE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """A body with an answer and an auxiliary head, put together by ``ending``."""

    def __init__(self, ending: Callable[..., Any], *, always: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
            self.top = nn.Conv2d(16, 5, 1)
            self.aux = nn.Sequential(
                nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 5, 1)
            )
        self.ending, self.always = ending, always

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401 # whatever people return
        features = self.body(x)
        if self.always or self.training:
            return self.ending(self.top(features), self.head(features))
        return self.top(features)

    def head(self, features: Tensor) -> Tensor:
        found: Tensor = self.aux(features)
        return found


class Asks(Two):
    """torchvision's way: the head may be missing."""

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401 # whatever people return
        features = self.body(x)
        found = OrderedDict(out=self.top(features))
        if self.aux is not None:
            found["aux"] = self.aux(features)
        return found


class Looks(Two):
    """Its code needs the head's weights, whatever becomes of its output."""

    def head(self, features: Tensor) -> Tensor:
        found: Tensor = self.aux(features) * self.aux.get_parameter("0.weight").shape[0]
        return found


class Pair(NamedTuple):
    logits: Tensor
    aux_logits: Tensor


def answer(network: Two) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.eval().top(network.body(EXAMPLE))
    return found


NETWORKS: dict[str, tuple[Callable[[], Two], str | None]] = {
    "torchvision's dictionary": (lambda: Asks(dict), None),
    "out": (lambda: Two(lambda y, a: {"aux": a, "out": y}), None),
    "logits": (lambda: Two(lambda y, a: {"loss": a.mean(), "logits": y}), None),
    "a named tuple": (lambda: Two(Pair), None),
    "by its key": (lambda: Two(lambda y, a: {"masks": y, "edges": a}), "masks"),
    "by its path": (lambda: Two(lambda y, a: {"a": {"x": a}, "b": {"x": y}}), "b.x"),
    "by its number": (lambda: Two(lambda y, a: (a, y)), "1"),
    "against the habit": (lambda: Two(lambda y, a: {"out": a, "other": y}), "other"),
    "in training alone": (lambda: Two(Pair, always=False), None),
    "in training alone, by its key": (
        lambda: Two(lambda y, a: {"a": a, "b": y}, always=False),
        "b",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_answer_is_taken_in_both_modes_and_the_other_head_goes(name: str) -> None:
    make, output = NETWORKS[name]
    network = make()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    made = plain(network, EXAMPLE, output=output)
    with torch.no_grad():
        assert torch.equal(made.model.eval()(EXAMPLE), answer(network))
        assert isinstance(made.model.train()(EXAMPLE), Tensor)
    assert not [key for key in made.model.state_dict() if key.startswith("aux")]
    assert "is taken off: aux" in " ".join(made.notes)
    assert network.state_dict().keys() == before.keys(), "what was given is not changed"
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


def test_a_head_is_neither_counted_nor_cut_nor_kept() -> None:
    network = Asks(dict)
    alone = nn.Sequential(network.body, network.top)
    dense = prunable(network, EXAMPLE, seed=0)
    assert dense.cost == cost(alone, EXAMPLE)
    assert not [g for g in dense.groups if any(s.module.startswith("aux") for s in g.slices)]
    made = propose(
        dense, None, ratio=0.37, method=Method(align=1, compensate=False), batches=(), seed=0
    )
    assert made.cost.params < dense.cost.params
    assert made.difference < 1e-5


def test_a_head_that_the_code_cannot_do_without_stays_and_the_answer_with_it() -> None:
    network = Looks(lambda y, a: {"out": y, "aux": a})
    made = plain(network, EXAMPLE)
    assert [key for key in made.model.state_dict() if key.startswith("aux")]
    assert "taken off" not in " ".join(made.notes)
    with torch.no_grad():
        assert torch.equal(made.model.eval()(EXAMPLE), answer(network))


def test_layers_behind_the_answer_alone_are_never_taken_for_idle() -> None:
    """Of one output nothing goes, though some weight be unused."""
    network = Two(lambda y, a: y)
    made = plain(network, EXAMPLE)
    assert made.model is network
    assert made.notes == ()


def test_as_before_it_returns_what_it_did_but_for_the_head_that_is_gone() -> None:
    found = answering_as_before(plain(Asks(dict), EXAMPLE).model)(EXAMPLE)
    assert list(found) == ["out"]


REFUSED: dict[str, tuple[Callable[[], Two], str | None, str]] = {
    "unknown names": (
        lambda: Two(lambda y, a: {"a": y, "b": a}),
        None,
        r"a dict with 2 tensors \(\['a'\], \['b'\]\).*model: \{output: a\}, or wrap it",
    ),
    "no such name": (
        lambda: Two(lambda y, a: {"out": y, "aux": a}),
        "logits",
        r"of which model.output 'logits' names no one.*model: \{output: out\}",
    ),
    "in training": (
        lambda: Two(lambda y, a: (y, a), always=False),
        None,
        r"a tuple with 2 tensors \(\[0\], \[1\]\).*model: \{output: 0\}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_nobody_says_which_is_the_answer_the_field_is_named(name: str) -> None:
    make, output, said = REFUSED[name]
    with pytest.raises(TraceError, match=said):
        plain(make(), EXAMPLE, output=output)
