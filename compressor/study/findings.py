"""From the ledger's records to study.json. Computes what is said; draws and writes nothing."""

import itertools
from collections.abc import Sequence

from compressor.runs import versions
from compressor.study.analyses.curves import curves
from compressor.study.analyses.excess import excess, lines
from compressor.study.analyses.fairness import terms
from compressor.study.analyses.losses import correlations, loss_rows
from compressor.study.analyses.potential import overparameterisation, potentials
from compressor.study.analyses.ranking import Entry
from compressor.study.analyses.rows import Network, cells, networks, spread
from compressor.study.analyses.shrinkbench import standard_rows, summaries
from compressor.study.analyses.similarity import alike
from compressor.study.job import Ran
from compressor.study.shop import Shop
from compressor.study.study_schema import (
    Asked,
    Crossed,
    DenseNetwork,
    Effort,
    Failure,
    Informative,
    StudyReport,
    Trials,
)
from compressor.study.trial_ledger import Record


def findings(shop: Shop, ran: Ran, *, command: str) -> StudyReport:
    """Everything that the study's records say."""
    grid = shop.setup.grid
    records = [ran.records[each.id] for each in ran.planned if each.id in ran.records]
    made, asked = networks(records), cells(records)
    parts = set(grid.parts)
    known = potentials(asked, grid.tolerances, alpha=grid.alpha) if "potential" in parts else []
    beyond = excess(asked) if "excess" in parts else []
    lost = loss_rows(records)
    standard = standard_rows(made, dataset=shop.asked.digest)
    return StudyReport(
        name=grid.name,
        command=command,
        grid=grid.model_dump(mode="json"),
        asked=Asked(
            of=grid.images.of,
            count=len(shop.asked.labels),
            digest=shop.asked.digest,
            train_digest=shop.digests["train"],
            classes=list(shop.asked.classes),
            use=ran.use.ordinal if ran.use else None,
            entry=ran.use.entry_digest if ran.use else None,
        ),
        dense=_dense(shop, records),
        trials=_trials(ran, records),
        networks=made,
        curves=curves(asked),
        potentials=known,
        overparameterisation=overparameterisation(known),
        excess=beyond,
        excess_lines=lines(beyond),
        similarity=alike(records),
        standard=standard,
        standard_summary=summaries(standard),
        features=_features(records),
        cross=next(
            (
                Crossed(**record.found)
                for record in records
                if record.kind == "cross" and record.status == "done"
            ),
            None,
        ),
        losses=lost,
        loss_correlations=correlations(lost),
        entries=_entries(shop, made),
        versions=versions(),
        effort=Effort(
            engine=ran.engine,
            workers=ran.workers,
            seconds=ran.seconds,
            worked=ran.worked,
            all_trials=sum(record.seconds for record in records),
        ),
    )


def _dense(shop: Shop, records: Sequence[Record]) -> list[DenseNetwork]:
    """What is known of the dense networks that were asked about images as they are."""
    return [
        DenseNetwork(
            seed=record.about["seed"],
            source=shop.models[record.about["seed"]].source,
            sha256=shop.models[record.about["seed"]].sha256,
            params=record.found["params"],
            macs=record.found["macs"],
            accuracy=record.found["right"] / record.found["n"],
        )
        for record in records
        if record.kind == "dense" and record.about["shift"] == "clean" and record.status == "done"
    ]


def _features(records: Sequence[Record]) -> list[Informative]:
    return [
        Informative(
            network=record.about["network"],
            n=record.found["n"],
            pixels=record.found["kept"],
            confidence_whole=record.found["confidence_whole"],
            confidence_kept=record.found["confidence_kept"],
            trial=record.trial,
        )
        for record in records
        if record.kind == "features" and record.status == "done"
    ]


def _trials(ran: Ran, records: Sequence[Record]) -> Trials:
    failures = [
        Failure(kind=record.kind, about=record.about, trial=record.trial, error=record.error or "")
        for record in records
        if record.status == "failed"
    ]
    return Trials(
        planned=len(ran.planned),
        done=len(records) - len(failures),
        failed=len(failures),
        missing=len(ran.planned) - len(records),
        failures=failures,
    )


def _entries(shop: Shop, made: Sequence[Network]) -> list[Entry]:
    def place(network: Network) -> tuple[str, str, float]:
        return network.kind, network.method, network.ratio

    smaller = sorted((each for each in made if each.kind != "control"), key=place)
    return [_entry(shop, list(several)) for _, several in itertools.groupby(smaller, key=place)]


def _entry(shop: Shop, several: Sequence[Network]) -> Entry:
    grid, first = shop.setup.grid, several[0]
    iterative = grid.protocol == "iterative" and first.kind == "prune"
    accuracy, deviation = spread([each.after_top1 for each in several])
    return Entry(
        study=grid.name,
        method=f"{first.method} scratch" if first.kind == "scratch" else first.method,
        ratio=first.ratio,
        compression=spread([each.compression for each in several])[0],
        speedup=spread([each.speedup for each in several])[0],
        physical=first.physical,
        seeds=len(several),
        n=first.n,
        accuracy=accuracy,
        accuracy_std=deviation,
        trainability_accuracy=_mean([each.trainability_accuracy for each in several]),
        jacobian_before=_mean([each.jacobian_before for each in several]),
        jacobian_after=_mean([each.jacobian_after for each in several]),
        terms=terms(
            first,
            train=shop.digests["train"],
            asked=shop.asked.digest,
            base_epochs=grid.base_epochs,
            before=[r for r in grid.ratios if r < first.ratio] if iterative else [],
        ),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return spread(known)[0] if known and len(known) == len(values) else None
