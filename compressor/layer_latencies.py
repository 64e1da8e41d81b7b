"""The time of each layer at several widths: measured once for a run, part of its plan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from compressor.config_schema import Input
from compressor.config_search import Search
from compressor.pruning.attention import with_plain_attention
from compressor.pruning.layer_times import LatencyTable, LayerTimes
from compressor.pruning.plain import plain
from compressor.runs import RunError, planned_before
from compressor.watch import Watch
from exporters.layer_latency import TABLE, LayerTable, measure_layers

ENTRY: Final = "layer_latencies"
"""Of the plan."""

_TIMES: Final = TypeAdapter(dict[str, LayerTimes])


def layer_latencies(
    folder: Path,
    model: nn.Module,
    *,
    search: Search,
    source: Input,
    provider: str,
    seed: int,
    watch: Watch,
) -> Mapping[str, Any]:
    """What the plan of a run in ``folder`` says of layers' times: an entry, or none.

    A run that goes on has the times with which it began: measured again they would differ, and
    its candidates would be others.

    Raises:
        LatencyError: a layer cannot be timed.
        RunError: the folder's plan is damaged.
    """
    if search.of != "latency":
        return {}
    known = planned_before(folder, ENTRY)
    if known is not None:
        return {ENTRY: known}
    watch.say(f"timing each layer at several widths, {search.latency_batch} images per call")
    example = torch.zeros(2, *source.size)
    cuttable, _ = with_plain_attention(plain(model, example).model, example)
    table = measure_layers(
        cuttable,
        example,
        provider=provider,
        batch=search.latency_batch,
        seed=seed,
    )
    return entry(table)


def entry(table: LayerTable) -> Mapping[str, Any]:
    """What the plan says of these times, as JSON values."""
    return {ENTRY: TABLE.dump_python(table, mode="json")}


def latency_table(entries: Mapping[str, Any]) -> LatencyTable:
    """The same as pruning wants it; empty where the plan has no entry.

    Raises:
        RunError: the entry is no table of times.
    """
    if ENTRY not in entries:
        return {}
    try:
        return _TIMES.validate_python(entries[ENTRY]["layers"])
    except (KeyError, TypeError, ValidationError) as error:
        raise RunError(f"the plan's {ENTRY} is damaged: {error}") from error
