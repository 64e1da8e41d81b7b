import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.nn import functional

from compressor.pruning.groups import ChannelGroup, Slice
from compressor.pruning.importance import IMPORTANCES, UnscorableError, score, softmax
from tests.compressor.pruning.tiny_nets import Do, chain, classifier, conv

PLACES = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(3))
LABELS = torch.tensor([0, 1, 2, 3, 1])


def reads(*modules: str, units: int, dim: int = 1, channels: int = 1) -> ChannelGroup:
    """Units of ``channels`` neighbours each, read by the modules."""
    positions = tuple(tuple(range(u * channels, (u + 1) * channels)) for u in range(units))
    return ChannelGroup(
        name="g",
        units=tuple(range(units)),
        channels_per_unit=channels,
        slices=tuple(
            Slice(module=m, tensor="weight", dim=dim, role="consumer", positions=positions)
            for m in modules
        ),
    )


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def scores(
    model: nn.Module,
    group: ChannelGroup,
    name: str,
    *,
    batches: Sequence[tuple[Tensor, Tensor]] = ((PLACES, LABELS),),
    seed: int = 0,
) -> Tensor:
    criterion = IMPORTANCES[name]
    return score(model, [group], criterion=criterion, batches=batches, seed=seed)["g"]


def per_unit(group: ChannelGroup, values: dict[str, Tensor]) -> Tensor:
    """Sum over everything that reads each unit, one entry after the other."""
    totals = []
    for unit in range(len(group.units)):
        chosen = [
            values[piece.module].select(piece.dim, position).sum()
            for piece in group.slices
            for position in piece.positions[unit]
        ]
        totals.append(torch.stack(chosen).sum())
    return torch.stack(totals)


