import dataclasses

import pytest

from compressor.study.analyses.curves import curves
from compressor.study.analyses.shrinkbench import standard_rows, summaries
from tests.study.rows_of import cell, network


def test_a_row_has_what_was_asked_what_came_of_it_and_the_recipe() -> None:
    (row,) = standard_rows([network(0.9, ratio=0.75)], dataset="digest-of-images")
    assert row.compression == row.real_compression == 4.0
    assert row.speedup == 4.0
    assert (row.size, row.size_nz, row.flops, row.flops_nz) == (1000, 250, 4000, 1000)
    assert (row.pre_acc1, row.post_acc1, row.epochs, row.lr) == (0.3, 0.9, 10, 0.1)


def test_the_control_is_no_row_and_networks_from_nothing_are_named_so() -> None:
    control = dataclasses.replace(network(0.9), kind="control", method="control")
    scratch = dataclasses.replace(network(0.8), kind="scratch")
    rows = standard_rows([control, scratch], dataset="d")
    assert [row.strategy for row in rows] == ["l2 scratch"]


def test_seeds_give_mean_and_standard_deviation() -> None:
    rows = standard_rows([network(a, seed=s) for s, a in enumerate((0.9, 0.8, 0.7))], dataset="d")
    (found,) = summaries(rows)
    assert found.seeds == 3
    assert found.post_acc1 == pytest.approx(0.8)
    assert found.post_acc1_std == pytest.approx(0.1)
    assert found.post_acc5 is None


def test_a_single_seed_has_no_deviation_and_an_interval_of_its_drop() -> None:
    (point,) = curves([cell(20, ratio=0.5)])
    assert point.accuracy_std is None
    assert point.drop == pytest.approx(0.02)
    assert point.drop_low is not None
    assert point.drop_high is not None
    assert point.drop_low < 0.02 < point.drop_high


def test_points_of_several_seeds_are_means() -> None:
    (point,) = curves([cell(20, ratio=0.5), cell(40, ratio=0.5, seed=1)])
    assert (point.seeds, point.n) == (2, 1000)
    assert point.drop == pytest.approx(0.03)
    assert point.accuracy == pytest.approx(0.87)
    assert point.same_answer == pytest.approx(0.97)
    assert point.drop_low is None
