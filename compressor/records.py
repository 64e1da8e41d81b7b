"""What a finished run says of itself, read, and what is found wrong with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.report_schema import Report
from gates import Evidence
from policies import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not hold."""

    file: str
    """Its name in the run folder."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What a run says of itself, read."""

    plan: Mapping[str, Any]
    plan_digest: str
    policy: Policy
    evidence: tuple[Evidence, ...]
    report: Report


def read_json(path: Path) -> object:
    """What the file holds; None if it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def at(content: object, *keys: str) -> object:
    """What a JSON value has at nested keys; None if it has nothing there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def sequence_of(records: Records) -> list[object]:
    """Every candidate that was planned, as the plan tells of it."""
    sequence = records.plan.get("sequence")
    return sequence if isinstance(sequence, list) else []


def planned_chains(records: Records) -> Mapping[str | None, str]:
    """The precision of each sequence that shares alpha; of one where the plan tells of none."""
    listed = records.plan.get("chains")
    found = {
        None if (name := at(entry, "name")) is None else str(name): str(at(entry, "precision"))
        for entry in (listed if isinstance(listed, list) else [])
    }
    return found or {None: "not told"}
