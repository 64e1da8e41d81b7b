"""Files that appear whole or not at all, and their digests. The bottom layer."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make the folder ``path`` and those above it, where they are not there.

    Raises:
        NotADirectoryError: something that is no folder has the name, such as a link to nowhere.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        above = (path, *path.parents)
        taken = next((p for p in above if os.path.lexists(p) and not p.is_dir()), path)
        kind = "a link to no folder" if taken.is_symlink() else "a file"
        raise NotADirectoryError(
            errno.ENOTDIR, f"{kind} is where a folder should be", str(taken)
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path`` that becomes ``path`` when the block succeeds.

    The content reaches the disk before the name does, so that neither a crash nor a full disk
    leaves a half-written file; on failure the temporary file is removed.
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; what a run leaves behind is for the team to read.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(content: bytes) -> str:
    """Hexadecimal sha256 of these bytes, as that of a file."""
    return hashlib.sha256(content).hexdigest()


def digest(*parts: bytes | str) -> str:
    """Hexadecimal sha256 of several parts, whose boundaries count: "ab", "c" is not "a", "bc"."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "little"))
        total.update(content)
    return total.hexdigest()
