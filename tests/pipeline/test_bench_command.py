"""What ``compress bench`` and ``compress lint`` print, and what they refuse, with which code."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from compressor.bench_job import BENCH
from compressor.cli import main
from exporters.onnx import serialise
from exporters.providers import probe

BRIEF = ("--quick", "--seconds", "0.3", "--batch", "2", "--threads", "1")


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network and a much smaller one, on images [n 3 12 12]."""
    folder = tmp_path_factory.mktemp("files")
    for name, width in (("large", 256), ("small", 8)):
        net = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(width, 4),
        )  # fmt: skip
        content = serialise(net, torch.zeros(1, 3, 12, 12), metadata={})
        (folder / f"{name}.onnx").write_bytes(content)
    return folder / "large.onnx", folder / "small.onnx"


@pytest.fixture(scope="module")
def written(files: tuple[Path, Path]) -> tuple[Result, Path]:
    out = files[0].parent / "bench.json"
    return command("bench", *files, *BRIEF, "--out", out), out


def test_files_are_compared_with_the_first_in_ms_and_ratios(
    written: tuple[Result, Path],
) -> None:
    result, _ = written
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith("| small ") and "fp32" in line for line in lines)
    large, small = (next(x for x in lines if f"| 2     | {n}" in x) for n in ("large", "small"))
    assert large.split("|")[5].strip() == "1"
    assert "[" in small.split("|")[5]
    assert "the first file against itself [" in result.stdout
    assert "CPUExecutionProvider (onnxruntime" in result.stdout


def test_the_json_is_the_whole_record(written: tuple[Result, Path]) -> None:
    _, out = written
    found = BENCH.validate_json(out.read_bytes())
    (section,) = found.sections
    (one,) = section.rounds
    assert section.provider.name == "cpu"
    assert [file.name for file in found.files] == ["large", "small"]
    assert one.against[0].name == "small"
    assert one.against[0].ratio > 1
    assert one.timings[0].percentiles.keys() <= {50, 90, 95, 99}
    assert section.footprints["small"].processes == 1
    assert json.loads(out.read_bytes())["schema_version"] == 1


def test_a_network_is_timed_in_pytorch_beside_its_file(root: Path, tmp_path: Path) -> None:
    from compressor.models import load_model

    net = load_model(root / "model.pt", root=root).module
    file = tmp_path / "model.onnx"
    file.write_bytes(serialise(net, torch.zeros(1, 3, 12, 12), metadata={}))
    result = command(
        "bench", file, *BRIEF, "--torch", root / "model.pt", "--project", root / "compress.yaml",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (one,) = BENCH.validate_json(result.stdout).torch
    assert [timing.runtime for timing in one.timings] == [
        "onnxruntime, model.onnx",
        "PyTorch eager",
    ]
    assert all(timing.median_ms > 0 for timing in one.timings)
    assert one.timings[1].interval is not None


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_provider_that_does_not_work_is_refused_not_replaced(
    name: str, files: tuple[Path, Path]
) -> None:
    if probe("cuda" if name == "cuda" else "tensorrt").usable:
        pytest.skip(f"{name} works here, and what is tested is its refusal where it does not")
    result = command("bench", *files, *BRIEF, "--provider", name)
    assert result.exit_code == 2
    assert f"cannot run on {name}: " in result.stderr
    assert "pip install " in result.stderr
    assert "median ms" not in result.output


def fixed(source: Path, target: Path) -> Path:
    model = onnx.load(source)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 5
    onnx.save(model, target)
    return target


def other_images(source: Path, target: Path) -> Path:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    target.write_bytes(serialise(net, torch.zeros(1, 3, 9, 9), metadata={}))
    return target


def nothing(source: Path, target: Path) -> Path:
    return target


def text(source: Path, target: Path) -> Path:
    target.write_text("not a network")
    return target


@pytest.mark.parametrize(
    "make, code, told",
    [
        (fixed, 2, "takes batches of 5 only, not 2: ask for --batch 5"),
        (other_images, 2, "compare files that take the same images"),
        (nothing, 5, "No such file"),
        (text, 5, "is not an ONNX file"),
    ],
)
def test_unusable_files_are_refused_in_one_sentence(
    make: Callable[[Path, Path], Path],
    code: int,
    told: str,
    files: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    result = command("bench", files[0], make(files[1], tmp_path / "other.onnx"), *BRIEF)
    assert result.exit_code == code
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_a_dimension_is_named_and_sized(files: tuple[Path, Path]) -> None:
    result = command("bench", files[0], *BRIEF, "--dim", "height")
    assert result.exit_code == 2
    assert "write NAME=SIZE" in result.stderr


def test_lint_says_what_it_found_and_is_no_judge(files: tuple[Path, Path], tmp_path: Path) -> None:
    stiff = fixed(files[1], tmp_path / "stiff.onnx")
    result = command("lint", files[0], stiff)
    assert result.exit_code == 0
    assert f"{files[0]}: 1 convolutions, 1 of them on fast kernels" in result.stdout
    assert "nothing found" in result.stdout
    assert "fixed-batch: 'images' takes batches of 5" in result.stdout
    assert "do: export with a named first dimension" in result.stdout
    found = json.loads(command("lint", stiff, "--json").stdout)
    assert [one["rule"] for one in found[str(stiff)]["findings"]] == ["fixed-batch"]
    assert command("lint", text(stiff, tmp_path / "text.onnx")).exit_code == 5
