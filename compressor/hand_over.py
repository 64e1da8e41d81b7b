"""The accepted file of a finished run, copied to where it is deployed from. Loads no framework."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compressor.files import atomic_path, sha256_of
from compressor.finished import read_finished
from compressor.runs import RunError, RunFolder
from compressor.verify import verify

_SHOWN: Final = 3


class NotAcceptedError(Exception):
    """The run released nothing, or does not hold any more."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """3 if the run was rejected or does not hold, 4 if it was undecided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What was copied."""

    path: Path
    sha256: str
    size_bytes: int
    headline: str


def hand_over(folder: Path, target: Path) -> HandedOver:
    """Verify the run in ``folder`` and copy its accepted file to ``target``, byte for byte.

    Args:
        folder: of a finished run.
        target: the file to write, or a folder for it. Another file in its place is not replaced.

    Raises:
        RunError: there is no finished run of this version, or something else is at ``target``.
        NotAcceptedError: the run was not accepted, or its files are not what it was sealed with.
    """
    report = read_finished(folder)  # first: of an older version it is whole, and cannot be checked
    held = verify(folder)
    if held.findings:
        first = "; ".join(f"{one.file}: {one.what}" for one in held.findings[:_SHOWN])
        raise NotAcceptedError(
            f"the run in {folder} does not hold: {first}; compress verify tells all, and nothing "
            "is exported from it",
            exit_code=3,
        )
    if report.verdict != "accepted" or report.artifact_sha256 is None:
        raise NotAcceptedError(
            f"the run in {folder} is {report.verdict}: there is no file that may be deployed; its "
            "report.md says why",
            exit_code=report.exit_code,
        )
    source = RunFolder(path=folder).model
    path = target / source.name if target.is_dir() else target
    _copy(source, path, sha256=report.artifact_sha256)
    return HandedOver(
        path=path,
        sha256=report.artifact_sha256,
        size_bytes=path.stat().st_size,
        headline=held.headline or "",
    )


def _copy(source: Path, path: Path, *, sha256: str) -> None:
    if path.exists() and (not path.is_file() or sha256_of(path) != sha256):
        raise RunError(f"{path} is there already, and something else; give another name with --to")
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)
        # The copy is hashed, not the source: what was checked is what appears.
        if sha256_of(temporary) != sha256:
            raise NotAcceptedError(
                f"{source} changed while it was copied: it is not the file that was accepted",
                exit_code=3,
            )
