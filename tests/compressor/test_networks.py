import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
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


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


WRAPPINGS: Mapping[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "plain": lambda w: w,
    "state_dict": lambda w: {"epoch": 3, "state_dict": w},
    "model_state_dict": lambda w: {"model_state_dict": w, "optimizer": {"lr": 0.1}},
    "model": lambda w: {"model": w, "best": torch.tensor(0.9)},
    "data_parallel": lambda w: {f"module.{key}": value for key, value in w.items()},
    "compiled": lambda w: {f"_orig_mod.{key}": value for key, value in w.items()},
    "both": lambda w: {"model": {f"module._orig_mod.{key}": value for key, value in w.items()}},
}


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_load_however_they_were_wrapped(
    wrapping: str, archive: bool, net: nn.Module, root: Path
) -> None:
    path = saved(root, WRAPPINGS[wrapping](weights_of(net)), archive=archive)
    assert same_weights(load(path, root).module, net)


def test_safetensors_load(net: nn.Module, root: Path) -> None:
    path = root / "model.safetensors"
    safetensors.torch.save_file(weights_of(net), path)
    assert same_weights(load(path, root).module, net)


def test_a_network_whose_only_child_is_called_module_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "odd_nets.py").write_text(
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Sequential()).append(nn.Linear(2, 2))\n"
        "def named():\n    m = nn.Module()\n    m.module = nn.Linear(2, 2)\n    return m\n"
    )
    weights = {f"module.{key}": value for key, value in nn.Linear(2, 2).state_dict().items()}
    loaded = load(saved(tmp_path, weights), tmp_path, factory="odd_nets:named")
    assert torch.equal(loaded.module.state_dict()["module.weight"], weights["module.weight"])


def test_the_project_folder_is_importable_only_while_loading(net: nn.Module, root: Path) -> None:
    before = list(sys.path)
    load(saved(root, weights_of(net)), root)
    assert sys.path == before


def test_arguments_reach_the_factory(root: Path, net: nn.Module) -> None:
    path = saved(root, weights_of(type(net)(width=6)))
    loaded = load_model(path, factory="user_nets:net", kwargs={"width": 6}, root=root)
    assert loaded.module.state_dict()["norm.weight"].shape == (6,)


def test_weights_that_do_not_fit_are_named(net: nn.Module, root: Path) -> None:
    weights = weights_of(net)
    del weights["conv.weight"]
    weights["extra"] = torch.zeros(1)
    weights["head.weight"] = torch.zeros(2, 9)
    message = refusal(saved(root, weights), root)
    assert "1 missing from the file: conv.weight" in message
    assert "1 unknown to the network: extra" in message
    assert "1 of another shape: head.weight ((2, 9), not (2, 4))" in message


def test_long_lists_of_keys_are_cut_and_counted(root: Path) -> None:
    weights = {f"layer{index}": torch.zeros(1) for index in range(40)}
    assert "40 unknown to the network: layer0, layer1, layer2, layer3, layer4 and 35 more" in (
        refusal(saved(root, weights), root)
    )


def test_weights_without_a_factory_are_refused_with_what_to_add(net: nn.Module, root: Path) -> None:
    message = refusal(saved(root, {"model": weights_of(net)}), root, factory=None)
    assert "model: {factory: 'my_pkg.nets:resnet20'}" in message
    assert "conv.weight" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(value: float, net: nn.Module, root: Path) -> None:
    weights = weights_of(net)
    weights["head.bias"][1] = value
    message = refusal(saved(root, weights), root)
    assert "1 weights hold NaN or infinity: head.bias" in message


def test_masks_of_minus_infinity_are_no_broken_weights(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    layer.register_buffer("mask", torch.full((2,), float("-inf")))
    assert load_model(saved(tmp_path, layer), root=tmp_path).module is not None


FACTORY_FAULTS = {
    "absent_module:net": "cannot import 'absent_module'",
    "user_nets:nett": "did you mean user_nets:net?",
    "user_nets:failing": "user_nets:failing() failed: LookupError: no such width",
    "user_nets:settings": "returns a dict, not a network",
    "user_nets:meta_net": "weights have no values",
    "user_nets:exported_net": "torch.export",
    "broken_nets:net": "SyntaxError",
}


@pytest.mark.filterwarnings("ignore:for .*. copying from a non-meta parameter:UserWarning")
@pytest.mark.parametrize("factory", FACTORY_FAULTS)
def test_a_wrong_factory_is_explained(factory: str, net: nn.Module, root: Path) -> None:
    (root / "broken_nets.py").write_text("def net(:\n")
    message = refusal(saved(root, weights_of(net)), root, factory=factory)
    assert FACTORY_FAULTS[factory] in message


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_scripted_network_is_refused(net: nn.Module, root: Path) -> None:
    message = refusal(saved(root, weights_of(net)), root, factory="user_nets:scripted_net")
    assert "TorchScript module cannot be pruned" in message


@pytest.mark.parametrize("factory", ["user_nets:parallel_net", "user_nets:compiled_net"])
def test_wrappers_are_taken_off(factory: str, net: nn.Module, root: Path) -> None:
    loaded = load(saved(root, weights_of(net)), root, factory=factory)
    assert type(loaded.module).__name__ == "Net"


LAZY = """
from torch import nn

def net():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
"""


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_lazy_layers_take_their_shapes_from_the_weights(tmp_path: Path) -> None:
    (tmp_path / "lazy_nets.py").write_text(LAZY)
    twin = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    loaded = load(saved(tmp_path, weights_of(twin)), tmp_path, factory="lazy_nets:net")
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(loaded.module(images), twin.eval()(images))
