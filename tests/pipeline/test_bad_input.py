import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from policies import built_in

Compress = Callable[..., Result]
Command = Callable[..., list[str]]

FACTORIES = """
from torch import nn

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))

def odd():
    return Odd()

def boxed():
    return Boxed()

class Odd(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
    def forward(self, x):
        assert x.shape[-1] == 224, "wants 224 pixels"

class Boxed(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
    def forward(self, x):
        return {"logits": x}
"""


@pytest.fixture
def refused(compress: Compress, tmp_path: Path) -> Callable[..., str]:
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


@pytest.mark.parametrize(
    "setting, code, told",
    [
        (
            "search.ratios=[0.01, 0.2, 0.97]",
            2,
            r"search\.ratios has 0\.01, 0\.97, and the policy lenient allows 0\.05 to 0\.95",
        ),
        ("search.importance=magic", 2, r"search\.importance is 'magic'; known are l1, l2"),
        ("search.allocation=magic", 2, r"search\.allocation is 'magic'; known are global, uniform"),
        ("retrain.batch_size=1", 2, r"unusable recipe: batch_size = 1, must be 2 or more"),
        ("retrain.lr=1.0e-9", 2, r"unusable recipe: lr = 1e-09, must be at least"),
        ("retrain.epoch=3", 2, r"--set retrain\.epoch=3: .*epoch.*epochs"),
        ("seed=soon", 2, r"--set seed=soon: seed: .*integer"),
        ("data.gate={npz: train.npz}", 2, r"1000 of 1000 gate images are training images too"),
        ("data.gate={npz: absent.npz}", 2, r"cannot read .*absent\.npz"),
        ("data.gate={folder: absent}", 2, r"no folder .*absent; expected"),
        ("input.size=[3, 4, 4]", 2, r"input\.size is \[3, 4, 4\], .* at least 8 pixels"),
        ("latency.provider=tpu", 2, r"--set latency\.provider=tpu: .*'auto', 'cpu' or 'cuda'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_reason(
    refused: Callable[..., str],
    command: Command,
    tmp_path: Path,
    setting: str,
    code: int,
    told: str,
) -> None:
    said = refused(command(tmp_path / "run", setting), code=code)
    assert re.search(told, said), said


def test_an_unknown_policy_names_the_built_in_ones(refused: Callable[..., str], root: Path) -> None:
    said = refused([str(root / "model.pt"), "--policy", "sturdy"], code=2)
    assert f"no policy 'sturdy'; built in: {', '.join(built_in())}" in said


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("min_images: 200", "min_image: 200", r"policy\.yaml:5: min_image: "),
        ("name: brightness", "name: brightnes", r"brightnes\b.*brightness"),
        ("severity: 2", "severity: 6", r"policy\.yaml:9: shifts\[2\]\.severity: .*5"),
    ],
)
def test_a_policy_file_is_refused_with_key_and_line(
    refused: Callable[..., str],
    command: Command,
    root: Path,
    tmp_path: Path,
    old: str,
    new: str,
    told: str,
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text((root / "lenient.yaml").read_text().replace(old, new))
    words = [*command(tmp_path / "run"), "--policy", str(file)]
    said = refused(words, code=2)
    assert re.search(told, said, re.DOTALL), said


def test_an_unknown_key_of_the_project_is_named_with_its_line(
    refused: Callable[..., str], command: Command, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "compress.yaml"
    file.write_text((root / "compress.yaml").read_text().replace("gate:", "gates:"))
    said = refused([*command(tmp_path / "run"), "--project", str(file)], code=2)
    assert re.search(r"compress\.yaml:5: data\.gates: ", said), said


def test_without_a_project_file_it_is_told_what_to_write(
    refused: Callable[..., str], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused([str(root / "model.pt"), "--policy", "nominal"], code=2)
    assert "add to compress.yaml, with your own values: input: {size: [3, 32, 32]" in said
    assert "data: {train: {folder: data/train}, gate: {folder: data/test}}" in said


def test_a_project_file_above_this_folder_is_found(
    compress: Compress, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    below = root / "some" / "where"
    below.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(below)
    words = ["../../model.pt", "--policy", "nominal", "--run", str(tmp_path / "run")]
    result = compress(*words)
    assert result.exit_code == 4, result.output
    assert "data.gate has 600 images, and the policy nominal asks for at least 1,000" in (
        result.stdout
    )


@pytest.fixture
def model(root: Path) -> nn.Sequential:
    """The network of the project, to be spoilt."""
    loaded: nn.Sequential = torch.load(root / "model.pt", weights_only=False)
    return loaded


def test_a_model_that_is_not_there_is_named(
    refused: Callable[..., str], command: Command, tmp_path: Path
) -> None:
    said = refused(command(tmp_path / "run", model="absent.pt"), code=5)
    assert "cannot read absent.pt: No such file or directory" in said


def test_a_truncated_model_is_told(
    refused: Callable[..., str], command: Command, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes((root / "model.pt").read_bytes()[:-1000])
    said = refused(command(tmp_path / "run", model=str(file)), code=5)
    assert f"{file} is truncated or damaged" in said


def test_weights_that_are_no_numbers_are_named(
    refused: Callable[..., str], command: Command, model: nn.Sequential, tmp_path: Path
) -> None:
    next(model[4].parameters()).data[0, 0, 0, 0] = float("nan")
    torch.save(model, tmp_path / "model.pt")
    said = refused(command(tmp_path / "run", model=str(tmp_path / "model.pt")), code=5)
    assert "1 weights hold NaN or infinity: 4.weight" in said


def test_weights_that_do_not_fit_the_factorys_network_are_named(
    refused: Callable[..., str], project: Callable[[str], list[str]]
) -> None:
    said = refused(project("flat"), code=5)
    assert "the weights do not fit the network: 2 missing from the file: 1.weight, 1.bias" in said
    assert "1 unknown to the network: 0.weight" in said


@pytest.fixture
def project(command: Command, root: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Command line of a project with a factory; its module has another name in every test."""
    folder = tmp_path / "home"
    folder.mkdir()
    module = f"nets_{abs(hash(tmp_path))}"
    (folder / f"{module}.py").write_text(FACTORIES)
    text = (root / "compress.yaml").read_text().replace("npz: ", f"npz: {root}/")
    (folder / "compress.yaml").write_text(text)
    (folder / ".compress-cache").symlink_to(root / ".compress-cache")
    torch.save({"0.weight": torch.zeros(2)}, folder / "model.pt")

    def words(factory: str, weights: dict[str, torch.Tensor] | None = None) -> list[str]:
        if weights is not None:
            torch.save(weights, folder / "model.pt")
        settings = f"model.factory={module}:{factory}"
        words = command(tmp_path / "run", settings, model=str(folder / "model.pt"))
        return [*words, "--project", str(folder / "compress.yaml")]

    return words


def test_weights_without_a_factory_ask_for_one(
    refused: Callable[..., str], command: Command, model: nn.Sequential, tmp_path: Path
) -> None:
    torch.save(model.state_dict(), tmp_path / "model.pt")
    said = refused(command(tmp_path / "run", model=str(tmp_path / "model.pt")), code=5)
    assert "model: {factory: 'my_pkg.nets:resnet20'}" in said


def test_a_factory_that_is_not_there_is_told_with_the_nearest_name(
    refused: Callable[..., str], project: Callable[[str], list[str]]
) -> None:
    assert re.search(
        r"has no 'flatt'; did you mean nets_\d+:flat\?", refused(project("flatt"), code=5)
    )


LINEAR = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}


@pytest.mark.parametrize(
    "factory, weights, told",
    [
        (
            "flat",
            {"1.weight": torch.ones(4, 768), "1.bias": torch.ones(4)},
            r"does not run on images of input\.size \[3, 12, 12\]: RuntimeError: .*432.*768",
        ),
        (
            "odd",
            LINEAR,
            r"on images of input\.size \[3, 12, 12\]: AssertionError: wants 224 pixels",
        ),
        ("boxed", LINEAR, r"the model must return one tensor of logits \[n classes\]"),
    ],
)
def test_a_network_that_does_not_take_the_images_is_told(
    refused: Callable[..., str],
    project: Callable[..., list[str]],
    factory: str,
    weights: dict[str, torch.Tensor],
    told: str,
) -> None:
    said = refused(project(factory, weights), code=2)
    assert re.search(told, said), said


def test_another_number_of_classes_is_told_with_both(
    refused: Callable[..., str], command: Command, model: nn.Sequential, tmp_path: Path
) -> None:
    torch.save(model[:-1].append(nn.Linear(64, 3)), tmp_path / "model.pt")
    said = refused(command(tmp_path / "run", model=str(tmp_path / "model.pt")), code=2)
    assert "the network has 3 outputs, and the images 4 classes (r, g, b, y)" in said


@pytest.fixture
def folder(
    tmp_path: Path, images: Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]
) -> Path:
    """Image files, a folder a class, the third of them empty."""
    pixels, _ = images(2, seed=9)
    for name in "bgry":
        (tmp_path / "photos" / name).mkdir(parents=True)
        if name != "r":
            Image.fromarray(pixels[0]).save(tmp_path / "photos" / name / "1.png")
    return tmp_path / "photos"


def test_an_empty_class_folder_is_named(
    refused: Callable[..., str], command: Command, folder: Path, tmp_path: Path
) -> None:
    said = refused(command(tmp_path / "run", f"data.gate={{folder: {folder}}}"), code=2)
    assert f"no images in the class folders r of {folder}" in said
    assert "Add images, or remove the folder" in said


def test_grayscale_files_for_a_colour_network_are_named(
    refused: Callable[..., str], command: Command, folder: Path, tmp_path: Path
) -> None:
    Image.new("L", (12, 12)).save(folder / "r" / "gray.png")
    said = refused(command(tmp_path / "run", f"data.gate={{folder: {folder}}}"), code=2)
    assert re.search(r"gray\.png has 1 channels \(mode L\), and input\.size says 3", said), said


def test_a_grayscale_archive_for_a_colour_network_is_named(
    refused: Callable[..., str], command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "gray.npz"
    np.savez(file, images=np.zeros((9, 12, 12, 1), np.uint8), labels=np.zeros(9, np.int64))
    said = refused(command(tmp_path / "run", f"data.gate={{npz: {file}}}"), code=2)
    assert f"images of {file} are [9, 12, 12, 1]: neither [n h w c] nor [n c h w]" in said


def test_a_colour_network_on_grayscale_images_is_told(
    refused: Callable[..., str], command: Command, tmp_path: Path
) -> None:
    for name, shade in (("a", 0), ("b", 9)):
        images = (
            np.full((9, 12, 12, 1), shade, np.uint8)
            + np.arange(9, dtype=np.uint8)[:, None, None, None]
        )
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(9) % 4)
    settings = [
        f"data.{part}={{npz: {tmp_path / name}.npz}}"
        for part, name in (("train", "a"), ("gate", "b"))
    ]
    shape = ["input.size=[1, 12, 12]", "input.mean=[0.5]", "input.std=[0.5]"]
    said = refused(command(tmp_path / "run", *settings, *shape), code=2)
    assert "does not run on images of input.size [1, 12, 12]" in said


def test_a_run_folder_with_the_users_files_is_left_alone(
    compress: Compress, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_text("precious")
    result = compress(*command(tmp_path))
    assert result.exit_code == 2
    assert f"{tmp_path} holds model.onnx, and no plan.lock" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_in_the_run_folders_place_is_left_alone(
    refused: Callable[..., str], command: Command, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("precious")
    assert "run cannot be a folder" in refused(command(tmp_path / "run"), code=2)
