import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor import layer_latencies as module
from compressor.config_schema import Input
from compressor.config_search import Search
from compressor.layer_latencies import ENTRY, latency_table, layer_latencies
from compressor.pruning.candidate import prunable
from compressor.pruning.layer_times import LayerTimes
from compressor.pruning.price import price
from compressor.runs import RunError
from exporters.sessions import CPU
from tests.compressor.pruning.odd_networks import torch_attention, vision_transformer

SOURCE = Input(size=(3, 16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)


class Listener:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, task: str, done: int, total: int, detail: str = "") -> None: ...


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def asked(
    folder: Path, *, of: str, listener: Listener, model: nn.Module | None = None
) -> dict[str, object]:
    model = convolution() if model is None else model
    search = Search.model_validate({"of": of})
    return dict(
        layer_latencies(
            folder, model, search=search, source=SOURCE, provider=CPU, seed=0, watch=listener
        )
    )


@pytest.mark.parametrize("of", ["params", "macs"])
def test_nothing_is_timed_where_no_ratio_is_of_latency(tmp_path: Path, of: str) -> None:
    listener = Listener()
    assert asked(tmp_path, of=of, listener=listener) == {}
    assert listener.said == []
    assert latency_table({}) == {}


def test_layers_are_timed_and_become_what_pruning_wants(tmp_path: Path) -> None:
    listener = Listener()
    entries = asked(tmp_path, of="latency", listener=listener)
    table = latency_table(json.loads(json.dumps(entries)))
    assert set(table) == {"0"}
    assert table["0"].widths == ((3,), (8, 16))
    assert len(listener.said) == 1


def test_the_layers_of_attention_are_timed_as_they_are_cut(tmp_path: Path) -> None:
    model = vision_transformer(torch_attention).eval()
    table = latency_table(asked(tmp_path, of="latency", listener=Listener(), model=model))
    dense = prunable(model, torch.randn(2, 3, 16, 16), seed=0)
    rates = price(dense.model, dense.groups, dense.example, of="latency", latencies=table)
    assert {("block.attend.f.mix.query", "weight"), ("block.attend.f.mix.value", "weight")} <= set(
        rates.rates
    )


def test_a_run_that_goes_on_has_the_times_with_which_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"layers": {"0": {"dims": [0], "widths": [[8, 16]], "us": [1.0, 2.0]}}}
    (tmp_path / "plan.lock").write_text(json.dumps({ENTRY: entry}))
    monkeypatch.delattr(module, "measure_layers")
    entries = asked(tmp_path, of="latency", listener=Listener())
    assert entries == {ENTRY: entry}
    expected = LayerTimes(dims=(0,), widths=((8, 16),), us=(1.0, 2.0))
    assert latency_table(entries) == {"0": expected}


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.lock").write_text("{")
    with pytest.raises(RunError, match=r"plan\.lock is damaged"):
        asked(tmp_path, of="latency", listener=Listener())
    with pytest.raises(RunError, match="layer_latencies is damaged"):
        latency_table({ENTRY: {"layers": {"0": {"dims": [0], "widths": [[8]], "us": []}}}})


@pytest.mark.parametrize(("text", "value"), [("60%", 0.6), (0.25, 0.25), ("12.5%", 0.125)])
def test_a_ratio_may_be_a_percentage(text: object, value: float) -> None:
    assert Search.model_validate({"ratios": (text,)}).ratios == (value,)


@pytest.mark.parametrize("text", ["60", "sixty%", "120%", "0%", 1.5])
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"ratios\.0"):
        Search.model_validate({"ratios": (text,)})


@pytest.mark.parametrize(
    ("of", "allocation"), [("params", "global"), ("macs", "knapsack"), ("latency", "knapsack")]
)
def test_the_allocation_suits_what_a_ratio_is_of_unless_said(of: str, allocation: str) -> None:
    assert Search.model_validate({"of": of}).allocation == allocation
    assert Search.model_validate({"of": of, "allocation": "pfp"}).allocation == "pfp"
    assert Search().allocation == "global"


@pytest.mark.parametrize(
    ("said", "importance"),
    [
        ({}, "l2"),
        ({"of": "macs"}, "ablation"),
        ({"of": "latency"}, "ablation"),
        ({"allocation": "knapsack"}, "ablation"),
        ({"of": "macs", "allocation": "uniform"}, "l2"),
        ({"of": "macs", "importance": "taylor"}, "taylor"),
    ],
)
def test_the_knapsack_weighs_measured_losses_unless_said(
    said: Mapping[str, str], importance: str
) -> None:
    assert Search.model_validate(said).importance == importance
