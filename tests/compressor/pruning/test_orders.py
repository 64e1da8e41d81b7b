from collections.abc import Sequence
from dataclasses import replace

import pytest

from compressor.pruning.blocks import Block, Choices
from compressor.pruning.orders import global_, isomorphic, pfp, uniform
from tests.compressor.pruning.linears import choices_of

# Relative to the group's mean: a has 0.25, 0.5, 0.75 and 2.5, b four times 1, c 0.2, 0.6, 1, 2.2.
A, B, C = (1.0, 2.0, 3.0, 10.0), (5.0, 5.0, 5.0, 5.0), (1.0, 3.0, 5.0, 11.0)


def given(*, kinds: str, **scores: tuple[float, ...]) -> Choices:
    """Linear layers in a row; ``kinds`` has a letter for each group's topology."""
    found = choices_of(2, *(len(values) for values in scores.values()), 2, scores=scores)
    return replace(found, kinds=dict(zip(scores, kinds, strict=True)))


def groups(path: Sequence[Block]) -> str:
    return "".join(block.group for block in path)


def test_uniform_takes_from_the_widest_in_turn() -> None:
    assert groups(uniform(given(kinds="xy", a=A, b=B))) == "ababab"


def test_global_takes_the_least_important_wherever_it_is() -> None:
    assert groups(global_(given(kinds="xy", a=A, b=B))) == "aaabbb"


def test_isomorphic_with_one_class_is_global() -> None:
    assert groups(isomorphic(given(kinds="xx", a=A, b=B))) == "aaabbb"


def test_isomorphic_with_a_class_for_each_group_is_uniform() -> None:
    assert groups(isomorphic(given(kinds="xy", a=A, b=B))) == "ababab"


def test_isomorphic_takes_equal_shares_of_classes_and_ranks_inside_them() -> None:
    # Of the eight units of a and b, by rank: a a a b b b at 1/8, 2/8 ... 6/8; c's at 1/4, 2/4, 3/4.
    assert groups(isomorphic(given(kinds="xxy", a=A, b=B, c=C))) == "aacabcbbc"


def test_isomorphic_counts_what_earlier_cuts_took() -> None:
    # Half of a class's dense units are gone already, so the other class gives first.
    before = given(kinds="xy", a=A, b=B)
    half = {
        "a": tuple(replace(b, kept_share=b.kept_share / 2) for b in before.blocks["a"]),
        "b": before.blocks["b"],
    }
    after = replace(before, blocks=half, dense_units={"a": 8, "b": 4})
    # a: 5/8, 6/8, 7/8; b: 1/4, 2/4, 3/4.
    assert groups(isomorphic(after)) == "bbaaba"


def test_pfp_takes_by_the_share_of_the_scores_that_is_gone() -> None:
    # a: 1/16, 3/16, 6/16; b: 1/4, 2/4, 3/4.
    assert groups(pfp(given(kinds="xy", a=A, b=B))) == "aababb"


@pytest.mark.parametrize("level", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
def test_at_each_level_of_error_pfp_keeps_the_fewest_channels_below_it(level: float) -> None:
    choices = given(kinds="xyz", a=A, b=B, c=C)
    gone = dict.fromkeys(choices.blocks, 0)
    for block in pfp(choices):
        if block.gone_score <= level:
            gone[block.group] += 1
    for name, scores in (("a", A), ("b", B), ("c", C)):
        tails = [sum(sorted(scores)[:k]) / sum(scores) for k in range(len(scores))]
        assert gone[name] == max(k for k, tail in enumerate(tails) if tail <= level + 1e-12)


@pytest.mark.parametrize("order", [uniform, global_, isomorphic, pfp])
def test_a_path_has_every_block_once_and_each_groups_in_order(order: object) -> None:
    choices = given(kinds="xyx", a=A, b=B, c=C)
    assert callable(order)
    path = order(choices)
    for name, blocks in choices.blocks.items():
        assert tuple(block for block in path if block.group == name) == blocks
