"""Heads lose dimensions, and the network computes what it did with these dimensions at zero."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compressor.pruning.attention import SelfAttention, attention_groups, with_plain_attention
from compressor.pruning.candidate import Method, propose, prunable
from compressor.pruning.importance import IMPORTANCES
from compressor.pruning.surgery import cut, self_test
from exporters.onnx import serialise
from exporters.parity import check_parity
from tests.compressor.pruning.odd_networks import vision_transformer
from tests.compressor.pruning.tiny_nets import EXAMPLE, Do

BATCHES = [(EXAMPLE, torch.arange(len(EXAMPLE)) % 4)]


class Fused(nn.Module):
    """As vision transformers have had it since timm."""

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width)
        self.attn_drop, self.proj_drop = nn.Dropout(0.0), nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        n, places, width = x.shape
        split = self.qkv(x).reshape(n, places, 3, self.num_heads, width // self.num_heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        weights = self.attn_drop((q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1))
        mixed = (weights @ v).transpose(1, 2).reshape(n, places, width)
        out: Tensor = self.proj_drop(self.proj(mixed))
        return out


class Cosine(Fused):
    """The same names, and another function: queries and keys of length one (Swin v2)."""

    def forward(self, x: Tensor) -> Tensor:
        n, places, width = x.shape
        split = self.qkv(x).reshape(n, places, 3, self.num_heads, width // self.num_heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        q, k = nn.functional.normalize(q, dim=-1), nn.functional.normalize(k, dim=-1)
        mixed = ((q @ k.transpose(-2, -1)).softmax(dim=-1) @ v).transpose(1, 2)
        out: Tensor = self.proj(mixed.reshape(n, places, width))
        return out


def called(**options: Any) -> Callable[[], nn.Module]:  # noqa: ANN401 # of nn.MultiheadAttention
    """An attention of PyTorch, called as people do."""

    def make() -> nn.Module:
        heads = nn.MultiheadAttention(16, 4, **options)
        nn.init.normal_(heads.in_proj_weight, std=0.4)
        return Do(lambda x, f: f(x, x, x)[0], mix=heads)

    return make


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


REPLACED: dict[str, Callable[[], nn.Module]] = {
    "torch": called(batch_first=True),
    "torch, places first": called(),
    "torch, without biases": called(batch_first=True, bias=False),
    "an encoder of torch": encoder,
    "one layer for all": lambda: Fused(16, 4),
    "one layer for all, without its bias": lambda: Fused(16, 4, bias=False),
}


def masked() -> nn.Module:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    heads = nn.MultiheadAttention(16, 4, batch_first=True)
    return Do(lambda x, f: f(x, x, x, attn_mask=mask.new_zeros(x.shape[1], x.shape[1]))[0], f=heads)


LEFT: dict[str, Callable[[], nn.Module]] = {
    "a mask": masked,
    "keys that are added": called(batch_first=True, add_bias_kv=True),
    "another function of the same names": lambda: Cosine(16, 4),
}


def of(attention: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return vision_transformer(attention).eval()


@pytest.mark.parametrize("name", REPLACED)
def test_plain_attention_answers_as_what_it_replaces(name: str) -> None:
    model = of(REPLACED[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain, notes = with_plain_attention(model, EXAMPLE)
    assert any(isinstance(module, SelfAttention) for module in plain.modules())
    assert len(notes) == 1
    torch.testing.assert_close(plain(EXAMPLE), model(EXAMPLE), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, SelfAttention) for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", LEFT)
def test_an_attention_that_answers_otherwise_is_left_alone(name: str) -> None:
    model = of(LEFT[name])
    plain, notes = with_plain_attention(model, EXAMPLE)
    assert plain is model
    assert not notes


@pytest.mark.parametrize("name", REPLACED)
def test_dimensions_of_heads_go_with_their_multiply_adds_counted_exactly(name: str) -> None:
    dense = prunable(of(REPLACED[name]), EXAMPLE, seed=0)
    heads = [g for g in dense.groups if g.name.endswith((".query", ".value"))]
    assert len(heads) in {2, 4}
    made = propose(
        dense, None, ratio=0.4, method=Method(align=1, of="macs"), batches=BATCHES, seed=0
    )
    assert 1.0 - made.cost.macs / dense.cost.macs == pytest.approx(0.4, abs=0.01)
    assert any(len(made.plan.kept[group.name]) < 4 for group in heads)
    assert made.difference < 1e-5


def test_queries_and_keys_lose_a_dimension_together_and_values_theirs_alone() -> None:
    dense = prunable(of(REPLACED["torch"]), EXAMPLE, seed=0)
    queries, values = (g for g in dense.groups if g.name.endswith((".query", ".value")))
    kept = {queries.name: queries.units[:3], values.name: values.units[:1]}
    smaller = cut(dense.model, dense.groups, kept)
    (attention,) = (m for m in smaller.modules() if isinstance(m, SelfAttention))
    widths = [layer.out_features for layer in (attention.query, attention.key, attention.value)]
    assert [*widths, attention.output.in_features] == [12, 12, 4, 4]
    assert self_test(dense.model, smaller, dense.groups, kept, EXAMPLE) < 1e-5


def test_a_unit_takes_from_every_head_its_dimension_of_one_rank() -> None:
    model, _ = with_plain_attention(of(REPLACED["torch"]), EXAMPLE)
    (attention,) = (m for m in model.modules() if isinstance(m, SelfAttention))
    with torch.no_grad():
        attention.query.weight.fill_(1.0)
        attention.key.weight.fill_(1.0)
        # The weakest dimension of the four heads: 3, 0, 1 and 2.
        attention.query.weight[[3, 4, 9, 14]] = 0.1
    queries = next(g for g in attention_groups(model) if g.name.endswith(".query"))
    assert queries.slices[0].positions[-1] == (3, 4, 9, 14)


@pytest.mark.parametrize("name", [name for name, each in IMPORTANCES.items() if each.reads])
def test_an_importance_of_what_layers_read_leaves_queries_and_keys_whole(name: str) -> None:
    dense = prunable(of(REPLACED["torch"]), EXAMPLE, seed=0)
    method = Method(importance=name, allocation="uniform", align=1)
    made = propose(dense, None, ratio=0.3, method=method, batches=BATCHES, seed=0)
    queries, values = (g for g in dense.groups if g.name.endswith((".query", ".value")))
    assert made.plan.kept[queries.name] == queries.units
    assert len(made.plan.kept[values.name]) < len(values.units)


def test_a_cut_attention_is_exported_and_trains() -> None:
    dense = prunable(of(REPLACED["one layer for all"]), EXAMPLE, seed=0)
    made = propose(dense, None, ratio=0.4, method=Method(align=1), batches=BATCHES, seed=0)
    images = EXAMPLE.repeat(2, 1, 1, 1)
    content = serialise(made.model, images, metadata={})
    assert check_parity(made.model, content, images).agreement == 1.0
    made.model.train()(EXAMPLE).square().sum().backward()
    assert all(p.grad is not None for p in made.model.parameters() if p.requires_grad)
