"""Which rules of a policy share answers, and on which images they are. Needs no framework."""

from policies import FolderRule, Policy, Rule


def measurement_of(policy: Policy, rule: Rule) -> str:
    """What the answers under a rule are called: rules that ask the same share them.

    Rules that differ in metric, classes or tolerance alone see the same images under the same
    distribution; the id is that of the first of them.
    """
    return next(other.id for other in policy.shifts if _asks(other) == _asks(rule))


def set_of(rule: Rule) -> str:
    """What the images of a rule are called in a plan."""
    return rule.id if isinstance(rule, FolderRule) else "gate"


def _asks(rule: Rule) -> tuple[object, ...]:
    if isinstance(rule, FolderRule):
        return rule.folder, rule.labels, rule.classes
    return rule.components, rule.draws, rule.save_jpeg
