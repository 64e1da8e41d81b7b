from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.groups import ChannelGroup, Slice
from compressor.pruning.importance import IMPORTANCES, score
from compressor.pruning.importance.inputs import _greedy as greedy
from tests.compressor.pruning.tiny_nets import EXAMPLE, Do, found_in

LABEL = torch.zeros(1, dtype=torch.long)


def reads(*modules: str, positions: Sequence[tuple[int, ...]]) -> ChannelGroup:
    return ChannelGroup(
        name="g",
        units=tuple(range(len(positions))),
        channels_per_unit=1,
        slices=tuple(
            Slice(
                module=m, tensor="weight", dim=1, role="consumer", positions=tuple(positions)
            )
            for m in modules
        ),
    )  # fmt: skip


PAIR = reads("0", positions=[(0,), (1,)])


def linear(*rows: list[float]) -> nn.Module:
    layer = nn.Linear(len(rows[0]), len(rows), bias=True)
    layer.weight.data = torch.tensor(rows)
    layer.bias.data.fill_(1000.0)
    return nn.Sequential(layer)


def scores(
    model: nn.Module, group: ChannelGroup, name: str, *batches: list[list[float]], seed: int = 0
) -> list[float]:
    given = [(torch.tensor(rows), LABEL.expand(len(rows))) for rows in batches]
    found = score(model, [group], criterion=IMPORTANCES[name], batches=given, seed=seed)
    return found["g"].tolist()


# ---- activation


def test_activation_is_the_mean_absolute_value_that_is_read() -> None:
    model = linear([1.0, 1.0])
    found = scores(model, PAIR, "activation", [[1.0, -2.0], [3.0, 0.0]], [[-5.0, 1.0]])
    assert found == pytest.approx([(1 + 3 + 5) / 3, (2 + 0 + 1) / 3])


def test_activation_is_read_behind_the_nonlinearity() -> None:
    model = nn.Sequential(nn.ReLU(), linear([1.0, 1.0]))
    group = reads("1.0", positions=[(0,), (1,)])
    assert scores(model, group, "activation", [[-4.0, 2.0]]) == [0.0, 2.0]


def test_activation_of_a_unit_is_the_mean_over_its_channels_and_readers() -> None:
    both = Do(lambda x, a, b: a(x) + b(x.abs() * 2.0), a=nn.Linear(4, 1), b=nn.Linear(4, 1))
    group = reads("a", "b", positions=[(0, 2), (1, 3)])
    found = scores(both, group, "activation", [[1.0, 2.0, -3.0, 0.0]])
    assert found == pytest.approx([(1 + 3 + 2 + 6) / 4, (2 + 0 + 4 + 0) / 4])


def test_activation_is_the_mean_over_places() -> None:
    model = nn.Sequential(nn.Conv2d(2, 1, 3, padding=1))
    image = torch.tensor([[[1.0, 3.0]], [[0.0, -8.0]]])[None]
    found = score(
        model, [PAIR], criterion=IMPORTANCES["activation"], batches=[(image, LABEL)], seed=0
    )
    assert found["g"].tolist() == [2.0, 4.0]


# ---- PFP


def test_pfp_is_the_largest_share_of_an_output() -> None:
    # Outputs 1 * 1 + 3 * 1 and 2 * 1 + 2 * 1, and for the second sample 1 * 3 + 3 * 1 and 6 + 2.
    model = linear([1.0, 3.0], [2.0, 2.0])
    found = scores(model, PAIR, "pfp", [[1.0, 1.0], [3.0, 1.0]])
    assert found == pytest.approx([6 / 8, 3 / 4])


def test_pfp_parts_weights_and_inputs_by_sign() -> None:
    # Of the outputs 2 + 6 - 1 * 4: units 0 and 1 share 2 + 6, unit 2 has the negative part alone.
    model = linear([1.0, 3.0, -1.0])
    group = reads("0", positions=[(0,), (1,), (2,)])
    assert scores(model, group, "pfp", [[2.0, 2.0, 4.0]]) == pytest.approx([2 / 8, 6 / 8, 1.0])
    # Negative inputs are apart too: unit 1 no longer shares with unit 0.
    assert scores(model, group, "pfp", [[2.0, -2.0, 0.0]]) == pytest.approx([1.0, 1.0, 0.0])


def test_pfp_is_the_mean_over_batches_of_the_largest_in_each() -> None:
    model = linear([1.0, 1.0])
    found = scores(model, PAIR, "pfp", [[1.0, 3.0], [1.0, 1.0]], [[1.0, 0.0]])
    assert found == pytest.approx([(0.5 + 1.0) / 2, (0.75 + 0.0) / 2])


def test_pfp_counts_what_other_groups_give_to_the_output() -> None:
    model = linear([1.0, 1.0, 2.0])
    assert scores(model, PAIR, "pfp", [[1.0, 1.0, 1.0]]) == pytest.approx([1 / 4, 1 / 4])


def test_pfp_of_a_unit_that_feeds_nothing_is_nothing() -> None:
    assert scores(linear([0.0, 1.0]), PAIR, "pfp", [[1.0, 1.0]]) == [0.0, 1.0]
    assert scores(linear([0.0, 0.0]), PAIR, "pfp", [[1.0, 1.0]]) == [0.0, 0.0]


