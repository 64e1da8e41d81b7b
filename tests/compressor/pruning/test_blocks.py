import pytest
import torch

from compressor.pruning.blocks import Alignment, Widths, alignment, relative
from compressor.pruning.groups import ChannelGroup
from tests.compressor.pruning.linears import choices_of

SCORES = {"a": (1.0, 2.0, 3.0, 10.0), "b": (5.0, 5.0, 5.0, 5.0)}


@pytest.mark.parametrize(
    ("multiple", "share", "per_unit", "dense", "present", "steps"),
    [
        (8, 0.1, 1, 20, 20, (20, 16, 8)),
        (8, 0.3, 1, 64, 64, (64, 56, 48, 40, 32, 24)),
        (8, 0.1, 1, 64, 24, (24, 16, 8)),
        (8, 0.9, 1, 64, 24, (24,)),
        (8, 0.1, 1, 8, 8, (8,)),
        (8, 0.1, 1, 4, 4, (4,)),
        (8, 0.1, 4, 5, 5, (5, 4, 2)),
        (8, 0.1, 3, 16, 16, (16, 8)),
        (1, 0.0, 1, 3, 3, (3, 2, 1)),
    ],
)
def test_allowed_widths_are_aligned_and_above_the_floor(
    multiple: int, share: float, per_unit: int, dense: int, present: int, steps: tuple[int, ...]
) -> None:
    group = ChannelGroup(
        name="g", units=tuple(range(present)), channels_per_unit=per_unit, slices=()
    )
    alignment = Alignment(multiple=multiple, least_share=share)
    assert alignment.steps(group, dense_units=dense) == steps


@pytest.mark.parametrize(
    ("dense", "per_unit", "present", "steps"),
    [
        (64, 1, 64, (64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8)),
        (256, 1, 64, (64, 56, 48, 40, 32, 28)),
        (32, 1, 32, (32, 28, 24, 20, 16, 12, 8, 4)),
        (16, 1, 16, (16, 12, 8, 4)),
        (10, 1, 10, (10, 8, 6, 4, 2)),
        (6, 1, 6, (6, 5, 4, 3, 2, 1)),
        (64, 1, 12, (12, 8)),
        (8, 4, 8, (8, 7, 6, 5, 4, 3, 2, 1)),
    ],
)
def test_auto_goes_by_eights_down_to_32_channels_and_by_fours_below(
    dense: int, per_unit: int, present: int, steps: tuple[int, ...]
) -> None:
    group = ChannelGroup(
        name="g", units=tuple(range(present)), channels_per_unit=per_unit, slices=()
    )
    assert alignment("auto").steps(group, dense_units=dense) == steps


def test_a_number_is_what_every_width_is_a_multiple_of() -> None:
    assert alignment(16).multiple_at(48, dense=64) == alignment(16).multiple_at(4, dense=8) == 16


def test_scores_become_relative_to_the_mean_of_their_group() -> None:
    found = relative({"a": torch.tensor([1.0, 3.0]), "zero": torch.zeros(2)})
    assert found["a"].tolist() == [0.5, 1.5]
    assert found["zero"].tolist() == [0.0, 0.0]


def test_blocks_go_by_score_and_know_what_is_gone() -> None:
    blocks = choices_of(2, 4, 4, 2, scores=SCORES).blocks["a"]
    assert [block.units for block in blocks] == [(0,), (1,), (2,)]
    assert [block.mean_score for block in blocks] == pytest.approx([0.25, 0.5, 0.75])
    assert [block.gone_score for block in blocks] == pytest.approx([1 / 16, 3 / 16, 6 / 16])
    assert [block.kept_share for block in blocks] == [1.0, 0.75, 0.5]


def test_prices_follow_the_widths_and_come_back() -> None:
    widths = Widths(choices_of(2, 4, 4, 2, scores=SCORES))
    assert widths.price == 32.0
    assert widths.saving("a") == 6.0
    widths.take("a")
    widths.take("b")
    assert widths.price == 2 * 3 + 3 * 3 + 3 * 2
    assert widths.gone == {"a": 1, "b": 1}
    widths.give_back("a")
    widths.give_back("b")
    assert widths.price == 32.0
