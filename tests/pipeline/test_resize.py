"""A camera's frames and a network of another size: resized inside what is judged and released."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from compressor.bench_job import BENCH
from exporters.signature import read_signature

Compress = Callable[..., Result]

CAMERA, OWN = (20, 28), (12, 12)
ASKED = ("--set", "input.size=[3, 20, 28]", "--set", "input.resize=[12, 12]")


def enlarged(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames [n h w c] of the camera's size."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    made = functional.interpolate(pixels, CAMERA, mode="bilinear").round().clamp(0, 255)
    found: NDArray[np.uint8] = made.permute(0, 2, 3, 1).byte().numpy()
    return found


@pytest.fixture(scope="module")
def home(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the other tests, with its images as a camera of another size has them."""
    folder = tmp_path_factory.mktemp("camera")
    for name in ("model.pt", "compress.yaml", "lenient.yaml"):
        shutil.copy(root / name, folder)
    for name in ("train", "gate"):
        with np.load(root / f"{name}.npz") as held:
            kept = {key: held[key] for key in ("labels", "classes")}
            np.savez(folder / f"{name}.npz", images=enlarged(held["images"]), **kept)
    return folder


@pytest.fixture(scope="module")
def resized(
    home: Path, command: Callable[..., list[str]], compress: Compress
) -> tuple[Path, Result]:
    words = command(home / "run", "search.ratios=[0.3]", home=home)
    result = compress(*words, *ASKED)
    assert result.exit_code == 0, result.output
    return home / "run", result


