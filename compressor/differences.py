"""Where two JSON documents differ."""

import json
import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final

CLOSE: Final = 1e-12
"""Numbers may differ by this much from one machine's libraries to another's."""

CLOSE_INTERVAL: Final = 1e-9
"""Ends of intervals may: they are roots, found to a few 1e-12."""


def differences(found: object, wanted: object, *, path: str = "") -> Iterator[str]:
    """Dotted keys at which two JSON values differ, with both values; nearly equal is equal."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            below = f"{path}.{key}" if path else key
            yield from differences(found.get(key), wanted.get(key), path=below)
    elif isinstance(found, list) and isinstance(wanted, list):
        for index, pair in enumerate(zip_longest(found, wanted)):
            yield from differences(*pair, path=f"{path}[{index}]")
    elif not _same(found, wanted, path):
        yield f"{path} is {short(found)}; it should be {short(wanted)}"


def _same(found: object, wanted: object, path: str) -> bool:
    if isinstance(found, float) and isinstance(wanted, float):
        close = CLOSE_INTERVAL if ".interval[" in path else CLOSE
        return math.isclose(found, wanted, rel_tol=0.0, abs_tol=close)
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def short(value: object) -> str:
    """The value as JSON, cut off where it gets long."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
