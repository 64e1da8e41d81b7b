import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, Role, Slice
from compressor.pruning.importance import IMPORTANCES, UnscorableError, score
from tests.compressor.pruning.tiny_nets import found_in


def group_of(*slices: tuple[str, int, Role], units: int) -> ChannelGroup:
    """Units of one position each in the weights of the modules."""
    return ChannelGroup(
        name="g",
        units=tuple(range(units)),
        channels_per_unit=1,
        slices=tuple(
            Slice(
                module=module, tensor="weight", dim=dim, role=role,
                positions=tuple((unit,) for unit in range(units)),
            )
            for module, dim, role in slices
        ),
    )  # fmt: skip


def scores(model: nn.Module, group: ChannelGroup, name: str) -> list[float]:
    criterion = IMPORTANCES[name]
    return score(model, [group], criterion=criterion, batches=[], seed=0)["g"].tolist()


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def norm(*scale: float) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(len(scale))
    layer.weight.data = torch.tensor(scale)
    return layer


# Squared norms 1, 4 and 5, in the order of the units 1, 2, 0.
THREE = nn.Sequential(linear([[1.0], [0.0], [2.0]]), linear([[2.0, 1.0, 0.0]]))
THREE_UNITS = group_of(("0", 0, "producer"), ("1", 1, "consumer"), units=3)


def test_lamp_relates_a_unit_to_all_that_are_not_smaller() -> None:
    assert scores(THREE, THREE_UNITS, "lamp") == pytest.approx([1.0, 1 / 10, 4 / 9])


def test_lamp_orders_equal_units_by_position_and_keeps_one() -> None:
    equal = nn.Sequential(linear([[1.0], [1.0], [1.0]]))
    group = group_of(("0", 0, "producer"), units=3)
    assert scores(equal, group, "lamp") == pytest.approx([1 / 3, 1 / 2, 1.0])


def test_lamp_of_nothing_is_nothing() -> None:
    nothing = nn.Sequential(linear([[0.0], [0.0]]))
    assert scores(nothing, group_of(("0", 0, "producer"), units=2), "lamp") == [0.0, 0.0]


@pytest.mark.parametrize("name", ["lamp", "l2"])
def test_lamp_and_l2_rank_a_group_alike(name: str) -> None:
    dense = found_in("residual")
    lamp, l2 = (
        score(dense.model, dense.groups, criterion=IMPORTANCES[n], batches=[], seed=0)
        for n in ("lamp", "l2")
    )
    for key, value in lamp.items():
        assert value.argsort().tolist() == l2[key].argsort().tolist()


def test_fpgm_is_the_sum_of_distances_to_all_filters() -> None:
    model = nn.Sequential(linear([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    assert scores(model, group_of(("0", 0, "producer"), units=3), "fpgm") == [15.0, 10.0, 15.0]


def test_fpgm_takes_together_what_several_layers_make_of_a_unit() -> None:
    model = nn.ModuleList([linear([[0.0], [3.0]]), linear([[0.0], [4.0]])])
    group = group_of(("0", 0, "producer"), ("1", 0, "producer"), units=2)
    assert scores(model, group, "fpgm") == [5.0, 5.0]


def test_fpgm_does_not_look_at_who_reads() -> None:
    loud = nn.Sequential(linear([[0.0], [1.0]]), linear([[100.0, -7.0]]))
    group = group_of(("0", 0, "producer"), ("1", 1, "consumer"), units=2)
    assert scores(loud, group, "fpgm") == [1.0, 1.0]


def test_bn_scale_is_the_absolute_scale() -> None:
    model = nn.Sequential(linear([[9.0], [9.0]]), norm(-3.0, 2.0))
    group = group_of(("0", 0, "producer"), ("1", 0, "between"), units=2)
    assert scores(model, group, "bn_scale") == [3.0, 2.0]


def test_bn_scale_is_the_mean_where_several_scale_a_unit() -> None:
    model = nn.Sequential(norm(-3.0, 2.0), norm(1.0, 0.0))
    group = group_of(("0", 0, "between"), ("1", 0, "between"), units=2)
    assert scores(model, group, "bn_scale") == [2.0, 1.0]


def test_bn_scale_takes_no_other_layer_for_a_batch_norm() -> None:
    model = nn.Sequential(linear([[1.0], [1.0]]), nn.PReLU(2))
    group = group_of(("0", 0, "producer"), ("1", 0, "between"), units=2)
    with pytest.raises(
        UnscorableError, match=r"channels of g: .* between 0, 1; choose bn_scale_or"
    ):
        scores(model, group, "bn_scale")


def test_bn_scale_or_l2_is_bn_scale_where_there_is_a_batch_norm_and_l2_elsewhere() -> None:
    model = nn.Sequential(linear([[3.0], [4.0]]), norm(-1.0, 2.0))
    bare, normed = (("0", 0, "producer"),), (("0", 0, "producer"), ("1", 0, "between"))
    assert scores(model, group_of(*bare, units=2), "bn_scale_or_l2") == [3.0, 4.0]  # type: ignore[arg-type] # a tuple of literals
    assert scores(model, group_of(*normed, units=2), "bn_scale_or_l2") == [1.0, 2.0]  # type: ignore[arg-type] # as above


def test_batch_norms_without_a_scale_do_not_score() -> None:
    dense = found_in("BatchNorm without affine")
    with pytest.raises(UnscorableError, match="no BatchNorm with a scale"):
        score(dense.model, dense.groups, criterion=IMPORTANCES["bn_scale"], batches=[], seed=0)


def brute_force_fpgm(filters: Tensor) -> list[float]:
    return [sum(float((a - b).norm()) for b in filters) for a in filters]


def test_fpgm_of_a_network_is_its_formula() -> None:
    dense = found_in("plain")
    found = score(dense.model, dense.groups, criterion=IMPORTANCES["fpgm"], batches=[], seed=0)
    for name in ("stem", "body"):
        filters = dense.model.get_submodule(name).get_parameter("weight").detach()
        assert found[name].tolist() == pytest.approx(brute_force_fpgm(filters), rel=1e-5)
