"""How often the gate's images were looked at: a file with one line for each use.

Every look spends a part of what images can promise, so a use is recorded before the images are
touched. Each line has the digest of its own content and that of the line before, so that a line
that was changed, removed, added or moved is found. What a chain cannot show by itself, that lines
are gone from its end, a run finds that remembers the digest of its own (``check_contains``).
"""

import fcntl
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, assert_never

from compressor.config import (
    ArchiveSource,
    FactorySource,
    FolderSource,
    MaskedSource,
    Source,
    TorchvisionSource,
)
from compressor.files import make_folder, write_atomically
from compressor.ledger_file import (
    REMEDY,
    Entry,
    LedgerError,
    Recorded,
    content_of,
    following,
    parsed,
    read_ledger,
)

__all__ = [
    "FILE_NAME",
    "Entry",
    "LedgerError",
    "Recorded",
    "Use",
    "check_contains",
    "describe",
    "foresee",
    "ledger_path",
    "read_ledger",
    "record",
]

FILE_NAME: Final = "holdout-ledger.jsonl"

_SUFFIXES: Final = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a ledger says of one use. Of several sets of images, that which was used most counts."""

    number_of_uses: int
    """Of these images, up to now."""
    ordinal: int
    """Which of them this one is, 1-based; it stays when the same use is recorded again."""
    releases: int | None
    entry_digest: str
    alpha_spent: float
    """By the uses of these images up to this one, together."""
    alpha_shared: float
    """What all ``releases`` may spend together; without a limit, what this one spends."""
    reseeded: int | None
    """Number of an earlier line that is the same but for its seed, and so its plan."""
    studies: tuple[int, ...] = ()
    """Numbers of earlier lines by studies of these images."""

    @property
    def exhausted(self) -> bool:
        """The images have served as many uses before this one as its policy allows, or more."""
        return self.releases is not None and self.ordinal > self.releases

    @property
    def overspent(self) -> bool:
        """Uses under other policies have spent more than is left: the shared alpha is exceeded."""
        # A sum of shares may miss the whole by rounding.
        return self.releases is not None and self.alpha_spent > self.alpha_shared * (1 + 1e-9)


def ledger_path(source: Source, *, root: Path) -> Path:
    """Where the ledger of ``source`` is when data.ledger names no other: beside the images.

    For a factory, whose images are nowhere, that is the project's folder ``root``.
    """
    match source:
        case (
            FolderSource(folder=place)
            | MaskedSource(images=place)
            | ArchiveSource(npz=place)
            | TorchvisionSource(root=place)
        ):
            # Links are not followed: what they lead to may be a store that nobody looks into.
            return Path(os.path.normpath(root / place)).parent / FILE_NAME
        case FactorySource():
            return root / FILE_NAME
        case _:
            assert_never(source)


def record(path: Path, entry: Entry) -> Use:
    """Write ``entry`` into the ledger unless it is there already; what it amounts to.

    A plan fixes what comes out, so that the same plan again is the same use, if the rest of the
    entry is the same too. Another plan, if only for another seed, is another use. The line is on
    the disk on return; processes that record at once wait for each other.

    Raises:
        LedgerError: the file was changed by other hands, or cannot be written.
    """
    path = path.resolve()  # the file is replaced, and a link to it must stay one
    try:
        with _locked(path):
            content = content_of(path)
            lines = parsed(content, path)
            made = _found(lines, entry)
            if made is None:
                text, made = following(lines, entry)
                write_atomically(path, content + text)
    except OSError as error:
        raise LedgerError(
            f"cannot write {path}: {error.strerror or error}; a use of the gate's images is "
            "recorded before they are looked at: make the folder writable, or name another file "
            "in data.ledger of compress.yaml"
        ) from error
    return _use((*lines, made), made)


def foresee(path: Path, entry: Entry) -> Use:
    """What ``record`` would say now; nothing is written.

    Raises:
        LedgerError: the file was changed by other hands, or cannot be read.
    """
    lines = read_ledger(path)
    made = _found(lines, entry) or following(lines, entry)[1]
    return _use((*lines, made), made)


def check_contains(path: Path, entry_digest: str) -> None:
    """A ledger must still have the use that a run recorded in it.

    Raises:
        LedgerError: it has vanished, or the file was changed by other hands.
    """
    if all(line.digest != entry_digest for line in read_ledger(path)):
        raise LedgerError(
            f"{path} has lost the use {entry_digest[:12]}, which this run recorded in it: lines "
            "were cut off, the file was replaced, or data.ledger named another one then; "
            f"{REMEDY}"
        )


def describe(use: Use) -> str:
    """What a report says of a use; the same whenever the same use is recorded again."""
    this = _ordinal(use.ordinal)
    if use.releases is None:
        said = f"the {this} use of these images; the policy sets no limit, so that the promise "
        said += "holds for each run by itself, not for all together"
    elif use.exhausted:
        served = use.ordinal - 1
        allowed = "as many as the policy allows"
        if served > use.releases:
            allowed = f"and the policy allows {use.releases}"
        said = f"these images have served {served} release{'s' if served > 1 else ''}, {allowed}; "
        said += f"this would be the {this}: gate with new images"
    else:
        said = f"the {this} of {use.releases} releases that share these images"
        if use.overspent:
            said += (
                "; the uses so far, those under other policies among them, have spent "
                f"{100 * use.alpha_spent:.3g} %, more than the {100 * use.alpha_shared:.3g} % that "
                "the policy promises"
            )
    if use.reseeded is not None:
        said += f"; line {use.reseeded} is the same with another seed, and a new seed is a new use"
    if use.studies:
        lines = ", ".join(map(str, use.studies))
        said += f"; studied before (line {lines}): what was chosen by that, they do not certify"
    return said


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time. The lock is a file of its own, for the ledger itself is replaced."""
    make_folder(path.parent)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _found(lines: Sequence[Recorded], entry: Entry) -> Recorded | None:
    return next((line for line in lines if line.entry == entry), None)


def _use(lines: Iterable[Recorded], made: Recorded) -> Use:
    """What the line ``made`` amounts to; ``lines`` may have it twice."""
    entries = {line.number: line.entry for line in lines}
    upto = {number: entry for number, entry in entries.items() if number <= made.number}
    reseeded = (
        number
        for number, entry in upto.items()
        if entry.seed != made.entry.seed
        and replace(entry, plan=made.entry.plan, seed=made.entry.seed) == made.entry
    )
    return Use(
        number_of_uses=max(map(len, _sharing(entries.values(), made.entry))),
        ordinal=max(map(len, _sharing(upto.values(), made.entry))),
        releases=made.entry.releases,
        entry_digest=made.digest,
        alpha_spent=max(
            math.fsum(entry.alpha_spent for entry in uses)
            for uses in _sharing(upto.values(), made.entry)
        ),
        alpha_shared=made.entry.alpha_spent * (made.entry.releases or 1),
        reseeded=next(reseeded, None),
        studies=tuple(
            number
            for number, entry in upto.items()
            if number < made.number
            and entry.job == "study"
            and set(entry.images.values()) & set(made.entry.images.values())
        ),
    )


def _sharing(entries: Iterable[Entry], entry: Entry) -> list[list[Entry]]:
    """For each set of images of ``entry``, the uses of it."""
    uses = list(entries)
    return [
        [use for use in uses if digest in use.images.values()]
        for digest in set(entry.images.values())
    ]


def _ordinal(number: int) -> str:
    teens = number % 100 in range(11, 14)
    return f"{number}{'th' if teens else _SUFFIXES.get(number % 10, 'th')}"
