"""Whoever looks on while a job runs."""

from collections.abc import Callable
from typing import Final, Protocol

_QUICK: Final = 1000
"""So many images are decoded before anybody asks how far it is."""


class Watch(Protocol):
    """Whoever looks on: the terminal, or nobody."""

    def say(self, text: str) -> None:
        """Something happened."""

    def progress(self, task: str, done: int, total: int, detail: str = "") -> None:
        """A long task is ``done`` of ``total`` steps along."""


def decoding(watch: Watch, name: str) -> Callable[[int, int], None]:
    """What tells ``watch`` how many images of the set with this name are decoded."""

    def told(done: int, total: int) -> None:
        if total > _QUICK:
            watch.progress(f"decode {name}", done, total)

    return told
