"""Does the evidence fit the policy, and does it fit together? Nothing else may be judged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gates.counts import Counts, DrawCounts, FlipCounts, PairedCounts, ScoreCounts
from gates.evidence import Evidence
from policies import FolderRule, Policy, Rule

_PIXELS: Final = "right pixels"


class VerdictError(ValueError):
    """The evidence does not fit the policy or itself, so that nothing can be judged."""


def check_subjects(policy: Policy, evidence: Sequence[Evidence]) -> None:
    """There is evidence, of one dense model, on one set of images and one of each folder.

    Evidence of shifts that the policy does not name may be on any images.

    Raises:
        VerdictError: it is otherwise.
    """
    if not evidence:
        raise VerdictError("there is no evidence to judge; measure at least one candidate")
    _require_one("dense model", (item.dense for item in evidence))
    shared = _on_shared_images(policy)
    _require_one("set of images", (item.images for item in evidence if item.shift in shared))
    for own in (rule.id for rule in policy.shifts if rule.id not in shared):
        _require_one(f"set of images of {own}", (e.images for e in evidence if e.shift == own))


def evidence_by_rule(policy: Policy, evidence: Sequence[Evidence]) -> Mapping[str, Evidence]:
    """What one candidate did on each rule of the policy that it was measured on, by the rule's id.

    Raises:
        VerdictError: the evidence is of more than one candidate or place in the sequence; a rule
            has two, or counts of another kind than it asks for, or at a look that the policy does
            not take; counts are of no images, or of different numbers of images where look and
            images are the same.
    """
    _require_one("candidate", (item.candidate for item in evidence))
    _require_one("name", (item.name for item in evidence))
    _require_one("place in the sequence", (str(item.position) for item in evidence))
    _require_one("ratio", (str(item.ratio) for item in evidence))
    name = evidence[0].name
    given = Counter(item.shift for item in evidence)
    if doubled := [rule.id for rule in policy.shifts if given[rule.id] > 1]:
        raise VerdictError(f"{name}: there is evidence twice of {', '.join(doubled)}; give one")
    found = {item.shift: item for item in evidence}
    rules = [rule for rule in policy.shifts if rule.id in found]
    for rule in rules:
        _check_kind(policy, rule, found[rule.id])
    _require_one(
        "task",
        (
            "segmentation" if _counted_in(found[rule.id].counts) == _PIXELS else "classification"
            for rule in rules
            if rule.metric == "top1"
        ),
    )
    sizes: dict[int, set[int]] = defaultdict(set)
    for rule in rules:
        if not isinstance(rule, FolderRule) and not rule.only:
            sizes[found[rule.id].look].add(found[rule.id].counts.n)
    for look, numbers in sizes.items():
        if len(numbers) > 1:
            raise VerdictError(
                f"{name}: at look {look} shifts were measured on {sorted(numbers)} images; "
                "measure all on the same"
            )
    return {rule.id: found[rule.id] for rule in rules}


def _check_kind(policy: Policy, rule: Rule, item: Evidence) -> None:
    if item.counts.n == 0:
        raise VerdictError(f"{item.name}: no images were measured on {rule.id}; give the gate some")
    wanted, found = _counted_for(rule), _counted_in(item.counts)
    # Of a segmentation, what is right is a share of each image's pixels, whatever the draws.
    if wanted != found and not (rule.metric == "top1" and found == _PIXELS):
        raise VerdictError(
            f"{item.name}: the policy judges {rule.id} by {wanted}, and the evidence is of "
            f"{found}; measure it as the policy says"
        )
    try:
        policy.alpha_at(item.look)
    except ValueError as error:
        raise VerdictError(
            f"{item.name}: the evidence of {rule.id} is of a look: {error}"
        ) from error


def _on_shared_images(policy: Policy) -> set[str]:
    """Ids of the rules that bring no images of their own."""
    return {rule.id for rule in policy.shifts if not isinstance(rule, FolderRule)}


def _require_one(what: str, values: Iterable[str]) -> None:
    seen = sorted(set(values))
    if len(seen) > 1:
        raise VerdictError(
            f"the evidence is of more than one {what}: {', '.join(value[:12] for value in seen)}; "
            "judge together what was measured together"
        )


def _counted_for(rule: Rule) -> str:
    """What is to be counted for a rule, in the words of ``_counted_in``."""
    draws = 1 if isinstance(rule, FolderRule) else rule.draws
    match rule.metric:
        case "flips":
            return "flips"
        case "brier":
            return "scores"
        case "top1" | "top5":
            return "right answers" if draws == 1 else f"right answers on {draws} draws"


def _counted_in(counts: Counts) -> str:
    match counts:
        case PairedCounts():
            return "right answers"
        case DrawCounts(draws=draws):
            return f"right answers on {draws} draws"
        case FlipCounts():
            return "flips"
        case ScoreCounts(of="pixels"):
            return _PIXELS
        case ScoreCounts():
            return "scores"
