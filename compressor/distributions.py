"""From the rules of a policy to the distributions that the gate measures."""

from collections.abc import Mapping
from typing import Final

from gates.shifts import Component, Distribution, definition, parameters
from policies import FolderRule, MixtureRule, Policy, Rule, ShiftRule

_AS_THEY_ARE: Final = Distribution(components=(Component(name="clean"),))


def distribution_of(rule: Rule) -> Distribution:
    """What the images of a rule are seen under; a folder's images are seen as they are."""
    match rule:
        case FolderRule():
            return _AS_THEY_ARE
        case ShiftRule() | MixtureRule():
            components = (
                Component(name=item.name, severity=item.severity, level=item.level)
                for item in rule.components
            )
            return Distribution(
                components=tuple(components), draws=rule.draws, save_jpeg=rule.save_jpeg
            )


def definitions(policy: Policy, *, side: int) -> Mapping[str, Mapping[str, object]]:
    """Everything that decides what each shift of the policy is, by the id of its rule.

    Folders are left out. ``side`` is the shorter one of the images, in pixels.

    Raises:
        ShiftError: a shift does not exist, or something that it needs is not installed.
    """
    return {
        rule.id: definition(distribution_of(rule), side=side, profile=policy.profile)
        for rule in policy.shifts
        if not isinstance(rule, FolderRule)
    }


def check_shifts(policy: Policy, *, side: int) -> None:
    """Whether every shift of the policy exists, whatever is installed.

    Raises:
        ShiftError: a shift, a severity or a level that does not exist.
    """
    for rule in policy.shifts:
        for item in distribution_of(rule).components:
            parameters(
                item.name,
                severity=item.severity,
                level=item.level,
                profile=policy.profile,
                side=side,
            )
