"""What a person sees while a run works: bars on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Terminal:
    """A ``Watch`` that writes to standard error, so that standard output stays the report's."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:  # elsewhere, stopping what never started prints a line
            self._bars.stop()

    def say(self, text: str) -> None:
        """One line, kept above the bars."""
        self._console.print(text, markup=False, soft_wrap=True)

    def progress(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar of ``task``; without a terminal, one line for every tenth."""
        if self._console.is_terminal:
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(task, total=total, detail=detail)
            self._bars.update(self._tasks[task], completed=done, total=total, detail=detail)
            if done >= total:
                self._bars.remove_task(self._tasks.pop(task))
            return
        tenth = 10 * done // total
        if self._tenths.get(task) != tenth:
            self._tenths[task] = tenth
            self.say(f"{task}: {done:,} of {total:,} {detail}".rstrip())


class Silent:
    """A ``Watch`` that says nothing."""

    def say(self, text: str) -> None:
        """Ignore the line."""

    def progress(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Ignore the step."""
