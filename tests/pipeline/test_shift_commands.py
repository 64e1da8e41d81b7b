import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from gates.shifts import SHIFTS, ShiftError, available
from gates.shifts.tables import TABLES

Compress = Callable[..., Result]
Refused = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three images, the last one damaged, and an empty folder."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (16, 16)), ("b.jpg", (24, 16))):
        (tmp_path / "images").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, size=(*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    (tmp_path / "images" / "c.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    return tmp_path / "images"


def rows_of(text: str) -> dict[str, list[str]]:
    """The first row of each shift in the list, by its name."""
    found = (line.split() for line in text.splitlines() if re.match(r"[a-z]+_?[a-z]* +\S", line))
    return {words[0]: words for words in found if words[0] in SHIFTS}


@pytest.mark.parametrize("profile", TABLES)
def test_list_has_every_shift_with_its_numbers(compress: Compress, profile: str) -> None:
    result = compress("shifts", "list", "--profile", profile)
    assert result.exit_code == 0
    found = rows_of(result.stdout)
    assert tuple(found) == available()
    for name, words in found.items():
        shift = SHIFTS[name]
        assert words[1:4] == [shift.family, shift.suite, shift.chance]
        if name != "clean":
            first = [f"{row[0]:.4g}" for row in TABLES[profile][name]]
            assert words[-5:] == first
            assert all(f" {parameter} " in result.stdout for parameter in shift.parameters)
    assert max(map(len, result.stdout.splitlines())) <= 120


def test_list_shows_the_strengths_of_cifar_unless_told_otherwise(compress: Compress) -> None:
    usual = compress("shifts", "list").stdout
    assert usual == compress("shifts", "list", "--profile", "cifar-10-c").stdout
    assert usual != compress("shifts", "list", "--profile", "imagenet-c").stdout


def test_list_of_one_severity_has_its_numbers_alone(compress: Compress) -> None:
    found = rows_of(compress("shifts", "list", "--severity", "3").stdout)
    assert found["gaussian_noise"][1:] == ["noise", "benchmark", "drawn", "sigma", "0.08"]


def test_list_says_what_is_missing_and_how_to_get_it(
    compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing() -> dict[str, str]:
        raise ShiftError("contrast needs what is not here; pip install it")

    monkeypatch.setitem(SHIFTS, "contrast", replace(SHIFTS["contrast"], materials=nothing))
    assert "contrast cannot be used here: contrast needs" in compress("shifts", "list").stdout
    there = replace(SHIFTS["contrast"], materials=lambda: {"grey.png": "ab", "black.png": "cd"})
    monkeypatch.setitem(SHIFTS, "contrast", there)
    assert "contrast: installed are grey.png, black.png" in compress("shifts", "list").stdout


@pytest.mark.parametrize(
    "words, told",
    [
        (("--profile", "imagenet"), r"no table 'imagenet'; there are: cifar-10-c, tiny-imagenet-c"),
        (("--profile", "auto"), r"no table 'auto'"),
        (("--severity", "6"), r"severities 1 to 5, got 6"),
        (("--severity", "0"), r"severities 1 to 5, got 0"),
        (("--severity", "mild"), r"'mild' is not a valid integer"),
    ],
)
def test_list_refuses_what_there_is_not(
    refused: Refused, words: tuple[str, ...], told: str
) -> None:
    said = refused(["shifts", "list", *words], code=2)
    assert re.search(told, said), said


def test_preview_writes_the_sheet_and_says_where(
    compress: Compress, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "sheet.png"
    result = compress(
        "shifts", "preview", str(folder), "-o", str(target), "--shift", "contrast",
        "--shift", "brightness", "--side", "8",
    )  # fmt: skip
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{target}\n", "")
    with Image.open(target) as sheet:
        assert sheet.height > 2 * 160
        assert sheet.width > 6 * 160
    target.unlink()
    assert compress(*["shifts", "preview", str(folder), "-o", str(target)]).exit_code == 0
    with Image.open(target) as sheet:
        # frost may be missing; its row is then lower, but there.
        assert sheet.height > (len(available()) - 2) * 160


@pytest.mark.parametrize("ending, kind", [(".png", "PNG"), (".jpg", "JPEG"), (".JPEG", "JPEG")])
def test_the_ending_says_the_format(
    compress: Compress, folder: Path, tmp_path: Path, ending: str, kind: str
) -> None:
    target = tmp_path / f"sheet{ending}"
    words = ("shifts", "preview", str(folder), "-o", str(target), "--shift", "contrast")
    assert compress(*words).exit_code == 0
    with Image.open(target) as sheet:
        assert sheet.format == kind


@pytest.mark.parametrize(
    "place, words, told",
    [
        ("absent", (), r"no folder \S+absent; expected"),
        ("empty", (), r"no images in \S+empty; allowed are .*\.png"),
        ("images/a.png", (), r"no folder \S+a\.png"),
        ("images", ("--image", "2"), r"cannot decode \S+c\.png"),
        ("images", ("--image", "3"), r"3 images, with the numbers 0 to 2, got 3"),
        ("images", ("--image", "-1"), r"numbers 0 to 2, got -1"),
        ("images", ("--shift", "gausian_noise"), r"no shift 'gausian_noise'; did you mean 'gau"),
        ("images", ("--shift", "clean"), r"clean is the first column"),
        ("images", ("--side", "7"), r"the side is 8 to 1024 pixels, got 7"),
        ("images", ("--side", "1025"), r"the side is 8 to 1024 pixels, got 1025"),
        ("images", ("--profile", "cifar"), r"no profile 'cifar'; there are: auto, cifar-10-c"),
        ("images", ("--output", "sheet.gif"), r"sheet\.gif .* allowed are \.jpeg, \.jpg, \.png"),
        ("images", ("--output", "sheet"), r"sheet has no ending of a picture"),
        ("images", ("--output", "absent/sheet.png"), r"no folder absent to write sheet\.png to"),
        ("images", ("--output", "folder.png"), r"folder\.png is a folder"),
    ],
)
def test_preview_refuses_what_it_cannot_show(
    refused: Refused,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    words: tuple[str, ...],
    told: str,
) -> None:
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    given = ["shifts", "preview", str(folder.parent / place), "-o", "sheet.png", *words]
    said = refused(given, code=2)
    assert re.search(told, said), said
    assert said.count("\n") == 1


def test_preview_needs_a_place_to_write_to(refused: Refused, folder: Path) -> None:
    assert "Missing option '-o'" in refused(["shifts", "preview", str(folder)], code=2)


@pytest.mark.parametrize("side", [(), ("--side", "8")])
def test_an_image_that_is_too_small_is_scaled_only_when_asked(
    compress: Compress, tmp_path: Path, side: tuple[str, ...]
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (6, 7)).save(tmp_path / "images" / "a.png")
    target = tmp_path / "sheet.png"
    words = ("shifts", "preview", str(tmp_path / "images"), "-o", str(target), *side)
    result = compress(*words, "--shift", "contrast")
    assert result.exit_code == (0 if side else 2)
    assert side or "is 7 x 6 pixels, and shifts need at least 8" in result.stderr
    assert target.exists() == bool(side)


@pytest.mark.parametrize("mode", ["I;16", "LA", "F"])
def test_an_image_of_another_kind_is_refused(refused: Refused, tmp_path: Path, mode: str) -> None:
    if mode == "F":
        name = "a.jpg"
        (tmp_path / "images").mkdir()
        Image.new("F", (16, 16)).save(tmp_path / "images" / name, "TIFF")
    else:
        (tmp_path / "images").mkdir()
        Image.new(mode, (16, 16)).save(tmp_path / "images" / "a.png")
    words = ["shifts", "preview", str(tmp_path / "images"), "-o", str(tmp_path / "sheet.png")]
    said = refused(words, code=2)
    assert f"neither grey nor coloured in 8 bits: its mode is {mode}, allowed are L, 1, RGB" in said
