"""What a run attests, in the forms that other tools read; pure functions of the report.

The statement is an in-toto Statement v1 with a test result as its predicate:
https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md. The bill of
materials is CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json. Neither is signed here. The same
report gives the same bytes: nothing is drawn, and no clock is read.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Final

from compressor.render import guarantee, headline
from compressor.report import accepted_step, slow_step
from compressor.report_schema import CellReport, Report, StepReport

Digests = Mapping[str, str]
"""Hexadecimal sha256 of files, by their names in the run folder."""

SUMS: Final = "SHA256SUMS"

_RESULTS: Final = {"accepted": "PASSED", "rejected": "FAILED", "undecided": "WARNED"}
_TESTS: Final = {"accepted": "passedTests", "violated": "failedTests", "undecided": "warnedTests"}

_METRICS: Final = {
    "drop": ("accuracy", "drop in accuracy"),
    "top-5 drop": ("top-5 accuracy", "drop in top-5 accuracy"),
    "Brier growth": ("half the Brier score", "growth of half the Brier score"),
    "flip rate": ("accuracy", "flip rate"),
    "pixel drop": ("pixel accuracy", "drop in pixel accuracy"),
}
"""Of a statistic: what a model has, and what it lost."""


def sums(digests: Digests) -> bytes:
    """The digests in the form that ``sha256sum --check`` reads."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def statement(report: Report, digests: Digests) -> bytes:
    """What the gate found, of which files; ``digests`` has plan.lock, dense.onnx and SHA256SUMS.

    The tests are the shifts of the candidate that decided: the released one, else the one that is
    not fast enough, else the first. One that is waived, or only reported, and did not pass is a
    warning, for it decides nothing.
    """
    step = deciding(report)
    subjects = [_resource("dense.onnx", digests["dense.onnx"])]
    if step is not None:
        released = accepted_step(report) is not None
        subjects.insert(0, _resource("model.onnx" if released else step.file, step.candidate))
    return _json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "result": _RESULTS[report.verdict],
                "configuration": [
                    _resource("policy.json", report.policy_digest),
                    _resource("plan.lock", digests["plan.lock"]),
                ],
                **_tests(report, step),
                # An extension field: what the result was computed from.
                "compressRun": {
                    "job": report.job,
                    "verdict": report.verdict,
                    "policy": report.policy,
                    "method": report.method,
                    "alpha": report.alpha,
                    "alphaPerRelease": report.alpha_per_release,
                    "reuse": report.reuse and report.reuse.model_dump(mode="json"),
                    "candidate": None if step is None else step.name,
                    "ratio": None if step is None else step.ratio,
                    "precision": None if step is None else step.precision,
                    "notMeasured": [] if step is None else step.not_measured,
                    "waivers": [waiver.model_dump(mode="json") for waiver in report.waivers],
                    "files": _resource(SUMS, digests[SUMS]),
                },
            },
        }
    )


def bill_of_materials(report: Report, *, dense: str) -> bytes | None:
    """The released file as a component with a model card; None if nothing is released.

    ``dense`` is the sha256 of dense.onnx.
    """
    step = deciding(report)
    if step is None or report.artifact_sha256 is None:
        return None
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{report.artifact_sha256}")
    tool = {"type": "application", "name": "compressor"}
    if version := report.versions.get("compressor"):
        tool["version"] = version
    return _json(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": serial.urn,
            "version": 1,
            "metadata": {"tools": {"components": [tool]}},
            "components": [_component(report, step, dense=dense)],
        }
    )


def deciding(report: Report) -> StepReport | None:
    """The step that the verdict is about: the released one, else the first; None without."""
    return accepted_step(report) or slow_step(report) or next(iter(report.steps), None)


def _resource(name: str, sha256: str) -> dict[str, object]:
    return {"name": name, "digest": {"sha256": sha256}}


def _tests(report: Report, step: StepReport | None) -> dict[str, list[str]]:
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for cell in step.cells if step else ():
        kind = _TESTS[cell.outcome]
        if kind == "failedTests" and (cell.waived or not cell.enforced):
            kind = "warnedTests"
        tests[kind].append(cell.shift)
    asked = report.min_speedup
    if asked is not None and asked.outcome is not None:
        tests[_TESTS[asked.outcome]].append("min_speedup")
    return tests


def _component(report: Report, step: StepReport, *, dense: str) -> dict[str, object]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"sha256:{step.candidate}",
        "name": "model.onnx",
        "description": f"{_origin(report, step)}. {headline(report)}.",
        "hashes": _hashes(step.candidate),
        "pedigree": {
            "ancestors": [
                {"type": "machine-learning-model", "name": "dense.onnx", "hashes": _hashes(dense)},
                {
                    "type": "machine-learning-model",
                    "name": report.dense.source,
                    "hashes": _hashes(report.dense.sha256),
                },
            ],
        },
        "modelCard": {
            "modelParameters": {"task": "classification"},
            "quantitativeAnalysis": {
                "performanceMetrics": [m for cell in step.cells for m in _metrics(cell)]
            },
            "considerations": {
                "technicalLimitations": [guarantee(report)],
                "performanceTradeoffs": [_tradeoff(report, step)],
            },
        },
        "properties": [
            {"name": "compressor:policy", "value": report.policy},
            {"name": "compressor:policy_digest", "value": report.policy_digest},
            {"name": "compressor:plan_digest", "value": report.plan_digest},
            {"name": "compressor:candidate", "value": step.name},
            *([] if step.ratio is None else [_ratio(step.ratio)]),
        ],
    }


def _origin(report: Report, step: StepReport) -> str:
    if report.job == "compress":
        return f"{report.dense.source}, pruned"
    return f"{step.name}, compared with {report.dense.source}"


def _ratio(ratio: float) -> dict[str, str]:
    return {"name": "compressor:ratio", "value": str(ratio)}


def _tradeoff(report: Report, step: StepReport) -> str:
    macs = ""
    if step.macs is not None and report.dense.macs is not None:
        macs = f" and {step.macs:,} of {report.dense.macs:,} multiply-adds"
    return (
        f"{step.params:,} of {report.dense.params:,} parameters{macs} are left, at the drops that "
        "the metrics give"
    )


def _metrics(cell: CellReport) -> list[dict[str, object]]:
    """One or two metrics of a shift; the specification makes all numbers text."""
    low, high = cell.interval
    level, loss = _METRICS[cell.statistic]
    value = cell.pruned_accuracy if cell.pruned_score is None else cell.pruned_score
    metrics: list[dict[str, object]] = []
    if value is not None:
        metrics.append({"type": level, "value": str(value), "slice": cell.shift})
    metrics.append(
        {
            "type": f"{loss} against the dense model",
            "value": str(cell.drop),
            "slice": cell.shift,
            "confidenceInterval": {"lowerBound": str(low), "upperBound": str(high)},
        }
    )
    return metrics


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
