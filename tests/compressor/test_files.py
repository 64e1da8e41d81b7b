import hashlib
from pathlib import Path

import pytest

from compressor.files import atomic_path, digest, make_folder, sha256_of, write_atomically


def test_a_file_appears_with_its_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old and long")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail_halfway() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_temporary_file_lies_beside_the_final_one(tmp_path: Path) -> None:
    # A rename is atomic within one file system only.
    path = tmp_path / "file"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary != path
        assert not path.exists()


def test_written_files_are_readable_by_the_team(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"")
    assert path.stat().st_mode & 0o777 == 0o644


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == hashlib.sha256(b"abc").hexdigest()


def test_a_digest_knows_where_its_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") != digest("ab", "")


def test_text_and_its_utf8_bytes_have_one_digest() -> None:
    assert digest("é") == digest("é".encode())


@pytest.mark.parametrize("name", ["taken", "taken/below", "taken/below/it"])
def test_what_is_where_a_folder_should_be_is_named(tmp_path: Path, name: str) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(NotADirectoryError, match="a file is where a folder should be") as refused:
        make_folder(tmp_path / name)
    assert refused.value.filename == str(taken)
    (tmp_path / "other").write_text("a file")
    for target in ("nowhere", "other"):
        taken.unlink()
        taken.symlink_to(target)
        with pytest.raises(NotADirectoryError, match="a link to no folder") as refused:
            make_folder(tmp_path / name)
        assert refused.value.filename == str(taken)
    taken.unlink()
    make_folder(tmp_path / name)
    make_folder(tmp_path / name)
    assert (tmp_path / name).is_dir()
