"""Pages in a real browser: nothing is reported, nothing overflows, everybody can read them.

The browser is the machine's own Chromium; where there is none these tests are skipped.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import Result
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM: Final = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium is installed (apt-get install chromium), or CHROMIUM does not name one",
)

QUIET: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""Containers have no user namespaces; and nothing on a page needs the network."""

Scheme = Literal["light", "dark"]
PAGES: Final = ("accepted", "rejected", "undecided", "no ratio", "two runs")

# In CSS pixels; a page may be as high as it likes.
SIZES: Final = {1280: 800, 390: 844}

OVERFLOWING: Final = """() => [...document.querySelectorAll("body *")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, svg"))
    .map(e => e.outerHTML.slice(0, 120))"""

PAINT: Final = "(selector) => getComputedStyle(document.querySelector(selector)).color"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


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


@contextmanager
def shown(
    browser: Browser, file: Path, *, width: int, scheme: Scheme, complaints: list[str] | None = None
) -> Iterator[Page]:
    """The page from disk, as somebody sees it; what the browser complains of is appended."""
    told = [] if complaints is None else complaints
    context = browser.new_context(
        viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("requestfailed", lambda request: told.append(request.url))
    page.goto(file.resolve().as_uri())
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    """What axe finds, with the elements that it finds it in."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{item['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
        for item in found
        for node in item["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_silent_accessible_and_within_its_width(
    browser: Browser, page_file: Callable[[str], Path], name: str, width: int, scheme: Scheme
) -> None:
    complaints: list[str] = []
    with shown(browser, page_file(name), width=width, scheme=scheme, complaints=complaints) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERFLOWING) == []
        assert violations(page) == []
        assert page.evaluate("document.querySelectorAll('script').length") == 0
        pictures = "() => [...document.images].filter(i => !i.naturalWidth).length"
        assert page.evaluate(pictures) == 0
    assert complaints == []


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
