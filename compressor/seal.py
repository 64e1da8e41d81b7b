"""The end of a run: its record, the words for it, and digests that tie all of its files together.

``SHA256SUMS`` has the digest of every file in COVERED, the report among them; ``attestation.json``
has that of ``SHA256SUMS``. So whoever signs the one file vouches for all. What else lies in the
folder (``.lock``, checkpoints of unfinished retraining, temporary files, a signature, notes) is not
covered, and nothing that a verdict rests on is in it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from compressor.attestation import SUMS, bill_of_materials, statement, sums
from compressor.files import digest_of, sha256_of, write_atomically
from compressor.junit import junit_xml
from compressor.render import markdown
from compressor.report_schema import Report
from compressor.runs import RunFolder
from compressor.samples_file import SAMPLES

ATTESTATION: Final = "attestation.json"
BILL: Final = "model.cdx.json"
PAGE: Final = "report.html"


def _text(report: Report) -> bytes:
    return markdown(report).encode()


RENDERED: Final[Mapping[str, Callable[[Report], bytes]]] = {
    "report.md": _text,
    "junit.xml": junit_xml,
}
"""Files that say what the report says; each is made from it alone."""

COVERED: Final = (
    "plan.lock",
    "policy.json",
    "evidence.jsonl",
    "use.json",
    "speeds.json",
    "answers/*/*.npy",
    "rehearsal/*/*.npy",
    "candidates/*/candidate.json",
    "candidates/*/model.onnx",
    "candidates/*/model.*.json",
    "candidates/*/model.*.onnx",
    "candidates/*/weights.safetensors",
    "dense.onnx",
    "model.onnx",
    "report.json",
    SAMPLES,
    PAGE,
    BILL,
    *RENDERED,
)
"""Names and patterns of the files that the digests in SHA256SUMS are of."""


def seal(run: RunFolder, report: Report, *, page: bytes | None = None) -> None:
    """Write the report, what is made from it, and the digests of all files; the report last.

    ``page`` shows the report, drawn by who can; without one, none is left behind.
    """
    record = report.model_dump_json(indent=2).encode()
    # An earlier invocation's: a run that is killed from here on is an unfinished one.
    run.report.unlink(missing_ok=True)
    (run.path / BILL).unlink(missing_ok=True)
    (run.path / PAGE).unlink(missing_ok=True)
    if page is not None:
        write_atomically(run.path / PAGE, page)
    for name, content in derived(report, dense=sha256_of(run.dense)).items():
        write_atomically(run.path / name, content)
    digests = {name: sha256_of(run.path / name) for name in covered(run.path)}
    digests[run.report.name] = digest_of(record)
    listed = sums(digests)
    write_atomically(run.path / SUMS, listed)
    attested = statement(report, {**digests, SUMS: digest_of(listed)})
    write_atomically(run.path / ATTESTATION, attested)
    write_atomically(run.report, record)


def derived(report: Report, *, dense: str) -> dict[str, bytes]:
    """The files that are made from the report, by name; ``dense`` is the sha256 of dense.onnx."""
    files = {name: render(report) for name, render in RENDERED.items()}
    bill = bill_of_materials(report, dense=dense)
    return files if bill is None else {**files, BILL: bill}


def covered(folder: Path) -> list[str]:
    """Names of the files in a run folder that are covered, sorted."""
    found = (path for pattern in COVERED for path in folder.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)
