"""What a run attests fits the published formats, and says what the report says."""

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf.json_format import Parse
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Predicate
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from compressor.attestation import bill_of_materials, statement
from compressor.files import sha256_of
from compressor.report_schema import Report
from compressor.seal import covered

Finished = Callable[[str], tuple[Path, Result]]

RESULTS = {"accepted": "PASSED", "rejected": "FAILED", "undecided": "WARNED", "no ratio": "WARNED"}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def report_of(folder: Path) -> Report:
    return Report.model_validate_json((folder / "report.json").read_bytes())


def digests_of(folder: Path) -> dict[str, str]:
    return {name: sha256_of(folder / name) for name in (*covered(folder), "SHA256SUMS")}


@pytest.mark.parametrize("name", RESULTS)
def test_the_statement_is_an_in_toto_test_result(finished: Finished, name: str) -> None:
    folder, _ = finished(name)
    text = (folder / "attestation.json").read_text()
    Statement.copy_from_pb(Parse(text, StatementMessage())).validate()
    content = json.loads(text)
    assert content["_type"] == "https://in-toto.io/Statement/v1"
    assert content["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    extension = content["predicate"].pop("compressRun")
    predicate = Parse(json.dumps(content["predicate"]), Predicate())  # refuses unknown fields
    assert predicate.result == RESULTS[name]
    assert extension["verdict"] == report_of(folder).verdict


@pytest.mark.parametrize("name", RESULTS)
def test_the_statement_names_files_by_the_digests_that_they_have(
    finished: Finished, name: str
) -> None:
    folder, _ = finished(name)
    content = read(folder / "attestation.json")
    predicate = content["predicate"]
    named = [
        *content["subject"],
        *predicate["configuration"],
        predicate["compressRun"]["files"],
    ]
    for item in named:
        assert item["digest"] == {"sha256": sha256_of(folder / item["name"])}
    first = {
        "accepted": ["model.onnx"],
        "rejected": ["candidates/0.200/model.onnx"],
        "undecided": ["candidates/0.200/model.onnx"],
        "no ratio": [],
    }
    assert [item["name"] for item in content["subject"]] == [*first[name], "dense.onnx"]
    assert [item["name"] for item in named[-3:]] == ["policy.json", "plan.lock", "SHA256SUMS"]


def test_the_tests_are_the_shifts_of_the_ratio_that_decided(finished: Finished) -> None:
    def tests(name: str) -> tuple[list[str], ...]:
        predicate = read(finished(name)[0] / "attestation.json")["predicate"]
        return tuple(predicate[f"{kind}Tests"] for kind in ("passed", "warned", "failed"))

    assert tests("accepted") == (["clean", "gaussian_noise-1", "brightness-2"], [], [])
    # brightness is only reported: that it was exceeded decides nothing.
    assert tests("rejected") == ([], ["brightness-2"], ["clean", "gaussian_noise-1"])
    assert tests("no ratio") == ([], [], [])
    step = report_of(finished("undecided")[0]).steps[0]
    passed, warned, failed = tests("undecided")
    assert sorted(passed + warned + failed) == sorted(cell.shift for cell in step.cells)
    assert warned


def test_a_waived_shift_that_is_violated_is_a_warning(accepted: Path) -> None:
    report = report_of(accepted)
    *before, step = report.steps
    first, *rest = step.cells
    waived = first.model_copy(update={"outcome": "violated", "waived": True})
    changed = step.model_copy(update={"cells": [waived, *rest]})
    again = report.model_copy(update={"steps": [*before, changed]})
    predicate = json.loads(statement(again, digests_of(accepted)))["predicate"]
    assert predicate["warnedTests"] == [first.shift]
    assert predicate["failedTests"] == []


def test_the_bill_of_materials_fits_the_strict_schema(accepted: Path) -> None:
    text = (accepted / "model.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"SHA-256"', '"SHA-257"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_the_bill_of_materials_has_the_file_and_what_was_observed(accepted: Path) -> None:
    report = report_of(accepted)
    (component,) = read(accepted / "model.cdx.json")["components"]
    assert component["type"] == "machine-learning-model"
    assert component["hashes"] == [
        {"alg": "SHA-256", "content": sha256_of(accepted / component["name"])}
    ]
    ancestors = [item["hashes"][0]["content"] for item in component["pedigree"]["ancestors"]]
    assert ancestors == [sha256_of(accepted / "dense.onnx"), report.dense.sha256]
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    drops = {
        m["slice"]: m for m in metrics if m["type"] == "drop in accuracy against the dense model"
    }
    step = report.steps[-1]
    assert list(drops) == [cell.shift for cell in step.cells]
    for cell in step.cells:
        bounds = drops[cell.shift]["confidenceInterval"]
        assert float(drops[cell.shift]["value"]) == cell.drop
        assert (float(bounds["lowerBound"]), float(bounds["upperBound"])) == cell.interval
    (limitation,) = component["modelCard"]["considerations"]["technicalLimitations"]
    assert "Nothing is said about shifts that are not listed" in limitation


@pytest.mark.parametrize("name", ["rejected", "undecided", "no ratio"])
def test_where_nothing_is_released_there_is_no_bill_of_materials(
    finished: Finished, name: str
) -> None:
    assert not (finished(name)[0] / "model.cdx.json").exists()


def test_the_same_report_gives_the_same_bytes_without_a_clock_or_chance(accepted: Path) -> None:
    report, digests = report_of(accepted), digests_of(accepted)
    assert statement(report, digests) == (accepted / "attestation.json").read_bytes()
    bill = bill_of_materials(report, dense=digests["dense.onnx"])
    assert bill == (accepted / "model.cdx.json").read_bytes()
    assert bill is not None
    serial = uuid.UUID(json.loads(bill)["serialNumber"])
    assert serial.version == 5
    for text in (bill, statement(report, digests)):
        assert not re.search(rb"20\d\d-\d\d-\d\d", text)
    other = report.model_copy(update={"artifact_sha256": "0" * 64})
    another = bill_of_materials(other, dense=digests["dense.onnx"])
    assert another is not None
    assert json.loads(another)["serialNumber"] != serial.urn
