"""The memory of this process, as the kernel counts it. Linux alone."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_MB: Final = 1e6


def peak_mb(work: Callable[[], object]) -> float:
    """Megabytes (resident set size) that ``work`` takes at its peak, over what was there before.

    What it leaves behind is counted, and what other processes take for it is not.

    Raises:
        RuntimeError: the kernel does not tell.
    """
    # What was freed earlier is given back first, or the work would find it there.
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident_mb("VmRSS")
    # The kernel forgets the peak so far (proc_pid_clear_refs(5)).
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    work()
    return _resident_mb("VmHWM") - before


def _resident_mb(field: str) -> float:
    """VmRSS, what is resident now; or VmHWM, the most that was."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1]) / _MB
    raise RuntimeError(f"{_STATUS} has no {field}; this needs Linux")
