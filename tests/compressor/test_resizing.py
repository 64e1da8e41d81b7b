"""A network that resizes its images is the same network, whatever is done with it."""

import copy
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from compressor.config_schema import Input
from compressor.pruning.attention import with_plain_attention
from compressor.pruning.candidate import Candidate, Method, Prunable, propose, prunable
from compressor.pruning.cost import work
from compressor.pruning.plain import plain
from compressor.pruning.tracing import trace, trace_inner
from compressor.resizing import TakeAt, answer_images_at, said_of, take_images_at
from compressor.training.trainability import jacobian_singular_values
from tests.compressor.pruning.odd_networks import torch_attention, vision_transformer

TAKEN, OWN = (40, 56), (16, 16)


def source(*, resize: tuple[int, int] | None = OWN) -> Input:
    return Input(size=(3, *TAKEN), resize=resize, mean=(0.5,) * 3, std=(0.25,) * 3)


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, *TAKEN, generator=torch.Generator().manual_seed(0))


def resized(pictures: Tensor, size: tuple[int, int] = OWN) -> Tensor:
    return functional.interpolate(pictures, size=size, mode="bilinear", antialias=True)


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * 8 * 8, 32), nn.ReLU(), nn.Linear(32, 10),
        ).eval()  # fmt: skip


def taking(model: nn.Module) -> nn.Module:
    take_images_at(model, source())
    return model


class Streets(nn.Module):
    """As torchvision's: answers every pixel that it sees, in a dictionary, with a second head."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.body = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.head = nn.Conv2d(16, 5, 1)
            self.other = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = functional.relu(self.body(x))
        size = x.shape[-2:]
        return {
            "out": functional.interpolate(self.head(found), size, mode="bilinear"),
            "aux": functional.interpolate(self.other(found), size, mode="bilinear"),
        }


@cache
def front() -> Prunable:
    """The network that resizes."""
    return prunable(taking(small()), images(), seed=0)


@cache
def alone() -> Prunable:
    """The network of that size."""
    return prunable(small(), resized(images()), seed=0)


def cut(dense: Prunable) -> Candidate:
    method = Method(importance="l2", align=8, compensate=False)
    return propose(dense, None, ratio=0.4, method=method, batches=(), seed=0)


def test_it_answers_as_the_network_does_to_resized_images() -> None:
    with torch.no_grad():
        assert torch.equal(taking(small())(images()), small()(resized(images())))


def test_its_filter_is_pillow_s_bilinear_but_for_whole_grey_levels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, TAKEN).astype(np.uint8)
    wanted = np.asarray(Image.fromarray(pixels).resize(OWN[::-1], Image.Resampling.BILINEAR))
    hook = TakeAt(OWN)
    found = hook(nn.Identity(), (torch.from_numpy(pixels).float()[None, None],))[0, 0].numpy()
    assert np.abs(found - wanted).max() <= 1.0


def test_its_layers_weights_channels_and_costs_are_those_of_the_network() -> None:
    found, wanted = front(), alone()
    names = [name for name, _ in wanted.model.named_modules()]
    assert [name for name, _ in found.model.named_modules()] == names
    assert found.model.state_dict().keys() == wanted.model.state_dict().keys()
    assert found.groups == wanted.groups
    assert found.groups
    assert found.left_alone == wanted.left_alone
    assert found.cost == wanted.cost
    assert work(found.model, images()) == work(wanted.model, resized(images()))


@pytest.mark.parametrize("tracer", [trace, trace_inner])
def test_channels_are_followed_behind_the_resize(tracer: Callable[..., object]) -> None:
    assert tracer(taking(small()), images()) == tracer(small(), resized(images()))


def test_a_cut_network_still_resizes_and_its_weights_fit_the_network_alone() -> None:
    found, wanted = cut(front()), cut(alone())
    assert found.plan == wanted.plan
    assert found.cost == wanted.cost
    wanted.model.load_state_dict(found.model.state_dict())
    with torch.no_grad():
        assert torch.equal(found.model(images()), wanted.model(resized(images())))


def test_attention_that_is_taken_apart_still_resizes() -> None:
    model = vision_transformer(torch_attention).eval()
    size = (3, 48, 40)
    pictures = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    own = (32, 32)
    with torch.no_grad():
        wanted = model(resized(pictures, own))
    take_images_at(model, Input(size=size, resize=own, mean=(0.5,) * 3, std=(0.25,) * 3))
    network, replaced = with_plain_attention(model, pictures)
    assert replaced
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), wanted)


def test_gradients_reach_the_pixels_of_the_camera() -> None:
    values = jacobian_singular_values(taking(small()), images(2), device=torch.device("cpu"))
    assert values.shape == (2, 10)
    assert bool((values > 0).all())


def test_an_answer_for_every_pixel_has_the_size_of_the_images() -> None:
    model = Streets().eval()
    with torch.no_grad():
        wanted = model(resized(images()))["out"]
    take_images_at(model, source())
    network = plain(model, images()).model
    answer_images_at(network, source())
    with torch.no_grad():
        found = copy.deepcopy(network)(images())
    assert found.shape == (4, 5, *TAKEN)
    torch.testing.assert_close(found, resized(wanted, TAKEN))


def test_answers_in_half_precision_as_in_training_are_resized_too() -> None:
    network = nn.Conv2d(3, 5, 3, padding=1)
    take_images_at(network, source())
    answer_images_at(network, source())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(images())
    assert found.shape == (4, 5, *TAKEN)
    found.sum().backward()
    torch.testing.assert_close(found, network(images()), atol=0.05, rtol=0.05)


def test_one_answer_an_image_stays_as_it_is() -> None:
    model = taking(small())
    answer_images_at(model, source())
    with torch.no_grad():
        assert torch.equal(model(images()), small()(resized(images())))


@pytest.mark.parametrize("resize", [None, TAKEN])
def test_where_nothing_is_resized_nothing_is_said_or_done(resize: tuple[int, int] | None) -> None:
    asked = source(resize=resize)
    model = small()
    take_images_at(model, asked)
    answer_images_at(model, asked)
    assert not model._forward_pre_hooks
    assert not model._forward_hooks
    assert said_of(asked) == ()
    # Plans and studies' trials are known by this: those from before the key hold on.
    assert asked.model_dump(mode="json") == {
        "size": [3, 40, 56], "mean": [0.5] * 3, "std": [0.25] * 3
    }  # fmt: skip


def test_what_is_resized_is_part_of_a_plan() -> None:
    assert source().model_dump(mode="json")["resize"] == [16, 16]
    assert said_of(source()) == (
        "it resizes its images from 40 x 56 to 16 x 16 (bilinear, antialiased)",
    )
    assert Input.model_validate_json(source().model_dump_json()) == source()


@pytest.mark.parametrize("wrong", [[0, 16], [16, -1], [16], [3, 16, 16], 16, [16.5, 16], "16x16"])
def test_a_size_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="resize"):
        Input.model_validate(
            {"size": (3, *TAKEN), "resize": wrong, "mean": (0.5,) * 3, "std": (0.25,) * 3}
        )
