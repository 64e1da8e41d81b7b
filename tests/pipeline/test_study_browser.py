"""The page of a study in a real browser, whatever became of its trials."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from click.testing import Result
from playwright.sync_api import Browser

from compressor.study.comparing import read_study
from tests.pipeline.browsing import SIZES, Scheme, looked_at, shown, wrong_with
from tests.pipeline.study_project import GRID

PLAIN: Final = GRID.replace(", scratch: [0.3]", "")
ONE: Final = (
    PLAIN.replace("  taylor: {importance: taylor, steps: 2}\n", "")
    .replace("  wt: {mask: magnitude}\n", "")
    .replace("[0.3, 2x]", "[0.3]")
    .replace("[gaussian_noise-3, contrast-5]", "[contrast-5]")
)
WHOLE: Final = GRID.replace(
    "parts: [potential, excess, similarity]",
    """\
parts: [potential, excess, similarity, features, losses]
features: {method: l2, ratios: [0.5], images: 20, step: 0.3}
losses: {criteria: [MP, QM], steps: [1, 3], ratios: [0.6], images: 60}""",
)

STUDIES: Final = {
    "whole": WHOLE,
    # 99.9 % of the parameters cannot go: neither channels nor weights suffice.
    "failed trials": PLAIN.replace("[0.3, 2x]", "[0.3, 0.999]"),
    "nothing made": ONE.replace("[0.3]", "[0.999]"),
    "one point": ONE,
    # Of which little is left, and which learns nothing.
    "no ratio within any tolerance": ONE.replace("[0.3]", "[0.97]").replace(
        "lr: 0.02", "lr: 0.0001"
    ),
}

DRAWN: Final = {
    "whole": 6, "failed trials": 4, "nothing made": 1, "one point": 4,
    "no ratio within any tolerance": 4,
}  # fmt: skip

PageOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def page_of(
    root: Path, tmp_path_factory: pytest.TempPathFactory, compress: Callable[..., Result]
) -> PageOf:
    """The page of a study; every study is made once."""

    @functools.cache
    def page(name: str) -> Path:
        folder = tmp_path_factory.mktemp("study")
        text = STUDIES[name].replace("model.pt", str(root / "model.pt"))
        (folder / "study.yaml").write_text(f"project: {root / 'compress.yaml'}\n{text}")
        words = ("study", str(folder / "study.yaml"), "--out", str(folder / "out"))
        result = compress(*words, "--engine", "serial")
        assert result.exit_code == 0, result.output
        return folder / "out" / "report.html"

    return page


@pytest.mark.parametrize(("name", "width", "scheme"), looked_at(STUDIES, on_all_screens="whole"))
def test_a_study_is_silent_accessible_and_within_its_width(
    browser: Browser, page_of: PageOf, name: str, width: int, scheme: Scheme
) -> None:
    assert wrong_with(browser, page_of(name), width=width, scheme=scheme) == []


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize(
    ("width", "there", "gone"), [(1280, "wide", "narrow"), (390, "narrow", "wide")]
)
def test_every_drawing_fits_its_screen_and_says_what_it_shows(
    browser: Browser, page_of: PageOf, name: str, width: int, there: str, gone: str
) -> None:
    with shown(browser, page_of(name), width=width, scheme="light") as page:
        figures = page.locator("figure.plot").all()
        assert len(figures) == DRAWN[name]
        for figure in figures:
            box = figure.locator(f"svg.{there}").bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width
            assert not figure.locator(f"svg.{gone}").is_visible()
            assert figure.locator("figcaption").inner_text().endswith(".")


@pytest.mark.parametrize("name", STUDIES)
def test_how_far_one_can_go_is_on_the_first_screen(
    browser: Browser, page_of: PageOf, name: str
) -> None:
    report = read_study(page_of(name).parent)
    with shown(browser, page_of(name), width=390, scheme="light") as page:
        head = page.locator("header.top")
        text = head.inner_text()
        box = head.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= SIZES[390]
    told = re.search(r"Ratio that keeps every distribution held out within 0\.5 %: (.*)\.", text)
    assert (told is None) == (name == "nothing made")
    for each in report.overparameterisation:
        if each.group == "held_out" and each.tolerance == 0.005:
            far = (each.estimate_minimum, each.certified_minimum)
            words = [f"{100 * ratio:.3g} %" if ratio else "none" for ratio in far]
            assert told is not None
            assert f"{each.method} {words[0]} as observed, {words[1]} certified" in told[1]


@pytest.mark.parametrize(
    ("name", "failed", "missing"), [("failed trials", 3, 12), ("nothing made", 1, 3)]
)
def test_what_failed_is_told_first_with_its_reason(
    browser: Browser, page_of: PageOf, name: str, failed: int, missing: int
) -> None:
    with shown(browser, page_of(name), width=1280, scheme="light") as page:
        assert f"; {failed} failed." in page.locator("header.top").inner_text()
        section = page.locator("main section").first
        assert section.locator("h2").inner_text() == f"{failed} trial{'s' * (failed > 1)} failed"
        lines = section.locator("li").all_inner_texts()
        assert len(lines) == failed + 2
        assert re.match(
            r"prune \(method l2, ratio 0.999, seed 0\): UnreachableRatioError: ", lines[0]
        )
        assert lines[-2].startswith(f"{missing} trials that would start from what failed")


def test_on_paper_a_study_is_dark_on_white_and_its_tables_are_whole(
    browser: Browser, page_of: PageOf, tmp_path: Path
) -> None:
    with shown(browser, page_of("whole"), width=1280, scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins
        white = "() => getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(white) == "rgb(255, 255, 255)"
        assert page.locator("details").count() == 0
        tables = page.locator("table").all()
        assert len(tables) > 6
        for table in tables:
            box = table.bounding_box()
            assert box is not None
            assert box["height"] > 0
            assert box["x"] + box["width"] <= 718
        for drawing in page.locator("figure.plot").all():
            assert drawing.locator("svg.wide").is_visible()
        printed = page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert printed.startswith(b"%PDF")
