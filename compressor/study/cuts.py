"""Cuts of a study: channels that go, or single weights at zero, in the same words."""

import copy
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from safetensors.torch import load_file, save
from torch import nn

from compressor.files import sha256_of, write_atomically
from compressor.pruning.candidate import Candidate, Method, PrunePlan, propose, rebuild
from compressor.pruning.controls import CONTROLS, prunable_weights
from compressor.pruning.cost import Cost, count_params, work
from compressor.pruning.masks import Masks as Kept
from compressor.pruning.masks import apply_masks, mask
from compressor.study.grid_schema import Masks, Structured
from compressor.study.setup import Setup
from compressor.study.shop import Dense, Shop


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A pruned network, however it was pruned."""

    model: nn.Module
    ratio: float
    params: int
    """Parameters that are there (structured), or that are not held at zero (masks)."""
    macs: int
    """Multiply-adds for one image; under masks, as if a product with zero cost nothing."""
    plan: PrunePlan | None
    """Units that stay; None under masks, where the network keeps its shape."""
    difference: float | None = None
    """Of the cut's self-test; None where nothing was cut out."""
    after_step: Callable[[nn.Module], None] | None = None
    """What retraining must do after every step."""


def make(
    shop: Shop, method: Structured | Masks, before: Made | None, *, ratio: float, seed: int
) -> Made:
    """The dense network of a seed, or the one ``before``, cut to ``ratio``; not retrained yet.

    Raises:
        UnreachableRatioError, SurgeryError: from the cut of channels.
        ValueError: there are not so many weights.
    """
    dense = shop.dense(seed)
    match method:
        case Structured():
            return _cut(shop, dense, method, before, ratio=ratio, seed=seed)
        case Masks():
            return _masked(shop, dense, method, before, ratio=ratio, seed=seed)


def _cut(
    shop: Shop, dense: Dense, method: Structured, before: Made | None, *, ratio: float, seed: int
) -> Made:
    made = propose(
        dense.network,
        None if before is None else _candidate(before),
        ratio=ratio,
        method=Method(**method.model_dump()),
        batches=shop.statistics,
        seed=seed,
        device=shop.device,
    )
    return Made(
        model=made.model, ratio=ratio, params=made.cost.params, macs=made.cost.macs,
        plan=made.plan, difference=made.difference,
    )  # fmt: skip


def _candidate(made: Made) -> Candidate:
    if made.plan is None:
        raise ValueError("a network under masks cannot be cut on: it has kept its channels")
    return Candidate(
        ratio=made.ratio,
        model=made.model,
        plan=made.plan,
        cost=Cost(params=made.params, macs=made.macs),
        difference=made.difference or 0.0,
    )


def _masked(
    shop: Shop, dense: Dense, method: Masks, before: Made | None, *, ratio: float, seed: int
) -> Made:
    model = dense.network.model if before is None else before.model
    share = weights_share(model, ratio)
    done = 0.0 if before is None else weights_share(model, before.ratio)
    found = None
    for step in range(1, method.steps + 1):
        found = mask(
            model if found is None else found.model,
            control=CONTROLS[method.mask],
            ratio=done + (share - done) * step / method.steps,
            batches=shop.statistics,
            seed=seed,
            ranking=method.ranking,
        )
    assert found is not None
    return of_masks(dense, found.model, found.masks, ratio=ratio)


def weights_share(model: nn.Module, ratio: float) -> float:
    """The share of the prunable weights that are ``ratio`` of all parameters.

    So ratios of masks and of channels mean the same: a share of everything that the network has,
    biases and normalisations included, as in Liebenwein et al. 2021 (arXiv:2103.03014).

    Raises:
        ValueError: there are not so many weights.
    """
    prunable = sum(weight.numel() for weight in prunable_weights(model).values())
    total = count_params(model)
    if ratio * total >= prunable:
        raise ValueError(
            f"a ratio of {ratio:g} takes {round(ratio * total):,} of {total:,} parameters, and "
            f"only {prunable:,} are weights that can be set to zero; ask for less than "
            f"{prunable / total:.4f}"
        )
    return ratio * total / prunable


def of_masks(dense: Dense, model: nn.Module, masks: Kept, *, ratio: float) -> Made:
    """A network under masks, and what it would cost if zeros cost nothing.

    Multiply-adds are those of each weight times the share of it that is kept, the theoretical
    speed-up of Blalock et al. 2020 (arXiv:2003.03033); no device is that much faster.
    """
    zeros = sum(int((~keep).sum()) for keep in masks.values())
    spent = work(dense.network.model, dense.network.example)
    shares = {name: float(keep.double().mean()) for name, keep in masks.items()}
    macs = sum(spent.products.values()) + sum(
        count * shares.get(".".join(filter(None, name)), 1.0)
        for name, count in spent.by_weight.items()
    )
    return Made(
        model=model,
        ratio=ratio,
        params=count_params(model) - zeros,
        macs=round(macs),
        plan=None,
        after_step=functools.partial(apply_masks, masks=masks),
    )


def keep(setup: Setup, trial: str, made: Made, model: nn.Module) -> str:
    """Write the network's files; digest of its weights."""
    folder = setup.folder(trial)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "weights.safetensors", save(weights))
    facts = {
        "ratio": made.ratio, "params": made.params, "macs": made.macs,
        "difference": made.difference,
        "plan": None if made.plan is None else asdict(made.plan),
    }  # fmt: skip
    write_atomically(folder / "cut.json", json.dumps(facts).encode())
    return sha256_of(folder / "weights.safetensors")


def kept(shop: Shop, trial: str, *, seed: int) -> Made:
    """The network that a trial left.

    Raises:
        OSError: its files are gone.
    """
    folder = shop.setup.folder(trial)
    facts = json.loads((folder / "cut.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "weights.safetensors")
    dense = shop.dense(seed).network
    plan = None if facts["plan"] is None else _plan(facts["plan"])
    if plan is None:
        model = copy.deepcopy(dense.model)
        model.load_state_dict(weights)
    else:
        model = rebuild(dense, plan, weights)
    return Made(
        model=model.eval(), ratio=facts["ratio"], params=facts["params"], macs=facts["macs"],
        plan=plan, difference=facts["difference"],
    )  # fmt: skip


def _plan(facts: Mapping[str, Mapping[str, list[int]]]) -> PrunePlan:
    return PrunePlan(kept={name: tuple(units) for name, units in facts["kept"].items()})
