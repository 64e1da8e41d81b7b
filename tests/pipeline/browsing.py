"""Pages as the machine's own Chromium shows them, and what is wrong with them there."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM: Final = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MISSING: Final = (
    "no Chromium is installed (apt-get install chromium), or CHROMIUM does not name one"
)

QUIET: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""Containers have no user namespaces; and nothing on a page needs the network."""

Scheme = Literal["light", "dark"]

_EACH_ONCE: Final[tuple[tuple[int, Scheme], ...]] = ((1280, "light"), (390, "dark"))

# In CSS pixels; a page may be as high as it likes.
SIZES: Final = {1280: 800, 390: 844}

_FINDINGS: Final = {
    "wider than the screen": """() => [...document.querySelectorAll("body *")]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, svg"))
        .map(e => e.outerHTML.slice(0, 120))""",
    "cut off in a drawing": """() => [...document.querySelectorAll("svg text")].filter(e => {
        const [own, all] = [e, e.closest("svg")].map(each => each.getBoundingClientRect());
        return own.left < all.left - 1 || own.right > all.right + 1
            || own.top < all.top - 1 || own.bottom > all.bottom + 1;
    }).map(e => e.textContent)""",
    "a script": "() => [...document.scripts].map(e => e.outerHTML.slice(0, 120))",
    "an empty picture": """() => [...document.images].filter(i => !i.naturalWidth)
        .map(e => e.outerHTML.slice(0, 120))""",
    # axe does not look at text in drawings: contrast as WCAG 2 has it, against the page. Letters
    # on a heat map have another ground.
    "faint in a drawing": """() => {
        const light = (paint) => paint.match(/[\\d.]+/g).slice(0, 3).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const page = light(getComputedStyle(document.body).backgroundColor);
        const contrast = (e) => {
            const own = light(getComputedStyle(e).fill);
            return (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05);
        };
        return [...document.querySelectorAll("svg text")]
            .filter(e => !e.closest("[aria-labelledby=features]") && contrast(e) < 4.5)
            .map(e => e.outerHTML.slice(0, 120));
    }""",
}
"""What must not be on a page, and where it is, in the browser's language."""


def looked_at(pages: Iterable[str], *, on_all_screens: str) -> list[tuple[str, int, Scheme]]:
    """Names of pages with widths and colour schemes: the richest in all, others once in each."""
    others: tuple[tuple[int, Scheme], ...] = ((1280, "dark"), (390, "light"))
    return [
        (name, *screen)
        for name in pages
        for screen in (*_EACH_ONCE, *(others if name == on_all_screens else ()))
    ]


@contextmanager
def started() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


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


def wrong_with(browser: Browser, file: Path, *, width: int, scheme: Scheme) -> list[str]:
    """What the browser complains of, what axe finds, and what no page may have."""
    found: list[str] = []
    with shown(browser, file, width=width, scheme=scheme, complaints=found) as page:
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{wide} pixels wide")
        for what, script in _FINDINGS.items():
            found += [f"{what}: {where}" for where in page.evaluate(script)]
        # Of what axe looks at nothing depends on width and colours together, and it takes seconds.
        if (width, scheme) in _EACH_ONCE:
            found += _violations(page)
    return found


def _violations(page: Page) -> list[str]:
    """What axe finds, with the elements that it finds it in."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{item['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
        for item in found
        for node in item["nodes"]
    ]
