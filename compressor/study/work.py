"""What each kind of trial does, and how a worker goes through a task."""

import fcntl
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import torch

from compressor.files import digest, make_folder
from compressor.runs import write_answers
from compressor.study.asking import ask, counted, dense_answers, top5
from compressor.study.cuts import kept
from compressor.study.grid import Seen
from compressor.study.looking import cross, features
from compressor.study.losing import losing
from compressor.study.making import control, prune, scratch
from compressor.study.noise import facts, similarity
from compressor.study.setup import Setup
from compressor.study.shop import Shop, shop_of
from compressor.study.trial_ledger import Record, done, failed
from compressor.study.trials import Json, Task, Trial
from compressor.terminal import Silent
from compressor.training.batches import normalised


def dense(shop: Shop, trial: Trial) -> dict[str, Json]:
    """Move the images, and ask the dense network about them."""
    seen = _seen(shop, trial)
    answers = ask(shop, shop.models[trial.about["seed"]].module, seen)
    write_answers(shop.setup.folder(trial.id) / "answers.npy", answers)
    network = shop.dense(trial.about["seed"]).network
    return {
        "params": network.cost.params,
        "macs": network.cost.macs,
        "n": len(answers),
        "right": int((answers["rank"] == 0).sum()),
        "top5": top5(answers, classes=len(shop.asked.classes)),
    }


def answers(shop: Shop, trial: Trial) -> dict[str, Json]:
    """Ask a pruned network about the images that the dense one was asked about."""
    made, before = trial.after
    seen, seed = _seen(shop, trial), trial.about["seed"]
    theirs = dense_answers(shop, before, shop.models[seed].module, seen)
    mine = ask(shop, kept(shop, made, seed=seed).model, seen)
    return counted(theirs, mine, classes=len(shop.asked.classes))


def alike(shop: Shop, trial: Trial) -> dict[str, Json]:
    """How alike a network and the dense one answer, level by level of noise."""
    noise, seed = shop.setup.grid.noise, trial.about["seed"]
    part = slice(0, noise.images)
    images = normalised(shop.asked.images[part], shop.train, device=torch.device("cpu"))
    labels = torch.from_numpy(shop.asked.labels[part].copy())
    mine = kept(shop, trial.after[0], seed=seed).model
    stream = int(digest("noise", str(shop.setup.project.seed))[:12], 16)
    found = [
        facts(
            similarity(
                shop.models[seed].module, mine, images, labels,
                level=level, draws=noise.draws, seed=stream + index, device=shop.device,
            ),
            level=level,
            draws=noise.draws,
        )
        for index, level in enumerate(noise.levels)
    ]  # fmt: skip
    return {"levels": found}


WORK: Final[Mapping[str, Callable[[Shop, Trial], Mapping[str, Json]]]] = {
    "dense": dense,
    "control": control,
    "prune": prune,
    "answers": answers,
    "similarity": alike,
    "scratch": scratch,
    "features": features,
    "cross": cross,
    "loss_model": losing,
}
"""A shop and a trial to what was found, as JSON values."""


def carry_out(setup: Setup, task: Task) -> None:
    """Do the trials of a task that are not done, and write each into the ledger as it ends.

    A trial that raises is written as failed, with its traceback, and the next one begins; one
    whose predecessor is not done is left out. Two workers never do the same trial: the second one
    waits, and finds it done.
    """
    torch.set_num_threads(setup.grid.threads)
    for trial in task:
        with _alone(setup, trial):
            known = setup.ledger.read(only={trial.id, *trial.after})
            if _is_done(known, trial.id):
                continue
            if not all(_is_done(known, before) for before in trial.after):
                continue
            setup.ledger.append(_tried(setup, trial))
            setup.checkpoint(trial.id).unlink(missing_ok=True)


def _tried(setup: Setup, trial: Trial) -> Record:
    start = time.perf_counter()
    try:
        found = WORK[trial.kind](shop_of(setup, Silent()), trial)
        return done(trial, found, seconds=time.perf_counter() - start)
    # A trial runs the user's network and data, and hundreds of hours may stand beside it: whatever
    # one raises is recorded with its traceback and named in the report, and --retry-failed does the
    # trial again. KeyboardInterrupt and SystemExit pass.
    except Exception:  # noqa: BLE001 # recorded with its traceback, not swallowed
        return failed(trial, traceback.format_exc(), seconds=time.perf_counter() - start)


def _is_done(known: Mapping[str, Record], trial: str) -> bool:
    return trial in known and known[trial].status == "done"


@contextmanager
def _alone(setup: Setup, trial: Trial) -> Iterator[None]:
    """Nobody else who sees the folder has this trial in work meanwhile.

    A byte of one file for each trial, so that the lock goes with the process that held it.
    """
    make_folder(setup.out)
    file = os.open(setup.locks, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, int(trial.id[:15], 16))
        yield
    finally:
        os.close(file)


def _seen(shop: Shop, trial: Trial) -> Seen:
    return next(seen for seen in shop.seen if seen.id == trial.about["shift"])
