from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from compressor.pixels import pixels_digest
from compressor.preview import preview, shift_rows
from gates.shifts import SHIFTS, ShiftError, available, shifted

USUAL: dict[str, Any] = {"number": 0, "side": None, "names": (), "seed": 0, "profile": "auto"}


def image(*, side: int = 16, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, size=(channels, side, side), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two class folders with an image each, one coloured and one grey."""
    coloured = Image.fromarray(image().transpose(1, 2, 0))
    grey = Image.fromarray(image(channels=1)[0])
    for name, picture in (("car", coloured), ("tram", grey)):
        (tmp_path / "images" / name).mkdir(parents=True)
        picture.save(tmp_path / "images" / name / "1.png")
    return tmp_path / "images"


def lower_part(file: Path, *, shown: int) -> NDArray[np.uint8]:
    """The six pictures of the last row of a sheet, [6 shown shown 3]."""
    with Image.open(file) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    lefts = [pixels.shape[1] - 12 - back * (shown + 4) + 4 for back in range(6, 0, -1)]
    return np.stack([pixels[-12 - shown : -12, left : left + shown] for left in lefts])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("profile", ["auto", "imagenet-c"])
def test_a_row_is_what_the_gate_would_see_of_the_image(channels: int, profile: str) -> None:
    pixels = image(channels=channels)
    names = ("gaussian_noise", "contrast")
    rows = list(shift_rows(pixels, names=names, seed=3, profile=profile))
    assert tuple(row.label for row in rows) == names
    # The images of a set have these ids; a neighbour changes nothing.
    batch = np.stack([image(channels=channels, seed=9), pixels])
    ids = np.array(
        [int.from_bytes(pixels_digest(each)[:8], "little") for each in batch], dtype=np.uint64
    )
    for row in rows:
        np.testing.assert_array_equal(row.cells[0], pixels)
        for severity in range(1, 6):
            moved = shifted(batch, ids, name=row.label, severity=severity, seed=3, profile=profile)
            np.testing.assert_array_equal(row.cells[severity], moved[1])


@pytest.mark.parametrize("name", available()[1:])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_shift_leaves_a_blank_picture(name: str, channels: int) -> None:
    slope = np.linspace(40, 200, 32).astype(np.uint8)
    pixels = np.broadcast_to(slope, (channels, 32, 32))
    (row,) = shift_rows(pixels, names=[name], seed=0, profile="auto")
    assert not row.note
    # Of a range of 160, 15 per cent at least are left.
    assert [severity for severity, cell in enumerate(row.cells) if np.ptp(cell) < 20] == []


@pytest.mark.parametrize("number, channels", [(0, 3), (1, 1)])
def test_the_sheet_shows_those_rows_enlarged(folder: Path, number: int, channels: int) -> None:
    target = folder.parent / "sheet.png"
    preview(folder, target, **{**USUAL, "names": ("impulse_noise",), "number": number})
    rows = shift_rows(
        image(channels=channels), names=("impulse_noise",), seed=0, profile="cifar-10-c"
    )
    squares = np.kron(np.stack(next(iter(rows)).cells), np.ones((1, 1, 10, 10), dtype=np.uint8))
    expected = np.broadcast_to(squares.transpose(0, 2, 3, 1), (6, 160, 160, 3))
    np.testing.assert_array_equal(lower_part(target, shown=160), expected)


def test_another_side_is_scaled_as_data_are(folder: Path) -> None:
    target = folder.parent / "sheet.png"
    preview(folder, target, **{**USUAL, "names": ("contrast",), "side": 40})
    with Image.open(folder / "car" / "1.png") as picture:
        scaled = picture.resize((40, 40), Image.Resampling.BILINEAR)
    found = lower_part(target, shown=160)[0]
    np.testing.assert_array_equal(found[::4, ::4], np.asarray(scaled))


def test_what_is_not_installed_has_a_row_that_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing() -> dict[str, str]:
        raise ShiftError("saturate needs what is not here; pip install it")

    monkeypatch.setitem(SHIFTS, "saturate", replace(SHIFTS["saturate"], materials=nothing))
    names = ("saturate", "contrast")
    target = folder.parent / "sheet.png"
    missing = preview(folder, target, **{**USUAL, "names": names})
    assert list(missing) == ["saturate: saturate needs what is not here; pip install it"]
    rows = list(shift_rows(image(), names=names, seed=0, profile="auto"))
    assert [len(row.cells) for row in rows] == [0, 6]
    alone = folder.parent / "alone.png"
    preview(folder, alone, **{**USUAL, "names": ("contrast",)})
    with Image.open(target) as both, Image.open(alone) as one:
        assert both.height > one.height
    np.testing.assert_array_equal(lower_part(target, shown=160), lower_part(alone, shown=160))


def test_the_same_request_writes_the_same_bytes(folder: Path) -> None:
    first, again, other = (folder.parent / name for name in ("1.png", "2.png", "3.png"))
    settings = {**USUAL, "names": ("shot_noise",)}
    preview(folder, first, **settings)
    preview(folder, again, **settings)
    preview(folder, other, **{**settings, "seed": 1})
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_a_named_shift_is_shown_once(folder: Path) -> None:
    once, twice = folder.parent / "once.png", folder.parent / "twice.png"
    preview(folder, once, **{**USUAL, "names": ("contrast",)})
    preview(folder, twice, **{**USUAL, "names": ("contrast", "contrast")})
    assert once.read_bytes() == twice.read_bytes()


def test_a_sheet_that_cannot_be_written_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder.parent / "sheet.png"
    target.write_bytes(b"the old one")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match=r"cannot write .*sheet\.png: No space left on device"):
        preview(folder, target, **{**USUAL, "names": ("contrast",)})
    assert target.read_bytes() == b"the old one"
    assert sorted(folder.parent.iterdir()) == [folder, target]
