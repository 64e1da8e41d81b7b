from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.pruning.importance.readers import as_matrix, readings
from compressor.pruning.importance.subject import UnscorableError
from tests.compressor.pruning.tiny_nets import Do


def seeded(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


IMAGES = seeded(2, 3, 9, 8)

LAYERS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear": (lambda: nn.Linear(3, 5), seeded(2, 3)),
    "tokens": (lambda: nn.Linear(3, 5), seeded(2, 7, 3)),
    "tokens on a grid": (lambda: nn.Linear(3, 5), seeded(2, 4, 6, 3)),
    "one by one": (lambda: nn.Conv2d(3, 5, 1), IMAGES),
    "stride and padding": (lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1), IMAGES),
    "sides": (lambda: nn.Conv2d(3, 5, (3, 2), stride=(1, 2), padding=(0, 1)), IMAGES),
    "dilated": (lambda: nn.Conv2d(3, 5, 3, dilation=(2, 1)), IMAGES),
    "same": (lambda: nn.Conv2d(3, 5, (5, 3), padding="same", dilation=(1, 2)), IMAGES),
    "valid": (lambda: nn.Conv2d(3, 5, 3, padding="valid"), IMAGES),
    "circular": (lambda: nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), IMAGES),
    "reflected": (lambda: nn.Conv2d(3, 5, 3, padding="same", padding_mode="reflect"), IMAGES),
    "one dimension": (lambda: nn.Conv1d(3, 5, 4, stride=3, padding=2), seeded(2, 3, 9)),
    "three dimensions": (lambda: nn.Conv3d(3, 5, 2, padding=1), seeded(2, 3, 4, 5, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 5, 2, stride=2), IMAGES),
    "transposed, all options": (
        lambda: nn.ConvTranspose2d(
            3, 5, (3, 4), stride=(3, 2), padding=(1, 0), output_padding=(2, 1), dilation=(1, 2)
        ),
        IMAGES,
    ),
    "transposed, padded beyond its kernel": (
        lambda: nn.ConvTranspose1d(3, 5, 2, padding=3), seeded(2, 3, 9),
    ),
}  # fmt: skip


def watched(model: nn.Module, *names: str) -> dict[int, tuple[str, str]]:
    return {id(model.get_submodule(n).get_parameter("weight")): (n, "weight") for n in names}


@pytest.mark.parametrize("name", LAYERS)
def test_the_output_is_the_product_of_weight_and_patches(name: str) -> None:
    build, inputs = LAYERS[name]
    model = nn.Sequential(build())
    output, (reading,) = readings(model, inputs, watched(model, "0"))
    matrix = as_matrix(model, ("0", "weight"))
    product = torch.einsum("ock,nckp->nop", matrix, reading.patches())
    bias = model.get_submodule("0").get_parameter("bias").detach()
    torch.testing.assert_close(product + bias[:, None], reading.by_output(output.detach()))


@pytest.mark.parametrize(
    "name", sorted(set(LAYERS) - {"circular", "reflected"})
)  # padded before the call
def test_what_is_read_has_a_value_per_channel_and_place(name: str) -> None:
    build, inputs = LAYERS[name]
    model = nn.Sequential(build())
    _, (reading,) = readings(model, inputs, watched(model, "0"))
    assert reading.inputs.shape == (2, 3, inputs.numel() // 6)
    assert reading.inputs.sum().item() == pytest.approx(inputs.sum().item(), abs=1e-4)


def test_a_layer_that_is_called_twice_is_read_twice() -> None:
    twice = nn.Linear(4, 4)
    model = nn.Sequential(twice, nn.ReLU(), twice)
    _, seen = readings(model, seeded(2, 4), watched(model, "0"))
    assert len(seen) == 2


def test_a_functional_call_is_a_reading() -> None:
    model = Do(
        lambda x, layer: functional.conv2d(x, weight=layer.get_parameter("weight"), padding=1),
        layer=nn.Conv2d(3, 5, 3),
    )
    output, (reading,) = readings(model, IMAGES, watched(model, "layer"))
    product = torch.einsum(
        "ock,nckp->nop", as_matrix(model, ("layer", "weight")), reading.patches()
    )
    torch.testing.assert_close(product, output.detach().flatten(2))


def test_what_comes_back_to_an_output_is_from_before_it_was_written_to() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    inputs = seeded(8, 3)
    output, (reading,) = readings(model, inputs, watched(model, "0"))
    assert reading.edge is not None
    (back,) = torch.autograd.grad(output.sum(), [reading.edge])
    positive = functional.linear(inputs, *model[0].parameters()) > 0.0
    assert bool(positive.any()) and not bool(positive.all())
    expected = positive * model.get_submodule("2").get_parameter("weight").sum(0)
    torch.testing.assert_close(back, expected.detach())


def test_a_computed_weight_has_no_reading_and_is_named() -> None:
    model = Do(
        lambda x, layer: functional.linear(x, layer.get_parameter("weight") * 2.0),
        layer=nn.Linear(3, 5),
    )
    with pytest.raises(UnscorableError, match=r"layer\.weight is not used .* l2, l1, fpgm"):
        readings(model, seeded(2, 3), watched(model, "layer"))


def test_a_fused_attention_has_no_readings_and_is_named() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    model = Do(lambda x, layer: layer(x, x, x)[0], layer=attention)
    with pytest.raises(UnscorableError, match=r"layer\.out_proj\.weight"):
        readings(model, seeded(2, 3, 8), watched(model, "layer.out_proj"))


def test_a_grouped_convolution_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(UnscorableError, match="0 is a grouped convolution"):
        readings(model, seeded(2, 4, 5, 5), watched(model, "0"))
