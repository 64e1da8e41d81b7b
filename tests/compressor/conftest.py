"""A project folder with code of its own, as a user would have it; reports without a run."""

import datetime as dt
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from torch import nn

from compressor.report import step_fields, verdict_fields
from compressor.report_chains import chain_fields
from compressor.report_schema import Report, StepReport
from gates import (
    Accepted,
    Evidence,
    Outcome,
    PairedCounts,
    Speed,
    Step,
    Undecided,
    Verdict,
    judge,
    judge_chains,
)
from policies import Method, Policy, ShiftRule, Waiver
from tests.loaded_once import loaded_once  # noqa: F401 # a fixture

USER_CODE = """
import argparse
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))

def net(width=4):
    return Net(width)

def parallel_net():
    return nn.DataParallel(Net())

def compiled_net():
    return torch.compile(Net())

def meta_net():
    with torch.device("meta"):
        return Net()

def exported_net():
    return torch.export.export(Net().eval(), (torch.zeros(1, 3, 8, 8),)).module()

def scripted_net():
    return torch.jit.trace(Net().eval(), torch.zeros(1, 3, 8, 8), check_trace=False)

def failing():
    raise LookupError("no such width")

def settings():
    return {"width": 4}
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project folder whose module user_nets is forgotten after the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "user_nets.py").write_text(USER_CODE)
    yield folder
    sys.modules.pop("user_nets", None)


@pytest.fixture
def net(root: Path) -> nn.Module:
    sys.path.insert(0, str(root))
    try:
        import user_nets  # type: ignore[import-not-found]  # written by the fixture above
    finally:
        sys.path.remove(str(root))
    made: nn.Module = user_nets.net()
    return made


IMAGES = 2000
"""Of which a drop of 0 is accepted at the tolerance below, 0.04 is undecided and 0.2 violated."""


def _counts(drop: float) -> PairedCounts:
    only_dense, only_pruned = round(IMAGES * (0.1 + drop / 2)), round(IMAGES * (0.1 - drop / 2))
    return PairedCounts(
        both_right=IMAGES - only_dense - only_pruned,
        only_dense=only_dense,
        only_pruned=only_pruned,
        both_wrong=0,
    )


def _step_report(policy: Policy, step: Step) -> StepReport:
    """Of a candidate that was made here; of one that was brought, less is known."""
    made = step.ratio is not None
    folder = f"{step.ratio:.3f}" if made else f"{step.position + 1:02d}"
    return StepReport(
        **step_fields(policy, step),
        file=f"candidates/{folder}/model.onnx",
        params=900,
        macs=900 if made else None,
        size_bytes=900,
        tune_accuracy=0.9 if made else None,
        self_test_difference=0.0 if made else None,
        parity={} if made else None,
        precision="fp32" if made else "int8",
        epochs=[],
    )


def _evidence(
    policy: Policy, rows: Mapping[float, Sequence[float]], *, job: Literal["compress", "gate"]
) -> list[Evidence]:
    """Fewer drops than rules are those of a candidate that was measured no further."""
    return [
        Evidence(
            candidate=f"sha256-of-{ratio}",
            dense="dense",
            name=f"ratio {ratio:.2f}" if job == "compress" else f"net-{position}.onnx",
            position=position,
            ratio=ratio if job == "compress" else None,
            shift=rule.id,
            images="gate",
            look=1,
            counts=_counts(drop),
        )
        for position, (ratio, row) in enumerate(rows.items())
        for rule, drop in zip(policy.shifts, row, strict=False)
    ]


@pytest.fixture(scope="session")
def rules() -> Callable[..., Policy]:
    """A policy of the shifts with these names at severity 3, the advisory ones last."""

    def policy(
        *enforced: str,
        advisory: Sequence[str] = (),
        waived: Sequence[str] = (),
        min_images: int = 100,
        method: Method = "fixed",
    ) -> Policy:
        names = dict.fromkeys(enforced, True) | dict.fromkeys(advisory, False)
        return Policy(
            apiVersion="compress/v1",
            name="test",
            summary="For tests.",
            alpha=0.05,
            method=method,
            min_images=min_images,
            shifts=tuple(
                ShiftRule(name=n, severity=3, tolerance=0.04, reason="because", enforced=enforced)
                for n, enforced in names.items()
            ),
            waivers=tuple(
                Waiver(shift=f"{n}-3", expires=dt.date.max, reason="because", approver="somebody")
                for n in waived
            ),
        )

    return policy


@pytest.fixture(scope="session")
def shared(reported: Callable[..., Report]) -> Callable[..., Report]:
    """The report of several sequences that share alpha, by name; each as ``reported`` has it.

    The later a sequence is named, the faster are its files.
    """

    def report(policy: Policy, ladders: Mapping[str, Mapping[float, Sequence[float]]], /) -> Report:
        found = [
            replace(
                item,
                chain=chain,
                name=f"{item.name} {chain}",
                candidate=f"{item.candidate}-{chain}",
                position=100 * number + item.position,
            )
            for number, (chain, drops) in enumerate(ladders.items())
            for item in _evidence(policy, drops, job="compress")
        ]
        speeds = [
            Speed(
                candidate=candidate, batch=1, times=1.0 + place, interval=(1.0, 9.0),
                noise=(0.99, 1.01),
            )
            for place, candidate in enumerate(dict.fromkeys(item.candidate for item in found))
        ]  # fmt: skip
        verdict = judge_chains(policy, found, chains=tuple(ladders), speeds=speeds)
        precisions: dict[str | None, str] = {name: name for name in ladders}
        ends = dict.fromkeys(precisions, None) | {
            step.chain: "every ratio was accepted"
            for step in verdict.steps
            if not any(
                other.chain == step.chain and other.outcome is not Outcome.ACCEPTED
                for other in verdict.steps
            )
        }
        steps = [_step_report(policy, step) for step in verdict.steps]
        made = reported(policy, {}).model_dump() | {
            **verdict_fields(policy, verdict),
            **chain_fields(policy, verdict, precisions, ends, speeds=speeds, batch=1),
            "steps": [
                step.model_copy(update={"precision": step.chain}).model_dump() for step in steps
            ],
        }
        return Report.model_validate(made)

    return report


@pytest.fixture(scope="session")
def reported() -> Callable[..., Report]:
    """The report of what a policy makes of the observed drops, in its order, by ratio.

    In a job of the kind ``gate`` the candidates have names in place of the ratios.
    """

    def report(
        policy: Policy,
        drops: Mapping[float, Sequence[float]],
        /,
        *,
        job: Literal["compress", "gate"] = "compress",
        **changed: object,
    ) -> Report:
        evidence = _evidence(policy, drops, job=job)
        verdict: Verdict = Undecided(steps=(), reasons=("no width fits",), images_needed=None)
        if evidence:
            verdict = judge(policy, evidence)
        made = Report(
            job=job,
            **verdict_fields(policy, verdict),
            plan_digest="digest-of-the-plan",
            artifact_sha256=verdict.candidate if isinstance(verdict, Accepted) else None,
            ladder_end=None,
            dense={
                "source": "model.pt",
                "sha256": "dense",
                "params": 1000,
                "macs": 1000 if job == "compress" else None,
                "size_bytes": 1000,
                "tune_accuracy": 0.9 if job == "compress" else None,
            },
            steps=[_step_report(policy, step) for step in verdict.steps],
            left_alone=[],
            latency=[],
            forward_passes={"dense": 2000, "candidates": 4000},
            provider="CPUExecutionProvider",
            versions={"python": "3.12.0", "torch": "2.11.0"},
            command="compress model.pt --policy test",
            seconds={"load": 1.0, "gate": 20.5, "gate: shifts": 20.0},
        )
        return made.model_copy(update=changed)

    return report
