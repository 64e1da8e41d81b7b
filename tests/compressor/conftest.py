"""A project folder with code of its own, as a user would have it; reports without a run."""

import datetime as dt
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from torch import nn

from compressor.report import Report, StepReport, cell_reports, verdict_fields
from gates import Evidence, PairedCounts, Step, Undecided, Verdict, judge
from policies import Policy, ShiftRule, Waiver

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
    return StepReport(
        ratio=step.ratio,
        candidate=step.candidate,
        params=900,
        macs=900,
        size_bytes=900,
        tune_accuracy=0.9,
        self_test_difference=0.0,
        parity={},
        epochs=[],
        outcome=step.outcome.value,
        binding=step.binding.shift,
        cells=cell_reports(policy, step),
    )


@pytest.fixture(scope="session")
def rules() -> Callable[..., Policy]:
    """A policy of the shifts with these names at severity 3, the advisory ones last."""

    def policy(
        *enforced: str,
        advisory: Sequence[str] = (),
        waived: Sequence[str] = (),
        min_images: int = 100,
    ) -> Policy:
        names = dict.fromkeys(enforced, True) | dict.fromkeys(advisory, False)
        return Policy(
            apiVersion="compress/v1",
            name="test",
            summary="For tests.",
            alpha=0.05,
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
def reported() -> Callable[..., Report]:
    """The report of what a policy makes of the observed drops, in its order, by ratio."""

    def report(
        policy: Policy, drops: Mapping[float, Sequence[float]], /, **changed: object
    ) -> Report:
        evidence = [
            Evidence(
                candidate=f"sha256-of-{ratio}",
                dense="dense",
                ratio=ratio,
                shift=rule.id,
                images="gate",
                counts=_counts(drop),
            )
            for ratio, row in drops.items()
            for rule, drop in zip(policy.shifts, row, strict=True)
        ]
        verdict: Verdict = Undecided(steps=(), reasons=("no width fits",), images_needed=None)
        if evidence:
            verdict = judge(policy, evidence)
        fields = verdict_fields(policy, verdict)
        made = Report(
            **fields,
            plan_digest="digest-of-the-plan",
            artifact_sha256=f"sha256-of-{fields['accepted_ratio']}"
            if fields["accepted_ratio"]
            else None,
            ladder_end=None,
            dense={
                "source": "model.pt",
                "sha256": "dense",
                "params": 1000,
                "macs": 1000,
                "size_bytes": 1000,
                "tune_accuracy": 0.9,
            },
            steps=[_step_report(policy, step) for step in verdict.steps],
            left_alone=[],
            latency=[],
            provider="CPUExecutionProvider",
            versions={"python": "3.12.0", "torch": "2.11.0"},
            command="compress model.pt --policy test",
            seconds={"load": 1.0, "gate": 20.5, "gate: shifts": 20.0},
        )
        return made.model_copy(update=changed)

    return report
