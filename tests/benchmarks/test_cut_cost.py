"""A cut takes little more memory than the network that is cut."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NEEDS_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="the peak of memory is read from /proc"
)


@NEEDS_LINUX
def test_a_cut_of_a_resnet50_takes_at_most_four_times_its_memory(tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    command = [sys.executable, "-m", "benchmarks.cut_cost", "resnet50", "--quick"]
    subprocess.run([*command, "--out", out], check=True, capture_output=True)
    measured = json.loads(out.read_text(encoding="utf-8"))["networks"]["resnet50"]
    # The cut weights exist beside the dense ones while they are compared: half of them at least.
    assert 0.25 * measured["model_mb"] < measured["cut_peak_mb"] < 4.0 * measured["model_mb"]


@NEEDS_LINUX
def test_the_peak_of_memory_counts_what_is_freed_again() -> None:
    code = (
        "from benchmarks.memory import peak_mb\n"
        "print(peak_mb(lambda: bytearray(b'x') * 50_000_000), peak_mb(lambda: None))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    taken, nothing = map(float, done.stdout.split())
    assert 49.0 < taken < 52.0
    assert nothing < 1.0
