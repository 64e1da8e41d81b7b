"""What a trial is: one piece of work, named by a digest of everything that could change it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from compressor.files import digest

Json = Any
"""What JSON can say."""

_FORM: Final = "trial-1"
"""Raise it when the same trial would find something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One piece of work. Two with the same ``id`` find the same."""

    kind: str
    """Which work it is: a name in ``work.WORK``."""
    about: Mapping[str, Json]
    """Which of its kind: method, ratio, seed, distribution. For people, and for the analyses."""
    id: str
    """Hexadecimal digest."""
    after: tuple[str, ...] = ()
    """Trials whose files or answers it starts from."""


Task = tuple[Trial, ...]
"""Trials that one worker does in this order."""


def trial(
    kind: str,
    about: Mapping[str, Json],
    *,
    conditions: Mapping[str, Json],
    after: Sequence[Trial] = (),
) -> Trial:
    """A trial, and its id.

    Args:
        kind: which work.
        about: which of its kind; part of the id.
        conditions: everything else that could change what is found, as JSON values.
        after: what it starts from; another one there is another trial here.
    """
    before = tuple(other.id for other in after)
    what = json.dumps([kind, about, conditions], sort_keys=True, allow_nan=False)
    return Trial(kind=kind, about=about, id=digest(_FORM, what, *before), after=before)