def brute_force_pfp(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """One convolution per channel and pair of signs."""
    largest = torch.zeros(inputs.shape[1])
    weight = layer.weight.detach()
    for x in (inputs.clamp_min(0.0), (-inputs).clamp_min(0.0)):
        for w in (weight.clamp_min(0.0), (-weight).clamp_min(0.0)):
            whole = nn.functional.conv2d(x, w, padding=layer.padding, stride=layer.stride)
            for j in range(len(largest)):
                part = nn.functional.conv2d(
                    x[:, [j]], w[:, [j]], padding=layer.padding, stride=layer.stride
                )
                share = torch.where(whole > 0.0, part / whole.clamp_min(1e-30), 0.0).max()
                largest[j] = torch.maximum(largest[j], share)
    return largest


@pytest.mark.parametrize("entries", [2**20, 300, 1])
def test_pfp_of_a_convolution_is_its_formula(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor.pruning.importance.inputs._MOST_ENTRIES", entries)
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    group = reads("0", positions=[(0,), (1,), (2,)])
    found = score(
        nn.Sequential(layer), [group], criterion=IMPORTANCES["pfp"],
        batches=[(EXAMPLE, LABEL.expand(4))], seed=0,
    )["g"]  # fmt: skip
    torch.testing.assert_close(found, brute_force_pfp(layer, EXAMPLE))


# ---- ThiNet


def test_thinet_removes_first_what_gives_least() -> None:
    model = linear([100.0, 10.0, 1.0, 0.001])
    group = reads("0", positions=[(0,), (1,), (2,), (3,)])
    found = scores(model, group, "thinet", [[1.0, 1.0, 1.0, 1.0]])
    assert sorted(range(4), key=found.__getitem__) == [3, 2, 1, 0]
    whole = 111.001**2
    assert found == pytest.approx(
        [1.0, 11.001**2 / whole, 1.001**2 / whole, 0.001**2 / whole], rel=1e-5
    )


def test_thinet_sees_that_parts_cancel() -> None:
    # Alone, unit 2 is the least; with it gone, unit 1 leaves (1 - 5)^2, less than unit 0; then
    # unit 0 takes the error down to 1, and its score is the next number above the last one.
    model = linear([5.0, -5.0, 1.0])
    group = reads("0", positions=[(0,), (1,), (2,)])
    found = scores(model, group, "thinet", [[1.0, 1.0, 1.0]])
    assert found[2] == pytest.approx(1.0)
    assert found[1] == pytest.approx(16.0)
    assert found[1] < found[0] == pytest.approx(16.0)


def test_thinet_relates_the_error_to_all_that_the_output_is_made_of() -> None:
    assert scores(linear([1.0, 2.0, 3.0]), PAIR, "thinet", [[1.0, 1.0, 1.0]]) == pytest.approx(
        [1 / 36, 9 / 36]
    )


def brute_force_order(parts: Tensor) -> list[int]:
    """Units [units] in the order in which they go, of parts [drawn units]."""
    gone: list[int] = []
    while len(gone) < parts.shape[1]:
        left = [u for u in range(parts.shape[1]) if u not in gone]
        errors = {u: float(parts[:, [*gone, u]].sum(1).square().sum()) for u in left}
        gone.append(min(left, key=errors.__getitem__))
    return gone


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_scores_is_the_greedy_order(seed: int) -> None:
    parts = torch.randn(30, 9, generator=torch.Generator().manual_seed(seed)).double()
    found = greedy(parts.T @ parts, float(parts.sum(1).square().sum()))
    order = found.argsort().tolist()
    assert order == brute_force_order(parts)
    assert all(found[low] < found[high] for low, high in pairwise(order))


def test_units_without_parts_still_have_an_order() -> None:
    found = greedy(torch.zeros(3, 3).double(), 0.0)
    assert found[0] < found[1] < found[2] < 1e-30


def test_parts_that_are_drawn_are_parts_of_the_output() -> None:
    # One unit that is all there is: its error is the whole output.
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    group = reads("0", positions=[(0, 1, 2)])
    found = score(
        model, [group], criterion=IMPORTANCES["thinet"], batches=[(EXAMPLE, LABEL.expand(4))],
        seed=0,
    )["g"]  # fmt: skip
    assert found.tolist() == pytest.approx([1.0])


def error_without(layer: nn.Conv2d, inputs: Tensor, gone: Sequence[int]) -> float:
    """Squared error of the layer's output without some channels."""
    zeroed = inputs.clone()
    zeroed[:, list(gone)] = 0.0
    difference: Tensor = layer(inputs) - layer(zeroed)
    return float(difference.detach().square().sum())


def test_removing_what_thinet_says_hurts_the_next_layer_least() -> None:
    dense = found_in("plain")
    body = dense.model.get_submodule("body")
    assert isinstance(body, nn.Conv2d)
    read: list[Tensor] = []
    handle = body.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    dense.model(EXAMPLE)
    handle.remove()
    found = score(
        dense.model, dense.groups, criterion=IMPORTANCES["thinet"],
        batches=[(EXAMPLE, LABEL.expand(4))] * 8, seed=0,
    )["stem"]  # fmt: skip
    order = found.argsort().tolist()
    low, high = (error_without(body, read[0], part) for part in (order[:8], order[8:]))
    generator = torch.Generator().manual_seed(0)
    chance = [
        error_without(body, read[0], torch.randperm(16, generator=generator)[:8].tolist())
        for _ in range(20)
    ]
    assert low < min(chance)
    assert low < high
