import argparse
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torchvision
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


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def tiny_vgg() -> nn.Module:
    features = torchvision.models.vgg.make_layers([8, "M"], batch_norm=True)
    net: nn.Module = torchvision.models.VGG(features, init_weights=False)
    net.classifier = nn.Sequential(nn.Linear(8, 2), nn.Dropout())
    return net


def tiny_convnext() -> nn.Module:
    block = torchvision.models.convnext.CNBlockConfig(8, None, 2)
    net: nn.Module = torchvision.models.ConvNeXt([block])
    return net


def tiny_densenet() -> nn.Module:
    net: nn.Module = torchvision.models.DenseNet(4, (2, 2), 8)
    return net


def tiny_vit() -> nn.Module:
    net: nn.Module = torchvision.models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    return net


def by_name(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None)


WHOLE_NETS: Mapping[str, Callable[[], nn.Module]] = {
    "resnet18": by_name("resnet18"),
    "vgg": tiny_vgg,
    "mobilenet_v2": by_name("mobilenet_v2"),
    "mobilenet_v3_small": by_name("mobilenet_v3_small"),
    "densenet": tiny_densenet,
    "regnet_y_400mf": by_name("regnet_y_400mf"),
    "efficientnet_b0": by_name("efficientnet_b0"),
    "convnext": tiny_convnext,
    "squeezenet1_1": by_name("squeezenet1_1"),
    "sequential": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)),
    "vit": tiny_vit,
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, activation="gelu"),
    "relu_transformer": lambda: nn.TransformerEncoderLayer(8, 2),
    "data_parallel": lambda: nn.DataParallel(nn.Linear(2, 2)),
    "in_training": lambda: nn.Sequential(nn.Dropout(), nn.Linear(2, 2)).train(),
}


@pytest.mark.parametrize("name", WHOLE_NETS)
def test_whole_networks_of_known_layers_load(name: str, tmp_path: Path) -> None:
    module = WHOLE_NETS[name]()
    loaded = load_model(saved(tmp_path, module), root=tmp_path)
    inner = module.module if isinstance(module, nn.DataParallel) else module
    assert type(loaded.module) is type(inner)
    assert same_weights(loaded.module, inner)
    assert not loaded.module.training
    assert loaded.source == "model.pt, a whole module"


def test_a_network_inside_a_checkpoint_loads(tmp_path: Path) -> None:
    path = saved(tmp_path, {"epoch": 1, "model": nn.Linear(2, 2)})
    assert isinstance(load_model(path, root=tmp_path).module, nn.Linear)


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    path = saved(tmp_path, nn.Linear(2, 2).requires_grad_(requires_grad=False))
    assert not any(p.requires_grad for p in load_model(path, root=tmp_path).module.parameters())


def test_a_users_class_is_refused_with_the_flag_that_trusts_it(net: nn.Module, root: Path) -> None:
    assert "add --trust-class user_nets.Net;" in refusal(saved(root, net), root)


def test_a_trusted_class_loads(net: nn.Module, root: Path) -> None:
    path = saved(root, net)
    sys.modules.pop("user_nets")
    loaded = load_model(path, trusted=["user_nets.Net"], root=root)
    assert same_weights(loaded.module, net)


def test_trust_ends_with_the_load(net: nn.Module, root: Path) -> None:
    path = saved(root, net)
    before = torch.serialization.get_safe_globals()
    load_model(path, trusted=["user_nets.Net"], root=root)
    assert set(torch.serialization.get_safe_globals()) == set(before)
    assert "--trust-class user_nets.Net" in refusal(path, root)


class Asks:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def test_only_classes_can_be_trusted(net: nn.Module, root: Path) -> None:
    path = saved(root, Asks(sys.modules["user_nets"].net))
    with pytest.raises(ModelError, match="has no class 'net'"):
        load_model(path, trusted=["user_nets.net"], root=root)


@pytest.mark.parametrize(("protocol", "name"), [(2, "commands.Popen"), (3, "subprocess.Popen")])
def test_the_standard_library_cannot_be_trusted(protocol: int, name: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pt"
    torch.save(Asks(subprocess.Popen, ["touch", str(marker)]), path, pickle_protocol=protocol)
    assert f"No network needs {name}" in refusal(path, tmp_path)
    with pytest.raises(ModelError, match=f"{name} belongs to Python's standard library"):
        load_model(path, trusted=[name], root=tmp_path)
    assert not marker.exists()


def test_the_command_line_beside_the_weights_is_no_obstacle(net: nn.Module, root: Path) -> None:
    path = saved(root, {"model": weights_of(net), "args": argparse.Namespace(lr=0.1)})
    assert same_weights(load(path, root).module, net)


def test_another_pickle_protocol_loads_all_the_same(net: nn.Module, root: Path) -> None:
    path = root / "model.pt"
    torch.save(weights_of(net), path, pickle_protocol=3)
    assert same_weights(load(path, root).module, net)


def attack(marker: Path) -> Mapping[str, object]:
    """Things that would make ``marker`` if they were loaded."""
    command = f"touch {marker}"
    return {
        "system": Asks(os.system, command),
        "eval": Asks(eval, f"__import__('os').system({command!r})"),
        "exec": Asks(exec, f"open({str(marker)!r}, 'w')"),
        "open": Asks(io.open, str(marker), "w"),
        "inside weights": {"state_dict": {"weight": torch.zeros(1)}, "x": Asks(os.system, command)},
        "beside a network": [nn.Linear(2, 2), Asks(os.system, command)],
        "download": Asks(torchvision.models.get_model, "resnet18", command),
        "torch.load": Asks(torch.load, command),
    }


def write_archive(path: Path, content: object) -> None:
    torch.save(content, path)


def write_legacy(path: Path, content: object) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_modern_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


def write_modern_archive(path: Path, content: object) -> None:
    torch.save(content, path, pickle_protocol=4)


WRITERS = [write_archive, write_legacy, write_pickle, write_modern_pickle, write_modern_archive]


@pytest.mark.parametrize("trusted", [(), ("posix.system", "builtins.eval", "io.open")])
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kind", attack(Path("x")))
def test_no_code_of_a_file_runs(
    kind: str, write: Callable[[Path, object], None], trusted: tuple[str, ...], tmp_path: Path
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pt"
    write(path, attack(marker)[kind])
    with pytest.raises(ModelError):
        load_model(path, root=tmp_path, trusted=trusted)
    assert not marker.exists()


def test_the_attacks_would_have_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(attack(marker)["system"], protocol=2))
    assert marker.exists()


def test_a_hostile_file_is_not_offered_a_flag(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path, Asks(os.system, "true")), tmp_path)
    assert "No network needs posix.system" in message
    assert "--trust-class" not in message


def test_layers_that_compile_source_are_refused(tmp_path: Path) -> None:
    # A torch.fx.GraphModule, and so one that runs Python source when built, for all its address.
    from torchvision.models.feature_extraction import DualGraphModule

    path = saved(tmp_path, Asks(DualGraphModule, 1, 2, 3))
    assert "DualGraphModule" in refusal(path, tmp_path)


def test_a_file_that_only_names_a_module_does_not_import_it(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    archive = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, archive)
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            pickled = name.endswith("data.pkl")
            new.writestr(name, b"\x80\x02ctrap\nNet\n." if pickled else old.read(name))
    assert "--trust-class trap.Net" in refusal(path, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_no_unsafe_load_is_written_anywhere() -> None:
    import compressor

    unsafe = "weights_only" + "=False"
    folder = Path(str(compressor.__file__)).parent
    assert [path.name for path in folder.rglob("*.py") if unsafe in path.read_text()] == []
