from itertools import pairwise

import torch
from torch import nn

from compressor.pruning.assembly import RawGroup, Touch, assemble
from compressor.pruning.groups import ChannelGroup, Slice, compact, removed_positions


def one_to_one(module: str, tensor: str, dim: int, *, width: int) -> Slice:
    """A slice whose unit k is position k."""
    positions = tuple((k,) for k in range(width))
    return Slice(module=module, tensor=tensor, dim=dim, role="producer", positions=positions)


def group_of(*slices: Slice, units: tuple[int, ...], name: str = "g") -> ChannelGroup:
    return ChannelGroup(name=name, units=units, channels_per_unit=1, slices=slices)


def touch(module: str, side: str, *roots: int, positions: tuple[int, ...] | None = None) -> Touch:
    assert side in {"in", "out", "both"}
    return Touch(module=module, side=side, positions=positions or roots, roots=roots)  # type: ignore[arg-type] # checked above


def raw(
    root: str, width: int, *touches: Touch, reaches_output: bool = False, foreign: str = ""
) -> RawGroup:
    return RawGroup(
        root=root,
        width=width,
        touches=touches,
        reaches_output=reaches_output,
        foreign=(foreign,) if foreign else (),
    )


def linears(*widths: int) -> dict[str, nn.Module]:
    return {f"l{k}": nn.Linear(a, b) for k, (a, b) in enumerate(pairwise(widths))}


def test_what_a_plan_does_not_name_stays_whole() -> None:
    group = group_of(one_to_one("a", "weight", 0, width=3), units=(0, 1, 2))
    assert removed_positions([group], {}) == {("a", "weight", 0): []}


def test_the_removed_positions_of_groups_that_share_a_dimension_add_up() -> None:
    left = group_of(one_to_one("c", "weight", 1, width=2), units=(0, 1), name="left")
    right = group_of(
        Slice(module="c", tensor="weight", dim=1, role="consumer", positions=((2, 3), (4, 5))),
        units=(0, 1),
        name="right",
    )
    gone = removed_positions([left, right], {"left": (1,), "right": (0,)})
    assert gone == {("c", "weight", 1): [0, 4, 5]}


def test_a_compacted_group_keeps_the_units_of_the_dense_network_and_renumbers_positions() -> None:
    group = group_of(one_to_one("a", "weight", 0, width=5), units=(0, 1, 2, 3, 4))
    (after,) = compact([group], {"g": (1, 4)})
    assert after.units == (1, 4)
    assert after.slices[0].positions == ((0,), (1,))


def test_a_cut_of_one_group_moves_the_positions_of_the_next_along_the_same_dimension() -> None:
    left = group_of(one_to_one("c", "weight", 1, width=3), units=(0, 1, 2), name="left")
    right = group_of(
        Slice(module="c", tensor="weight", dim=1, role="consumer", positions=((3,), (4,))),
        units=(0, 1),
        name="right",
    )
    _, after = compact([left, right], {"left": (2,)})
    assert after.slices[0].positions == ((1,), (2,))


def test_compacting_twice_is_compacting_once_with_the_second_choice() -> None:
    group = group_of(one_to_one("a", "weight", 0, width=6), units=(0, 1, 2, 3, 4, 5))
    step_by_step = compact(compact([group], {"g": (0, 2, 3, 5)}), {"g": (2, 5)})
    assert step_by_step == compact([group], {"g": (2, 5)})


def test_without_ties_a_channel_is_a_unit() -> None:
    modules = linears(2, 3, 4)
    found, left = assemble(
        [raw("l0", 3, touch("l0", "out", 0, 1, 2), touch("l1", "in", 0, 1, 2))], modules
    )
    assert left == ()
    assert [(g.name, g.units, g.channels_per_unit) for g in found] == [("l0", (0, 1, 2), 1)]
    assert {s.key: s.role for s in found[0].slices} == {
        ("l0", "weight", 0): "producer",
        ("l0", "bias", 0): "producer",
        ("l1", "weight", 1): "consumer",
    }


def test_channels_that_meet_at_one_position_are_one_unit() -> None:
    modules = linears(2, 4, 2)
    halves = touch("l1", "in", 0, 1, 2, 3, positions=(0, 1, 0, 1))
    (group,), _ = assemble([raw("l0", 4, touch("l0", "out", 0, 1, 2, 3), halves)], modules)
    assert [s.positions for s in group.slices if s.tensor == "weight"] == [
        ((0, 2), (1, 3)),
        ((0,), (1,)),
    ]
    assert group.channels_per_unit == 1


