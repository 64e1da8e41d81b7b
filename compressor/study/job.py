"""A study from its file to its report: trials by an engine, then what they say."""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compressor.files import write_atomically
from compressor.ledger import Use
from compressor.study.crew import Crew, Do
from compressor.study.engines import ENGINES
from compressor.study.gate_use import claim
from compressor.study.schedule import stages, trials
from compressor.study.setup import Setup
from compressor.study.shop import shop_of
from compressor.study.trial_ledger import Record, failed
from compressor.study.trials import Task, Trial
from compressor.study.work import carry_out
from compressor.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What an invocation did, and everything that is known now."""

    planned: tuple[Trial, ...]
    records: Mapping[str, Record]
    """Of the planned trials, by id; one that was never begun is not here."""
    use: Use | None
    """Of the gate's images; None where others were asked about."""
    engine: str
    workers: int
    seconds: float
    worked: float
    """Seconds inside the trials that this invocation did."""


def run(setup: Setup, *, engine: str, crew: Crew, again: bool, watch: Watch) -> Ran:
    """Do every trial that is not done; trials that fail are recorded, and the others go on.

    Args:
        setup: the study.
        engine: a name in ``ENGINES``.
        crew: who works.
        again: whether trials that failed before are done again.
        watch: is told how far it is.

    Raises:
        ConfigError, DataError, ModelError, ShiftError, TrainingError: unusable input.
        StudyLedgerError: the folder's ledger cannot be used.
        LedgerError: the ledger of the gate's images cannot be used.
        EngineError: the engine cannot work here.
    """
    start = time.perf_counter()
    before = setup.ledger.read()
    shop = shop_of(setup, watch)
    plan = stages(shop)
    planned = trials(plan)
    use = claim(shop, watch)
    write_atomically(setup.out / "study.grid.json", setup.grid.model_dump_json(indent=2).encode())
    known = {each.id for each in planned if _settled(before, each, again=again)}
    watch.say(f"{len(planned):,} trials, {len(known):,} of them done before; engine {engine}")
    if len(known) < len(planned):
        with ENGINES[engine](functools.partial(carry_out, setup), crew=crew) as do:
            for stage in plan:
                _do(setup, stage, known, do=do, total=len(planned), watch=watch)
    ids = {each.id for each in planned}
    records = {name: each for name, each in setup.ledger.read(only=ids).items() if name in ids}
    new = [each for name, each in records.items() if before.get(name) != each]
    return Ran(
        planned=tuple(planned),
        records=records,
        use=use,
        engine=engine,
        workers=crew.workers,
        seconds=time.perf_counter() - start,
        worked=sum(each.seconds for each in new),
    )


def _do(
    setup: Setup,
    stage: Sequence[Task],
    known: set[str],
    *,
    do: Do,
    total: int,
    watch: Watch,
) -> None:
    """One stage: what is left of its tasks; ``known`` grows by what ends."""
    left = [tuple(each for each in task if each.id not in known) for task in stage]
    tasks = [task for task in left if task]
    if not tasks:
        return
    for ended in do(tasks):
        known |= {each.id for each in ended.task}
        if ended.error is not None:
            _give_up(setup, ended.task, ended.error)
        watch.progress("trials", len(known), total, _words(ended.task))


def _give_up(setup: Setup, task: Task, error: str) -> None:
    """Record the trial at which the workers died; those after it were never begun."""
    done = setup.ledger.read(only={each.id for each in task})
    at = next((each for each in task if each.id not in done), None)
    if at is not None:
        setup.ledger.append(failed(at, error, seconds=0.0))


def _settled(records: Mapping[str, Record], trial: Trial, *, again: bool) -> bool:
    record = records.get(trial.id)
    return record is not None and (record.status == "done" or not again)


def _words(task: Task) -> str:
    about = task[0].about
    return " ".join(str(about[key]) for key in ("method", "ratio", "shift") if key in about)
