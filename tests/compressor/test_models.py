import hashlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor.models import LoadedModel, ModelError, load_model


def saved(folder: Path, content: object, *, name: str = "model.pt", archive: bool = True) -> Path:
    path = folder / name
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def load(path: Path, root: Path, *, factory: str = "user_nets:net") -> LoadedModel:
    return load_model(path, factory=factory, root=root)


def refusal(path: Path, root: Path, *, factory: str | None = "user_nets:net") -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path, factory=factory, root=root)
    return str(caught.value)


def test_the_network_is_in_eval_mode_and_knows_its_file(net: nn.Module, root: Path) -> None:
    path = saved(root, weights_of(net))
    loaded = load(path, root)
    assert not any(module.training for module in loaded.module.modules())
    assert all(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.source == "model.pt, weights for user_nets:net"


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_a_truncated_file_is_a_model_error(net: nn.Module, root: Path, archive: bool) -> None:
    whole = saved(root, weights_of(net), archive=archive).read_bytes()
    cut = root / "cut.pt"
    for length in range(1, len(whole), 97):
        cut.write_bytes(whole[:length])
        refusal(cut, root)


def test_damaged_bytes_never_crash_the_loader(tmp_path: Path) -> None:
    whole = bytearray(saved(tmp_path, nn.Sequential(nn.Linear(2, 2))).read_bytes())
    damaged = tmp_path / "damaged.pt"
    outcomes = set()
    for position in range(60, 1200, 7):
        content = whole.copy()
        content[position] ^= 0x5A
        damaged.write_bytes(content)
        try:
            load_model(damaged, root=tmp_path)
            outcomes.add("loaded")
        except ModelError:
            outcomes.add("refused")
    assert "refused" in outcomes


def junk(folder: Path) -> Mapping[str, tuple[Path, str]]:
    """Files that are no model, each with what is said about it."""
    contents = {
        "empty.pt": (b"", "is empty"),
        "text.pt": (b"hello", "is no PyTorch file"),
        "zip.pt": (b"PK\x03\x04rest", "truncated or damaged"),
        "model.onnx": (b"\x08\x07", "ONNX file"),
        "bad.safetensors": (b"\x00\x01", "truncated, damaged"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("a/b.txt", "text")
    files = {name: (folder / name, message) for name, (_, message) in contents.items()}
    return files | {
        "other.zip": (folder / "other.zip", "not one that torch.save wrote"),
        "folder": (folder, "is a folder"),
        "absent.pt": (folder / "absent.pt", "cannot read"),
        "list.pt": (saved(folder, [1, 2], name="list.pt"), "holds a list"),
        "tensor.pt": (saved(folder, torch.zeros(2), name="tensor.pt"), "holds a Tensor"),
        "dict.pt": (saved(folder, {"epoch": 3}, name="dict.pt"), "its keys are epoch"),
        "nothing.pt": (saved(folder, {}, name="nothing.pt"), "holds no weights"),
    }


def test_files_that_are_no_models_are_told_apart(tmp_path: Path) -> None:
    for path, message in junk(tmp_path).values():
        assert message in refusal(path, tmp_path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_archives_are_refused(net: nn.Module, root: Path) -> None:
    path = root / "model.pt"
    sys.modules["user_nets"].scripted_net().save(path)
    assert "TorchScript archive" in refusal(path, root)


def test_exported_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path)
    assert "torch.export archive (.pt2)" in refusal(path, tmp_path)


def test_a_compiled_network_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    path = saved(tmp_path, torch.compile(nn.Linear(2, 2)))
    assert "take model._orig_mod" in refusal(path, tmp_path)


def test_a_class_of_a_script_cannot_be_imported(
    net: nn.Module, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(net)
    monkeypatch.setattr(kind, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Net", kind, raising=False)
    message = refusal(saved(root, net), root)
    assert "A script's own classes cannot be imported" in message


def test_an_old_whole_module_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, nn.Linear(2, 2), archive=False)
    assert "a plain pickle may hold nothing but weights" in refusal(path, tmp_path)
