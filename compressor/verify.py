"""Does a finished run hold? Everything is checked again that can be without images or a network.

First the digests: of every file against ``SHA256SUMS``, and of that against ``attestation.json``
(``compressor.seal`` has what is covered). Then the contents: the counts are recounted from the
answers, the verdict is recomputed from the counts and the policy, and the report and all that is
made from it is compared with what comes out (``compressor.recompute``).
"""

import importlib.metadata
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from compressor.attestation import SUMS, Digests, statement
from compressor.differences import differences
from compressor.files import digest, digest_of, sha256_of
from compressor.page_check import page_fault
from compressor.recompute import checked
from compressor.records import Finding, Records, read_json
from compressor.render import headline
from compressor.report_schema import Report
from compressor.runs import RunError, RunFolder, read_evidence
from compressor.seal import ATTESTATION, covered, derived
from gates import Evidence
from policies import Policy

Model = TypeVar("Model", bound=BaseModel)

_LINE: Final = re.compile(r"([0-9a-f]{64})  (\S+)")


class UnfinishedRunError(ValueError):
    """There is no finished run to verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of it; the run holds if there are no findings."""

    findings: tuple[Finding, ...]
    headline: str | None
    """The report's verdict in one line; None if the report cannot be read."""
    files: int
    """That are covered."""
    cells: int
    """That were recounted and judged again."""
    not_covered: tuple[str, ...]
    """Names of other files in the folder."""
    not_drawn: str | None = None
    """Why the page was not drawn again, to be compared; None if it was, or there is none."""


def verify(folder: Path, *, policy: Policy | None = None) -> Verification:
    """Check a finished run, and that it was judged under ``policy``, if there is one.

    Raises:
        UnfinishedRunError: the folder is no run's, or the run has not come to its end.
    """
    run = RunFolder(path=folder)
    _require_finished(run)
    digests = {name: sha256_of(folder / name) for name in covered(folder)}
    sealed, findings = _seal(folder, digests)
    records, unread = _read(run)
    findings += unread
    not_drawn: str | None = None
    if records is not None:
        findings += _policy(run, records, asked=policy)
        findings += checked(run, records, digests)
        damaged = {finding.file for finding in findings}
        # Words are made of a record that is known to hold together.
        if not damaged & {run.report.name, run.evidence.name}:
            findings += _derived(run, records.report, sealed or digests)
            drawn, not_drawn = _drawn(run, records.report)
            findings += drawn
    return Verification(
        findings=tuple(dict.fromkeys(findings)),
        headline=headline(records.report) if records else None,
        files=len(digests),
        cells=len(records.evidence) if records else 0,
        not_covered=tuple(_others(folder, digests)),
        not_drawn=not_drawn,
    )


def _require_finished(run: RunFolder) -> None:
    if not run.plan.is_file() and not run.report.is_file():
        raise UnfinishedRunError(
            f"{run.path} is not the folder of a run: there is neither a plan.lock nor a "
            "report.json in it; give the folder that compress wrote"
        )
    if not run.report.is_file():
        raise UnfinishedRunError(
            f"the run in {run.path} has not come to its end: there is no report.json; give the "
            "command that began it once more, and verify then"
        )


def _seal(folder: Path, digests: Digests) -> tuple[Digests | None, list[Finding]]:
    """The digests that the run was sealed with, if they can be read, and what differs from them."""
    listed, attested = _bytes_of(folder / SUMS), _bytes_of(folder / ATTESTATION)
    if listed is None:
        return None, [Finding(file=SUMS, what="is missing")]
    findings: list[Finding] = []
    if attested is not None and digest_of(listed).encode() not in attested:
        findings.append(Finding(file=SUMS, what=f"its sha256 is not in {ATTESTATION}"))
    sealed: dict[str, str] = {}
    for number, line in enumerate(listed.decode(errors="replace").splitlines(), start=1):
        if not (parts := _LINE.fullmatch(line)) or parts[2] in sealed:
            told = f"line {number} is not a digest and the name of a file"
            return None, [*findings, Finding(file=SUMS, what=told)]
        sealed[parts[2]] = parts[1]
    for name in sorted(digests.keys() | sealed.keys()):
        if name not in digests:
            findings.append(Finding(file=name, what=f"is missing; {SUMS} has it"))
        elif name not in sealed:
            findings.append(Finding(file=name, what=f"is not in {SUMS}: it was put there later"))
        elif digests[name] != sealed[name]:
            findings.append(Finding(file=name, what=f"its sha256 is not the one in {SUMS}"))
    return sealed, findings


