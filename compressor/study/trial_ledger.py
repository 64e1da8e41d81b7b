"""The ledger of a study: one line for each trial that ended, only ever added to.

Workers write it themselves, each line in one piece, under a lock and onto the disk before the
worker goes on, so that neither a killed worker nor a killed driver loses a finished trial. It alone
says what is done: a study goes on under any engine, on any machine that sees the folder.
"""

import datetime as dt
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from compressor.files import make_folder
from compressor.study.trials import Json, Trial

SCHEMA_VERSION: Final = 1


class StudyLedgerError(ValueError):
    """The ledger cannot be read, or is another program's."""


class Record(BaseModel):
    """What is known of one trial that ended."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    trial: str = Field(pattern="^[0-9a-f]{64}$")
    kind: str
    about: dict[str, Json]
    status: Literal["done", "failed"]
    found: dict[str, Json] = Field(description="what was found; empty where it failed")
    error: str | None = Field(default=None, description="the traceback of a trial that failed")
    seconds: float = Field(ge=0)
    at: str = Field(description="when it ended, UTC")
    by: str = Field(description="host and process that did it")


_RECORDS: Final = TypeAdapter(Record)

_ID: Final = slice(len('{"trial":"'), len('{"trial":"') + 64)
"""Where in a line the trial's id is: it comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLedger:
    """The ledger in a file."""

    path: Path

    def read(self, only: Collection[str] | None = None) -> dict[str, Record]:
        """The last record of every trial, or of those with these ids; none where there is no file.

        Raises:
            StudyLedgerError: a line is no record, or the file is of another version.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StudyLedgerError(f"cannot read {self.path}: {error.strerror}") from error
        whole, _, _torn = content.rpartition(b"\n")
        first, _, rest = whole.partition(b"\n")
        if not first:
            return {}
        self._check_header(first)
        found = {}
        for number, line in enumerate(rest.splitlines(), start=2):
            if only is not None and line[_ID].decode(errors="replace") not in only:
                continue
            record = self._record(line, number)
            found[record.trial] = record
        return found

    def append(self, record: Record) -> None:
        """Add a line; it is on the disk when this returns."""
        line = record.model_dump_json().encode() + b"\n"
        with self._locked() as file:
            self._cut_torn_line(file)
            if os.lseek(file, 0, os.SEEK_END) == 0:
                line = _header() + line
            _write(file, line)
            os.fsync(file)

    def _check_header(self, line: bytes) -> None:
        try:
            header = json.loads(line)
            version = header["schema_version"] if header["kind"] == "study-ledger" else None
        except (ValueError, KeyError, TypeError):
            version = None
        if version is None:
            raise StudyLedgerError(
                f"{self.path} is not the ledger of a study; give another folder with --out"
            )
        if version != SCHEMA_VERSION:
            raise StudyLedgerError(
                f"{self.path} is a ledger of version {version}, and this program reads version "
                f"{SCHEMA_VERSION}; give another folder with --out, or go on with the program that "
                "wrote it"
            )

    def _record(self, line: bytes, number: int) -> Record:
        try:
            return _RECORDS.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise StudyLedgerError(
                f"{self.path}, line {number}: no record of a trial ({where}: {first['msg']}); "
                "remove the line, and its trial is done again"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        make_folder(self.path.parent)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    @staticmethod
    def _cut_torn_line(file: int) -> None:
        """Cut off what a writer left that was killed in the middle of its line: no record yet."""
        size = os.lseek(file, 0, os.SEEK_END)
        if size == 0 or os.pread(file, 1, size - 1) == b"\n":
            return
        content = os.pread(file, size, 0)
        os.ftruncate(file, content.rfind(b"\n") + 1)


def done(trial: Trial, found: Mapping[str, Json], *, seconds: float) -> Record:
    """The record of a trial that found something.

    Raises:
        ValueError: a number is not finite; what is not known is None.
    """
    json.dumps(found, allow_nan=False)  # pydantic would write null in its place
    return _ended(trial, seconds=seconds, status="done", found=dict(found))


def failed(trial: Trial, error: str, *, seconds: float) -> Record:
    """The record of a trial that crashed; ``error`` is its traceback."""
    return _ended(trial, seconds=seconds, status="failed", found={}, error=error)


def _ended(
    trial: Trial,
    *,
    seconds: float,
    status: Literal["done", "failed"],
    found: dict[str, Json],
    error: str | None = None,
) -> Record:
    return Record(
        trial=trial.id,
        kind=trial.kind,
        about=dict(trial.about),
        status=status,
        found=found,
        error=error,
        seconds=seconds,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        by=f"{os.uname().nodename}:{os.getpid()}",
    )


def _header() -> bytes:
    return json.dumps({"kind": "study-ledger", "schema_version": SCHEMA_VERSION}).encode() + b"\n"


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
