import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, Slice
from compressor.pruning.importance import IMPORTANCES, UnscorableError, score
from tests.compressor.pruning.tiny_nets import CUTTABLE_NETS, EXAMPLE, found_in, made, plain_net

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


@pytest.mark.parametrize("importance", [name for name in IMPORTANCES if name != "random"])
def test_scores_follow_the_channels_when_these_change_places(importance: str) -> None:
    model, groups = made("plain"), found_in("plain").groups
    (stem,) = [g for g in groups if g.name == "stem"]
    before = scores_of(model, [stem], importance)["stem"]
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.startswith(("stem", "n1")) and tensor.dim() > 0:
                tensor.copy_(tensor[order])
        model.get_submodule("body").get_parameter("weight").copy_(
            model.get_submodule("body").get_parameter("weight")[:, order]
        )
    after = scores_of(model, [stem], importance)["stem"]
    torch.testing.assert_close(after, before[order], rtol=2e-3, atol=1e-6)


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
    model, groups = plain_net(name), found_in(name).groups
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


def test_taylor_is_the_root_mean_square_over_the_batches() -> None:
    dense = found_in("plain")
    other = (EXAMPLE.flip(0) * 2.0, LABELS)
    one, two, both = (
        scores_of(dense.model, dense.groups, "taylor", batches=batches)["stem"]
        for batches in ([BATCH], [other], [BATCH, other])
    )
    torch.testing.assert_close(both, ((one**2 + two**2) / 2).sqrt())


@pytest.mark.parametrize("importance", ["obd", "quadratic", "activation"])
def test_means_over_images_do_not_depend_on_how_these_come_in_batches(importance: str) -> None:
    dense = found_in("plain")
    whole, parted = (
        scores_of(dense.model, dense.groups, importance, batches=batches)
        for batches in ([BATCH], [(EXAMPLE[:1], LABELS[:1]), (EXAMPLE[1:], LABELS[1:])])
    )
    for name, value in whole.items():
        torch.testing.assert_close(parted[name], value, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("importance", [n for n, c in IMPORTANCES.items() if c.needs_batches])
def test_every_batch_counts(importance: str) -> None:
    dense = found_in("plain")
    other = (EXAMPLE.flip(0) * 2.0, LABELS)
    one, two, both, again = (
        scores_of(dense.model, dense.groups, importance, batches=batches)["stem"]
        for batches in ([BATCH], [other], [BATCH, other], [other, BATCH])
    )
    assert not torch.equal(both, one)
    assert not torch.equal(both, two)
    if importance not in {"thinet", "ablation"}:  # which draw other places then
        torch.testing.assert_close(both, again)


def test_a_regulariser_adds_half_the_squares_of_the_weights_that_are_set_to_zero() -> None:
    dense = found_in("plain")
    weight = dense.model.get_submodule("body").get_parameter("weight").detach()
    for name in ("taylor", "obd", "quadratic"):
        with_it, without = (
            score(
                dense.model, dense.groups, criterion=IMPORTANCES[name], batches=[BATCH], seed=0,
                regulariser=regulariser,
            )["stem"]
            for regulariser in (0.2, 0.0)
        )  # fmt: skip
        torch.testing.assert_close(with_it - without, 0.1 * weight.square().sum((0, 2, 3)))


def test_a_regulariser_needs_a_model_of_the_loss() -> None:
    dense = found_in("plain")
    with pytest.raises(UnscorableError, match="as taylor, obd, quadratic; set"):
        score(
            dense.model, dense.groups, criterion=IMPORTANCES["l2"], batches=[], seed=0,
            regulariser=1.0,
        )  # fmt: skip


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


def has_scale(module: nn.Module) -> bool:
    return isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("name", CUTTABLE_NETS)
def test_every_importance_gives_one_finite_score_per_unit_or_says_which_group_has_none(
    importance: str, name: str
) -> None:
    dense = found_in(name)
    modules = dict(dense.model.named_modules())
    scaled = [g.name for g in dense.groups if any(has_scale(modules[m]) for m in g.modules)]
    if importance == "bn_scale" and len(scaled) < len(dense.groups):
        first = next(g.name for g in dense.groups if g.name not in scaled)
        with pytest.raises(UnscorableError, match=rf"channels of {first}: .*bn_scale_or_l2"):
            scores_of(dense.model, dense.groups, importance)
        return
    found = scores_of(dense.model, dense.groups, importance)
    assert {key: len(value) for key, value in found.items()} == {
        g.name: len(g.units) for g in dense.groups
    }
    assert all(bool((torch.isfinite(v) & (v >= 0.0)).all()) for v in found.values())
    assert all(v.dtype == torch.float32 and v.device.type == "cpu" for v in found.values())


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_a_network_without_groups_has_no_scores(importance: str) -> None:
    assert scores_of(made("plain"), [], importance) == {}


@pytest.mark.parametrize("importance", [n for n, c in IMPORTANCES.items() if c.needs_batches])
def test_what_nobody_reads_is_worth_nothing(importance: str) -> None:
    group = replace(PAIR_GROUP, slices=PAIR_GROUP.slices[:1])
    batch = (torch.ones(3, 2), torch.tensor([0, 0, 0]))
    found = scores_of(PAIR, [group], importance, batches=[batch])["pair"]
    assert found.tolist() == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("importance", ["taylor", "obd", "quadratic"])
def test_frozen_layers_have_scores_too(importance: str) -> None:
    model, groups = made("plain"), found_in("plain").groups
    free = scores_of(model, groups, importance)
    frozen = scores_of(model.requires_grad_(False), groups, importance)
    assert all(torch.equal(free[name], frozen[name]) for name in free)


@pytest.mark.parametrize("importance", [n for n, c in IMPORTANCES.items() if c.needs_batches])
def test_scores_need_no_gradients_of_the_caller(importance: str) -> None:
    dense = found_in("plain")
    with_them = scores_of(dense.model, dense.groups, importance)
    with torch.no_grad():
        without = scores_of(dense.model, dense.groups, importance)
    assert all(torch.equal(with_them[name], without[name]) for name in with_them)


def test_random_scores_are_a_function_of_the_seed() -> None:
    dense = found_in("plain")
    first, again, other = (
        scores_of(dense.model, dense.groups, "random", seed=seed) for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_only_what_needs_batches_reads_them() -> None:
    dense = found_in("plain")
    for name, criterion in IMPORTANCES.items():
        if criterion.needs_batches:
            with pytest.raises(ValueError, match="no batch was given"):
                scores_of(dense.model, dense.groups, name, batches=[])
        else:
            scores_of(dense.model, dense.groups, name, batches=[])
