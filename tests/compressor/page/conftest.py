"""Reports of every kind that a run can end in."""

import functools
from collections.abc import Callable, Mapping

import pytest

from compressor.page.draw import draw_report
from compressor.report_schema import Report, SpeedRuleReport
from policies import Policy

SAFE, UNSURE, UNSAFE = 0.0, 0.04, 0.2

LATENCY = [
    {
        "batch": batch,
        "dense": {"median_ms": 0.19502 * batch, "p95_ms": None, "runs": 40},
        "pruned": {"median_ms": 0.0712 * batch, "p95_ms": 0.0999 * batch, "runs": 400},
        "speedup": 2.664194,
        "speedup_interval": [2.6126, 2.7160],
        "noise": [0.9953, 1.0151],
        "distinguishable": True,
        "provider": "CPUExecutionProvider",
        "device": "cpu: of 2 cores",
        "threads": 2,
        "runtime": "onnxruntime 1.31.1",
    }
    for batch in (1, 32)
]


LINT = {
    "convolutions": 19,
    "fast": 17,
    "findings": [
        {
            "rule": "unaligned-width",
            "nodes": ["node_Conv_393", "node_Conv_395"],
            "what": "2 of 20 products have widths that are no multiples of 8: 12",
            "remedy": "prune to multiples of 8",
        }
    ],
}

TOO_SLOW = {
    "verdict": "rejected", "exit_code": 3, "accepted_name": None, "accepted_position": None,
    "accepted_ratio": None, "artifact_sha256": None,
    "reasons": ["ratio 0.30 keeps every tolerance, but it is 1.1 times as fast"],
    "min_speedup": SpeedRuleReport(
        times=1.5, batch=1, position=0, measured=1.1, interval=(1.05, 1.15), noise=(0.99, 1.01),
        outcome="violated", sentence="it is 1.1 times as fast",
    ),
}  # fmt: skip
"""Changes to a report that was accepted."""


def _segmented(report: Report) -> Report:
    """The report with overlaps, as of a segmentation."""
    record = report.model_dump()
    for step in record["steps"]:
        for number, cell in enumerate(step["cells"]):
            worst = {
                "name": f"class {number}", "dense": 0.623, "pruned": 0.4979, "drop": 0.1251,
                "interval": (0.1144, 0.1354), "n": 219,
            }  # fmt: skip
            cell["overlap"] = {
                "dense": 0.8724, "pruned": 0.8257, "drop": 0.0467 + number / 1000,
                "interval": (0.0447, 0.0488), "classes": 5, "worst_class": worst,
            }  # fmt: skip
    return Report.model_validate(record)


def _full(report: Report) -> Report:
    """The report with all that is optional."""
    record = report.model_dump()
    for step in record["steps"]:
        for number, cell in enumerate(step["cells"]):
            cell["calibration"] = {
                "dense": 0.0163, "pruned": 0.0134, "growth": -0.0029, "interval": (-0.0112, 0.0072)
            }  # fmt: skip
            cell["worst_class"] = {
                "name": f"class {number}", "drop": 0.0228, "interval": (-0.02, 0.076), "n": 219
            }  # fmt: skip
    left = [{"modules": ["a.0", "a.1", "a.2", "a.3", "a.4"], "reason": "they are the outputs"}]
    resize = {"images": (480, 640), "network": (224, 224)}
    target = {"ms": 0.5, "batch": 1, "median_ms": 0.0712, "met": True}
    beside = {"lint": LINT, "resize": resize, "latency_target": target, "left_alone": left}
    left_out = {"fp16": "the provider computes it in fp32"}
    return Report.model_validate({**record, "latency": LATENCY, "left_out": left_out, **beside})


@pytest.fixture(scope="session")
def reports(
    reported: Callable[..., Report], rules: Callable[..., Policy], shared: Callable[..., Report]
) -> Mapping[str, Report]:
    """Reports by what is special about them."""
    policy = rules("fog", "snow", advisory=["frost"])
    one, waived = rules("fog"), rules("fog", "snow", waived=["snow"])
    safe, unsure, unsafe = (SAFE,) * 3, (UNSURE, SAFE, SAFE), (SAFE, UNSAFE, SAFE)
    return {
        "accepted": _full(reported(policy, {0.3: safe, 0.5: safe, 0.7: unsafe})),
        "rejected": reported(policy, {0.3: unsafe}),
        "undecided": reported(policy, {0.3: unsure}),
        "nothing judged": reported(policy, {}),
        "one shift at one ratio": reported(one, {0.3: (SAFE,)}),
        "waived": reported(waived, {0.3: (SAFE, UNSAFE)}),
        "brought": reported(policy, {0.3: safe, 0.5: unsure}, job="gate"),
        "measured no further": reported(
            rules("fog", "snow", method="looks"), {0.3: (UNSAFE,)}, job="gate"
        ),
        "segmented": _segmented(reported(policy, {0.3: safe, 0.5: unsafe})),
        "too slow": reported(policy, {0.3: safe}, **TOO_SLOW),
        **{
            f"several precisions, {verdict}": shared(policy, ladders)
            for verdict, ladders in {
                "accepted": {"fp32": {0.3: safe, 0.5: unsafe}, "int8": {0.3: safe, 0.5: safe}},
                "rejected": {"fp32": {0.3: unsafe}, "int8": {0.3: (UNSAFE, SAFE, SAFE)}},
                # The first that stopped is not what left the verdict open.
                "undecided": {"fp32": {0.3: unsafe}, "int8": {0.3: unsure}},
            }.items()
        },
    }


@pytest.fixture(scope="session")
def drawn(reports: Mapping[str, Report]) -> Callable[[str], bytes]:
    """The page of each of the reports, without pictures; drawn once."""

    @functools.cache
    def page(kind: str) -> bytes:
        return draw_report(reports[kind], None)

    return page
