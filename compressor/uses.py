"""A run's use of the gate's images: counted before they are looked at, and remembered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from compressor.files import write_atomically
from compressor.gate_data import GateData
from compressor.ledger import Entry, Use, check_contains, describe, foresee, record
from compressor.runs import RunError, RunFolder
from policies import Policy


class ExhaustedError(ValueError):
    """The images have served as many releases as the policy allows."""


def entry_of(
    policy: Policy,
    data: GateData,
    *,
    job: Literal["compress", "gate"],
    plan_digest: str,
    dense: str,
    candidates: Sequence[str],
    seed: int,
) -> Entry:
    """What the ledger is told of a run."""
    fields = {name: images.digest for name, images in data.fields.items()}
    return Entry(
        images={"gate": data.gate.digest, **fields},
        plan=plan_digest,
        job=job,
        policy=policy.name,
        policy_digest=policy.digest(),
        alpha_spent=policy.alpha_per_release,
        releases=None if policy.reuse is None else policy.reuse.releases,
        dense=dense,
        candidates=tuple(candidates),
        seed=seed,
    )


def check_unspent(ledger: Path, entry: Entry) -> None:
    """Whether the images can still promise something; nothing is written.

    Raises:
        ExhaustedError: they cannot.
        LedgerError: the ledger was changed by other hands, or cannot be read.
    """
    use = foresee(ledger, entry)
    if use.exhausted:
        raise ExhaustedError(f"undecided: {describe(use)} ({ledger} counts them)")


def claim(run: RunFolder, ledger: Path, entry: Entry) -> Use:
    """Record the run's use in the ledger, or find it there.

    Raises:
        ExhaustedError: the images can promise nothing any more.
        LedgerError: the ledger was changed by other hands, has lost the use, or cannot be written.
        RunError: the run folder's note of its use is damaged.
    """
    if run.use.exists():
        check_contains(ledger, _noted(run))
    use = record(ledger, entry)
    if use.exhausted:  # by another process, since check_unspent
        raise ExhaustedError(f"undecided: {describe(use)} ({ledger} counts them)")
    write_atomically(run.use, json.dumps({"entry": use.entry_digest}).encode() + b"\n")
    return use


def reuse_fields(use: Use) -> dict[str, object]:
    """What a report says of the use."""
    return {
        "ordinal": use.ordinal,
        "releases": use.releases,
        "entry": use.entry_digest,
        "sentence": describe(use),
    }


def _noted(run: RunFolder) -> str:
    try:
        return str(json.loads(run.use.read_bytes())["entry"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.use} is damaged ({error!r}); give another folder with --run, or delete this one"
        ) from error
