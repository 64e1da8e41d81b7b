"""Numbers and names on a page, each with the place in the record that it is from.

A number is written once, here, by its path in the JSON of a record: what is shown and what it is
said to be cannot drift apart, and ``check`` can trace every one of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a number is written: times ``scale``, by ``spec``."""

    spec: str
    scale: float = 1.0


FORMS: Final[Mapping[str, Form]] = {
    "points": Form(spec="+.2f", scale=100),
    "rate": Form(spec=".2f", scale=100),
    "tolerance": Form(spec=".4g", scale=100),
    "percent": Form(spec=".1f", scale=100),
    "share": Form(spec=".0f", scale=100),
    "change": Form(spec="+.1f", scale=100),
    "score": Form(spec=".4f"),
    "count": Form(spec=",.0f"),
    "millions": Form(spec=",.1f", scale=1e-6),
    "megabytes": Form(spec=",.2f", scale=1e-6),
    "ratio": Form(spec=".2f"),
    "ms": Form(spec=".3f"),
    "times": Form(spec=".2f"),
    "p": Form(spec=".2g"),
    "seconds": Form(spec=",.0f"),
    "plain": Form(spec=".6g"),
}
"""By the name that the page gives in ``data-form``."""

UNKNOWN: Final = Markup('<span class="unknown">not known</span>')


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one record holds, ready to be shown."""

    content: Mapping[str, Any]
    """The record as JSON: dictionaries, lists, strings, numbers, None."""
    record: str = "report"
    """Which record it is, where a page shows several."""

    def at(self, path: str) -> Any:  # noqa: ANN401 # JSON
        """What is at a dotted path; None where there is nothing."""
        return value_at(self.content, path)

    def show(self, path: str, form: str, *, over: str | None = None) -> Markup:
        """The number at ``path``, or by how much it exceeds the one at ``over``, as a share."""
        value = self.at(path)
        if value is None or isinstance(value, str):
            return UNKNOWN
        shown, against = value, Markup("")
        if over is not None:
            other = self.at(over)
            if not other:
                return UNKNOWN
            shown = value / other - 1
            against = Markup(' data-over="{}"').format(over)
        return Markup(
            '<data value="{}" data-record="{}" data-path="{}" data-form="{}"{}>{}</data>'
        ).format(json.dumps(value), self.record, path, form, against, written(shown, form))

    def says(self, path: str, *, breaks: bool = False) -> Markup:
        """The text at ``path``; with ``breaks`` a line may end after its underscores."""
        value = self.at(path)
        if value is None:
            return UNKNOWN
        text = escape(str(value))
        return Markup('<span data-record="{}" data-path="{}">{}</span>').format(
            self.record, path, text.replace("_", Markup("_<wbr>")) if breaks else text
        )

    def interval(self, path: str, form: str) -> Markup:
        """The two ends at ``path``, in brackets."""
        if self.at(path) is None:
            return UNKNOWN
        ends = (self.show(f"{path}.{end}", form) for end in (0, 1))
        return Markup("[{}, {}]").format(*ends)


def written(value: float, form: str) -> str:
    """A number in one of FORMS."""
    how = FORMS[form]
    text = format(value * how.scale, how.spec)
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")  # zero has no sign
    return text.replace("-", MINUS)


def value_at(content: object, path: str) -> Any:  # noqa: ANN401 # JSON
    """What JSON holds at a dotted path of keys and positions; None where there is nothing."""
    for key in path.split("."):
        if isinstance(content, Mapping):
            content = content.get(key)
        elif isinstance(content, Sequence) and not isinstance(content, str) and key.isdigit():
            content = content[int(key)] if int(key) < len(content) else None
        else:
            return None
    return content
