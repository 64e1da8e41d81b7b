"""From a grid to trials: what has to be done, in which order, and what can be done at once."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import torch

from compressor.files import digest
from compressor.runs import versions
from compressor.study.asking import seen_as
from compressor.study.grid_schema import Structured
from compressor.study.shop import Shop
from compressor.study.trials import Json, Task, Trial, trial

Stage = tuple[Task, ...]
"""Tasks that hang on none of each other, only on earlier stages."""

Asked = Mapping[tuple[int, str], Trial]
"""The dense network's trials, by seed and distribution."""


Chains = Mapping[tuple[str, int], Sequence[Trial]]
"""The networks of a method and a seed, ratios rising."""


def stages(shop: Shop) -> tuple[Stage, ...]:
    """All trials of a study, those that are done among them."""
    seeds = shop.setup.grid.seeds
    asked = {(seed, seen.id): _dense(shop, seed, seen.id) for seed in seeds for seen in shop.seen}
    chains = {
        (name, seed): _chain(shop, name, seed) for seed in seeds for name in shop.setup.grid.methods
    }
    controls = _controls(shop)
    pruned = [task for chain in chains.values() for task in _pruned(shop, chain, asked)]
    looked = _features(shop, chains, controls)
    found = (
        [*((each,) for each in asked.values()), *controls],
        [*pruned, *_losses(shop)],
        [*_scratches(shop, chains), *((each,) for each in looked)],
        [(_cross(looked),)] if looked else [],
    )
    return tuple(tuple(stage) for stage in found if stage)


def trials(stages: Sequence[Stage]) -> list[Trial]:
    """All of them, in order."""
    return [each for stage in stages for task in stage for each in task]


def _dense(shop: Shop, seed: int, shift: str) -> Trial:
    seen = next(each for each in shop.seen if each.id == shift)
    about = {"seed": seed, "shift": shift, "group": seen.group}
    return trial("dense", about, conditions={**_base(shop, seed), "seen": seen_as(shop, seen)})


def _chain(shop: Shop, name: str, seed: int) -> list[Trial]:
    """The networks of a method and a seed, ratios rising."""
    grid = shop.setup.grid
    found: list[Trial] = []
    for ratio in grid.ratios:
        before = found[-1:] if grid.protocol == "iterative" else []
        found.append(
            trial(
                "prune",
                {"method": name, "ratio": ratio, "seed": seed},
                conditions={
                    **_base(shop, seed),
                    **_training(shop),
                    "method": grid.methods[name].model_dump(mode="json"),
                    "asked": shop.asked.digest,
                },
                after=before,
            )
        )
    return found


def _pruned(shop: Shop, chain: Sequence[Trial], asked: Asked) -> Iterator[Task]:
    """Tasks of a chain: one where each network is made from the one before, else one for each."""
    links = [(each, *_looked_at(shop, each, asked)) for each in chain]
    if shop.setup.grid.protocol == "iterative":
        yield tuple(each for link in links for each in link)
    else:
        yield from links


def _looked_at(shop: Shop, made: Trial, asked: Asked) -> Iterator[Trial]:
    seed = made.about["seed"]
    for seen in shop.seen:
        about = {**made.about, "shift": seen.id, "group": seen.group}
        yield trial("answers", about, conditions={}, after=(made, asked[seed, seen.id]))
    if "similarity" in shop.setup.grid.parts:
        yield _similar(shop, made)


def _similar(shop: Shop, made: Trial) -> Trial:
    conditions = {
        "asked": shop.asked.digest,
        "noise": shop.setup.grid.noise.model_dump(mode="json"),
        "seed": shop.setup.project.seed,
    }
    return trial(
        "similarity", {"of": made.kind, **made.about}, conditions=conditions, after=(made,)
    )


def _controls(shop: Shop) -> list[Task]:
    """A network trained from nothing for each seed, where something is compared with it."""
    found: list[Task] = []
    parts = shop.setup.grid.parts
    if not {"similarity", "features"} & set(parts) and not shop.setup.grid.base.scratch:
        return []
    for seed in shop.setup.grid.seeds:
        made = trial(
            "control",
            {"seed": seed},
            conditions={**_base(shop, seed), **_training(shop), **_from_nothing(shop)},
        )
        found.append((made, _similar(shop, made)) if "similarity" in parts else (made,))
    return found


