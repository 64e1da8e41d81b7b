"""The same work on many numbers, in threads. For work that waits, or that lets the lock go."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

# Numbers per task: few enough to spread, enough to be worth a task.
_CHUNK: Final = 256


def in_threads(
    work: Callable[[range], T], count: int, *, on_done: Callable[[int], None] | None = None
) -> list[T]:
    """``work`` done on the numbers below ``count``, a range at a time; what it gave, in order.

    ``on_done`` is told below which number all are done.
    """
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    with ThreadPoolExecutor() as pool:
        given: list[T] = []
        for chunk, result in zip(chunks, pool.map(work, chunks), strict=True):
            given.append(result)
            if on_done is not None:
                on_done(chunk.stop)
        return given
