"""Reports of every kind that a run can end in."""

import functools
from collections.abc import Callable, Mapping

import pytest

from compressor.page.draw import draw_report
from compressor.report_schema import Report
from policies import Policy

SAFE, UNSURE, UNSAFE = 0.0, 0.04, 0.2

LATENCY = [
    {
        "batch": batch,
        "dense": {"median_ms": 0.19502 * batch, "p95_ms": None, "runs": 40},
        "pruned": {"median_ms": 0.0712 * batch, "p95_ms": None, "runs": 40},
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
    return Report.model_validate({**record, "latency": LATENCY, "left_alone": left})


@pytest.fixture(scope="session")
def reports(reported: Callable[..., Report], rules: Callable[..., Policy]) -> Mapping[str, Report]:
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
    }


@pytest.fixture(scope="session")
def drawn(reports: Mapping[str, Report]) -> Callable[[str], bytes]:
    """The page of each of the reports, without pictures; drawn once."""

    @functools.cache
    def page(kind: str) -> bytes:
        return draw_report(reports[kind], None)

    return page
