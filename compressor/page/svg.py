"""A matplotlib figure as SVG inside a page: its text is text, its paints are those of the page.

Figures are drawn in the colours of PAINTS, which are then replaced by CSS variables, so that one
drawing serves light and dark screens and paper. The same figure gives the same bytes.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK: Final = "#010203"
FAINT: Final = "#010204"
GRID: Final = "#010205"
GOOD: Final = "#010206"
BAD: Final = "#010207"
UNSURE: Final = "#010208"
BEYOND: Final = "#010209"
ACCENT: Final = "#01020a"
PAPER: Final = "#01020b"

PAINTS: Final[Mapping[str, str]] = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    GRID: "var(--line)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    UNSURE: "var(--unsure)",
    BEYOND: "var(--beyond)",
    ACCENT: "var(--accent)",
    PAPER: "var(--paper)",
}
"""Colours that nobody would choose, and what the page paints in their place."""

_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    # matplotlib brings this family, so that sizes are the same everywhere.
    "font": {"family": "DejaVu Sans", "size": 11.0},
    "svg": {"fonttype": "none", "hashsalt": "compressor"},
    "path": {"simplify": False},
    "text": {"color": INK},
    "axes": {"edgecolor": GRID, "labelcolor": FAINT, "linewidth": 1.0, "facecolor": "none"},
    "axes.spines": {"top": False, "right": False},
    "figure": {"facecolor": "none"},
    "xtick": {"color": FAINT, "labelsize": 10.0},
    "ytick": {"color": FAINT, "labelsize": 10.0},
}
"""By group, as matplotlib has them."""

_TRACED: Final = "from the record: "
_ID: Final = re.compile(r' id="([^"]*)"')
_FAMILY: Final = re.compile(r" font-family: [^;\"]*;")
_STYLE: Final = re.compile(r"<style.*?</style>\s*", re.DOTALL)


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, figures look as those of a page; whatever matplotlib is set to elsewhere."""
    with mpl.rc_context():
        mpl.rcdefaults()
        change: Callable[..., None] = mpl.rc  # some versions allow none but literal groups
        for group, values in _SETTINGS.items():
            change(group, **values)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many pixels."""
    return Figure(figsize=(width / 72, height / 72), dpi=72)


def traced(*paths: str) -> str:
    """The ``gid`` of a text whose numbers are, in this order, at these paths of the record."""
    return _TRACED + " ".join(paths)


def inline(figure: Figure, *, name: str, label: str, kind: str = "") -> Markup:
    """The figure as an element ``svg``.

    Args:
        figure: drawn within ``drawing``.
        name: unlike that of any other on the page.
        label: what it shows, for those who do not see it.
        kind: a class of the page's style.
    """
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    body = _STYLE.sub("", text[text.index("<defs>") : text.rindex("</svg>")])
    for paint, variable in PAINTS.items():
        body = body.replace(paint, variable)
    body = _FAMILY.sub("", body)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    return Markup(
        '<svg class="{}" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'
    ).format(kind, label, width, height, width, height, Markup(_named(body, name)))  # noqa: S704 # matplotlib escapes


def _named(body: str, name: str) -> str:
    """The drawing with ids of its own, with none that nothing refers to, and with paths."""
    referred = set(re.findall(r'(?:href="|url\()#([^")]*)', body))

    def identity(match: re.Match[str]) -> str:
        found = match[1]
        if found.startswith(_TRACED):
            return f' data-path="{escape(found.removeprefix(_TRACED))}"'
        if "tick_" in found:
            return ' class="tick"'
        return f' id="{name}-{found}"' if found in referred else ""

    body = _ID.sub(identity, body)
    body = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", body)
    return re.sub(r"\s*\n\s*", " ", body)
