import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compressor.config import ConfigError
from compressor.ledger import LedgerError, read_ledger
from compressor.study.cuts import kept
from compressor.study.gate_use import claim
from compressor.study.job import Ran
from compressor.study.setup import Setup
from compressor.study.shop import shop_of
from compressor.study.trial_ledger import StudyLedgerError
from compressor.study.trials import Json
from compressor.terminal import Silent
from compressor.training.trainability import jacobian_singular_values
from tests.pipeline.study_project import GRID, TRIALS, done, found, setup_of


@pytest.fixture(scope="module")
def setup(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return setup_of(root, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def ran(setup: Setup) -> Ran:
    return done(setup)


def of(ran: Ran, kind: str, **about: object) -> dict[str, Json]:
    """What the one trial found that fits."""
    (record,) = [
        each
        for each in ran.records.values()
        if each.kind == kind and about.items() <= each.about.items()
    ]
    assert record.status == "done", record.error
    return record.found


def test_every_trial_of_a_grid_is_done_and_recorded(ran: Ran) -> None:
    assert len(ran.planned) == len(ran.records) == TRIALS
    assert {record.status for record in ran.records.values()} == {"done"}


def test_a_study_of_the_gates_images_is_one_use_of_them(setup: Setup, ran: Ran) -> None:
    done(setup)  # again
    lines = [
        line
        for line in read_ledger(setup.root / "holdout-ledger.jsonl")
        if line.entry.job == "study" and line.entry.policy == setup.grid.name
    ]
    assert ran.use is not None
    assert ran.use.entry_digest in {line.digest for line in lines}
    assert len({line.entry.plan for line in lines}) == len(lines)


def test_a_use_that_cannot_be_recorded_stops_a_study_before_it_looks(
    setup: Setup, tmp_path: Path
) -> None:
    ledger = tmp_path / "holdout-ledger.jsonl"
    ledger.write_text("changed by hand\n")
    data = setup.project.data.model_copy(update={"ledger": ledger})
    project = setup.project.model_copy(update={"data": data})
    fresh = replace(setup, project=project, out=tmp_path / "out")
    with pytest.raises(LedgerError, match="line 1"):
        done(fresh)
    assert not fresh.ledger.read()


def test_a_study_of_held_back_images_is_no_use_of_the_gates(root: Path, tmp_path: Path) -> None:
    text = GRID.replace("of: gate", "of: tune").replace("count: 200", "count: 10")
    asked = shop_of(setup_of(root, tmp_path, text), Silent())
    assert claim(asked, Silent()) is None


def test_counts_of_a_network_are_of_the_images_the_dense_one_was_asked_about(ran: Ran) -> None:
    for shift in ("clean", "gaussian_noise-3", "contrast-5"):
        dense = of(ran, "dense", shift=shift)
        cell = of(ran, "answers", method="wt", ratio=0.5, shift=shift)
        assert cell["both_right"] + cell["only_dense"] == dense["right"]
        names = ("both_right", "only_dense", "only_pruned", "both_wrong")
        assert sum(cell[name] for name in names) == dense["n"] == 200


def test_clean_accuracy_after_retraining_is_that_of_the_clean_cell(ran: Ran) -> None:
    for method in ("l2", "taylor", "wt"):
        cell = of(ran, "answers", method=method, ratio=0.3, shift="clean")
        made = of(ran, "prune", method=method, ratio=0.3)
        assert made["after"]["right"] == cell["both_right"] + cell["only_pruned"]


def test_masks_keep_the_size_and_hold_the_asked_share_of_all_parameters_at_zero(
    ran: Ran, setup: Setup
) -> None:
    made = of(ran, "prune", method="wt", ratio=0.5)
    assert made["params"] == round(0.5 * made["dense_params"])
    assert not made["physical"]
    (trial,) = [
        t for t in ran.planned if t.kind == "prune" and t.about["method"] == "wt"
        and t.about["ratio"] == 0.5
    ]  # fmt: skip
    model = kept(shop_of(setup, Silent()), trial.id, seed=0).model
    sizes = [p.numel() for p in model.parameters()]
    assert sum(sizes) == made["dense_params"]
    zeros = sum(int((p == 0).sum()) for p in model.parameters())
    assert sum(sizes) - zeros == made["params"]


def test_cut_networks_are_smaller_by_the_asked_share(ran: Ran) -> None:
    for ratio in (0.3, 0.5):
        made = of(ran, "prune", method="l2", ratio=ratio)
        assert made["physical"]
        assert made["params"] / made["dense_params"] == pytest.approx(1 - ratio, abs=0.01)


def test_a_network_is_as_similar_to_itself_as_can_be_and_the_control_is_not(ran: Ran) -> None:
    near = of(ran, "similarity", method="l2", ratio=0.3)["levels"]
    apart = of(ran, "similarity", of="control")["levels"]
    assert [level["level"] for level in near] == [0.0, 0.5]
    assert near[0]["draws"] == 1
    assert near[1]["draws"] == 2
    assert near[0]["distance"] < apart[0]["distance"]


def test_the_control_starts_from_nothing(ran: Ran, setup: Setup) -> None:
    (trial,) = [t for t in ran.planned if t.kind == "control"]
    shop = shop_of(setup, Silent())
    control, dense = kept(shop, trial.id, seed=0).model, shop.dense(0).network.model
    for (name, mine), theirs in zip(control.named_parameters(), dense.parameters(), strict=True):
        assert mine.shape == theirs.shape
        assert not torch.allclose(mine, theirs, atol=1e-4), name


def test_jacobians_are_those_of_the_kept_network(ran: Ran, setup: Setup) -> None:
    (trial,) = [
        t
        for t in ran.planned
        if t.kind == "prune" and t.about == {"method": "l2", "ratio": 0.3, "seed": 0}
    ]
    shop = shop_of(setup, Silent())
    model = kept(shop, trial.id, seed=0).model
    mean = jacobian_singular_values(model, shop.examples(16), device=torch.device("cpu")).mean()
    assert ran.records[trial.id].found["jacobian_after"] == pytest.approx(float(mean))


def test_what_is_done_is_not_done_again(setup: Setup, ran: Ran) -> None:
    before = setup.ledger.path.read_bytes()
    again = done(setup)
    assert setup.ledger.path.read_bytes() == before
    assert again.worked == 0
    assert again.records == ran.records


def test_another_shift_asks_the_same_networks_and_makes_none(
    root: Path, ran: Ran, setup: Setup
) -> None:
    more = setup_of(root, setup.out.parent, GRID.replace("contrast-5", "contrast-5, fog-2"))
    new = done(more)
    added = [record for name, record in new.records.items() if name not in ran.records]
    assert {record.kind for record in added} == {"dense", "answers"}
    assert {record.about["shift"] for record in added} == {"fog-2"}


def test_an_iterative_study_cuts_the_network_of_the_ratio_before(
    root: Path, tmp_path: Path
) -> None:
    text = GRID.replace("name: tiny", "name: tiny\nprotocol: iterative")
    text = text.replace("[potential, excess, similarity]", "[]").replace(", scratch: [0.3]", "")
    text = text.replace("  taylor: {importance: taylor, steps: 2}\n", "")
    setup = setup_of(root, tmp_path, text)
    ran = done(setup)
    shop = shop_of(setup, Silent())
    chain = [t for t in ran.planned if t.kind == "prune" and t.about["method"] == "wt"]
    assert chain[1].after == (chain[0].id,)
    first, second = (kept(shop, trial.id, seed=0).model for trial in chain)
    for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
        if mine.dim() > 1:
            assert bool((theirs[mine == 0] == 0).all())
    cut = [t for t in ran.planned if t.kind == "prune" and t.about["method"] == "l2"]
    units = [kept(shop, trial.id, seed=0).plan for trial in cut]
    assert units[0] is not None
    assert units[1] is not None
    for name, left in units[1].kept.items():
        assert set(left) <= set(units[0].kept[name])


def test_a_crash_is_recorded_with_its_traceback_and_the_others_go_on(
    root: Path, tmp_path: Path
) -> None:
    # 99.9 % of the parameters cannot go: neither channels nor weights suffice.
    text = GRID.replace("[0.3, 2x]", "[0.3, 0.999]").replace(", scratch: [0.3]", "")
    setup = setup_of(root, tmp_path, text)
    ran = done(setup)
    failed = {r.about["method"]: r for r in ran.records.values() if r.status == "failed"}
    assert failed.keys() == {"l2", "taylor", "wt"}
    assert "Traceback" in (failed["wt"].error or "")
    assert "parameters, and only" in (failed["wt"].error or "")
    assert of(ran, "answers", method="l2", ratio=0.3, shift="clean")["n"] == 200
    assert len(ran.planned) - len(ran.records) == 3 * 4
    lines = len(setup.ledger.path.read_bytes().splitlines())
    assert done(setup).worked == 0
    again = done(setup, again=True)
    assert len(setup.ledger.path.read_bytes().splitlines()) == lines + 3
    assert found(dict(again.records)).keys() == found(dict(ran.records)).keys()


def test_a_ledger_of_another_version_is_refused_before_any_work(root: Path, tmp_path: Path) -> None:
    setup = setup_of(root, tmp_path)
    setup.out.mkdir()
    setup.ledger.path.write_text(json.dumps({"kind": "study-ledger", "schema_version": 2}) + "\n")
    with pytest.raises(StudyLedgerError, match=r"ledger of version 2.*--out"):
        done(setup)
    assert [file.name for file in setup.out.iterdir()] == ["ledger.jsonl"]


def test_a_seed_without_a_network_is_an_error(root: Path, tmp_path: Path) -> None:
    setup = setup_of(root, tmp_path, GRID.replace("model.pt", '"model-{seed}.pt"'))
    with pytest.raises(Exception, match=r"model-0\.pt"):
        done(setup)


def test_a_study_without_training_images_is_refused(root: Path, tmp_path: Path) -> None:
    setup = setup_of(root, tmp_path, GRID.replace("of: gate", "of: tune"))
    data = setup.project.data.model_copy(update={"train": None})
    project = setup.project.model_copy(update={"data": data})
    without = Setup(
        grid=setup.grid, project=project, models=root, root=root, out=setup.out, device="cpu"
    )
    with pytest.raises(ConfigError, match=r"data\.train is missing"):
        done(without)
