"""In what two policies differ, and which of them asks for more, where that is known."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from policies.fields import STATISTICS
from policies.rules import Rule
from policies.schema import Policy
from policies.waivers import FORBIDDEN

Value = Any
"""What a field holds, as JSON says it."""

MEANING: Final = (
    "name", "mixture", "folder", "labels", "classes", "severity", "level", "draws", "save_jpeg",
    "metric", "only",
)  # fmt: skip
"""Fields of a rule that decide what is measured, not how much of it may be lost."""

_EVERY_CLASS: Final = "every class"
"""What is said of a rule without a class group."""

_WHAT: Final = ("name", "mixture", "folder", "labels", "classes", "save_jpeg", "metric", "only")
"""Those of them that, where they differ, leave strengths and tolerances without a common scale."""


class Effect(StrEnum):
    """Which way a change goes."""

    STRICTER = "stricter"
    LOOSER = "looser"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which the second policy differs from the first.

    Attributes:
        subject: a rule's id, ``waiver ID``, or "" for the policy itself.
        field: the field that differs; None where the whole subject came or went.
        before: what the first says; None where it says nothing.
        after: what the second says; None where it says nothing.
        effect: None where no direction is known.
    """

    subject: str
    field: str | None
    before: Value
    after: Value
    effect: Effect | None

    def __str__(self) -> str:
        effect = f" ({self.effect})" if self.effect else ""
        if self.field is None:
            change = "added" if self.before is None else "removed"
            return f"{self.subject}: {change}: {_demand(self.before or self.after)}{effect}"
        return f"{self.subject} {self.field}".strip() + (
            f": {_json(self.before)} -> {_json(self.after)}{effect}"
        )


def compare(first: Policy, second: Policy) -> tuple[Difference, ...]:
    """Every difference between two policies; none exactly if their digests are equal."""
    return (*_of_policies(first, second), *_of_rules(first, second), *_of_waivers(first, second))


def _of_policies(first: Policy, second: Policy) -> Iterator[Difference]:
    before, after = (
        p.model_dump(mode="json", by_alias=True, exclude={"shifts", "waivers"})
        for p in (first, second)
    )
    for side in (before, after):
        for group in ("looks", "reuse", "min_speedup", "ratios"):
            keys = side.pop(group, None) or {}
            side |= {f"{group}.{key}": value for key, value in keys.items()}
    yield from _of_fields("", before, after, effect=_effect)


def _of_rules(first: Policy, second: Policy) -> Iterator[Difference]:
    before = {rule.id: rule for rule in first.shifts}
    after = {rule.id: rule for rule in second.shifts}
    for id_ in (*before, *(new for new in after if new not in before)):
        if id_ not in before or id_ not in after:
            yield _whole(id_, before.get(id_), after.get(id_))
        else:
            one, two = before[id_], after[id_]
            decides = one.enforced and two.enforced

            def effect(
                field: str, _: Value, __: Value, *, one: Rule = one, two: Rule = two,
                decides: bool = decides,
            ) -> Effect | None:  # fmt: skip
                return _effect_on_rule(field, one, two, decides=decides, policies=(first, second))

            yield from _of_fields(id_, _fields(one), _fields(two), effect=effect)
    shared = [[id_ for id_ in side if id_ in before and id_ in after] for side in (before, after)]
    if shared[0] != shared[1]:
        yield Difference(
            subject="", field="order of shifts", before=shared[0], after=shared[1], effect=None
        )


def _whole(id_: str, before: Rule | None, after: Rule | None) -> Difference:
    """A rule that is in one of the policies alone; an advisory one makes nothing stricter."""
    effect = None
    if before is not None and before.enforced:
        effect = Effect.LOOSER
    elif after is not None and after.enforced:
        effect = Effect.STRICTER
    sides = [None if rule is None else _fields(rule) for rule in (before, after)]
    return Difference(subject=id_, field=None, before=sides[0], after=sides[1], effect=effect)


