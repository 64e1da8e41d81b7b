"""Waivers: an enforced rule that, for a while, does not stand in the way.

Nothing here reads a clock: the date is an argument.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from policies.fields import Record
from policies.rules import Rule

FORBIDDEN: Final = "forbidden"
"""In the place of waivers: there are none, and none may be added."""


class Waiver(Record):
    """Leave, given by somebody and for a while, not to pass one enforced rule."""

    shift: str = Field(min_length=1, description="The id of the rule that is waived.")
    expires: dt.date = Field(description="Last day on which the waiver holds (UTC), as YYYY-MM-DD.")
    reason: str = Field(min_length=1, description="Why the rule need not be passed until then.")
    approver: str = Field(min_length=1, description="Who answers for it.")


def _form(value: object) -> str:
    return FORBIDDEN if isinstance(value, str) else "list"


Waivers = Annotated[
    Annotated[Literal["forbidden"], Tag(FORBIDDEN)] | Annotated[tuple[Waiver, ...], Tag("list")],
    Discriminator(_form),
]


class WaiverFile(Record):
    """Waivers that are kept apart from the policy that they are for."""

    api_version: Literal["compress/v1"] = Field(
        alias="apiVersion", description="Version of this schema."
    )
    waivers: tuple[Waiver, ...] = Field(min_length=1, description="One for each waived rule.")

    @field_validator("waivers")
    @classmethod
    def _each_rule_once(cls, waivers: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
        _check_doubled(waivers)
        return waivers


def check_waivers(waivers: Sequence[Waiver], rules: Sequence[Rule]) -> None:
    """Each waiver is for one enforced rule, and some enforced rule has none.

    Raises:
        ValueError: it is otherwise.
    """
    _check_doubled(waivers)
    enforced = [rule.id for rule in rules if rule.enforced]
    waived = {waiver.shift for waiver in waivers}
    if idle := sorted(waived.difference(enforced)):
        raise ValueError(
            f"there is a waiver for {', '.join(idle)}, which the policy does not enforce; it "
            f"enforces {', '.join(enforced)}"
        )
    if waived.issuperset(enforced):
        raise ValueError("every enforced rule is waived, so that every model would pass; keep one")


def check_unexpired(waivers: Sequence[Waiver], *, today: dt.date) -> None:
    """All waivers hold today.

    Raises:
        ValueError: naming each one that has expired.
    """
    if expired := [waiver for waiver in waivers if waiver.expires < today]:
        told = "; ".join(
            f"the waiver for {w.shift} expired on {w.expires} (approved by {w.approver})"
            for w in expired
        )
        raise ValueError(f"{told}; remove it, or have it approved anew")


def _check_doubled(waivers: Sequence[Waiver]) -> None:
    ids = [waiver.shift for waiver in waivers]
    if doubled := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise ValueError(f"more than one waiver for {', '.join(doubled)}; keep one")
