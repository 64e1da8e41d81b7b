"""Does the evidence fit the policy, and does it fit together? Nothing else may be judged."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gates.evidence import Counts, DrawCounts, Evidence, FlipCounts, PairedCounts
from policies import FolderRule, Policy, Rule


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


def counts_by_rule(policy: Policy, evidence: Sequence[Evidence]) -> Mapping[str, Counts]:
    """What one candidate did on each rule of the policy, by the rule's id.

    Raises:
        VerdictError: the evidence is of more than one candidate or ratio; a rule has none, or two,
            or counts of another kind than it asks for; counts are of no images, or of different
            numbers of images where the images are the same.
    """
    _require_one("candidate", (item.candidate for item in evidence))
    _require_one("ratio", (str(item.ratio) for item in evidence))
    where = f"at ratio {evidence[0].ratio:.2f}"
    given = Counter(item.shift for item in evidence)
    if missing := [rule.id for rule in policy.shifts if not given[rule.id]]:
        raise VerdictError(f"{where} there is no evidence of {', '.join(missing)}; measure it")
    if doubled := [rule.id for rule in policy.shifts if given[rule.id] > 1]:
        raise VerdictError(f"{where} there is evidence twice of {', '.join(doubled)}; give one")
    counts = {item.shift: item.counts for item in evidence}
    for rule in policy.shifts:
        if counts[rule.id].n == 0:
            raise VerdictError(f"{where} no images were measured on {rule.id}; give the gate some")
        wanted, found = _counted_for(rule), _counted_in(counts[rule.id])
        if wanted != found:
            raise VerdictError(
                f"{where} the policy judges {rule.id} by {wanted}, and the evidence is of {found}; "
                "measure it as the policy says"
            )
    sizes = sorted({counts[id_].n for id_ in _on_shared_images(policy)})
    if len(sizes) > 1:
        raise VerdictError(
            f"{where} shifts were measured on {sizes} images; measure all on the same"
        )
    return counts


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
    if isinstance(rule, FolderRule):
        return "flips" if rule.labels == "none" else "right answers"
    return "right answers" if rule.draws == 1 else f"right answers on {rule.draws} draws"


def _counted_in(counts: Counts) -> str:
    match counts:
        case PairedCounts():
            return "right answers"
        case DrawCounts(draws=draws):
            return f"right answers on {draws} draws"
        case FlipCounts():
            return "flips"