def test_the_groups_of_a_grouped_convolution_go_whole_on_both_sides() -> None:
    modules: dict[str, nn.Module] = {
        "a": nn.Conv2d(3, 4, 1),
        "b": nn.Conv2d(4, 8, 1, groups=2),
        "c": nn.Conv2d(8, 2, 1),
    }
    before = raw("a", 4, touch("a", "out", *range(4)), touch("b", "in", *range(4)))
    after = raw("b", 8, touch("b", "out", *range(8)), touch("c", "in", *range(8)))
    (group,), left = assemble([before, after], modules)
    assert left == ()
    assert group.channels_per_unit == 2
    assert {s.key: s.positions for s in group.slices if s.tensor == "weight"} == {
        ("a", "weight", 0): ((0, 1), (2, 3)),
        ("b", "weight", 0): ((0, 1, 2, 3), (4, 5, 6, 7)),
        ("c", "weight", 1): ((0, 1, 2, 3), (4, 5, 6, 7)),
    }


def test_a_layer_that_sees_only_some_of_the_units_leaves_the_group_alone() -> None:
    found, left = assemble(
        [raw("l0", 4, touch("l0", "out", 0, 1, 2, 3), touch("l1", "in", 0, 1))], linears(2, 4, 2)
    )
    assert found == ()
    assert left[0].modules == ("l0", "l1")
    assert "units of equal size" in left[0].reason


def test_channels_that_all_hang_together_are_left_alone() -> None:
    found, left = assemble(
        [raw("l0", 2, touch("l0", "out", 0, 1), touch("l1", "in", 0, 1, positions=(0, 0)))],
        linears(2, 2, 2),
    )
    assert found == ()
    assert "units of equal size" in left[0].reason


def test_outputs_and_what_cannot_be_cut_are_left_alone_by_name() -> None:
    modules = linears(2, 2, 2)
    outputs = raw("l1", 2, touch("l1", "out", 0, 1), reaches_output=True)
    foreign = raw("l0", 2, touch("l0", "out", 0, 1), foreign="norm (LayerNorm)")
    found, left = assemble([outputs, foreign], modules)
    assert found == ()
    assert [item.modules for item in left] == [("l1",), ("l0",)]
    assert left[0].reason == "these are the network's outputs"
    assert "norm (LayerNorm)" in left[1].reason


def test_layers_that_share_a_parameter_are_left_alone() -> None:
    modules = linears(2, 2, 2)
    modules["l1"].weight = modules["l0"].weight
    found, left = assemble(
        [raw("l0", 2, touch("l0", "out", 0, 1), touch("l1", "in", 0, 1))], modules
    )
    assert found == ()
    assert left[0].reason == "l0 and l1 share one parameter"


def test_a_layer_that_computes_its_weight_is_left_alone() -> None:
    modules = linears(2, 2, 2)
    nn.utils.parametrizations.spectral_norm(modules["l0"])
    found, left = assemble(
        [raw("l0", 2, touch("l0", "out", 0, 1), touch("l1", "in", 0, 1))], modules
    )
    assert found == ()
    assert "the weight of l0 is computed" in left[0].reason


def test_grouped_transposed_convolutions_are_left_alone() -> None:
    modules: dict[str, nn.Module] = {"up": nn.ConvTranspose2d(4, 4, 2, groups=2)}
    found, left = assemble([raw("up", 4, touch("up", "out", 0, 1, 2, 3))], modules)
    assert found == ()
    assert "grouped transposed" in left[0].reason


def test_layers_that_no_group_touches_are_named() -> None:
    _, left = assemble([], linears(2, 2, 2) | {"act": nn.ReLU()})
    assert [(item.modules, item.reason) for item in left] == [
        (("l0", "l1"), "not met by the tracer")
    ]


def test_a_prelu_of_one_parameter_is_not_cut() -> None:
    modules = linears(2, 2, 2) | {"act": nn.PReLU()}
    touches = (touch("l0", "out", 0, 1), touch("act", "both", 0, 1), touch("l1", "in", 0, 1))
    (group,), _ = assemble([raw("l0", 2, *touches)], modules)
    assert "act" not in group.modules


def test_a_normalisation_is_cut_in_every_tensor_that_it_has() -> None:
    norm = nn.BatchNorm1d(2)
    modules = linears(2, 2, 2) | {"norm": norm}
    touches = (touch("l0", "out", 0, 1), touch("norm", "both", 0, 1), touch("l1", "in", 0, 1))
    (group,), _ = assemble([raw("l0", 2, *touches)], modules)
    cut = {s.tensor for s in group.slices if s.module == "norm"}
    assert cut == {n for n, value in norm.state_dict().items() if value.dim() == 1}
    assert torch.numel(norm.weight) == 2
