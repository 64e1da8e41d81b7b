"""A row of the zoo says what became of a network, here and at its peers."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import zoo
from benchmarks.peers import zoo as peers
from benchmarks.zoo import _COLUMNS, _row, network_of

PRUNED: dict[str, Any] = {
    "outcome": "pruned", "size": 224, "found_by": "torch-pruning", "groups": 12,
    "params_kept": 0.5, "macs_kept": 0.4, "difference": 3e-7, "export": "equal", "parity": 4e-7,
    "seconds": {"trace": 1.0, "cut": 0.5, "export": 2.0},
}  # fmt: skip


def cells(result: dict[str, Any]) -> dict[str, str]:
    row = _row("net", result).strip("|").split("|")
    return dict(zip(_COLUMNS, (cell.strip() for cell in row), strict=True))


def test_a_row_has_a_cell_for_every_column() -> None:
    found = cells(PRUNED)
    assert (found["parameters"], found["MACs"], found["ONNX"]) == ("50.0%", "40.0%", "equal, 4e-07")
    assert found["torch-pruning alone"] == found["FastNAS"] == ""


def test_a_peer_is_told_with_what_it_came_to() -> None:
    wrong = {"outcome": "not shown to be right", "params_kept": 0.3, "difference": 0.2}
    fails = {"outcome": "fails", "why": "KeyError: | 1"}
    found = cells({**PRUNED, "peers": {"torch-pruning": wrong, "fastnas": fails}})
    assert found["torch-pruning alone"] == "not shown to be right: differs by 2e-01"
    assert found["FastNAS"] == "fails: KeyError: / 1"


def test_torch_pruning_alone_is_right_on_a_plain_network_and_fails_on_a_shuffled_one() -> None:
    def told(name: str) -> dict[str, Any]:
        network, images = network_of(name, quick=True)
        return peers.told_of("torch-pruning", network, images)

    before = torch.get_rng_state()
    assert told("squeezenet1_1")["outcome"] == "right"
    assert told("shufflenet_v2_x0_5")["why"].startswith("ZeroDivisionError")
    assert torch.equal(torch.get_rng_state(), before)


class Dense(torch.nn.Module):
    """Layers that read all before them, so that each loses inputs several times."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.third = torch.nn.Conv2d(16, 8, 3, padding=1)
        self.head = torch.nn.Linear(24, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.first(images).relu()
        second = self.second(first).relu()
        third = self.third(torch.cat([first, second], 1)).relu()
        answers: torch.Tensor = self.head(torch.cat([second, third, first], 1).mean((2, 3)))
        return answers


def grouped() -> torch.nn.Module:
    """In a grouped convolution an input is a place in its part."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=1, groups=4), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=1, groups=16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 8, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    )  # fmt: skip


@pytest.mark.parametrize("make", [Dense, grouped])
def test_what_went_is_counted_as_the_dense_network_counts(
    make: Callable[[], torch.nn.Module],
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, images = make().eval(), torch.randn(2, 3, 8, 8)
    told = peers.told_of("torch-pruning", network, images)
    assert told["outcome"] == "right", told
    assert told["params_kept"] < 0.5


def test_a_cut_that_computes_something_else_is_not_shown_to_be_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, cut = peers.PEERS["torch-pruning"]

    def shuffled(network: torch.nn.Module, images: torch.Tensor) -> Any:  # noqa: ANN401
        smaller, gone = cut(network, images)
        with torch.no_grad():
            smaller.get_parameter("head.weight").copy_(
                smaller.get_parameter("head.weight").flip(1).clone()
            )
        return smaller, gone

    monkeypatch.setattr(peers, "PEERS", {"one": ("torch", shuffled)})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, images = Dense().eval(), torch.randn(2, 3, 8, 8)
    told = peers.told_of("one", network, images)
    assert told["outcome"] == "not shown to be right"
    assert told["difference"] > 0.01


def test_a_peer_that_is_not_installed_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 4, 4)
    cut = peers.PEERS["fastnas"][1]
    monkeypatch.setattr(peers, "PEERS", {"fastnas": ("there_is_no_such_package", cut)})
    with pytest.raises(ImportError):
        peers.told_of("fastnas", network, images)


def test_what_goes_wrong_in_our_own_measuring_is_no_failure_of_a_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_model: object, _images: object) -> None:
        raise LookupError("ours")

    monkeypatch.setattr(peers, "PEERS", {"one": ("torch", lambda network, _: (network, None))})
    monkeypatch.setattr(peers, "cost", broken)
    with pytest.raises(LookupError, match="ours"):
        peers.told_of("one", torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 4, 4))


def test_a_rerun_keeps_what_peers_made_and_a_network_without_groups_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = {"torch-pruning": {"outcome": "fails", "why": "KeyError: 1"}}
    results = tmp_path / "zoo.json"
    results.write_text(json.dumps({"networks": {"net": {**PRUNED, "peers": fails}}}))
    monkeypatch.setattr(zoo, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["zoo.py", "--only", "net", "--quick"])
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))

    def measured(name: str, *, quick: bool, limit_s: float) -> dict[str, Any]:
        assert limit_s > 0.0
        return zoo._measured(name, quick=quick)

    monkeypatch.setattr(zoo, "network_of", lambda *_, **__: (head, torch.randn(8, 3, 2, 2)))
    monkeypatch.setattr(zoo, "_in_a_process", measured)
    zoo.main()
    found = json.loads(results.read_text())["networks"]["net"]
    assert found["outcome"] == "refused"
    assert found["why"]
    assert found["peers"] == fails
