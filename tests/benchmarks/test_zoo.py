"""A row of the zoo says what became of a network, here and at its peers."""

from typing import Any

import pytest
import torch

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