def _scratches(shop: Shop, chains: Chains) -> Iterator[Task]:
    """The first structured method's smaller networks, trained from nothing."""
    grid = shop.setup.grid
    cut = [name for name, each in grid.methods.items() if isinstance(each, Structured)][:1]
    for (name, seed), chain in chains.items():
        for made in chain:
            if name in cut and made.about["ratio"] in grid.base.scratch:
                conditions = {**_base(shop, seed), **_training(shop), **_from_nothing(shop)}
                yield (trial("scratch", made.about, conditions=conditions, after=(made,)),)


def _features(shop: Shop, chains: Chains, controls: Sequence[Task]) -> list[Trial]:
    """Of the first seed: the dense network, the control, and those of one method."""
    grid = shop.setup.grid
    if "features" not in grid.parts or grid.features is None:
        return []
    wanted, seed = grid.features, grid.seeds[0]
    sources: list[tuple[str, Trial | None]] = [("dense", None)]
    sources += [("control", task[0]) for task in controls if task[0].about["seed"] == seed]
    sources += [
        (f"{wanted.method} {made.about['ratio']:.2f}", made)
        for made in chains[wanted.method, seed]
        if made.about["ratio"] in wanted.ratios
    ]
    conditions = {
        **_base(shop, seed),
        "asked": shop.asked.digest,
        "features": wanted.model_dump(mode="json", exclude={"method", "ratios"}),
    }
    return [
        trial(
            "features", {"network": name, "seed": seed}, conditions=conditions,
            after=[] if made is None else [made],
        )
        for name, made in sources
    ]  # fmt: skip


def _cross(looked: Sequence[Trial]) -> Trial:
    """What each selected, then what each was made by; the dense network, the first, by nobody."""
    seed = looked[0].about["seed"]
    return Trial(
        kind="cross",
        about={"networks": [each.about["network"] for each in looked], "seed": seed},
        id=digest("cross", *(each.id for each in looked)),
        after=(*(each.id for each in looked), *(each.after[0] for each in looked[1:])),
    )


def _losses(shop: Shop) -> Iterator[Task]:
    """The loss-modelling study; magnitude hangs on neither steps nor lambda."""
    grid = shop.setup.grid
    if "losses" not in grid.parts:
        return
    wanted = grid.losses
    every = itertools.product(
        grid.seeds, wanted.ratios, wanted.criteria, wanted.steps, wanted.lambdas
    )
    for seed, ratio, criterion, steps, regulariser in every:
        if criterion == "MP" and (steps, regulariser) != (wanted.steps[0], wanted.lambdas[0]):
            continue
        one = criterion == "MP"
        about = {
            "criterion": criterion, "steps": 1 if one else steps,
            "lambda": 0.0 if one else regulariser, "ratio": ratio, "seed": seed,
        }  # fmt: skip
        conditions = {
            **_base(shop, seed), **_training(shop), "images": wanted.images,
            "asked": shop.asked.digest,
        }  # fmt: skip
        yield (trial("loss_model", about, conditions=conditions),)


def _base(shop: Shop, seed: int) -> dict[str, Json]:
    """What every network and every answer hangs on."""
    cuda = shop.setup.device == "cuda"
    return {
        "model": shop.models[seed].sha256,
        "input": shop.setup.project.input.model_dump(mode="json"),
        "threads": shop.setup.grid.threads,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "versions": versions(),
    }


def _training(shop: Shop) -> dict[str, Json]:
    project, train = shop.setup.project, [s for s in shop.seen if s.group == "train"]
    retrain = shop.setup.grid.retrain or project.retrain
    return {
        "train": shop.digests["train"],
        "tune": project.data.tune.fraction,
        "seed": project.seed,
        "recipe": asdict(shop.recipe),
        "robust": [[seen_as(shop, s) for s in train], retrain.robust] if shop.augment else None,
    }


def _from_nothing(shop: Shop) -> dict[str, Json]:
    base = shop.setup.grid.base
    return {"epochs": base.epochs, "lr": base.lr, "asked": shop.asked.digest}
