import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, Slice
from compressor.pruning.importance import IMPORTANCES, score
from tests.compressor.pruning.tiny_nets import CUTTABLE_NETS, EXAMPLE, found_in, made

LABELS = torch.tensor([0, 1, 2, 3])
BATCH = (EXAMPLE, LABELS)


def piece(module: str, dim: int, role: str, *positions: tuple[int, ...]) -> Slice:
    assert role in {"producer", "consumer", "between"}
    return Slice(module=module, tensor="weight", dim=dim, role=role, positions=positions)  # type: ignore[arg-type] # checked above


# Two units: rows (1, -2) and (3, 0) make them, columns (4) and (-5) read them.
PAIR = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
PAIR_GROUP = ChannelGroup(
    name="pair",
    units=(0, 1),
    channels_per_unit=1,
    slices=(
        piece("0", 0, "producer", (0,), (1,)),
        piece("1", 1, "consumer", (0,), (1,)),
    ),
)
for layer, rows in zip(PAIR, ([[1.0, -2.0], [3.0, 0.0]], [[4.0, -5.0]]), strict=True):
    layer.get_parameter("weight").data = torch.tensor(rows)


def scores_of(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    name: str,
    *,
    batches: Sequence[tuple[Tensor, Tensor]] = (BATCH,),
    seed: int = 0,
) -> dict[str, Tensor]:
    return score(model, groups, criterion=IMPORTANCES[name], batches=batches, seed=seed)


def test_l1_is_the_sum_of_all_absolute_weights_of_a_unit() -> None:
    assert scores_of(PAIR, [PAIR_GROUP], "l1")["pair"].tolist() == [1 + 2 + 4, 3 + 0 + 5]


def test_l2_is_the_root_of_the_sum_of_all_squared_weights_of_a_unit() -> None:
    found = scores_of(PAIR, [PAIR_GROUP], "l2")["pair"]
    assert found.tolist() == pytest.approx([(1 + 4 + 16) ** 0.5, (9 + 25) ** 0.5])


def test_taylor_is_the_gradient_times_the_weights_that_read_a_unit() -> None:
    # One input (1, 1): hidden (-1, 3); logits (0, z) with z = 4 * -1 + -5 * 3 = -19 and label 1.
    pair = nn.Sequential(PAIR, nn.ZeroPad2d((1, 0, 0, 0)))
    group = ChannelGroup(
        name="pair",
        units=(0, 1),
        channels_per_unit=1,
        slices=(piece("0.1", 1, "consumer", (0,), (1,)),),
    )
    batch = (torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, dtype=torch.long))
    model = nn.Sequential(*pair, nn.Flatten(0, 2))
    found = scores_of(model, [group], "taylor", batches=[(batch[0], batch[1].flatten())])["pair"]
    # dL/dz = softmax(z) - 1 = -1 to 9 digits; |g w| = |h w|.
    assert found.tolist() == pytest.approx([4.0, 15.0])


def test_a_unit_of_several_positions_sums_them() -> None:
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    group = ChannelGroup(
        name="g",
        units=(7, 9),
        channels_per_unit=2,
        slices=(piece("0", 1, "consumer", (0, 2), (1, 3)),),
    )
    assert scores_of(nn.Sequential(layer), [group], "l1")["g"].tolist() == [5.0, 10.0]


def test_what_stands_between_does_not_count() -> None:
    norm = nn.BatchNorm1d(2)
    norm.weight.data = torch.tensor([100.0, 1.0])
    group = ChannelGroup(
        name="g",
        units=(0, 1),
        channels_per_unit=1,
        slices=(piece("0", 0, "producer", (0,), (1,)), piece("2", 0, "between", (0,), (1,))),
    )
    found = scores_of(nn.Sequential(*PAIR, norm), [group], "l1")["g"]
    assert found.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("importance", ["l1", "l2"])
@pytest.mark.parametrize("seed", range(3))
def test_magnitudes_follow_the_channels_when_these_change_places(
    importance: str, seed: int
) -> None:
    model, groups = made("plain"), found_in("plain").groups
    (stem,) = [g for g in groups if g.name == "stem"]
    before = scores_of(model, [stem], importance)["stem"]
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    model.get_submodule("stem").get_parameter("weight").data = (
        model.get_submodule("stem").get_parameter("weight").data[order]
    )
    model.get_submodule("body").get_parameter("weight").data = (
        model.get_submodule("body").get_parameter("weight").data[:, order]
    )
    torch.testing.assert_close(scores_of(model, [stem], importance)["stem"], before[order])


def loss_with(model: nn.Module, group: ChannelGroup, unit: int, *, factor: float) -> float:
    """The loss when everything that reads ``unit`` is scaled."""
    changed = copy.deepcopy(model)
    for read in group.slices:
        if read.role == "consumer":
            weight = changed.get_submodule(read.module).get_parameter(read.tensor).data
            weight.transpose(0, read.dim)[list(read.positions[unit])] *= factor
    return nn.functional.cross_entropy(changed(EXAMPLE.double()), LABELS).item()


@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_taylor_is_the_change_of_the_loss_per_shrinking_of_what_reads_a_unit(name: str) -> None:
    model, groups = made(name), found_in(name).groups
    found = scores_of(model, groups, "taylor")
    exact = model.double().requires_grad_(False)
    step = 1e-5
    for group in groups:
        for unit in range(0, len(group.units), 5):
            up = loss_with(exact, group, unit, factor=1.0 + step)
            down = loss_with(exact, group, unit, factor=1.0 - step)
            assert found[group.name][unit].item() == pytest.approx(
                abs(up - down) / (2 * step), rel=1e-3, abs=1e-6
            )


def test_taylor_is_the_mean_over_the_batches() -> None:
    dense = found_in("plain")
    other = (EXAMPLE.flip(0) * 2.0, LABELS)
    one, two, both = (
        scores_of(dense.model, dense.groups, "taylor", batches=batches)["stem"]
        for batches in ([BATCH], [other], [BATCH, other])
    )
    torch.testing.assert_close(both, (one + two) / 2)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_scoring_leaves_the_model_alone(importance: str) -> None:
    model, groups = made("residual").train(), found_in("residual").groups
    model.get_submodule("n").eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    scores_of(model, groups, importance)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(bool((p.grad == 1.0).all()) for p in model.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in model.parameters())
    assert [n for n, m in model.named_modules() if not m.training] == ["n"]


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_every_importance_gives_one_finite_score_per_unit(importance: str, name: str) -> None:
    dense = found_in(name)
    found = scores_of(dense.model, dense.groups, importance)
    assert {key: len(value) for key, value in found.items()} == {
        g.name: len(g.units) for g in dense.groups
    }
    assert all(bool((torch.isfinite(v) & (v >= 0.0)).all()) for v in found.values())


def test_frozen_layers_have_taylor_scores_too() -> None:
    model, groups = made("plain"), found_in("plain").groups
    free = scores_of(model, groups, "taylor")
    frozen = scores_of(model.requires_grad_(False), groups, "taylor")
    assert all(torch.equal(free[name], frozen[name]) for name in free)


def test_random_scores_are_a_function_of_the_seed() -> None:
    dense = found_in("plain")
    first, again, other = (
        scores_of(dense.model, dense.groups, "random", seed=seed) for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_only_what_needs_gradients_reads_the_batches() -> None:
    dense = found_in("plain")
    for name, criterion in IMPORTANCES.items():
        if criterion.needs_gradients:
            with pytest.raises(ValueError, match="no training batch was given"):
                scores_of(dense.model, dense.groups, name, batches=[])
        else:
            scores_of(dense.model, dense.groups, name, batches=[])
