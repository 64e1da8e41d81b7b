"""Whether a page that lies in a folder is the one that its record gives.

Everything but the drawings must be the same text. In drawings numbers may differ by what machines
differ in; drawings of another version of matplotlib are not compared.
"""

import re
from typing import Final

_DRAWING: Final = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_GENERATOR: Final = re.compile(r'<meta name="generator" content="([^"]*)">')
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")
_PIXELS: Final = 0.02


def unlike(kept: str, drawn: str) -> str | None:
    """Where ``kept`` is not ``drawn``, in a few words; None if it is."""
    first, second = (_GENERATOR.sub("", _DRAWING.sub("<svg>", page)) for page in (kept, drawn))
    if first != second:
        return f"line {_line(first, second)} of its text"
    if _generator(kept) != _generator(drawn):
        return None
    for number, (one, other) in enumerate(
        zip(_DRAWING.findall(kept), _DRAWING.findall(drawn), strict=True), start=1
    ):
        if not _alike(one, other):
            return f"drawing {number}"
    return None


def _generator(page: str) -> str | None:
    found = _GENERATOR.search(page)
    return found[1] if found else None


def _line(first: str, second: str) -> int:
    """The number of the first line that is not the same."""
    pairs = zip(first.splitlines(), second.splitlines(), strict=False)
    return next((i for i, (a, b) in enumerate(pairs, start=1) if a != b), first.count("\n") + 1)


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    if _NUMBER.sub("0", one) != _NUMBER.sub("0", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= _PIXELS for a, b in pairs)