def _read(run: RunFolder) -> tuple[Records | None, list[Finding]]:
    """The records, if all can be read, and those that cannot."""
    findings: list[Finding] = []
    plan = read_json(run.plan)
    if not isinstance(plan, dict):
        findings.append(Finding(file=run.plan.name, what="is missing, or no JSON object"))
    policy = _parsed(run.policy, Policy, findings)
    report = _parsed(run.report, Report, findings)
    evidence: tuple[Evidence, ...] = ()
    try:
        evidence = read_evidence(run)
    except RunError as error:
        # After the path, which is told already; pydantic's second line says where.
        what = " ".join(str(error).removeprefix(str(run.evidence)).splitlines()[:3])
        findings.append(Finding(file=run.evidence.name, what=what.strip()))
    if findings or policy is None or report is None or not isinstance(plan, dict):
        return None, findings
    records = Records(
        plan=plan,
        plan_digest=digest(run.plan.read_bytes()),
        policy=policy,
        evidence=evidence,
        report=report,
    )
    return records, findings


def _parsed(path: Path, model: type[Model], findings: list[Finding]) -> Model | None:
    """The record in a file, or None and a finding."""
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        findings.append(Finding(file=path.name, what=f"cannot be read: {error.strerror}"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        findings.append(Finding(file=path.name, what=f"is damaged: {place}: {first['msg']}"))
    return None


def _policy(run: RunFolder, records: Records, *, asked: Policy | None) -> Iterator[Finding]:
    policy = records.policy
    if digest_of(run.policy.read_bytes()) != policy.digest():
        yield Finding(file=run.policy.name, what="is not in the form that its digest is of")
    if asked is not None and asked.digest() != policy.digest():
        yield Finding(
            file=run.policy.name,
            what=f"is {policy.name!r} of digest {policy.digest()}; the policy that was asked for "
            f"is {asked.name!r} of digest {asked.digest()}",
        )


def _drawn(run: RunFolder, report: Report) -> tuple[list[Finding], str | None]:
    """What is wrong with the page, and why that cannot be told where it cannot."""
    try:
        fault = page_fault(run, report)
    except ImportError as error:
        return [], f"{(error.name or 'what draws').partition('.')[0]} is not installed"
    if fault is None:
        return [], None
    return [Finding(file=fault.file, what=f"{fault.what}{_by(report)}")], None


def _derived(run: RunFolder, report: Report, digests: Digests) -> Iterator[Finding]:
    """What is made from the report is what this report makes, byte for byte.

    ``digests`` are those that the run was sealed with, so that a file that was changed since is
    told of once.
    """
    if missing := sorted({run.plan.name, run.dense.name} - digests.keys()):
        yield from (Finding(file=name, what="is missing") for name in missing)
        return
    by = _by(report)
    for name, content in derived(report, dense=digests[run.dense.name]).items():
        if _bytes_of(run.path / name) != content:
            yield Finding(file=name, what=f"is not what report.json gives{by}")
    listed = _bytes_of(run.path / SUMS) or b""
    wanted = statement(report, {**digests, SUMS: digest_of(listed)})
    attested = _bytes_of(run.path / ATTESTATION)
    if attested == wanted:
        return
    found = read_json(run.path / ATTESTATION)
    told = list(differences(found, json.loads(wanted))) if isinstance(found, dict) else []
    for line in told or ["is missing, or not what a run writes"]:
        yield Finding(file=ATTESTATION, what=f"{line}{by}")


def _by(report: Report) -> str:
    """Which version wrote the run, if it is another one."""
    wrote = report.versions.get("compressor")
    here = importlib.metadata.version("compressor")
    return "" if wrote == here else f" (compressor {wrote} wrote it, this is {here})"


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _others(folder: Path, digests: Digests) -> Iterator[str]:
    known = {*digests, SUMS, ATTESTATION}
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    yield from sorted(name for name in names if name not in known)
