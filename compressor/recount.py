"""The evidence of a finished run once more: counted from the answers that were kept, look by look.

A gate that may look several times could stop where luck would have it. So it is not enough that the
counts are right: no earlier look may have decided the cell, and none may be left that could have.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from compressor.attestation import Digests
from compressor.measurement import measurement_of, set_of
from compressor.records import Finding, Records, at, planned_chains
from compressor.runs import RunFolder
from gates import Counts, Evidence, Outcome, judge_cell, look_sizes
from gates.answers import ANSWER, Answers
from gates.counting import counts_of, in_group
from policies import Policy, Rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cell:
    """One line of the evidence, and what it must come from."""

    policy: Policy
    rule: Rule
    item: Evidence
    sizes: tuple[int, ...]
    """Images at each look."""
    classes: tuple[str, ...]
    dense: Answers
    pruned: Answers

    def counts(self, look: int) -> Counts | None:
        """Of the images up to this look; None if the rule counts none of them.

        Raises:
            ValueError: the answers are too few, or do not fit the rule or each other.
        """
        size = self.sizes[look - 1]
        dense, pruned = self.dense[:size], self.pruned[:size]
        if len(dense) < size or len(pruned) < size:
            raise ValueError(
                f"{len(dense)} and {len(pruned)} answers; look {look} is at {size} images"
            )
        labelled = dense.dtype == ANSWER and dense.ndim == 2
        if self.rule.only and labelled:
            mine = in_group(self.rule, dense["label"][:, 0], classes=self.classes)
            if not mine.any():
                return None
        return counts_of(self.rule, dense, pruned, classes=self.classes)


def planned_looks(records: Records) -> Mapping[str, list[int]]:
    """Images at each look, of each set, as policy and sizes of the plan have them.

    Sets whose size the plan does not tell are left out.
    """
    batch: object = records.plan.get("gate_batch")
    found: dict[str, list[int]] = {}
    for rule in records.policy.shifts:
        _, n = _planned_images(records, rule)
        if _is_count(n) and _is_count(batch):
            found[set_of(rule)] = list(look_sizes(records.policy, n, batch=batch))
    return found


def recounted(run: RunFolder, records: Records, digests: Digests) -> Iterator[Finding]:
    """What of the evidence does not follow from the plan and the answers."""
    rules = {rule.id: rule for rule in records.policy.shifts}
    looks = planned_looks(records)
    # Mapped, so that a header that asks for more than the file has is an error at once.
    read = functools.cache(functools.partial(np.load, mmap_mode="r"))
    for item in records.evidence:
        rule = rules.get(item.shift)
        sizes = () if rule is None else tuple(looks.get(set_of(rule), ()))
        if rule is None or not sizes:
            continue  # told of already: as a line out of order, or a plan without its images
        if item.look > len(sizes):
            told = f"{_name(item)} is of look {item.look}, and the plan has {len(sizes)}"
            yield Finding(file=run.evidence.name, what=told)
            continue
        yield from _images(records, rule, item, size=sizes[item.look - 1])
        yield from _answers(run, records, rule, item, sizes=sizes, digests=digests, read=read)


def _images(records: Records, rule: Rule, item: Evidence, *, size: int) -> Iterator[Finding]:
    """The evidence is on the images that the plan has for its rule, as many as at its look."""
    images, _ = _planned_images(records, rule)
    # How many of a class group are among them, the answers tell.
    n = item.counts.n if rule.only else size
    if (item.images, item.counts.n) != (images, n):
        yield Finding(
            file="evidence.jsonl",
            what=f"{_name(item)} is on {item.counts.n} images of digest {item.images}; the plan "
            f"has {n} of {images} at look {item.look}",
        )


def _answers(
    run: RunFolder,
    records: Records,
    rule: Rule,
    item: Evidence,
    *,
    sizes: tuple[int, ...],
    digests: Digests,
    read: Callable[[Path], Answers],
) -> Iterator[Finding]:
    """The counts are those of the answers that were kept, at the look that decided and no other."""
    measurement = measurement_of(records.policy, rule)
    files = [run.answers(sha256, measurement) for sha256 in (item.dense, item.candidate)]
    names = [file.relative_to(run.path).as_posix() for file in files]
    missing = [name for name in names if name not in digests]
    yield from (Finding(file=name, what="is missing") for name in missing)
    if missing:
        return
    try:
        dense, pruned = map(read, files)
        cell = _Cell(
            policy=records.policy.shared_among(len(planned_chains(records))),
            rule=rule,
            item=item,
            sizes=sizes,
            classes=_classes(records.plan.get("classes")),
            dense=dense,
            pruned=pruned,
        )
        counts = cell.counts(item.look)
        wrong = [] if counts != item.counts else list(_looks(cell))
    # A damaged header can be wrong in every way that text can be.
    except (ValueError, IndexError, TypeError, SyntaxError, EOFError, OSError) as error:
        yield Finding(file=names[1], what=f"or {names[0]} cannot be counted: {error}")
        return
    if counts != item.counts:
        yield Finding(
            file=names[1],
            what=f"with {names[0]} gives {counts}; evidence.jsonl has {item.counts}",
        )
    for told in wrong:
        yield Finding(file=run.evidence.name, what=f"{_name(item)} {told}")


def _looks(cell: _Cell) -> Iterator[str]:
    """Whether the gate stopped at the first look that decided, or at the last there is."""
    taken, there_are = cell.item.look, len(cell.sizes)
    for look in range(1, taken):
        earlier = cell.counts(look)
        if earlier is None:
            continue
        outcome = judge_cell(cell.policy, cell.rule, earlier, look=look).outcome
        if outcome is not Outcome.UNDECIDED:
            yield f"was {outcome.value} at look {look} already, and is counted up to look {taken}"
            return
    last = judge_cell(cell.policy, cell.rule, cell.item.counts, look=taken)
    if last.outcome is Outcome.UNDECIDED and taken < there_are:
        yield f"is undecided at look {taken} of {there_are}, and the gate looked no further"


def _planned_images(records: Records, rule: Rule) -> tuple[object, object]:
    """Digest and number of the images that the plan has for a rule."""
    if (own := set_of(rule)) == "gate":
        return at(records.plan, "data", "gate"), at(records.plan, "data", "gate_images")
    return at(records.plan, "fields", own, "digest"), at(records.plan, "fields", own, "images")


def _classes(listed: object) -> tuple[str, ...]:
    names: Sequence[Any] = listed if isinstance(listed, list) else ()
    return tuple(str(name) for name in names)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and value > 0


def _name(item: Evidence) -> str:
    return f"{item.shift} of {item.name}"
