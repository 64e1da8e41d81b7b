"""Whole networks are measured where it is said; cuts are made, and handed over, on the CPU."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from compressor.pruning.candidate import Candidate, Method, propose
from compressor.pruning.importance import IMPORTANCES, measured, score
from compressor.pruning.importance.measured import Batch
from tests.compressor.pruning.tiny_nets import found_in

MEASURED = Method(importance="ablation", of="macs", align=1, allocation="knapsack", exchanges=20)

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="compares a GPU with the CPU, and there is no CUDA device here",
)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(5)
    return (
        torch.randn(64, 3, 16, 16, generator=generator),
        torch.randint(4, (64,), generator=generator),
    )


def made(name: str, device: torch.device) -> Candidate:
    dense = found_in(name)
    return propose(
        dense, None, ratio=0.5, method=MEASURED, batches=[batch()], seed=0, device=device
    )


def test_scores_and_exchanges_are_measured_where_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, torch.device]] = []
    there = torch.device("cpu", 0)
    for module in ("importance.ablation", "candidate"):

        def recorded(
            model: nn.Module,
            batches: Sequence[Batch],
            *,
            device: torch.device,
            module: str = module,
        ) -> list[Batch]:
            seen.append((module, device))
            return measured.laid_out(model, batches, device=torch.device("cpu"))

        monkeypatch.setattr(f"compressor.pruning.{module}.laid_out", recorded)
    made("residual", there)
    assert {module for module, _ in seen} == {"importance.ablation", "candidate"}
    assert {device for _, device in seen} == {there}


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", ["plain", "residual", "attention"])
def test_a_gpu_scores_as_the_cpu_does(name: str) -> None:
    dense = found_in(name)
    on_cpu, on_gpu = (
        score(
            dense.model,
            dense.groups,
            criterion=IMPORTANCES["ablation"],
            batches=[batch()],
            seed=0,
            device=torch.device(kind),
        )
        for kind in ("cpu", "cuda")
    )
    for group, scores in on_cpu.items():
        torch.testing.assert_close(on_gpu[group], scores, rtol=0.02, atol=1e-4)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", ["residual", "attention"])
def test_a_network_that_was_measured_on_a_gpu_is_cut_rightly_and_on_the_cpu(name: str) -> None:
    candidate = made(name, torch.device("cuda"))
    assert {value.device.type for value in candidate.model.parameters()} == {"cpu"}
    assert candidate.difference < 1e-4
