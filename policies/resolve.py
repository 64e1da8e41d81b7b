"""A policy that extends others, and what it comes to.

What a reviewer must be able to rely on: whatever the text does not mention is as in the parents.
So a rule's id keeps its meaning on the way, nothing that a parent demands goes without a line that
says so, and parents cannot loosen each other.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from policies.compare import MEANING, Difference, Effect, compare
from policies.extension import Change, Extension
from policies.rules import Rule
from policies.schema import Policy
from policies.strict_yaml import Document, KeyPath
from policies.waivers import FORBIDDEN

_SCALARS: Final = ("alpha", "method", "reuse", "min_images", "min_speedup", "profile")


class Parent(NamedTuple):
    """A policy that is extended, and what the extending file calls it."""

    name: str
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolving:
    """A file and what is wrong with it so far, by key path."""

    child: Extension
    problems: list[tuple[KeyPath, str]] = field(default_factory=list)

    def complain(self, *path: str | int, because: str) -> None:
        self.problems.append((path, because))


def resolve(document: Document, child: Extension, parents: Sequence[Parent]) -> Policy:
    """The whole policy that ``child`` stands for; ``document`` is where it was read from.

    Raises:
        DocumentError: what it says does not fit its parents, or they do not fit each other.
    """
    work = _Resolving(child=child)
    base = _joined(parents, into=work)
    fields: dict[str, Any] = {
        "apiVersion": child.api_version,
        "name": child.name,
        "summary": child.summary,
        **{name: _given(child, name, getattr(base, name)) for name in _SCALARS},
        **_looks(base, child),
        "ratios": _ratios(base, child),
        "waivers": _waivers(base, into=work),
        "shifts": _shifts(base, parents, into=work),
    }
    if work.problems:
        raise document.error(work.problems)
    try:
        return Policy.model_validate(fields)
    except ValidationError as error:
        raise document.error(
            (detail["loc"][:1], detail["msg"].removeprefix("Value error, "))
            for detail in error.errors()
        ) from error


def _joined(parents: Sequence[Parent], *, into: _Resolving) -> Policy:
    """All parents as one: the later wins, and is refused where that would loosen the earlier."""
    base = parents[0].policy
    for index, later in enumerate(parents[1:], start=1):
        for difference in compare(base, later.policy):
            if _clashes(difference) and not _settled(difference, into.child):
                earlier = ", ".join(parent.name for parent in parents[:index])
                into.complain(
                    "extends",
                    index,
                    because=f"{later.name} does not agree with {earlier}: {difference}; "
                    f"{_remedy(difference)}",
                )
        base = _overlaid(base, later.policy)
    return base


def _clashes(difference: Difference) -> bool:
    """Whether the later of two parents must not win: it would loosen, or mean something else."""
    if difference.field is None or difference.subject.startswith("waiver "):
        return False  # rules add up, and waivers are not inherited
    if not difference.subject:
        return difference.field == "profile" or (
            difference.effect is Effect.LOOSER and difference.field != "waivers"
        )
    return difference.effect is Effect.LOOSER or difference.field in MEANING


def _settled(difference: Difference, child: Extension) -> bool:
    """Whether the extending file itself says what holds."""
    if not difference.subject:
        return _key(difference) in child.model_fields_set
    changes = [item for item in child.shifts if isinstance(item, Change)]
    return any(item.id == difference.subject for item in child.drop) or any(
        change.id == difference.subject and difference.field in change.fields for change in changes
    )


def _remedy(difference: Difference) -> str:
    if not difference.subject:
        return f"say here which {_key(difference)} holds"
    if difference.field in MEANING:
        return f"drop {difference.subject} and write it anew, or give one of the two another id"
    return (
        f"say here which holds: {{id: {difference.subject}, {difference.field}: ..., reason: ...}}"
    )


def _key(difference: Difference) -> str:
    """The key of the policy under which the field stands: ``reuse`` for ``reuse.releases``."""
    return str(difference.field).partition(".")[0]


def _overlaid(base: Policy, later: Policy) -> Policy:
    rules = {rule.id: rule for rule in base.shifts} | {rule.id: rule for rule in later.shifts}
    forbidden = FORBIDDEN in (base.waivers, later.waivers)
    return later.model_copy(
        update={"shifts": tuple(rules.values()), "waivers": FORBIDDEN if forbidden else ()}
    )


def _given(child: Extension, name: str, inherited: object) -> object:
    return getattr(child, name) if name in child.model_fields_set else inherited


def _looks(base: Policy, child: Extension) -> dict[str, object]:
    """The looks that are given, or those of the parents where they are still taken."""
    if child.looks is not None:
        return {"looks": child.looks}
    return {"looks": base.looks} if _given(child, "method", base.method) == "looks" else {}


def _ratios(base: Policy, child: Extension) -> dict[str, object]:
    given = {} if child.ratios is None else child.ratios.model_dump(exclude_unset=True)
    return base.ratios.model_dump() | given


def _waivers(base: Policy, *, into: _Resolving) -> object:
    given = into.child.waivers
    if base.waivers != FORBIDDEN:
        return () if given is None else given
    if given is not None and given != FORBIDDEN:
        into.complain(
            "waivers", because="a parent forbids waivers, which no extending policy can take back"
        )
    return FORBIDDEN


def _shifts(base: Policy, parents: Sequence[Parent], *, into: _Resolving) -> tuple[Rule, ...]:
    """The parents' rules in their order, without what is dropped and as changed; then new ones."""
    names = ", ".join(parent.name for parent in parents)
    kept = {rule.id: rule for rule in base.shifts}
    for index, drop in enumerate(into.child.drop):
        if kept.pop(drop.id, None) is None:
            into.complain("drop", index, "id", because=_missing(drop.id, names, kept))
    new: dict[str, Rule] = {}
    changed: set[str] = set()
    for index, item in enumerate(into.child.shifts):
        if not isinstance(item, Change):
            if item.id in kept or item.id in new:
                into.complain("shifts", index, because=_taken(item.id, names, known=item.id in new))
            new[item.id] = item
        elif item.id not in kept:
            into.complain("shifts", index, "id", because=_missing(item.id, names, kept))
        elif item.id in changed:
            into.complain("shifts", index, "id", because=f"{item.id} is changed twice; keep one")
        else:
            changed.add(item.id)
            kept[item.id] = _changed(kept[item.id], item, at=index, into=into)
    return (*kept.values(), *new.values())


def _changed(rule: Rule, change: Change, *, at: int, into: _Resolving) -> Rule:
    for name in sorted(change.fields.keys() - type(rule).model_fields.keys()):
        into.complain("shifts", at, name, because=f"the rule {rule.id} has no {name}; remove it")
    return rule.model_copy(update=dict(change.fields))


def _missing(id_: str, names: str, rules: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(id_, list(rules), n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    left = ", ".join(rules) or "none"
    return f"there is no rule {id_} in {names}, or it is dropped here; {hint}left: {left}"


def _taken(id_: str, names: str, *, known: bool) -> str:
    if known:
        return f"there is a rule {id_} above; keep one"
    return (
        f"there is a rule {id_} in {names}; change it with {{id: {id_}, ..., reason: ...}}, or "
        "drop it first, with a reason"
    )
