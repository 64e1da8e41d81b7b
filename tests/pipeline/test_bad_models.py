import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor.models import load_model

Command = Callable[..., list[str]]

FACTORIES = """
from torch import nn

from compressor.models import load_model

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
def model(root: Path) -> nn.Sequential:
    """The network of the project, to be spoilt."""
    loaded = load_model(root / "model.pt", root=root).module
    assert isinstance(loaded, nn.Sequential)
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
    cache = root / ".compress-cache"
    cache.mkdir(exist_ok=True)
    (folder / ".compress-cache").symlink_to(cache)
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


def test_a_cache_that_leads_nowhere_is_told(
    refused: Callable[..., str], project: Callable[..., list[str]], tmp_path: Path
) -> None:
    words = project("boxed", LINEAR)
    cache = tmp_path / "home" / ".compress-cache"
    cache.unlink()
    cache.symlink_to("nowhere")
    said = refused(words, code=2)
    assert f"{cache}: a link to no folder is where a folder should be; move it away" in said


def test_another_number_of_classes_is_told_with_both(
    refused: Callable[..., str], command: Command, model: nn.Sequential, tmp_path: Path
) -> None:
    torch.save(model[:-1].append(nn.Linear(64, 3)), tmp_path / "model.pt")
    said = refused(command(tmp_path / "run", model=str(tmp_path / "model.pt")), code=2)
    assert "the network has 3 outputs, and the images 4 classes (r, g, b, y)" in said
