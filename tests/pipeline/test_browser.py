"""Pages in a real browser: nothing is reported, nothing overflows, everybody can read them.

The browser is the machine's own Chromium; where there is none these tests are skipped.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from click.testing import Result
from playwright.sync_api import Browser

from compressor.finished import read_finished
from compressor.report import accepted_step
from tests.pipeline.browsing import SIZES, Scheme, looked_at, shown, wrong_with

PAGES: Final = (
    "accepted", "rejected", "undecided", "no ratio", "several precisions", "two runs"
)  # fmt: skip

PAINT: Final = "(selector) => getComputedStyle(document.querySelector(selector)).color"


@pytest.fixture(scope="module")
def page_file(
    finished: Callable[[str], tuple[Path, Result]],
    compress: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """The page of a finished run, or one that compares two."""

    def file(name: str) -> Path:
        if name != "two runs":
            return finished(name)[0] / "report.html"
        target = tmp_path_factory.mktemp("compared") / "page.html"
        both = (str(finished(which)[0]) for which in ("accepted", "undecided"))
        assert compress("report", *both, "-o", str(target)).exit_code == 0
        return target

    return file


@pytest.mark.parametrize(
    ("name", "width", "scheme"), looked_at(PAGES, on_all_screens="several precisions")
)
def test_a_page_is_silent_accessible_and_within_its_width(
    browser: Browser, page_file: Callable[[str], Path], name: str, width: int, scheme: Scheme
) -> None:
    assert wrong_with(browser, page_file(name), width=width, scheme=scheme) == []


@pytest.mark.parametrize("name", ["accepted", "rejected", "undecided"])
@pytest.mark.parametrize("width", SIZES)
def test_the_verdict_is_on_the_first_screen_in_words_and_in_its_own_colour(
    browser: Browser, page_file: Callable[[str], Path], name: str, width: int
) -> None:
    with shown(browser, page_file(name), width=width, scheme="light") as page:
        heading = page.locator("h1")
        assert heading.inner_text().startswith(name.upper())
        box = heading.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < SIZES[width] / 3
        first = page.locator(".facts")
        wanted = ("Released", "Binding shift", "File size", "Multiply-adds", "Latency")
        assert all(word in first.inner_text() for word in wanted)
        red, green, blue = map(int, re.findall(r"\d+", page.evaluate(PAINT, "h1"))[:3])
        assert {
            "accepted": green > red, "rejected": red > 2 * green, "undecided": red > green > blue,
        }[name]  # fmt: skip


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("name", ["accepted", "rejected", "undecided", "several precisions"])
def test_why_and_what_to_do_next_are_read_before_anything_is_scrolled(
    browser: Browser, page_file: Callable[[str], Path], name: str, width: int
) -> None:
    with shown(browser, page_file(name), width=width, scheme="light") as page:
        box, binding = page.locator(".verdict"), page.locator(".facts dl > div").nth(1)
        assert "Next: " in box.inner_text()
        assert "tolerated" in binding.inner_text()
        for part in (box, binding):
            place = part.bounding_box()
            assert place is not None
            assert place["y"] + place["height"] <= SIZES[width]


def test_several_sequences_are_told_one_by_one_and_the_released_one_is_the_binding_ones(
    browser: Browser, page_file: Callable[[str], Path]
) -> None:
    file = page_file("several precisions")
    report = read_finished(file.parent)
    assert [chain.precision for chain in report.chains] == ["fp32", "int8"]
    released = accepted_step(report)
    assert released is not None
    with shown(browser, file, width=1280, scheme="light") as page:
        lines = page.locator("section[aria-labelledby=chains] tbody tr").all_inner_texts()
        facts = page.locator(".facts").inner_text()
        head = page.locator("h1").inner_text()
    assert [line.split("\t")[0] for line in lines] == ["fp32", "int8"]
    for line, chain in zip(lines, report.chains, strict=True):
        _, alpha, far, fast, chosen, why = line.split("\t")
        assert (alpha, far) == ("2.5", f"ratio 0.20 {chain.precision}")
        assert float(fast) == pytest.approx(chain.speedup, abs=0.005)
        assert chosen == ("yes" if chain.precision == released.precision else "no")
        assert why == chain.ladder_end
    assert released.binding in facts
    assert head.startswith("ACCEPTED at ratio 0.20")
    assert ("in int8" in head) == (released.precision == "int8")


def test_a_wide_screen_has_plot_and_facts_at_once(
    browser: Browser, page_file: Callable[[str], Path]
) -> None:
    with shown(browser, page_file("accepted"), width=1280, scheme="light") as page:
        for selector in (".plot svg.wide", ".facts"):
            box = page.locator(selector).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= SIZES[1280]


@pytest.mark.parametrize(
    ("width", "there", "gone"), [(1280, "wide", "narrow"), (390, "narrow", "wide")]
)
def test_one_of_two_drawings_is_shown(
    browser: Browser, page_file: Callable[[str], Path], width: int, there: str, gone: str
) -> None:
    with shown(browser, page_file("accepted"), width=width, scheme="light") as page:
        assert page.locator(f".plot svg.{there}").is_visible()
        assert not page.locator(f".plot svg.{gone}").is_visible()


def test_drawings_are_painted_in_the_colours_of_the_scheme(
    browser: Browser, page_file: Callable[[str], Path]
) -> None:
    found = {}
    fill = "() => getComputedStyle(document.querySelector('.plot svg.wide text')).fill"
    back = "() => getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        with shown(browser, page_file("accepted"), width=1280, scheme=scheme) as page:
            found[scheme] = [
                sum(map(int, re.findall(r"\d+", page.evaluate(script))[:3])) / 3
                for script in (fill, back)
            ]
    assert found["light"][0] < 128 < found["light"][1]
    assert found["dark"][0] > 128 > found["dark"][1]


def test_without_colour_outcomes_are_told_by_words_and_shapes(
    browser: Browser, page_file: Callable[[str], Path]
) -> None:
    with shown(browser, page_file("rejected"), width=1280, scheme="light") as page:
        page.add_style_tag(content="* { color: black !important; background: white !important }")
        assert "REJECTED" in page.locator("h1").inner_text()
        assert "violated" in page.locator(".facts").inner_text()
        shapes = "() => [...document.querySelectorAll('.plot svg.wide [data-path$=drop] path')]"
        assert page.evaluate(f"({shapes})().length") >= 1


def test_on_paper_a_page_is_dark_on_white_and_nothing_is_folded_away(
    browser: Browser, page_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with shown(browser, page_file("accepted"), width=1280, scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        white = "() => getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(white) == "rgb(255, 255, 255)"
        assert page.locator("details:not([open])").count() > 0
        for table in page.locator("details table").all():
            box = table.bounding_box()
            assert box is not None
            assert box["height"] > 0
        printed = page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert printed.startswith(b"%PDF")


def test_a_wide_table_can_be_scrolled_with_the_keyboard(
    browser: Browser, page_file: Callable[[str], Path]
) -> None:
    with shown(browser, page_file("accepted"), width=390, scheme="light") as page:
        region = page.locator("details[open] .scroll").first
        region.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.activeElement.scrollLeft > 0")
