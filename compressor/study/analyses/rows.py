"""Records of the ledger as rows: of each network, and of each network on each distribution."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from compressor.study.trial_ledger import Record
from compressor.study.trials import Json
from gates import PairedCounts

Group = Literal["train", "held_out", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network that a study made.

    Accuracies are shares of ``n`` images; a ``top5`` is None where there are five classes or fewer,
    and ``before`` where nothing was retrained.
    """

    kind: Literal["prune", "control", "scratch"]
    method: str
    """Name in the grid; ``control`` for a dense network that was trained from nothing."""
    ratio: float
    """Share of the parameters that was asked to go; 0 for the control."""
    seed: int
    physical: bool
    """Whether the network is smaller, and not only has zeros."""
    dense_sha256: str
    weights_sha256: str
    dense_params: int
    params: int
    dense_macs: int
    macs: int
    n: int
    before_top1: float | None
    before_top5: float | None
    before_loss: float | None
    after_top1: float
    after_top5: float | None
    after_loss: float | None
    recipe: dict[str, Json]
    """Of its retraining, every value."""
    trainability_accuracy: float | None
    """Mean accuracy on images held back, over the epochs of the first learning rate."""
    trainability_epochs: int
    jacobian_dense: float | None
    """Mean singular value of the Jacobian of the logits by the pixels."""
    jacobian_before: float | None
    jacobian_after: float | None

    @property
    def compression(self) -> float:
        """Parameters of the dense network by those that are left."""
        return self.dense_params / self.params

    @property
    def speedup(self) -> float:
        """Multiply-adds of the dense network by those that are left; no time."""
        return self.dense_macs / self.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One pruned network on one distribution, beside the dense one on the same images."""

    method: str
    ratio: float
    seed: int
    shift: str
    group: Group
    counts: PairedCounts
    same_answer: int | None
    """Images with the same first answer; None where nobody counted."""
    dense_top5: int | None
    pruned_top5: int | None


def networks(records: Iterable[Record]) -> list[Network]:
    """The networks of records that are done, in their order."""
    return [
        _network(record)
        for record in records
        if record.kind in {"prune", "control", "scratch"} and record.status == "done"
    ]


def cells(records: Iterable[Record]) -> list[Cell]:
    """Networks on distributions, and on each level of noise, which is a distribution too."""
    found: list[Cell] = []
    for record in records:
        if record.status == "done" and record.kind == "answers":
            found.append(_cell(record))
        elif record.status == "done" and record.about.get("of") == "prune":
            found += _noise_cells(record)
    return found


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation; one value has no deviation."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def _network(record: Record) -> Network:
    found, about = record.found, record.about
    before, after = found["before"], found["after"]
    pruned = record.kind == "prune"
    return Network(
        kind=record.kind,  # type: ignore[arg-type]  # the caller chose by it
        method=about["method"] if record.kind != "control" else "control",
        ratio=about.get("ratio", 0.0),
        seed=about["seed"],
        physical=found["physical"],
        dense_sha256=found["dense_sha256"],
        weights_sha256=found["weights_sha256"],
        dense_params=found["dense_params"],
        params=found["params"],
        dense_macs=found["dense_macs"],
        macs=found["macs"],
        n=after["n"],
        before_top1=None if before is None else before["right"] / before["n"],
        before_top5=None if before is None else _share(before["top5"], before["n"]),
        before_loss=None if before is None else before["loss"],
        after_top1=after["right"] / after["n"],
        after_top5=_share(after["top5"], after["n"]),
        after_loss=after["loss"],
        recipe=found["recipe"],
        trainability_accuracy=found["first_stage_accuracy"],
        trainability_epochs=found["first_stage_epochs"],
        jacobian_dense=found["jacobian_dense"] if pruned else None,
        jacobian_before=found["jacobian_before"] if pruned else None,
        jacobian_after=found["jacobian_after"] if pruned else None,
    )


def _share(count: int | None, n: int) -> float | None:
    return None if count is None else count / n


def _counts(found: dict[str, Json]) -> PairedCounts:
    names = ("both_right", "only_dense", "only_pruned", "both_wrong")
    return PairedCounts(**{name: found[name] for name in names})


def _cell(record: Record) -> Cell:
    about, found = record.about, record.found
    return Cell(
        method=about["method"],
        ratio=about["ratio"],
        seed=about["seed"],
        shift=about["shift"],
        group=about["group"],
        counts=_counts(found),
        same_answer=found["same_answer"],
        dense_top5=found["dense_top5"],
        pruned_top5=found["pruned_top5"],
    )


def _noise_cells(record: Record) -> list[Cell]:
    return [
        Cell(
            method=record.about["method"],
            ratio=record.about["ratio"],
            seed=record.about["seed"],
            shift=f"noise {level['level']:g}",
            group="noise",
            counts=_counts(level),
            same_answer=None,
            dense_top5=None,
            pruned_top5=None,
        )
        for level in record.found["levels"]
    ]
