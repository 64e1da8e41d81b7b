"""How fast candidates were measured to be: kept in the run folder where a verdict hangs on it."""

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from compressor.files import write_atomically
from compressor.runs import RunError, RunFolder
from gates import Accepted, Speed, Verdict, speed_of


class Timed(BaseModel):
    """One candidate against the dense model, at each batch size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    """Sha256 of the file that was measured."""
    comparisons: list[dict[str, Any]]
    """As ``exporters.latency`` gives them."""

    @property
    def batches(self) -> set[int]:
        """Batch sizes that were measured."""
        return {int(comparison["batch"]) for comparison in self.comparisons}


_TIMED: Final = TypeAdapter(tuple[Timed, ...])


def read_timed(run: RunFolder) -> tuple[Timed, ...]:
    """What was measured in this run; nothing if nothing was.

    Raises:
        RunError: the file was damaged.
    """
    if not run.speeds.exists():
        return ()
    try:
        timed = _TIMED.validate_json(run.speeds.read_bytes())
        speeds_of(timed)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.speeds} is damaged ({error}); delete it, and it is measured again"
        ) from error
    return timed


def write_timed(run: RunFolder, timed: Sequence[Timed]) -> None:
    """Keep what was measured."""
    content = [item.model_dump(mode="json") for item in timed]
    write_atomically(run.speeds, (json.dumps(content, indent=2) + "\n").encode())


def speeds_of(timed: Sequence[Timed]) -> tuple[Speed, ...]:
    """The same in the gate's terms."""
    return tuple(
        Speed(
            candidate=item.candidate,
            batch=comparison["batch"],
            times=comparison["speedup"],
            interval=(comparison["speedup_interval"][0], comparison["speedup_interval"][1]),
            noise=(comparison["noise"][0], comparison["noise"][1]),
        )
        for item in timed
        for comparison in item.comparisons
    )


def shown_comparisons(
    verdict: Verdict, timed: Sequence[Timed], *, batch: int
) -> list[dict[str, Any]]:
    """The comparisons of the released file; where none is, of the fastest that was measured."""
    if not timed:
        return []
    speeds = speeds_of(timed)

    def rank(item: Timed) -> tuple[bool, float]:
        released = isinstance(verdict, Accepted) and item.candidate == verdict.candidate
        found = speed_of(speeds, item.candidate, batch=batch)
        return released, 0.0 if found is None else found.times

    return max(timed, key=rank).comparisons
