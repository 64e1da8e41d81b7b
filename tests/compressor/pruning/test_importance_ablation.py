"""The measured importance, against losses that are computed by other means."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.pruning.candidate import prunable
from compressor.pruning.groups import ChannelGroup
from compressor.pruning.importance import IMPORTANCES, score
from compressor.pruning.importance.ablation import PARTS
from compressor.pruning.importance.measured import IMAGES
from compressor.pruning.surgery import cut
from tests.compressor.pruning.tiny_nets import found_in

GENERATOR = torch.Generator().manual_seed(3)
BATCH = (
    torch.randn(64, 3, 16, 16, generator=GENERATOR),
    torch.randint(4, (64,), generator=GENERATOR),
)


def measured(model: nn.Module, groups: list[ChannelGroup]) -> dict[str, Tensor]:
    return score(model, groups, criterion=IMPORTANCES["ablation"], batches=[BATCH], seed=0)


def loss(model: nn.Module) -> float:
    """Mean cross-entropy with BatchNorm by the batch's own statistics."""
    for module in model.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        return float(functional.cross_entropy(model(BATCH[0]), BATCH[1]))


@pytest.mark.parametrize("name", ["plain", "residual", "depthwise"])
def test_scores_sum_to_what_the_loss_of_the_cut_network_grows_by(name: str) -> None:
    dense = found_in(name)
    whole = loss(cut(dense.model, dense.groups, {}))
    for group in dense.groups:
        found = measured(dense.model, [group])[group.name]
        weakest = found.argsort(stable=True)[: len(found) // PARTS]
        kept = [unit for k, unit in enumerate(group.units) if k not in weakest.tolist()]
        grown = loss(cut(dense.model, dense.groups, {group.name: kept})) - whole
        expected = max(grown, 0.0) / len(weakest)
        assert float(found[weakest].mean()) == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_scores_never_fall_and_keep_the_order_of_thinet() -> None:
    dense = found_in("plain")
    removal = score(
        dense.model, dense.groups, criterion=IMPORTANCES["thinet"], batches=[BATCH], seed=0
    )
    for name, found in measured(dense.model, list(dense.groups)).items():
        order = removal[name].argsort(stable=True)
        assert torch.equal(found.argsort(stable=True), order)
        assert bool((found[order].diff() >= 0.0).all())


def test_queries_which_no_layer_reads_go_in_the_order_of_l2_and_the_rest_does_not() -> None:
    dense = found_in("attention")
    by_norm = score(dense.model, dense.groups, criterion=IMPORTANCES["l2"], batches=[], seed=0)
    scores = measured(dense.model, list(dense.groups))
    alike = {
        name
        for name in scores
        if torch.equal(scores[name].argsort(stable=True), by_norm[name].argsort(stable=True))
    }
    assert "mix.heads.query" in alike
    assert "patch" not in alike


def test_a_unit_that_changes_nothing_has_next_to_no_score() -> None:
    first, second = nn.Linear(3 * 16 * 16, 8, bias=False), nn.Linear(8, 4, bias=False)
    with torch.no_grad():
        first.weight[0] = 0.0
        second.weight[:, 0] = 0.0
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()
    found = prunable(model, BATCH[0], seed=0)
    (group,) = found.groups
    scores = measured(found.model, [group])[group.name]
    assert int(scores.argmin()) == 0
    assert float(scores[0]) < 1e-9 < float(scores[1:].mean())


def deep() -> nn.Sequential:
    """A network whose last BatchNorm sees one place of each image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 4),
            nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4),
        ).eval()  # fmt: skip


def test_one_image_alone_is_scored_by_the_statistics_that_the_network_has() -> None:
    dense = prunable(deep(), BATCH[0][:4], seed=0)
    one = [(BATCH[0][:1], BATCH[1][:1])]
    found = score(dense.model, dense.groups, criterion=IMPORTANCES["ablation"], batches=one, seed=0)
    assert found
    assert all(bool(values.isfinite().all()) for values in found.values())


def test_a_last_batch_of_one_image_is_left_out() -> None:
    dense = prunable(deep(), BATCH[0][:4], seed=0)
    last = (BATCH[0][:1].neg(), BATCH[1][:1])
    without, with_it = (
        score(dense.model, dense.groups, criterion=IMPORTANCES["ablation"], batches=given, seed=0)
        for given in ([BATCH], [BATCH, last])
    )
    assert all(torch.equal(without[name], with_it[name]) for name in without)


def test_no_more_images_are_looked_at_than_it_says() -> None:
    dense = found_in("plain")
    first = [BATCH] * (IMAGES // len(BATCH[0]))
    others = (BATCH[0].flip(0).neg(), BATCH[1])
    few, many = (
        score(dense.model, dense.groups, criterion=IMPORTANCES["ablation"], batches=given, seed=0)
        for given in (first, [*first, others])
    )
    assert all(torch.equal(few[name], many[name]) for name in few)
