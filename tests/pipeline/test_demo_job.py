import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

import compressor.demo.job
import compressor.pipeline
from compressor.config import load_project
from compressor.data import load_images
from compressor.demo import streets
from compressor.demo.job import prepare
from compressor.demo.network import DEMO_TRAINING, STREET_TRAINING
from compressor.demo.signs import CLASSES
from compressor.models import load_model
from compressor.terminal import Silent


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of few images and one epoch."""
    monkeypatch.setattr(compressor.demo.job, "IMAGES", 300)
    monkeypatch.setattr(compressor.demo.job, "UNSEEN", 100)
    monkeypatch.setattr(compressor.demo.job, "DEMO_TRAINING", replace(DEMO_TRAINING, epochs=1))


@pytest.mark.usefixtures("small")
def test_what_is_prepared_is_a_project_that_loads(tmp_path: Path) -> None:
    prepare(tmp_path, watch=Silent())
    project = load_project(tmp_path / "compress.yaml")
    model = load_model(tmp_path / "model.pt", factory=project.model.factory, root=tmp_path)
    parameters = sum(weight.numel() for weight in model.module.parameters())
    assert parameters > 100_000
    for name in ("train", "gate"):
        with np.load(tmp_path / f"{name}.npz") as archive:
            assert archive["images"].shape == (300, 32, 32, 3) or archive["images"].shape == (
                300,
                3,
                32,
                32,
            )
            assert tuple(archive["classes"]) == CLASSES


@pytest.mark.usefixtures("small")
def test_what_is_there_already_stays(tmp_path: Path) -> None:
    prepare(tmp_path, watch=Silent())
    edited = (tmp_path / "compress.yaml").read_text() + "seed: 5\n"
    (tmp_path / "compress.yaml").write_text(edited)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    prepare(tmp_path, watch=Silent())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("small")
def test_streets_are_prepared_with_masks_and_a_network_that_answers_every_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = compressor.demo.job
    monkeypatch.setattr(job, "STREETS", 64)
    monkeypatch.setattr(job, "GATE_STREETS", 40)
    monkeypatch.setattr(job, "STREET_TRAINING", replace(STREET_TRAINING, epochs=1))
    prepare(tmp_path, watch=Silent(), task="segmentation")
    project = load_project(tmp_path / "compress.yaml")
    for source, count in ((project.data.train, 64), (project.data.gate, 40)):
        found = load_images(source, size=project.input.size, cache=tmp_path / "c", root=tmp_path)
        assert found.segmented
        assert found.labels.shape == (count, 64, 64)
        assert found.classes == streets.CLASSES
    model = load_model(tmp_path / "model.pt", factory=project.model.factory, root=tmp_path)
    assert model.module(torch.zeros(1, *project.input.size)).shape == (1, 5, 64, 64)


POLICY = """
apiVersion: compress/v1
name: {name}
summary: for tests
alpha: 0.05
min_images: 100
shifts:
  - {{name: clean, tolerance: 0.2, reason: for tests}}
"""


@pytest.mark.usefixtures("small")
def test_demo_is_the_main_job_with_the_commands_a_user_would_type(
    compress: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = compressor.demo.job.PROJECT.replace("seconds: 5.0", "seconds: 0.5")
    quick = re.sub(r"ratios: \[.*?\]", "ratios: [0.5]", quick)
    monkeypatch.setattr(compressor.demo.job, "PROJECT", quick)
    folder = tmp_path / "demo"
    files = {name: tmp_path / f"{name}.yaml" for name in ("one", "other")}
    for name, file in files.items():
        file.write_text(POLICY.format(name=name))
    asked = [word for file in files.values() for word in ("--policy", str(file))]
    result = compress("demo", "--folder", str(folder), *asked)
    reports = {name: folder / "runs" / f"model-{name}" / "report.json" for name in files}
    for name, file in files.items():
        assert f"$ cd {folder} && compress model.pt --policy {file}" in result.stderr
        assert f"under {name}" in result.stdout
        assert str(reports[name].with_suffix(".html")) in result.stdout
    assert result.exit_code == json.loads(reports["one"].read_text())["exit_code"]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_during_the_preparations_is_130(
    compress: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressor.demo.job, "prepare", interrupt)
    result = compress("demo", "--folder", str(tmp_path))
    assert result.exit_code == 130
    assert result.stderr == "compress: interrupted\n"


@pytest.mark.usefixtures("small")
def test_ctrl_c_under_one_policy_does_not_go_on_to_the_next(
    compress: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressor.pipeline, "compress", interrupt)
    result = compress("demo", "--folder", str(tmp_path))
    assert result.exit_code == 130
    assert "--policy standard" in result.stderr
    assert "--policy safety-critical" not in result.stderr
    assert "give the same command again" in result.stderr
