"""A study's drawings, as SVG that takes its colours from the page or brings its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from matplotlib.figure import Figure

from compressor.page.charts import NARROW, WIDE
from compressor.page.svg import drawing, inline
from compressor.study import plots
from compressor.study.study_schema import StudyReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One drawing twice: the style of the page says which of the two is shown."""

    wide: Markup
    narrow: Markup
    caption: str
    """What it shows, and how it is read."""


def drawings(report: StudyReport) -> dict[str, Drawing]:
    """All drawings that there is something for, by the name of their section."""
    found = {}
    for name, (draw, caption) in _DRAWINGS.items():
        drawn = {}
        for kind, width in (("wide", WIDE), ("narrow", NARROW)):
            with drawing():
                figure = draw(report, width)
                if figure is not None:
                    label = caption.partition(".")[0]
                    drawn[kind] = inline(figure, name=f"{name}-{kind}", label=label, kind=kind)
        if drawn:
            found[name] = Drawing(caption=caption, **drawn)
    return found


def standalone(drawn: Drawing) -> bytes:
    """A drawing as a file of its own, dark on white."""
    paints = (
        "svg{color:#1c2128;background:#fff;--faint:#57606a;--line:#d5dae0;--accent:#0757ba;"
        "--paper:#fff;--good:#116329;--bad:#b3121d;--unsure:#845306;--beyond:#fde4e3;"
        "font-family:'DejaVu Sans',sans-serif}"
    )
    start = '<svg xmlns="http://www.w3.org/2000/svg" '
    text = str(drawn.wide).replace("<svg ", start, 1)
    end = text.index(">") + 1
    return f"{text[:end]}<style>{paints}</style>{text[end:]}\n".encode()


_CURVES: Final = """\
Accuracy by ratio on each distribution; at ratio 0 the dense network's. Blue: distributions of
training. The tables below have the drops."""
_POTENTIAL: Final = """\
Prune potential of each distribution. Filled: certified. Outline and mark: estimate. A mark at 0: no
ratio of the grid keeps the tolerance."""
_EXCESS: Final = """\
Excess error added by pruning against the ratio. Each mark is a network; the line is the regression
over all of them, its band holds with 95 %."""
_SIMILARITY: Final = """\
Matching answers and softmax distance by noise. The thicker the line, the more is pruned; dashed:
the control."""
_FEATURES: Final = "Confidence of every network on every one's pixels, in percent."
_LOSSES: Final = """\
Gap right after pruning against the error after retraining. Small numbers: steps in which the
weights went."""

_DRAWINGS: Final[Mapping[str, tuple[Callable[[StudyReport, int], Figure | None], str]]] = {
    "curves": (plots.curves, _CURVES),
    "potential": (plots.potential, _POTENTIAL),
    "excess": (plots.excess, _EXCESS),
    "similarity": (plots.similarity, _SIMILARITY),
    "features": (plots.features, _FEATURES),
    "losses": (plots.losses, _LOSSES),
}
"""What draws, and what is written below it: the first sentence says what it shows."""
