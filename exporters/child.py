"""Work in a process of its own, so that crashes, threads and library state stay there."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

_ROOT: Final = Path(__file__).parent.parent


def run_module(
    module: str,
    *arguments: str,
    stdin: str = "",
    timeout_s: float,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` to its end, whatever its exit code; its text is captured.

    Its environment is this process's and ``environ``.

    Raises:
        subprocess.TimeoutExpired: It took longer than ``timeout_s`` and was killed.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(  # noqa: S603 - this interpreter, a module of ours, no shell
        # -P: a file named numpy.py in the user's folder must not shadow the real one.
        [sys.executable, "-P", "-m", module, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def last_words(process: subprocess.CompletedProcess[str]) -> str:
    """The last line that a failed process wrote: the message of its exception."""
    lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {process.returncode} without a message"
