"""The files of a finished run against what its records tell of them."""

from collections.abc import Iterator
from typing import Any, Final

from compressor.attestation import Digests
from compressor.differences import differences
from compressor.records import Finding, Records, at, planned_chains, read_json, sequence_of
from compressor.report_schema import StepReport
from compressor.runs import RunFolder
from gates import Accepted, Verdict

_CONVERTED: Final = {"parity", "sha256"}
"""What the record of a candidate has of its first file alone."""


def artifact_findings(records: Records, verdict: Verdict, digests: Digests) -> Iterator[Finding]:
    """The released file is the accepted one; the dense one is that of the evidence."""
    released = verdict.candidate if isinstance(verdict, Accepted) else None
    yield from _file("model.onnx", digests, released)
    for dense in sorted({item.dense for item in records.evidence}):
        yield from _file("dense.onnx", digests, dense)


def brought_findings(records: Records, digests: Digests) -> Iterator[Finding]:
    """The models that were handed in are those of the plan, byte for byte, judged or not."""
    for index, entry in enumerate(sequence_of(records)):
        yield from _file(f"{_folder(index)}/model.onnx", digests, _text(at(entry, "sha256")))
    source = _text(at(records.plan, "dense", "source"))
    if _is_onnx(source):
        yield from _file("dense.onnx", digests, _text(at(records.plan, "dense", "sha256")))


def candidate_findings(
    run: RunFolder, records: Records, step: StepReport, digests: Digests
) -> Iterator[Finding]:
    """The files of a candidate are those that its record and the report tell of."""
    folder = _folder(step.position) if step.ratio is None else f"candidates/{step.ratio:.3f}"
    chains = planned_chains(records)
    other = step.chain is not None and step.chain != next(iter(chains))
    file = f"{folder}/model.{step.precision}.onnx" if other else f"{folder}/model.onnx"
    if step.file != file:
        told = f"{step.name} is said to be in {step.file}; it should be in {file}"
        yield Finding(file="report.json", what=told)
    if records.report.job == "compress" and step.precision != chains.get(step.chain):
        told = f"{step.name} is said to be {step.precision}; the plan has {chains.get(step.chain)}"
        yield Finding(file="report.json", what=told)
    record = read_json(run.path / folder / "candidate.json")
    if not isinstance(record, dict):
        yield Finding(file=f"{folder}/candidate.json", what="is missing, or not what a run writes")
        return
    wanted = _made(step) if records.report.job == "compress" else _handed_in(step, record)
    if other:
        yield from _converted(run, step, f"{folder}/model.{step.precision}.json")
        wanted = {key: value for key, value in wanted.items() if key not in _CONVERTED}
    for line in differences({key: record.get(key) for key in wanted}, wanted):
        yield Finding(file=f"{folder}/candidate.json", what=line)
    yield from _file(file, digests, step.candidate)
    if records.report.job == "compress":
        weights = _text(record.get("weights_sha256"))
        yield from _file(f"{folder}/weights.safetensors", digests, weights)


def _converted(run: RunFolder, step: StepReport, note: str) -> Iterator[Finding]:
    """What is kept of a file that was made of another candidate's weights."""
    record = read_json(run.path / note)
    wanted = {"precision": step.precision, "parity": step.parity, "sha256": step.candidate}
    for line in differences(record if isinstance(record, dict) else {}, wanted):
        yield Finding(file=note, what=line)


def _made(step: StepReport) -> dict[str, object]:
    """What the record of a candidate holds that was made here."""
    return {
        "ratio": step.ratio,
        "params": step.params,
        "macs": step.macs,
        "tune_accuracy": step.tune_accuracy,
        "difference": step.self_test_difference,
        "parity": step.parity,
        "epochs": step.epochs,
        "trainability": step.trainability,
        "sha256": step.candidate,
    }


def _handed_in(step: StepReport, record: dict[str, Any]) -> dict[str, object]:
    """What the record of a candidate holds that was handed in; an ONNX file is judged as it is."""
    source = record.get("source")
    return {
        "name": step.name,
        "position": step.position,
        "params": step.params,
        "precision": step.precision,
        "parity": step.parity,
        "sha256": step.candidate,
        "source_sha256": step.candidate if _is_onnx(source) else record.get("source_sha256"),
    }


def _file(name: str, digests: Digests, wanted: str | None) -> Iterator[Finding]:
    found = digests.get(name)
    if found == wanted:
        return
    if wanted is None:
        yield Finding(file=name, what="is there, and nothing was accepted")
    elif found is None:
        yield Finding(file=name, what="is missing")
    else:
        yield Finding(file=name, what=f"its sha256 is {found}; it should be {wanted}")


def _folder(position: int) -> str:
    """Where a candidate lies that was handed in."""
    return f"candidates/{position + 1:02d}"


def _is_onnx(source: object) -> bool:
    return isinstance(source, str) and source.endswith(".onnx")


def _text(value: object) -> str:
    """The value as a digest would be written; what is none is no file's."""
    return value if isinstance(value, str) else "not told"
