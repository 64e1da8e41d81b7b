"""A cut in several steps, and budgets other than parameters."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from compressor.pruning.allocation import SHARE_TOLERANCE, UnreachableRatioError
from compressor.pruning.candidate import Candidate, Method, propose
from compressor.pruning.layer_times import LayerTimes
from tests.compressor.pruning.tiny_nets import EXAMPLE, found_in

BATCH = (EXAMPLE, torch.tensor([0, 1, 2, 3]))
NETS = ("plain", "residual", "u-net", "depthwise")


@dataclass(frozen=True)
class Batches:
    """One batch, and how often it was looked at."""

    looks: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.looks.append(1)
        yield BATCH


def cut(
    name: str,
    method: Method,
    *,
    ratio: float = 0.6,
    before: Candidate | None = None,
    batches: Batches | None = None,
) -> Candidate:
    return propose(
        found_in(name), before, ratio=ratio, method=method, batches=batches or Batches(), seed=0
    )


def test_scores_are_estimated_once_for_each_step() -> None:
    batches = Batches()
    cut("u-net", Method(importance="taylor", align=1, steps=4, compensate=False), batches=batches)
    assert len(batches.looks) == 4


@pytest.mark.parametrize("importance", ["l2", "taylor"])
@pytest.mark.parametrize("name", NETS)
def test_three_steps_are_three_cuts_one_after_the_other(name: str, importance: str) -> None:
    method = Method(importance=importance, align=1, steps=3)
    once = Method(importance=importance, align=1)
    dense, gone, before = found_in(name).cost.params, 0.0, None
    for left in (3, 2, 1):
        # Equal shares of what the last cut really left to go.
        goal = 0.6 if left == 1 else 0.6 * (4 - left) / 3
        before = cut(name, once, ratio=goal, before=before)
        gone = 1.0 - before.cost.params / dense
    found = cut(name, method)
    assert before is not None
    assert found.plan == before.plan
    assert 1.0 - found.cost.params / dense == gone
    state, expected = found.model.state_dict(), before.model.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", NETS)
def test_one_step_is_one_cut(name: str) -> None:
    found, plain = cut(name, Method(align=1, steps=1)), cut(name, Method(align=1))
    assert found.plan == plain.plan
    assert torch.equal(found.model(EXAMPLE), plain.model(EXAMPLE))


def test_steps_between_which_no_aligned_width_lies_are_taken_together() -> None:
    # The stem's width of 16 and the body's of 24 allow but a few shares in multiples of 8.
    method = Method(align=8, steps=10)
    found, dense = cut("plain", method, ratio=0.59), found_in("plain").cost.params
    assert abs(1.0 - found.cost.params / dense - 0.59) <= SHARE_TOLERANCE


def test_a_large_regulariser_ranks_by_the_norm_of_what_goes() -> None:
    method = Method(importance="taylor", align=1, compensate=False, allocation="uniform")
    plain = cut("plain", method)
    heavy = Method(
        importance="taylor", align=1, compensate=False, allocation="uniform", regulariser=1e6
    )
    model = found_in("plain").model
    weight = model.get_submodule("body").get_parameter("weight")
    norms = weight.detach().square().sum((0, 2, 3))
    kept = cut("plain", heavy).plan.kept["stem"]
    assert set(kept) == set(norms.argsort(descending=True)[: len(kept)].tolist())
    assert kept != plain.plan.kept["stem"]


@pytest.mark.parametrize("allocation", ["uniform", "knapsack"])
@pytest.mark.parametrize("name", NETS)
def test_a_share_of_the_multiply_adds_is_the_share_that_is_gone(name: str, allocation: str) -> None:
    dense = found_in(name).cost.macs
    for ratio in (0.2, 0.4, 0.6, 0.8):
        try:
            found = cut(name, Method(of="macs", allocation=allocation, align=1), ratio=ratio)
        except UnreachableRatioError as error:
            assert "of the multiply-adds" in str(error)  # noqa: PT017 # either is right
            continue
        assert abs(1.0 - found.cost.macs / dense - ratio) <= SHARE_TOLERANCE


def test_a_share_of_latency_goes_by_the_table_alone() -> None:
    widths = tuple(range(1, 17))
    table = {
        "stem": LayerTimes(dims=(0,), widths=(widths,), us=tuple(float(w) for w in widths)),
        "body": LayerTimes(dims=(1,), widths=(widths,), us=tuple(3.0 * w for w in widths)),
    }
    method = Method(of="latency", latencies=table, align=1, allocation="knapsack")
    kept = cut("plain", method, ratio=0.5).plan.kept
    # Only the stem's width, 16, has a price here; narrowing the other would save nothing.
    assert len(kept["stem"]) == 8
    assert len(kept["body"]) == 24
