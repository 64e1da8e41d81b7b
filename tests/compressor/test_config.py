from pathlib import Path

import pytest
from pydantic import BaseModel

from compressor import config_schema
from compressor.config import (
    ArchiveSource,
    ConfigError,
    FactorySource,
    FolderSource,
    Project,
    TorchvisionSource,
    find_project,
    load_project,
    override,
)

INPUT = "input: {size: [3, 32, 32], mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}\n"
DATA = "data: {train: {folder: data/train}, gate: {folder: data/test}}\n"

FULL = """\
model: {factory: "my_pkg.nets:resnet20", kwargs: {num_classes: 10}, trust: [my_pkg.nets.Net]}
input: {size: [1, 28, 28], mean: [0.5], std: [0.25]}
data:
  train: {npz: train.npz}
  tune: {from: train, fraction: 0.2}
  gate: {torchvision: MNIST, root: /sets, split: test}
  ledger: uses/holdout.jsonl
retrain:
  {recipe: rewinding, epochs: 3, lr: 0.1, batch_size: 64, weight_decay: 0, momentum: 0.8,
   distill: 1.0, augment: [crop], amp: false, warm_up: 0, ema: 0.99, choose: best_on_tune,
   robust: 0.8333,
   original: {epochs: 182, lr: 0.1, milestones: [91, 136], factor: 0.1, cosine: false, warm_up: 5}}
search: {ratios: [0.25, 0.5], of: params, align: 4, importance: l1, allocation: uniform,
         compensate: false}
latency: {batches: [1], seconds: 5, provider: cpu}
seed: 7
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "compress.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return load_project(write(tmp_path, INPUT + DATA))


def test_every_field_can_be_given(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, FULL))
    assert project.model.kwargs == {"num_classes": 10}
    assert project.data.train == ArchiveSource(npz=tmp_path / "train.npz")
    assert project.data.gate == TorchvisionSource(
        torchvision="MNIST", root=Path("/sets"), split="test"
    )
    assert project.data.ledger == tmp_path / "uses" / "holdout.jsonl"
    assert project.search.ratios == (0.25, 0.5)
    assert project.retrain.augment == ("crop",)
    assert project.retrain.original is not None
    assert project.retrain.original.milestones == (91, 136)
    assert project.seed == 7


def test_input_and_data_are_enough(project: Project) -> None:
    assert project.retrain.epochs >= 1
    assert project.search.ratios[0] == 0.1
    assert project.data.tune.fraction == 0.1
    assert project.data.ledger is None


@pytest.mark.parametrize(
    ("text", "needed"), [(DATA, "input: {size:"), (INPUT, "data: {train:"), ("seed: 1\n", "data:")]
)
def test_what_is_missing_is_shown_as_text_to_add(tmp_path: Path, text: str, needed: str) -> None:
    with pytest.raises(ConfigError, match="with your own values") as caught:
        load_project(write(tmp_path, text))
    assert needed in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (INPUT + DATA + "sead: 1\n", "sead: unknown key; did you mean 'seed'"),
        (INPUT + DATA + "retrain: {lr: 5e-4}\n", "wants a dot in a number, as in 5.0e-4"),
        (INPUT + DATA + "retrain: {lr: .nan}\n", "retrain.lr"),
        (INPUT + DATA + "retrain: {epochs: 1.5}\n", "retrain.epochs"),
        (INPUT + DATA + "retrain: {augment: [mirror]}\n", "'flip' or 'crop'"),
        (INPUT + DATA + "model: {factory: my_pkg.nets}\n", "is not 'module:function'"),
        (INPUT + DATA + "search: {ratios: [0.5, 0.5]}\n", "must rise strictly"),
        (INPUT + DATA + "search: {ratios: [0.5, 1.0]}\n", "less than 1"),
        (INPUT + DATA + "search: {ratios: []}\n", "search.ratios"),
        (INPUT.replace("32, 32", "32, 0") + DATA, "input.size"),
        (INPUT.replace("mean: [0.5, ", "mean: [") + DATA, "one mean and one std per channel"),
        (INPUT.replace("std: [0.2", "std: [0.0") + DATA, "greater than 0"),
        (INPUT + "data: {train: {}, gate: {folder: b}}\n", "exactly one of folder, npz"),
        (INPUT + "data: {train: {folder: a, npz: b}, gate: {folder: b}}\n", "exactly one of"),
        (INPUT + "data: {train: {torchvision: X, root: a, split: test}}\n", "'MNIST'"),
        (INPUT + "data: {train: {torchvision: SVHN}, gate: {npz: b}}\n", "data.train.root"),
        (INPUT + DATA + "seed: 1\nseed: 2\n", "given twice"),
        ("- 1\n", "compress.yaml"),
        ("a: [\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(write(tmp_path, text))
    assert complaint in str(caught.value)


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(write(tmp_path, INPUT + DATA + "seed: x\nlatency: {seconds: 0}\n"))
    assert "compress.yaml:3: seed" in str(caught.value)
    assert "compress.yaml:4: latency.seconds" in str(caught.value)


def test_an_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_project(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"seed: \xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_project(tmp_path / "latin.yaml")


def test_relative_paths_start_at_the_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, INPUT + DATA)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_project(path).data.gate == FolderSource(folder=tmp_path / "data" / "test")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    project = load_project(write(tmp_path, INPUT + DATA.replace("data/test", "~/test")))
    assert project.data.gate == FolderSource(folder=Path("/home/someone/test"))


def test_the_nearest_project_file_is_found(tmp_path: Path) -> None:
    outer = write(tmp_path, "")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project(inner) == outer
    nearer = write(tmp_path / "a", "")
    assert find_project(inner) == nearer


def test_no_project_file_is_none(tmp_path: Path) -> None:
    assert find_project(tmp_path) is None


def test_a_setting_replaces_one_value_and_leaves_the_rest(project: Project, tmp_path: Path) -> None:
    settings = ["retrain.epochs=2", "search.ratios=[0.1, 0.3]", "retrain.lr=0.00001"]
    changed = override(project, settings, folder=tmp_path)
    assert changed.retrain.epochs == 2
    assert changed.retrain.lr == 1e-5
    assert changed.search.ratios == (0.1, 0.3)
    assert changed.retrain.model_copy(update={"epochs": 10, "lr": 0.05}) == project.retrain
    assert changed.data == project.data


def test_no_settings_change_nothing(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, FULL))
    assert override(project, [], folder=tmp_path) == project


def test_the_last_setting_wins(project: Project, tmp_path: Path) -> None:
    assert override(project, ["seed=1", "seed=2"], folder=tmp_path).seed == 2


def test_a_source_is_replaced_as_a_whole(project: Project, tmp_path: Path) -> None:
    changed = override(project, ["data.gate={factory: 'mine:images'}"], folder=tmp_path)
    assert changed.data.gate == FactorySource(factory="mine:images")


def test_paths_in_settings_start_at_the_given_folder(project: Project) -> None:
    settings = ["data.gate.folder=other", "data.ledger=uses.jsonl"]
    changed = override(project, settings, folder=Path("/elsewhere"))
    assert changed.data.gate == FolderSource(folder=Path("/elsewhere/other"))
    assert changed.data.ledger == Path("/elsewhere/uses.jsonl")
    assert changed.data.train == project.data.train


def test_settings_can_stand_for_a_whole_project_file(tmp_path: Path) -> None:
    settings = [
        "input={size: [1, 8, 8], mean: [0], std: [1]}",
        "data.train.folder=a",
        "data.gate.folder=b",
    ]
    assert override(None, settings, folder=tmp_path).input.size == (1, 8, 8)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("retrain.epochs", "write key=value"),
        ("=3", "write key=value"),
        ("retrain..epochs=3", "write key=value"),
        ("retrain.epochs=many", 'should be a valid integer, not "many"'),
        ("retrain.epoch=3", "did you mean 'epochs'"),
        ("seed.x=3", "seed is a value"),
        ("seed=[", "not valid YAML"),
        ("data.gate.npz=x.npz", "exactly one of"),
    ],
)
def test_a_wrong_setting_is_named(
    project: Project, tmp_path: Path, setting: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        override(project, ["latency.seconds=3", setting], folder=tmp_path)
    assert f"--set {setting}: " in str(caught.value)
    assert complaint in str(caught.value)
    assert "latency" not in str(caught.value)


def test_overriding_leaves_the_project_alone(project: Project, tmp_path: Path) -> None:
    before = project.model_dump_json()
    override(project, ["seed=5", "model.kwargs.depth=3"], folder=tmp_path)
    assert project.model_dump_json() == before


def test_every_field_says_what_it_means() -> None:
    records = [
        value
        for value in vars(config_schema).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel
    ]
    undocumented = [
        f"{record.__name__}.{name}"
        for record in records
        for name, field in record.model_fields.items()
        if not field.description
    ]
    assert undocumented == []
