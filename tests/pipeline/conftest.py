"""A project as a user would have it, small enough to be compressed in seconds."""

import functools
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from playwright.sync_api import Browser
from torch import nn
from torch.nn import functional

from compressor.cli import main
from compressor.config import load_project
from compressor.inputs import Job
from policies import load_policy
from tests.loaded_once import asked_once, exported_once, loaded_once  # noqa: F401 # fixtures
from tests.pipeline.browsing import CHROMIUM, MISSING, started

COLOURS = np.array([(165, 95, 95), (95, 165, 95), (95, 95, 165), (145, 145, 95)])
"""Mean colour of each class."""

POLICY = """\
apiVersion: compress/v1
name: {name}
summary: For tests.
alpha: 0.05
min_images: {min_images}
shifts:
  - {{name: clean, tolerance: {tolerance}, reason: it is a test}}
  - {{name: gaussian_noise, severity: 1, tolerance: {tolerance}, accounted: true, reason: a test}}
  - {{name: brightness, severity: 2, tolerance: {tolerance}, enforced: false, reason: a test}}
"""

PROJECT = """\
input: {size: [3, 12, 12], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data:
  train: {npz: train.npz}
  tune: {from: train, fraction: 0.2}
  gate: {npz: gate.npz}
retrain: {epochs: 2, lr: 0.02, batch_size: 100, augment: [crop]}
search: {ratios: [0.2, 0.4], align: 1}
latency: {batches: [1], seconds: 0.2, provider: cpu}
"""

JOBS = {
    "accepted": ((), "lenient"),
    # Retraining teaches wrong labels.
    "rejected": (("data.train={npz: mislabelled.npz}", "retrain.distill=0"), "lenient"),
    "undecided": ((), "strict"),
    "no ratio": (("search.align=64",), "lenient"),
    "several precisions": (("search.ratios=[0.2]", "export.precision=auto"), "lenient"),
    "end of the widths": (("search.ratios=[0.48, 0.6]", "search.align=32"), "lenient"),
}
"""Settings and policy of jobs, by what comes of them."""


def _draw(count: int, *, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [n 12 12 3] of one noisy colour each; some come near another class's colour."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(COLOURS), size=count)
    colours = COLOURS[labels] + rng.normal(scale=18, size=(count, 3))
    images = colours[:, None, None, :] + rng.normal(scale=30, size=(count, 12, 12, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, len(COLOURS)),
    )


def _trained(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> nn.Module:
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 * 4 - 2
    targets = torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = _network()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(4):
        for first in range(0, len(targets), 100):
            chosen = slice(first, first + 100)
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs[chosen]), targets[chosen]).backward()
            optimiser.step()
    return network.eval()


@pytest.fixture(scope="session")
def network() -> Callable[[], nn.Module]:
    """Makes the network of the tests, with fresh weights."""
    return _network


@pytest.fixture(scope="session")
def images() -> Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Draws ``count`` images [n h w c] and labels from a ``seed``."""
    return _draw


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with data and a trained network; no test changes what it holds."""
    folder = tmp_path_factory.mktemp("project")
    for name, count, seed in (("train", 1000, 1), ("gate", 600, 2)):
        images, labels = _draw(count, seed=seed)
        np.savez(folder / f"{name}.npz", images=images, labels=labels, classes=list("rgby"))
    torch.save(_trained(*_draw(1000, seed=1)), folder / "model.pt")
    images, labels = _draw(1000, seed=1)
    classes = list("rgby")
    np.savez(folder / "mislabelled.npz", images=images, labels=(labels + 1) % 4, classes=classes)
    (folder / "compress.yaml").write_text(PROJECT)
    for name, (tolerance, count) in {
        "lenient": (0.1, 200),
        "strict": (0.008, 200),
        "hungry": (0.1, 100_000),
    }.items():
        text = POLICY.format(name=name, tolerance=tolerance, min_images=count)
        (folder / f"{name}.yaml").write_text(text)
    looking = POLICY.format(name="looking", tolerance=0.1, min_images=200)
    for old, new in (
        ("shifts:", "method: looks\nshifts:"),
        ("severity: 1,", "severity: 1, min_images: 400,"),
        ("severity: 2,", "severity: 2, min_images: 500,"),
    ):
        looking = looking.replace(old, new)
    (folder / "looking.yaml").write_text(looking)
    return folder


@pytest.fixture
def fresh(root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a project like the other in a folder of this name, with neither cache nor ledger."""

    def made(name: str) -> Path:
        ignored = shutil.ignore_patterns(".compress-cache", "*ledger*", "some")
        return Path(shutil.copytree(root, tmp_path / name, ignore=ignored))

    return made


@pytest.fixture(scope="session")
def command(root: Path) -> Callable[..., list[str]]:
    """The words of a command line, without its first: the model, a policy, a run, settings."""

    def words(
        run: Path, *settings: str, policy: str = "lenient", model: str = "", home: Path = root
    ) -> list[str]:
        words = [model or str(home / "model.pt"), "--policy", str(home / f"{policy}.yaml")]
        words += ["--project", str(home / "compress.yaml"), "--run", str(run)]
        return [*words, *(word for setting in settings for word in ("--set", setting))]

    return words


@pytest.fixture(scope="session")
def compress() -> Callable[..., Result]:
    """The command line, in this process."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return run


@pytest.fixture(scope="session")
def finished(
    command: Callable[..., list[str]],
    compress: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, Result]]:
    """The run folder and the output of each job in JOBS; every job is run once."""

    @functools.cache
    def run(name: str) -> tuple[Path, Result]:
        settings, policy = JOBS[name]
        folder = tmp_path_factory.mktemp("runs") / name
        return folder, compress(*command(folder, *settings, policy=policy))

    return run


@pytest.fixture(scope="session")
def accepted(finished: Callable[[str], tuple[Path, Result]]) -> Path:
    """The folder of a run that was accepted."""
    folder, result = finished("accepted")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def script() -> Path:
    """The installed command."""
    return Path(sysconfig.get_path("scripts")) / "compress"


@pytest.fixture(scope="session")
def job(root: Path) -> Callable[..., Job]:
    """The main job as the pipeline takes it."""

    def made(run: Path, *, policy: str = "lenient") -> Job:
        return Job(
            model=root / "model.pt",
            policy=load_policy(str(root / f"{policy}.yaml")),
            project=load_project(root / "compress.yaml"),
            root=root,
            run=run,
        )

    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium; where there is none, the test is skipped."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with started() as browser:
        yield browser


@pytest.fixture
def refused(compress: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """What the command line says when it refuses ``words`` with ``code``, leaving nothing."""

    def run(words: list[str], *, code: int) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = compress(*words)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        left = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
        assert not [path for path in left if "__pycache__" not in str(path)]
        return result.stderr

    return run
