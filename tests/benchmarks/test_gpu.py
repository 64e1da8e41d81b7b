"""The GPU suite runs through without a GPU, small, and says what it lacks instead of guessing."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_wheels
from exporters.providers import probe

ROOT = Path(__file__).parent.parent.parent
SUITE = ROOT / "benchmarks" / "gpu.sh"


def suite(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SUITE), *words],
        env={**os.environ, "PYTHON": sys.executable, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("gpu") / "gpu-test.json"
    done = suite(
        "--provider", "cpu", "--quick", "--name", "test", "--out", str(out), "--networks",
        "resnet18", "--side", "32", "--seconds", "0.2", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| resnet18 on cpu | 1 | on the device | dense-fp32 |" in done.stdout
    found: dict[str, Any] = json.loads(out.read_bytes())
    return found


@pytest.mark.slow
def test_every_stage_runs_through_on_a_processor(record: dict[str, Any]) -> None:
    assert set(record["stages"]) == {"doctor", "networks", "job", "shifts"}
    assert record["left_out"] == []
    assert record["quick"] is True
    assert record["stages"]["doctor"]["health"]["chosen"] in {"cpu", "cuda"}
    assert record["stages"]["job"]["main job"]["verdict"] in {"accepted", "rejected", "undecided"}
    shifts = record["stages"]["shifts"]["shifts"]
    assert "32px" in shifts or "left_out" in shifts


@pytest.mark.slow
def test_networks_are_dense_and_cut_in_two_ways_in_every_precision(record: dict[str, Any]) -> None:
    found = record["stages"]["networks"]["resnet18 on cpu"]
    names = [file["name"] for file in found["files"]]
    cuts = ("dense", "uniform", "latency")
    assert names == [f"{cut}-{precision}" for precision in ("fp32", "int8") for cut in cuts]
    macs = {file["name"]: file["macs"] for file in found["files"]}
    assert macs["dense-fp32"] / macs["uniform-fp32"] == pytest.approx(3.7, rel=0.1)
    assert macs["latency-fp32"] < macs["dense-fp32"]
    (one,) = found["rounds"]
    assert len(one["timings"]) == len(names)
    assert len(one["noise"]) == 2
    assert "fp16" in found["precisions_left_out"]
    assert found["left_out"] == {}


def test_a_suite_for_gpus_does_not_run_on_a_processor(tmp_path: Path) -> None:
    if probe("cuda").usable:
        pytest.skip("CUDA works here, and what is tested is its refusal where it does not")
    done = suite("--quick", "--out", str(tmp_path / "no.json"))
    assert done.returncode == 2
    assert "cuda does not work here: " in done.stderr
    assert not (tmp_path / "no.json").exists()


def test_what_is_missing_is_said_with_the_line_that_brings_it() -> None:
    """A Python that sees none of the packages: isolated, and without the site's."""
    lacking = subprocess.run(
        [sys.executable, "-S", "-m", "benchmarks.gpu", "--check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert lacking.returncode == 2
    assert "pip download --no-deps" in lacking.stderr
    assert "'torch-pruning==1.6.1'" in lacking.stderr
    assert "nvidia-curand" in lacking.stderr
    assert suite("--check").returncode == 0, "and here nothing is"


def test_the_wheels_are_all_that_the_toolkit_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: list[str]) -> set[str]:
        found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
        return {name[0].lower().replace("_", "-") for name in found if name}

    known = names(list(gpu_wheels._PACKAGES.values()))
    # Two packages of one runtime; a machine with a GPU takes this one.
    assert names(project["dependencies"]) - {"onnxruntime"} <= known


def test_time_that_is_over_leaves_out_what_was_not_begun(tmp_path: Path) -> None:
    out = tmp_path / "late.json"
    words = ["--provider", "cpu", "--quick", "--minutes", "0", "--out", str(out)]
    assert gpu.main(words) == 0
    found = json.loads(out.read_bytes())
    assert found["stages"] == {}
    assert [line.partition(":")[0] for line in found["left_out"]] == list(gpu._STAGES)


def test_cifar_needs_its_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--cifar", str(tmp_path)])
    assert "--cifar and --weights belong together" in capsys.readouterr().err


def test_the_script_is_a_plain_shells() -> None:
    assert subprocess.run(["sh", "-n", str(SUITE)], check=False).returncode == 0
