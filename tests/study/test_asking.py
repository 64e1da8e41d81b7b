"""Faults of other programs, each with a number that it would get wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.cost import cost
from compressor.study.asking import counted, scores, top5
from compressor.study.shop import Shop
from compressor.training.batches import LabelledImages
from gates.answers import labelled


class Oracle(nn.Module):
    """Reads the label off the first pixel, which it was put into."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        named = (x[:, 0, 0, 0] * 255).round().long()
        return nn.functional.one_hot(named, self.classes).float() * 5


def data(count: int, *, classes: int) -> LabelledImages:
    labels = np.arange(count) % classes
    images = np.zeros((count, 3, 8, 8), dtype=np.uint8)
    images[:, 0, 0, 0] = labels
    return LabelledImages(
        images=images, labels=labels, ids=np.arange(count, dtype=np.uint64),
        mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip


class _Asked:
    def __init__(self, classes: int) -> None:
        self.classes = tuple(map(str, range(classes)))


class _Shop:
    """As much of a shop as scores look at."""

    def __init__(self, classes: int) -> None:
        self.asked = _Asked(classes)
        self.device = torch.device("cpu")


def shop(classes: int) -> Shop:
    return _Shop(classes)  # type: ignore[return-value]  # what scores look at is there


@pytest.mark.parametrize("count", [1, 255, 256, 257, 300])
def test_a_perfect_network_is_right_on_every_image_whatever_the_last_batch_holds(
    count: int,
) -> None:
    found = scores(shop(10), Oracle(10), data(count, classes=10))
    assert (found["n"], found["right"], found["top5"]) == (count, count, count)


def test_top_five_of_few_classes_is_not_known() -> None:
    assert scores(shop(4), Oracle(4), data(10, classes=4))["top5"] is None
    logits = np.eye(8, dtype=np.float32)[[0, 1, 2]]
    assert top5(labelled(logits, np.array([0, 7, 2])), classes=8) == 2


def test_the_loss_is_the_mean_over_images() -> None:
    found = scores(shop(10), Oracle(10), data(300, classes=10))
    expected = float(np.log(np.exp(5) + 9) - 5)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_asking_and_counting_change_no_statistic() -> None:
    network = Oracle(10).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    scores(shop(10), network, data(50, classes=10))
    cost(network, torch.zeros(2, 3, 8, 8))
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_grouped_convolution_costs_its_own_multiply_adds() -> None:
    depthwise = nn.Conv2d(32, 32, 3, groups=32, bias=False)
    assert cost(depthwise, torch.ones(1, 32, 4, 4)).macs == 32 * 9 * 4


def test_counts_are_of_images_one_by_one() -> None:
    labels = np.array([0, 1, 2, 3])
    dense = labelled(np.eye(4, dtype=np.float32)[[0, 1, 0, 0]], labels)
    pruned = labelled(np.eye(4, dtype=np.float32)[[0, 2, 2, 1]], labels)
    found = counted(dense, pruned, classes=4)
    names = ("both_right", "only_dense", "only_pruned", "both_wrong", "same_answer")
    assert [found[name] for name in names] == [1, 1, 1, 1, 1]
