"""A page as whoever reads it has it: what is shown, and where it says that it is from."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "wbr", "img", "use", "path", "rect"}

Attributes = dict[str, str | None]


@dataclass(kw_only=True)
class Element:
    tag: str
    attributes: Attributes
    text: str = ""


@dataclass(kw_only=True)
class Walk(HTMLParser):
    """All elements that have a path or a name of a sentence, and the text outside of them."""

    traced: list[Element] = field(default_factory=list)
    spoken: list[Element] = field(default_factory=list)
    drawn: list[Element] = field(default_factory=list)
    """With a path, inside a drawing."""
    loose: list[str] = field(default_factory=list)
    """Text that says nothing of where it is from."""
    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag=tag, attributes=dict(attrs))
        self.elements.append(element)
        if self.inside("svg"):
            if "data-path" in element.attributes:
                self.drawn.append(element)
        elif "data-path" in element.attributes:
            self.traced.append(element)
        elif "data-words" in element.attributes:
            self.spoken.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop().tag == tag

    def handle_data(self, data: str) -> None:
        if self.inside("style", "title"):
            return
        marks = {"data-path", "data-words"}
        owners = [e for e in self.stack if marks & e.attributes.keys()]
        for owner in owners:
            owner.text += data
        known = {"fixed", "tick", "name"}
        if not owners and not any(e.attributes.get("class") in known for e in self.stack):
            self.loose.append(data)

    def inside(self, *tags: str) -> bool:
        return any(element.tag in tags for element in self.stack)


def walked(page: bytes) -> Walk:
    walk = Walk()
    walk.feed(page.decode())
    walk.close()
    assert not walk.stack
    return walk


def at(content: Any, path: str) -> Any:  # noqa: ANN401 # JSON
    """What JSON has at a dotted path."""
    for key in path.split("."):
        content = content[int(key)] if isinstance(content, list) else content[key]
    return content


def numbers(text: str) -> list[str]:
    """Every number in a text, as it is written, with a plain minus."""
    return re.findall(r"[+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?", text.replace("\N{MINUS SIGN}", "-"))


def agrees(shown: str, value: float) -> bool:
    """Whether a number as it is written is ``value``, times a power of a hundred or a million.

    It may differ by half of its last digit, but for numbers in scientific notation: by 5 % there.
    """
    plain = shown.replace(",", "")
    mantissa, _, exponent = plain.partition("e")
    digits = len(mantissa.partition(".")[2])
    step = 10.0 ** (int(exponent or 0) - digits)
    return abs(float(plain) - value) <= step / 2 * (1 + 1e-9) + 1e-12


SCALES = {
    "points": 100, "rate": 100, "tolerance": 100, "percent": 100, "share": 100, "change": 100,
    "millions": 1e-6, "megabytes": 1e-6,
}  # fmt: skip
"""What is shown is so many times what is in the record; all others are as they are."""


def wrong(page: bytes, records: dict[str, Any]) -> list[str]:
    """Everything on a page that is not what the records hold, with its path."""
    walk, found = walked(page), []
    for element in walk.traced:
        given = element.attributes
        path, record = str(given["data-path"]), records[str(given["data-record"])]
        value = at(record, path)
        if element.tag == "span":
            if element.text != str(value):
                found.append(f"{path}: {element.text!r} for {value!r}")
            continue
        if json.loads(str(given["value"])) != value:
            found.append(f"{path}: value {given['value']} for {value!r}")
        over = given.get("data-over")
        wanted = value if over is None else value / at(record, over) - 1
        (shown,) = numbers(element.text)
        if not agrees(shown, wanted * SCALES.get(str(given["data-form"]), 1)):
            found.append(f"{path}: shown {element.text!r} for {wanted!r}")
    found += [f"untraced: {text.strip()!r}" for text in walk.loose if re.search(r"\d", text)]
    return found
