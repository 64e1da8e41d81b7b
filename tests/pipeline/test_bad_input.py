import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from policies import built_in

Compress = Callable[..., Result]
Command = Callable[..., list[str]]


@pytest.mark.parametrize(
    "setting, code, told",
    [
        (
            "search.ratios=[0.01, 0.2, 0.97]",
            2,
            r"search\.ratios has 0\.01, 0\.97, and the policy lenient allows 0\.05 to 0\.95",
        ),
        ("search.regulariser=0.1", 2, r"search\.regulariser is 0\.1, and l2 models no loss"),
        ("search.importance=magic", 2, r"search\.importance is 'magic'; known are l1, l2"),
        ("search.allocation=magic", 2, r"search\.allocation is 'magic'; known are global, uniform"),
        ("retrain.batch_size=1", 2, r"unusable recipe: batch_size = 1, must be 2 or more"),
        ("retrain.lr=1.0e-9", 2, r"unusable recipe: lr = 1e-09, must be at least"),
        ("retrain.epoch=3", 2, r"--set retrain\.epoch=3: .*epoch.*epochs"),
        ("seed=soon", 2, r"--set seed=soon: seed: .*integer"),
        ("data.gate={npz: train.npz}", 2, r"1000 of 1000 images of data\.gate are training"),
        ("data.gate={npz: absent.npz}", 2, r"cannot read .*absent\.npz"),
        ("data.gate={folder: absent}", 2, r"no folder .*absent; expected"),
        ("input.size=[3, 4, 4]", 2, r"input\.size is \[3, 4, 4\], .* at least 8 pixels"),
        (
            "latency.provider=tpu",
            2,
            r"--set latency\.provider=tpu: .*'auto', 'cpu', 'cuda' or 'tensorrt'",
        ),
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


@pytest.fixture
def frosty(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy that names frost, where the photographs that it needs are not installed."""
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    file = tmp_path / "frosty.yaml"
    text = (root / "lenient.yaml").read_text()
    file.write_text(text.replace("name: gaussian_noise", "name: frost"))
    return file


def test_a_shift_whose_materials_are_not_installed_is_refused_before_anything_is_read(
    refused: Callable[..., str], command: Command, tmp_path: Path, frosty: Path
) -> None:
    words = command(tmp_path / "run", "data.train={npz: absent.npz}", model="absent.pt")
    said = refused([*words, "--policy", str(frosty)], code=2)
    assert said.startswith("compress: frost needs five photographs of ice that are not part of")
    assert "pip install 'compressor[frost]' brings them" in said


def test_lint_of_a_policy_does_not_ask_what_is_installed(compress: Compress, frosty: Path) -> None:
    result = compress("policy", "lint", str(frosty))
    assert result.exit_code == 0, result.output


def test_an_unknown_shift_in_a_mixture_is_named(
    refused: Callable[..., str], command: Command, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    mixture = "  - {id: m, mixture: [contrast, brightnes], severity: 1, tolerance: 0.1, reason: r}"
    file.write_text(f"{(root / 'lenient.yaml').read_text()}{mixture}\n")
    told = "no shift 'brightnes'; did you mean 'brightness'?"
    assert told in refused([*command(tmp_path / "run"), "--policy", str(file)], code=2)
    assert told in refused(["policy", "lint", str(file)], code=2)


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
        result.stderr
    )


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
