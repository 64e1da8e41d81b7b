"""The lines of a ledger: how they are written, and whether they are as they were written.

Each line has the digest of its own content, and that of the line before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compressor.files import digest_of

_START: Final = "0" * 64
"""What the first line has in place of the digest of a line before."""

REMEDY: Final = (
    "restore the file from version control; where that cannot be done the count is lost: gate with "
    "new images, and name a new file in data.ledger of compress.yaml"
)

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

Job = Literal["compress", "gate", "study"]


class LedgerError(ValueError):
    """The ledger cannot be trusted, read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A use of gate images: who is about to look at which, and what that spends."""

    images: Mapping[str, str]
    """Digest of each set of images, by the rule that it is for; "gate" for data.gate."""
    plan: str
    """Digest of the plan."""
    job: Job
    policy: str
    """Of a study, which has none, its name; and the digest of its plan."""
    policy_digest: str
    alpha_spent: float
    """Chance of a false acceptance that this use takes: the policy's alpha per release. A study
    accepts nothing and takes none."""
    releases: int | None
    """How many uses may share the images; None where the policy sets no limit."""
    dense: str
    candidates: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One line of a ledger."""

    number: int
    """1-based, as in an editor."""
    digest: str
    entry: Entry


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Policy(_Record):
    name: str
    digest: str


class _Line(_Record):
    """A line as it is written."""

    schema_version: Literal[1] = 1
    number: int
    previous: Sha256
    images: Annotated[dict[str, str], Field(min_length=1)]
    plan: str
    job: Job
    policy: _Policy
    alpha_spent: Annotated[float, Field(ge=0, lt=1)]
    releases: Annotated[int, Field(ge=1)] | None
    dense: str
    candidates: tuple[str, ...]
    seed: int
    digest: Sha256

    @model_validator(mode="after")
    def _spends(self) -> "_Line":
        if (self.alpha_spent == 0) != (self.job == "study"):
            raise ValueError("alpha_spent must be 0 for a study, and above 0 for a gate")
        return self


def read_ledger(path: Path) -> tuple[Recorded, ...]:
    """All lines, their chain verified; none where there is no file.

    Raises:
        LedgerError: naming the first line that is not as it was written; or the file cannot be
            read.
    """
    try:
        content = content_of(path)
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror or error}") from error
    return parsed(content, path)


def content_of(path: Path) -> bytes:
    """The bytes of the file; none where there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def parsed(content: bytes, path: Path) -> tuple[Recorded, ...]:
    """The lines that ``content`` consists of; ``path`` is for messages.

    Raises:
        LedgerError: naming the first line that is not as it was written.
    """
    lines: list[Recorded] = []
    for number, text in enumerate(content.splitlines(keepends=True), start=1):
        try:
            lines.append(_checked(text, number=number, previous=_last(lines)))
        except ValueError as error:
            raise LedgerError(f"{path}, line {number}: {error}; {REMEDY}") from error
    return tuple(lines)


def _last(lines: Sequence[Recorded]) -> str:
    return lines[-1].digest if lines else _START


def _checked(text: bytes, *, number: int, previous: str) -> Recorded:
    """A line that must be this one, byte for byte; ValueError says in what it is not."""
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise ValueError(f"not a line of a ledger ({where}: {first['msg']})") from error
    if line.number != number:
        raise ValueError(f"line {line.number} stands here: lines were removed, added or moved")
    entry = Entry(
        policy=line.policy.name,
        policy_digest=line.policy.digest,
        **line.model_dump(exclude={"schema_version", "number", "previous", "policy", "digest"}),
    )
    if text != _written(entry, number=number, previous=line.previous):
        raise ValueError("its content is not what its digest is of: it was changed")
    if line.previous != previous:
        raise ValueError("it follows another line than the one before it: one of them was changed")
    return Recorded(number=number, digest=line.digest, entry=entry)


def _written(entry: Entry, *, number: int, previous: str) -> bytes:
    """The line of ``entry``. The digest at its end is that of the object without it."""
    content = {
        "schema_version": 1,
        "number": number,
        "previous": previous,
        "images": dict(sorted(entry.images.items())),
        "plan": entry.plan,
        "job": entry.job,
        "policy": {"name": entry.policy, "digest": entry.policy_digest},
        "alpha_spent": entry.alpha_spent,
        "releases": entry.releases,
        "dense": entry.dense,
        "candidates": entry.candidates,
        "seed": entry.seed,
    }
    digest = digest_of(json.dumps(content).encode())
    return json.dumps({**content, "digest": digest}).encode() + b"\n"


def following(lines: Sequence[Recorded], entry: Entry) -> tuple[bytes, Recorded]:
    """The line for a new use, read back before it can get into the file."""
    number, previous = len(lines) + 1, _last(lines)
    text = _written(entry, number=number, previous=previous)
    return text, _checked(text, number=number, previous=previous)
