"""The main job as a user types it, and the shifts, each in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.gpu_settings import Settings
from compressor.demo import signs
from compressor.demo.job import prepare
from compressor.demo.network import sign_net
from compressor.terminal import Silent

_ROOT: Final = Path(__file__).resolve().parent.parent
_EXAMPLE: Final = _ROOT / "examples" / "cifar10"
_COMPRESS: Final = "from compressor.cli import main; main()"

_QUICK_POLICY: Final = """\
apiVersion: compress/v1
name: quick
summary: That everything runs, not that anything holds.
alpha: 0.05
min_images: 300
shifts:
  - {name: clean, tolerance: 0.5, reason: to run through}
  - {name: gaussian_noise, severity: 1, tolerance: 0.5, accounted: true, reason: to run through}
"""
_QUICK_PROJECT: Final = """\
model: {factory: "compressor.demo.network:sign_net"}
input: {size: [3, 32, 32], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data:
  train: {npz: train.npz}
  tune: {from: train, fraction: 0.2}
  gate: {npz: gate.npz}
retrain: {recipe: halving, epochs: 1, lr: 0.02}
search: {ratios: [0.5], of: params}
latency: {batches: [1], seconds: 0.5}
"""
_IMAGES: Final = 500
"""Drawn for the quick job, which runs through and tells no accuracy."""


def main_job(settings: Settings) -> dict[str, Any]:
    """Verdict, times of the stages and latency of one run of the main job.

    CIFAR-10 and its ResNet-20 where they were given, else the demo's drawn traffic signs.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-suite-job-") as name:
        folder = Path(name)
        model, policy, what = _project(folder, settings)
        command = [sys.executable, "-c", _COMPRESS, "run", str(model), "--policy", policy]
        command += ["--run", str(folder / "run"), "--json"]
        command += ["--set", f"latency.provider={settings.provider}"]
        began = time.perf_counter()
        told = _run(command, cwd=folder, limit_s=max(settings.left_s(), 60.0))
        report = folder / "run" / "report.json"
        if not report.is_file():
            return {"what": what, "left_out": told}
        found = json.loads(report.read_bytes())
    kept = ("verdict", "accepted_name", "provider", "latency", "seconds", "steps", "versions")
    return {
        "what": what,
        "wall_s": time.perf_counter() - began,
        **{key: found[key] for key in kept if key in found},
    }


def shift_suite(settings: Settings) -> dict[str, Any]:
    """What ``benchmarks/shifts.py`` finds of every shift on the device."""
    with tempfile.TemporaryDirectory(prefix="gpu-suite-shifts-") as name:
        out = Path(name) / "shifts.json"
        command = [sys.executable, str(_ROOT / "benchmarks" / "shifts.py"), "--out", str(out)]
        command += ["--device", settings.provider]
        if settings.quick:
            command += ["--side", "32", "--images", "32", "--other-images", "2"]
            command += ["--repetitions", "1", "--batch", "32"]
        told = _run(command, cwd=_ROOT, limit_s=max(settings.left_s(), 60.0))
        if not out.is_file():
            return {"left_out": told}
        found: dict[str, Any] = json.loads(out.read_bytes())
        return found


def _project(folder: Path, settings: Settings) -> tuple[Path, str, str]:
    """A project folder: its model, the policy, and what it is."""
    if settings.cifar is not None and settings.weights is not None:
        for name in ("compress.yaml", "resnet20.py"):
            shutil.copyfile(_EXAMPLE / name, folder / name)
        (folder / "data").symlink_to(settings.cifar.resolve())
        return settings.weights.resolve(), "standard", "CIFAR-10, ResNet-20"
    if not settings.quick:
        prepare(folder, watch=Silent())
        return folder / "model.pt", "standard", "drawn traffic signs, the demo's network"
    for name, seed in (("train", 1), ("gate", 2)):
        images, labels = signs.draw(count=_IMAGES, seed=seed)
        classes = list(signs.CLASSES)
        np.savez(folder / f"{name}.npz", images=images, labels=labels, classes=classes)
    torch.manual_seed(0)  # noqa: TID251 # layers draw their first weights from it
    torch.save(sign_net(len(signs.CLASSES)).state_dict(), folder / "model.pt")
    (folder / "compress.yaml").write_text(_QUICK_PROJECT, encoding="utf-8")
    (folder / "quick.yaml").write_text(_QUICK_POLICY, encoding="utf-8")
    return folder / "model.pt", "quick.yaml", "drawn traffic signs, an untrained network"


def _run(command: list[str], *, cwd: Path, limit_s: float) -> str:
    """Run it; what it said last."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    if "shifts.py" not in command[1]:
        environ.pop("OMP_NUM_THREADS")
    try:
        process = subprocess.run(  # noqa: S603 - this interpreter, modules of ours
            command, cwd=cwd, env=environ, timeout=limit_s, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than the {limit_s:.0f} s that were left"
    said = [line.strip() for line in (process.stdout + process.stderr).splitlines() if line.strip()]
    return said[-1] if said else f"exit code {process.returncode}"
