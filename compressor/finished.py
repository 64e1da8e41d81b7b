"""The record of a finished run, read from its folder; what stands in the way is one sentence."""

import json
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from compressor.records import at
from compressor.report_schema import Report
from compressor.runs import RunError, RunFolder
from compressor.samples_file import SAMPLES, Samples

SCHEMA: Final = Report.model_fields["schema_version"].default


def read_finished(folder: Path) -> Report:
    """What the run in ``folder`` found.

    Raises:
        RunError: the folder is no run's, the run has not come to its end, another version of this
            package made it, or its record is damaged.
    """
    run = RunFolder(path=folder)
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder; give the folder that compress wrote")
    if not run.report.is_file():
        if not run.plan.is_file():
            raise RunError(
                f"{folder} is not the folder of a run: there is neither a plan.lock nor a "
                "report.json in it; give the folder that compress wrote"
            )
        raise RunError(
            f"the run in {folder} has not come to its end: there is no report.json; give the "
            "command that began it once more"
        )
    return _parsed(run.report)


def read_samples(folder: Path, report: Report) -> Samples | None:
    """The sample images of the run; None if it has none, or they are of another candidate.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / SAMPLES
    if not file.is_file():
        return None
    try:
        samples = Samples.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise RunError(
            f"{file} is damaged: {_first(error)}; delete it, and the page has no pictures"
        ) from error
    known = {step.candidate for step in report.steps}
    return samples if samples.candidate in known else None


def _parsed(file: Path) -> Report:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise RunError(f"{file} is damaged: it is no JSON ({error})") from error
    version = at(content, "schema_version")
    if version != SCHEMA:
        raise RunError(
            f"{file} has schema version {version}, and this version of compress reads {SCHEMA}; "
            "read it with the version that wrote it, or give the command of the run once more, "
            "with a new --run"
        )
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        raise RunError(f"{file} is damaged, or of another version: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'all of it'}: {found['msg']}"
