import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from compressor.sheet import Row, contact_sheet

GAP = 4
MARGIN = 12
HEADINGS = ("clean", "severity 1", "severity 2")


def noise(count: int, *, side: int, channels: int = 3) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, size=(count, channels, side, side), dtype=np.uint8))


def made(*rows: Row, side: int = 32, caption: str = "a caption") -> Image.Image:
    return contact_sheet(rows, headings=HEADINGS, caption=caption, side=side)


def cell(sheet: Image.Image, *, row: int, column: int, of: int, shown: int) -> NDArray[np.uint8]:
    """What the sheet shows in ``row`` (of so many) and ``column``, as far as it has that size."""
    left = sheet.width - MARGIN - (len(HEADINGS) - column) * (shown + GAP) + GAP
    top = sheet.height - MARGIN - (of - row) * (shown + GAP) + GAP
    return np.asarray(sheet)[top : top + shown, left : left + shown]


@pytest.mark.parametrize("side, shown", [(8, 160), (28, 140), (32, 160), (64, 128), (96, 96)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_are_enlarged_so_that_each_pixel_is_a_square(
    side: int, shown: int, channels: int
) -> None:
    cells = noise(6, side=side, channels=channels)
    rows = [Row(label="first", cells=cells[:3]), Row(label="second", cells=cells[3:])]
    sheet = made(*rows, side=side)
    for number, pixels in enumerate(cells):
        found = cell(sheet, row=number // 3, column=number % 3, of=2, shown=shown)
        squares = np.kron(pixels, np.ones((shown // side, shown // side), dtype=np.uint8))
        expected = np.broadcast_to(squares.transpose(1, 2, 0), (shown, shown, 3))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [288, 289, 512, 1024])
def test_large_pictures_are_reduced_until_six_columns_fit(side: int) -> None:
    pixels = np.full((3, side, side), 77, dtype=np.uint8)
    rows = [Row(label="jpeg_compression", cells=[pixels] * 6)]
    sheet = contact_sheet(rows, headings=["severity"] * 6, caption="", side=side)
    assert sheet.width < 2000
    assert (cell(sheet, row=0, column=0, of=1, shown=288) == 77).all()


def test_every_row_has_its_label_and_every_column_its_heading() -> None:
    blank = np.full((3, 32, 32), 255, dtype=np.uint8)
    rows = [Row(label=label, cells=[blank] * 3) for label in ("fog", "snow")]
    ink = np.asarray(made(*rows, caption="")) < 128
    labels = ink[-MARGIN - 2 * 160 - GAP :, : -MARGIN - 3 * (160 + GAP)]
    assert labels[:160].any()
    assert labels[160:].any()
    headings = ink[: -MARGIN - 2 * (160 + GAP)]
    for column in range(3):
        left = ink.shape[1] - MARGIN - (3 - column) * (160 + GAP) + GAP
        assert headings[:, left : left + 160].any(), column


def test_another_label_note_or_caption_is_another_picture() -> None:
    note = "frost needs five photographs of ice"
    usual = made(Row(label="frost", note=note))
    for other in (
        made(Row(label="forst", note=note)),
        made(Row(label="frost", note=note.replace("five", "four"))),
        made(Row(label="frost", note=note), caption="a captain"),
    ):
        assert other.size == usual.size
        assert (np.asarray(other) != np.asarray(usual)).any()


def test_a_row_without_pictures_says_so_in_as_many_lines_as_it_takes() -> None:
    short = made(Row(label="frost", note="not installed"))
    long = made(Row(label="frost", note="not installed, " * 40))
    assert long.width == short.width
    assert long.height > short.height + 100
    edge = np.asarray(long)[:, -MARGIN:]
    assert (edge == 255).all()


@pytest.mark.parametrize("name", ["Überführung/雪.jpg", "line\nbreak.png", "\udcff.png", ""])
def test_any_name_of_a_file_can_stand_in_the_caption(name: str) -> None:
    sheet = made(Row(label="fog", cells=noise(3, side=32)), caption=name)
    assert sheet.size == made(Row(label="fog", cells=noise(3, side=32))).size


def test_given_pixels_are_left_alone() -> None:
    cells = noise(3, side=32)
    before = np.stack(cells)
    made(Row(label="fog", cells=cells))
    np.testing.assert_array_equal(cells, before)