def _of_waivers(first: Policy, second: Policy) -> Iterator[Difference]:
    sides = [FORBIDDEN if p.waivers == FORBIDDEN else "allowed" for p in (first, second)]
    if sides[0] != sides[1]:
        effect = Effect.LOOSER if sides[0] == FORBIDDEN else Effect.STRICTER
        yield Difference(
            subject="", field="waivers", before=sides[0], after=sides[1], effect=effect
        )
    before, after = (
        {w.shift: w.model_dump(mode="json", exclude={"shift"}) for w in p.waived}
        for p in (first, second)
    )
    for id_ in (*before, *(new for new in after if new not in before)):
        subject = f"waiver {id_}"
        if id_ in before and id_ in after:
            yield from _of_fields(subject, before[id_], after[id_], effect=_effect)
        else:
            effect = Effect.LOOSER if id_ in after else Effect.STRICTER
            yield Difference(
                subject=subject,
                field=None,
                before=before.get(id_),
                after=after.get(id_),
                effect=effect,
            )


def _of_fields(
    subject: str,
    before: Mapping[str, Value],
    after: Mapping[str, Value],
    *,
    effect: Callable[[str, Value, Value], Effect | None],
) -> Iterator[Difference]:
    for field in (*before, *(new for new in after if new not in before)):
        one, two = before.get(field), after.get(field)
        if one != two:
            yield Difference(
                subject=subject, field=field, before=one, after=two, effect=effect(field, one, two)
            )


def _effect_on_rule(
    field: str, one: Rule, two: Rule, *, decides: bool, policies: tuple[Policy, Policy]
) -> Effect | None:
    before, after = _fields(one), _fields(two)
    if field == "enforced":
        return Effect.STRICTER if two.enforced else Effect.LOOSER
    if not decides:
        return None
    if field == "min_images":  # left out, it is the policy's
        return _effect(field, policies[0].images_needed(one), policies[1].images_needed(two))
    if any(before.get(key) != after.get(key) for key in _WHAT):
        return None
    return _effect(field, before.get(field), after.get(field))


def _effect(field: str, before: Value, after: Value) -> Effect | None:
    match field:
        case "alpha" | "tolerance" | "expires":
            rises = _rises(before, after)
            return None if rises is None else Effect.LOOSER if rises else Effect.STRICTER
        case "reuse.releases":  # the images of one release are its own: shared by none
            rises = _rises(before or 0, after or 0)
            return Effect.STRICTER if rises else Effect.LOOSER
        case "min_speedup.times":  # where nothing is said, a model may be any slower
            rises = _rises(before or 0, after or 0)
            return Effect.STRICTER if rises else Effect.LOOSER
        case "min_images" | "severity" | "level":
            rises = _rises(before, after)
            return None if rises is None else Effect.STRICTER if rises else Effect.LOOSER
        case _:
            return None


def _rises(before: Value, after: Value) -> bool | None:
    """Whether a value, or both ends of a range, go up; None where neither is so."""
    if before is None or after is None:
        return None
    (low, high), (new_low, new_high) = _ends(before), _ends(after)
    if (low, high) == (new_low, new_high):
        return None
    if new_low >= low and new_high >= high:
        return True
    return False if new_low <= low and new_high <= high else None


def _ends(value: Value) -> tuple[Value, Value]:
    return (value[0], value[1]) if isinstance(value, list) else (value, value)


def _fields(rule: Rule) -> dict[str, Value]:
    """What a rule says, apart from its id."""
    said = rule.model_dump(mode="json", by_alias=True, exclude={"id", "own_id"})
    return said | {"only": said["only"] or _EVERY_CLASS}


def _demand(subject: Mapping[str, Value]) -> str:
    """What a rule or a waiver comes to, in short."""
    if "expires" in subject:
        return f"until {subject['expires']}, by {subject['approver']}: {subject['reason']}"
    force = "enforced" if subject["enforced"] else "advisory"
    metric = "" if subject["metric"] == "top1" else f" for the {STATISTICS[subject['metric']]}"
    group = "" if subject["only"] == _EVERY_CLASS else f", only {', '.join(subject['only'])}"
    return f"{force}, tolerance {subject['tolerance']}{metric}{group}"


def _json(value: Value) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
