"""Whoever looks on while a job runs."""

from typing import Protocol


class Watch(Protocol):
    """Whoever looks on: the terminal, or nobody."""

    def say(self, text: str) -> None:
        """Something happened."""

    def progress(self, task: str, done: int, total: int, detail: str = "") -> None:
        """A long task is ``done`` of ``total`` steps along."""