@pytest.fixture
def gate(home: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of ``compress gate``."""

    def words(candidate: Path, dense: Path, *settings: str) -> list[str]:
        made = ["gate", str(candidate), "--dense", str(dense), "--run", str(tmp_path / "run")]
        made += ["--policy", str(home / "lenient.yaml")]
        return [*made, "--project", str(home / "compress.yaml"), *settings]

    return words


def test_the_file_that_was_judged_takes_the_camera_s_pixels(
    resized: tuple[Path, Result], home: Path, network: Callable[[], nn.Module]
) -> None:
    run, result = resized
    assert "resizes its images from 20 x 28 to 12 x 12 (bilinear, antialiased)" in result.stderr
    signature = read_signature(run / "model.onnx")
    assert (signature.size, signature.dtype, signature.resize) == ((3, *CAMERA), "uint8", OWN)
    with np.load(home / "gate.npz") as held:
        frames = held["images"][:50]
    opened = onnxruntime.InferenceSession(run / "dense.onnx", providers=["CPUExecutionProvider"])
    (logits,) = opened.run(None, {"images": frames})
    dense = network().eval()
    dense.load_state_dict(torch.load(home / "model.pt", weights_only=False).state_dict())
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    own = functional.interpolate(pixels, OWN, mode="bilinear", antialias=True)
    with torch.no_grad():  # resized before it is normalised: the same but for rounding
        wanted = dense((own - 0.5) / 0.25).numpy()
    assert np.abs(logits - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_costs_and_names_are_those_of_the_network_at_its_own_size(
    resized: tuple[Path, Result], accepted: Path, network: Callable[[], nn.Module]
) -> None:
    run, _ = resized
    found, other = (json.loads((f / "report.json").read_bytes()) for f in (run, accepted))
    assert found["dense"]["macs"] == other["dense"]["macs"]
    (folder,) = (run / "candidates").iterdir()
    assert load_file(folder / "weights.safetensors").keys() == network().state_dict().keys()


def test_the_run_says_what_was_resized_and_holds(
    resized: tuple[Path, Result], accepted: Path, compress: Compress, tmp_path: Path
) -> None:
    run, _ = resized
    assert json.loads((run / "plan.lock").read_bytes())["input"]["resize"] == [12, 12]
    assert "resize" not in json.loads((accepted / "plan.lock").read_bytes())["input"]
    report = json.loads((run / "report.json").read_bytes())
    assert report["resize"] == {"images": list(CAMERA), "network": list(OWN)}
    assert json.loads((accepted / "report.json").read_bytes())["resize"] is None
    told = "the files take images of 20 x 28 pixels and resize them to 12 x 12 themselves"
    assert told in (run / "report.md").read_text()
    assert told in (run / "report.html").read_text()
    assert "resized inside" not in (accepted / "report.md").read_text()
    assert compress("verify", str(run)).exit_code == 0
    assert compress("export", str(run), "--to", str(tmp_path / "out.onnx")).exit_code == 0
    linted = compress("lint", str(tmp_path / "out.onnx"))
    assert linted.exit_code == 0
    assert "shape-arithmetic" not in linted.output


def test_a_report_that_says_another_resize_than_the_plan_does_not_hold(
    resized: tuple[Path, Result], compress: Compress, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(resized[0], tmp_path / "run"))
    report = json.loads((run / "report.json").read_bytes())
    report["resize"]["network"] = [14, 14]
    (run / "report.json").write_text(json.dumps(report))
    told = compress("verify", str(run)).stdout
    assert "report.json: does not go with plan.lock: resize.network[0] is 14" in told


def test_the_gate_judges_files_and_weights_that_resize(
    resized: tuple[Path, Result], home: Path, gate: Callable[..., list[str]], compress: Compress,
    tmp_path: Path,
) -> None:  # fmt: skip
    run, _ = resized
    result = compress(*gate(run / "model.onnx", home / "model.pt", *ASKED))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ACCEPTED: model.onnx")
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    assert report["resize"] == {"images": list(CAMERA), "network": list(OWN)}


def test_files_say_themselves_that_they_resize_where_no_project_does(
    resized: tuple[Path, Result], home: Path, compress: Compress, tmp_path: Path
) -> None:
    run, _ = resized
    project = tmp_path / "compress.yaml"
    project.write_text(f"data: {{gate: {{npz: {home / 'gate.npz'}}}}}\n")
    result = compress(
        "gate", str(run / "model.onnx"), "--dense", str(run / "dense.onnx"), "--run",
        str(tmp_path / "run"), "--policy", str(home / "lenient.yaml"), "--project", str(project),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    assert report["resize"] == {"images": list(CAMERA), "network": list(OWN)}
    assert compress("verify", str(tmp_path / "run")).exit_code == 0


def test_an_onnx_file_of_the_network_s_own_size_is_refused_with_what_to_do(
    accepted: Path, resized: tuple[Path, Result], gate: Callable[..., list[str]],
    refused: Callable[..., str],
) -> None:  # fmt: skip
    words = gate(accepted / "model.onnx", resized[0] / "dense.onnx", *ASKED)
    said = " ".join(refused(words, code=2).split())
    assert "model.onnx takes images of [3, 12, 12], and input.resize [12, 12]" in said
    assert "takes images of input.size [3, 20, 28] and resizes them itself" in said
    assert "set input.size to [3, 12, 12] and leave input.resize out" in said


def test_a_file_that_resizes_to_another_size_is_refused(
    resized: tuple[Path, Result], gate: Callable[..., list[str]], refused: Callable[..., str]
) -> None:
    run, _ = resized
    words = gate(run / "model.onnx", run / "dense.onnx", *ASKED[:3], "input.resize=[12, 16]")
    said = refused(words, code=2)
    assert "dense.onnx resizes its images to [12, 12], and input.resize [12, 16]" in said


@pytest.mark.parametrize(
    "resize, complaint",
    [
        ("[0, 12]", "input.resize[0]: Input should be greater than or equal to 1"),
        ("[12]", "input.resize[1]: this item is missing"),
        ("[1, 1]", "images of input.size [3, 20, 28], resized to input.resize [1, 1]"),
    ],
)
def test_a_size_that_cannot_be_is_refused(
    home: Path, command: Callable[..., list[str]], refused: Callable[..., str], tmp_path: Path,
    resize: str, complaint: str,
) -> None:  # fmt: skip
    settings = ("input.size=[3, 20, 28]", f"input.resize={resize}")
    assert complaint in refused(command(tmp_path / "run", *settings, home=home), code=2)


@pytest.mark.parametrize("preprocessing", ["true", "false"])
def test_one_cut_resizes_with_and_without_preprocessing_inside(
    home: Path, compress: Compress, tmp_path: Path, preprocessing: str
) -> None:
    out = tmp_path / "out"
    result = compress(
        "prune", str(home / "model.pt"), "--ratio", "0.3", "--no-retrain", "--out", str(out),
        "--project", str(home / "compress.yaml"), *ASKED,
        "--set", f"export.preprocessing={preprocessing}", "--set", "search.align=1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = read_signature(out / "model.onnx")
    assert (found.size, found.resize) == ((3, *CAMERA), OWN)
    assert found.dtype == ("uint8" if preprocessing == "true" else "float32")
    record: dict[str, Any] = json.loads((out / "prune.json").read_bytes())
    assert record["parity"]["max_relative_error"] < 1e-4
    assert record["notes"] == [
        "it resizes its images from 20 x 28 to 12 x 12 (bilinear, antialiased)"
    ]


def test_pytorch_is_timed_with_the_resize(home: Path, compress: Compress, tmp_path: Path) -> None:
    only_its_own_size = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 10 * 10, 4))
    torch.save(only_its_own_size, tmp_path / "net.pt")
    text = (home / "compress.yaml").read_text().replace("[3, 12, 12]", "[3, 20, 28]")
    project = tmp_path / "compress.yaml"
    project.write_text(text.replace("mean:", "resize: [12, 12], mean:"))
    made = compress(
        "prune", str(tmp_path / "net.pt"), "--ratio", "0.25", "--no-retrain",
        "--set", "search.align=1", "--set", f"data.train={{npz: {home / 'train.npz'}}}",
        "--project", str(project), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    result = compress(
        "bench", str(tmp_path / "out" / "model.onnx"), "--quick", "--seconds", "0.2",
        "--batch", "1", "--provider", "cpu", "--threads", "1", "--torch", str(tmp_path / "net.pt"),
        "--project", str(project), "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (one,) = BENCH.validate_json(result.stdout).torch
    assert one.timings[-1].runtime == "PyTorch eager"
    assert not one.left_out