def explicit(
    model: nn.Module, group: ChannelGroup, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums of g w and of G w^2, from the Jacobian of the logits and the matrix H, in float64."""
    model = copy.deepcopy(model).double()
    slopes, curvatures = {}, {}
    for name in {piece.module for piece in group.slices}:
        weight = model.get_submodule(name).get_parameter("weight").detach()

        def logits(values: Tensor, name: str = name) -> Tensor:
            given: Tensor = functional_call(model, {f"{name}.weight": values}, (images.double(),))
            return given

        by_weight = jacobian(logits, weight).flatten(2)
        p = logits(weight).softmax(1)
        of_softmax = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        diagonal = torch.einsum("ncw,ncd,ndw->w", by_weight, of_softmax, by_weight) / len(images)
        left = p - functional.one_hot(labels, p.shape[1])
        gradient = torch.einsum("ncw,nc->w", by_weight, left) / len(images)
        slopes[name] = gradient.view_as(weight) * weight
        curvatures[name] = diagonal.view_as(weight) * weight.square()
    return per_unit(group, slopes).detach().float(), per_unit(group, curvatures).detach().float()


def windows(x: Tensor, layer: nn.Module) -> Tensor:
    """Channels last, in windows of 3 x 3 that take the place of images, and back."""
    n, c = x.shape[:2]
    parted = x.view(n, c, 2, 3, 2, 3).permute(0, 2, 4, 3, 5, 1).reshape(n * 4, 9, c)
    mixed: Tensor = torch.relu(layer(parted)).unflatten(0, (n, 4)).flatten(1, 2).transpose(1, 2)
    return mixed


def gated(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    product: Tensor = a(x).relu() * b(x)
    return product


def shared() -> nn.Module:
    twice = conv(3, 3)
    return classifier(3, one=twice, a=nn.ReLU(), two=twice, b=nn.ReLU())


NETS: dict[str, tuple[Callable[[], nn.Module], ChannelGroup]] = {
    "convolution": (
        lambda: classifier(4, one=conv(3, 4), a=nn.ReLU(), two=conv(4, 4), b=nn.ReLU()),
        reads("two", units=4),
    ),
    "written to in place": (
        lambda: classifier(4, one=conv(3, 4), a=nn.ReLU(inplace=True), b=conv(4, 4)),
        reads("one", units=3),
    ),
    "stride, dilation": (
        lambda: classifier(4, one=nn.Conv2d(3, 4, 2, stride=2, dilation=2), a=nn.ReLU()),
        reads("one", units=3),
    ),
    "transposed": (
        lambda: classifier(4, one=nn.ConvTranspose2d(3, 4, 3, stride=2), a=nn.Tanh()),
        reads("one", units=3, dim=0),
    ),
    "linear behind places": (
        lambda: chain(p=nn.AvgPool2d(3), flat=nn.Flatten(), one=nn.Linear(12, 5), a=nn.Tanh(),
                      head=nn.Linear(5, 4)),
        reads("one", units=3, channels=4),
    ),
    "tokens": (
        lambda: chain(t=Do(lambda x: x.flatten(2).transpose(1, 2)), one=nn.Linear(3, 5),
                      a=nn.GELU(), m=Do(lambda x: x.mean(1)), head=nn.Linear(5, 4)),
        reads("one", units=3),
    ),
    "windows in the place of images": (
        lambda: chain(w=Do(windows, layer=nn.Linear(3, 5)), m=Do(lambda x: x.mean(2)),
                      head=nn.Linear(5, 4)),
        reads("w.layer", units=3),
    ),
    "called twice": (shared, reads("one", units=3)),
    "two readers": (
        lambda: classifier(4, both=Do(gated, a=conv(3, 4), b=conv(3, 4))),
        reads("both.a", "both.b", units=3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_obd_is_half_the_gauss_newton_diagonal_times_the_squared_weights(name: str) -> None:
    build, group = NETS[name]
    model = seeded(build)
    _, curvature = explicit(model, group, PLACES, LABELS)
    torch.testing.assert_close(scores(model, group, "obd"), 0.5 * curvature, rtol=3e-3, atol=1e-9)


@pytest.mark.parametrize("name", NETS)
def test_quadratic_is_the_size_of_the_signed_sum_of_both_terms(name: str) -> None:
    build, group = NETS[name]
    model = seeded(build)
    slope, curvature = explicit(model, group, PLACES, LABELS)
    expected = (0.5 * curvature - slope).abs()
    torch.testing.assert_close(
        scores(model, group, "quadratic"), expected, rtol=3e-3, atol=1e-3 * float(expected.mean())
    )


def test_with_all_seeds_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "LEFT_OUT", 0.0)
    build, group = NETS["convolution"]
    model = seeded(build)
    _, curvature = explicit(model, group, PLACES, LABELS)
    torch.testing.assert_close(scores(model, group, "obd"), 0.5 * curvature, rtol=1e-5, atol=0.0)


def test_for_the_last_layer_it_is_the_hessian_of_the_loss_itself() -> None:
    # Logits are linear in its weights, so Gauss-Newton leaves nothing out.
    model = seeded(lambda: chain(p=nn.AvgPool2d(3), flat=nn.Flatten(), head=nn.Linear(12, 4)))
    weight = model.get_submodule("head").get_parameter("weight").detach().double()
    bias = model.get_submodule("head").get_parameter("bias").detach().double()
    features = functional.avg_pool2d(PLACES.double(), 3).flatten(1)

    def loss(values: Tensor) -> Tensor:
        logits = functional.linear(features, values.view_as(weight), bias)
        return functional.cross_entropy(logits, LABELS)

    diagonal = hessian(loss, weight.flatten()).diagonal().view_as(weight)
    expected = 0.5 * (diagonal * weight.square()).sum(0)
    found = scores(model, reads("head", units=12), "obd")
    torch.testing.assert_close(found, expected.float(), rtol=3e-3, atol=0.0)


def by_hand() -> nn.Module:
    """Two equal logits (w_1 h_1 + w_2 h_2) of two inputs."""
    head = nn.Linear(2, 2, bias=False)
    head.weight.data = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    return nn.Sequential(head)


def test_on_two_equal_logits_slopes_of_a_unit_cancel_and_curvature_does_not() -> None:
    # p = (1/2, 1/2): G = 1/4 h^2 for each weight, and g = -h/2 for one class, h/2 for the other.
    batch = (torch.tensor([[2.0, 3.0]]), torch.tensor([0]))
    for name in ("obd", "quadratic"):
        found = scores(by_hand(), reads("0", units=2), name, batches=[batch])
        assert found.tolist() == pytest.approx([0.5 * (1 + 1), 0.5 * 9 / 4 * (4 + 4)])


def test_no_sample_hides_another_one() -> None:
    # Gradients of the two samples cancel in the sum; their squares must not.
    batch = (torch.tensor([[2.0, 3.0], [-2.0, -3.0]]), torch.tensor([0, 0]))
    found = scores(by_hand(), reads("0", units=2), "obd", batches=[batch])
    assert found.tolist() == pytest.approx([1.0, 9.0])


@pytest.mark.parametrize("label", [0, 1])
def test_obd_does_not_depend_on_labels(label: int) -> None:
    build, group = NETS["convolution"]
    model = seeded(build)
    given = scores(model, group, "obd", batches=[(PLACES, torch.full((5,), label))])
    torch.testing.assert_close(given, scores(model, group, "obd"))


def test_small_readers_cost_what_quadratic_says() -> None:
    # One weight reads each unit, so that the diagonal is the whole matrix of a single cut.
    model = seeded(
        lambda: chain(p=nn.AvgPool2d(3), flat=nn.Flatten(), narrow=nn.Linear(12, 1, bias=False),
                      head=nn.Linear(1, 4))
    )  # fmt: skip
    weight = model.get_submodule("narrow").get_parameter("weight").data.mul_(0.1)
    found = scores(model, reads("narrow", units=12), "quadratic")
    dense = functional.cross_entropy(model(PLACES), LABELS).item()
    for unit in range(12):
        before = weight[0, unit].item()
        weight[0, unit] = 0.0
        change = functional.cross_entropy(model(PLACES), LABELS).item() - dense
        weight[0, unit] = before
        assert found[unit].item() == pytest.approx(abs(change), rel=2e-2, abs=1e-6)


def test_drawn_seeds_have_the_same_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    build, group = NETS["convolution"]
    model = seeded(build)
    exact = scores(model, group, "obd")
    monkeypatch.setattr(softmax, "MOST_CLASSES", 3)
    drawn = scores(model, group, "obd", batches=[(PLACES, LABELS)] * 300)
    torch.testing.assert_close(drawn, exact, rtol=0.15, atol=0.0)
    assert not torch.equal(drawn, exact)
    again = scores(model, group, "obd", batches=[(PLACES, LABELS)] * 300)
    assert torch.equal(drawn, again)


def test_answers_at_every_place_are_scored_by_the_mean_loss_over_them() -> None:
    model = seeded(lambda: chain(one=conv(3, 4), a=nn.ReLU(), head=conv(4, 3, 1)))
    group, images = reads("head", units=4), PLACES[:2, :, :2, :2]
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2, 1]).view(2, 2, 2)
    weight = model.get_submodule("head").get_parameter("weight").detach().double()
    features = model.get_submodule("one")(images).relu().detach().double()
    bias = model.get_submodule("head").get_parameter("bias").detach().double()

    def loss(values: Tensor) -> Tensor:
        logits = functional.conv2d(features, values.view_as(weight), bias)
        return functional.cross_entropy(logits, labels)

    diagonal = hessian(loss, weight.flatten()).diagonal().view_as(weight)
    expected = 0.5 * (diagonal * weight.square()).sum((0, 2, 3))
    found = scores(model, group, "obd", batches=[(images, labels)] * 400)
    torch.testing.assert_close(found, expected.float(), rtol=0.15, atol=0.0)


def test_a_layer_that_reads_samples_along_another_dimension_is_named() -> None:
    model = seeded(
        lambda: chain(t=Do(lambda x: x.flatten(2).permute(2, 0, 1)), one=nn.Linear(3, 5),
                      a=nn.GELU(), m=Do(lambda x: x.mean(0)), head=nn.Linear(5, 4))
    )  # fmt: skip
    batch = (PLACES[:4], LABELS[:4])  # 36 places are a multiple of four samples
    with pytest.raises(UnscorableError, match=r"and one reads a batch whose first .* taylor"):
        scores(model, reads("one", units=3), "obd", batches=[batch])


# ---- the softmax alone


def logits(classes: int, *, sure: float) -> Tensor:
    return sure * torch.randn(6, classes, generator=torch.Generator().manual_seed(classes))


def of_softmax(values: Tensor) -> Tensor:
    p = values.softmax(1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def outer(seeds: Sequence[Tensor]) -> Tensor:
    stacked = torch.stack(list(seeds))
    return torch.einsum("kni,knj->nij", stacked, stacked)


@pytest.mark.parametrize("sure", [0.0, 1.0, 8.0, 200.0])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_all_seeds_together_are_the_hessian_of_the_softmax(classes: int, sure: float) -> None:
    values = logits(classes, sure=sure).double()
    found = outer(softmax.seeds(values, classes - 1))
    torch.testing.assert_close(found, of_softmax(values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sure", [0.0, 1.0, 8.0])
@pytest.mark.parametrize("classes", [2, 10, 50])
def test_seeds_that_are_not_needed_have_little_of_the_trace(classes: int, sure: float) -> None:
    values = logits(classes, sure=sure).double()
    needed = softmax.seeds_needed(values)
    missing = whole = 0.0
    for row, count in zip(values, needed.tolist(), strict=True):
        expected = of_softmax(row[None])[0].trace().item()
        seeds = softmax.seeds(row[None], count)
        whole += expected
        missing += expected - (outer(seeds)[0].trace().item() if seeds else 0.0)
    assert -1e-12 <= missing <= softmax.LEFT_OUT * whole * 1.001


def test_sure_images_need_fewer_seeds() -> None:
    values = torch.tensor([[0.0, 0.0, 0.0, 0.0], [40.0, 0.0, 0.0, 0.0], [9.0, 9.0, -9.0, -9.0]])
    assert softmax.seeds_needed(values).tolist() == [3, 0, 1]


def test_the_mean_outer_product_of_drawn_seeds_is_the_hessian_of_the_softmax() -> None:
    values = logits(4, sure=1.0)[:1].repeat(20_000, 1)
    labels = torch.zeros(len(values), dtype=torch.long)
    seed = softmax.drawn_seed(values, labels, torch.Generator().manual_seed(0))
    found = seed.T @ seed / len(seed)
    torch.testing.assert_close(found, of_softmax(values[:1])[0], rtol=0.0, atol=0.01)


# Of four pixels in two images, the third is not labelled.
PIXELS = torch.tensor([[[0, 2], [255, 1]], [[1, 1], [0, 255]]])


def pixel_logits(n: int = 2) -> Tensor:
    found = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    return found.repeat(n // 2, 1, 1, 1)


def test_a_loss_of_pixels_is_the_mean_over_the_labelled_ones_of_an_image() -> None:
    values = pixel_logits()
    for sample, labels, found in zip(values, PIXELS, softmax.losses(values, PIXELS), strict=True):
        terms = [
            -sample[:, y, x].log_softmax(0)[labels[y, x]]
            for y in range(2)
            for x in range(2)
            if labels[y, x] != 255
        ]
        assert found == pytest.approx(float(torch.stack(terms).mean()))


def test_drawn_seeds_have_the_curvature_of_the_labelled_pixels_alone() -> None:
    values = pixel_logits(40_000)
    labels = PIXELS.repeat(20_000, 1, 1)
    seed = softmax.drawn_seed(values, labels, torch.Generator().manual_seed(0))
    for image in range(2):
        flat = seed[image::2].flatten(1)
        found = flat.T @ flat / len(flat)

        def loss(v: Tensor, image: int = image) -> Tensor:
            return softmax.losses(v.view(1, 3, 2, 2), PIXELS[image][None]).sum()

        hessian = torch.autograd.functional.hessian(loss, values[image].flatten())
        assert torch.allclose(found, hessian, atol=5e-3)
