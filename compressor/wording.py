"""Lists in error messages."""

from collections.abc import Iterable


def few(names: Iterable[str], *, shown: int = 5) -> str:
    """The first of ``names``, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more
