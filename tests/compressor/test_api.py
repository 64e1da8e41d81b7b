"""The Python interface, and that its documentation is true."""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressor import api
from compressor.api import prune, reestimate
from tests.compressor.pruning.test_bad_networks import state_of

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "prune.md").read_text(encoding="utf-8")
EXAMPLE = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4),
        ).eval()  # fmt: skip


class Boxed(nn.Module):
    """Answers with a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.body(x)}


def test_the_documented_lines_are_five_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", DOCUMENTED, re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) == 5
    found: dict[str, object] = {}
    exec(compile(lines, "docs/prune.md", "exec"), found)
    pruned = found["pruned"]
    assert isinstance(pruned, api.Pruned)
    assert pruned.cost.params == pytest.approx(pruned.dense.params / 2, rel=0.03)
    assert "Cost(params=" in capsys.readouterr().out


def test_every_public_name_is_documented() -> None:
    names = DOCUMENTED.partition("the whole of the interface:")[2].partition("##")[0]
    assert re.findall(r"`(\w+)`", names) == api.__all__


cut = functools.partial(prune, align=2)
"""A network this small has few widths to choose from."""

GIVEN: Mapping[str, Callable[[], nn.Module]] = {
    "plain": network,
    "half": lambda: network().half(),
    "a dictionary": Boxed,
    "in training": lambda: network().train(),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_network_that_was_given_stays_as_it_was(name: str) -> None:
    model = GIVEN[name]()
    before = state_of(model)
    cut(model, EXAMPLE)
    assert state_of(model) == before


def test_what_comes_back_is_smaller_and_says_by_how_much() -> None:
    model = network()
    pruned = cut(model, EXAMPLE, ratio=0.4)
    assert pruned.dense.params == sum(p.numel() for p in model.parameters())
    assert pruned.cost.params == sum(p.numel() for p in pruned.model.parameters())
    assert pruned.cost.params == pytest.approx(
        0.6 * pruned.dense.params, abs=0.011 * pruned.dense.params
    )
    assert {len(kept) % 2 for kept in pruned.kept.values()} == {0}
    assert pruned.difference < 1e-4
    assert [item.reason for item in pruned.left_alone] == ["these are the network's outputs"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_keep_their_type_and_their_values(dtype: torch.dtype) -> None:
    model = network().to(dtype)
    pruned = cut(model, EXAMPLE)
    assert {p.dtype for p in pruned.model.parameters()} == {dtype}
    rows = list(pruned.kept["0"])
    found, given = pruned.model.get_parameter("0.weight"), model.get_parameter("0.weight")
    assert torch.equal(found.float(), given[rows].float())


def test_a_network_answers_as_it_did() -> None:
    assert cut(Boxed(), EXAMPLE).model(EXAMPLE).keys() == {"logits"}


def test_the_mode_is_that_of_the_network_that_was_given() -> None:
    assert cut(network().train(), EXAMPLE).model.training
    assert not cut(network(), EXAMPLE).model.training


def test_one_image_is_enough_for_an_example() -> None:
    assert cut(network(), EXAMPLE[:1]).kept == cut(network(), EXAMPLE).kept


def test_an_importance_may_look_at_images_and_statistics_follow() -> None:
    seen = [(EXAMPLE, torch.tensor([0, 1, 2, 3]))]
    model = cut(network(), EXAMPLE, importance="taylor", batches=seen).model
    settled = reestimate(model, [EXAMPLE])
    assert not torch.equal(settled.get_buffer("1.running_mean"), model.get_buffer("1.running_mean"))


def test_exchanges_move_channels_between_layers_at_the_same_size() -> None:
    seen = [(EXAMPLE, torch.tensor([0, 1, 2, 3]))]
    without, made = (
        cut(network(), EXAMPLE, allocation="uniform", exchanges=most, batches=seen)
        for most in (0, 30)
    )
    widths = [{name: len(units) for name, units in each.kept.items()} for each in (without, made)]
    assert widths[0] != widths[1]
    assert made.cost.params == pytest.approx(made.dense.params / 2, abs=0.01 * made.dense.params)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ratio": 1.0}, "must be between 0 and 1"),
        ({"importance": "magic"}, "importance is 'magic'; known are"),
        ({"of": "latency"}, "of is 'latency'; known are params, macs"),
        ({"allocation": "magic"}, "allocation is 'magic'; known are"),
        ({"importance": "taylor"}, "looks at images; give batches"),
        ({"exchanges": -1}, "exchanges is -1, and must be 0 or more"),
        ({"exchanges": 9}, "exchanges are measured on images; give batches"),
        ({"align": 64}, "multiples of 64"),
    ],
)
def test_unusable_arguments_are_named(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        prune(network(), EXAMPLE, **given)  # type: ignore[arg-type]


def test_a_network_of_which_nothing_can_be_cut_says_why_each_layer_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    last = network[2]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.weight)  # as new transformers begin
    nn.init.zeros_(last.bias)
    with pytest.raises(api.TraceError, match=r"no channels .* 0.*: the output is zero everywhere"):
        prune(network, torch.randn(2, 3, 8, 8))


def test_several_inputs_as_an_example_are_refused() -> None:
    with pytest.raises(ValueError, match="example is a tuple; give one tensor"):
        prune(network(), (EXAMPLE, EXAMPLE))  # type: ignore[arg-type]
