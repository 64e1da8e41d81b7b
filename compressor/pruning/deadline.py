"""A network's own code is given so long, and no longer.

Forward passes of the networks that people bring take as long as they take. Between two of their
modules they can be ended, which is soon enough for all that is made of layers; what a single module
does for ever is for the forked process of ``tracing``, which can be killed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

from torch.nn.modules.module import register_module_forward_pre_hook


class DeadlineError(Exception):
    """The time is up.

    No RuntimeError, as a network's own failures are: what asks whether a network runs, and takes
    its failure for an answer, has none.
    """


@contextmanager
def deadline(until: float) -> Iterator[None]:
    """End this thread's forward passes of modules after ``until``, of ``time.monotonic``.

    Raises:
        DeadlineError: at the first module that is called later, and at once if it is later.
    """
    thread = get_ident()

    def check(*_: object) -> None:
        # The hook sees every module of the process, and others may be at work.
        if get_ident() == thread and time.monotonic() > until:
            raise DeadlineError

    check()
    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
