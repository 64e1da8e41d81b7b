"""What a run tells the service that it runs on, where that is GitHub Actions.

The environment is an argument. Nothing here changes a verdict or an exit code: a file that cannot
be written is a warning.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from compressor.annotations import Annotation, annotations, command
from compressor.files import digest
from compressor.render import markdown
from compressor.report_schema import Report

SUMMARY_BYTES: Final = 1024 * 1024
"""What GitHub takes of all that one step writes into its summary; it drops a larger one whole."""

_CUT: Final = b"\n\nThe report goes on; report.md, in the folder of the run, has all of it.\n"


def announce(report: Report, run: Path, environ: Mapping[str, str]) -> str:
    """Append to the files that the environment names; the lines for the log, "" outside GitHub."""
    failed = []
    for name, content in (
        ("GITHUB_STEP_SUMMARY", markdown(report).encode(errors="backslashreplace")),
        ("GITHUB_OUTPUT", outputs(report, run)),
    ):
        try:
            if file := environ.get(name):
                _append(Path(file), content, limit=SUMMARY_BYTES if "SUMMARY" in name else None)
        except OSError as error:
            message = f"cannot write to {name}: {error.strerror}; the verdict stands"
            failed.append(Annotation(level="warning", title="compress", message=message))
    return _for_the_log([*annotations(report), *failed], environ)


def refuse(message: str, environ: Mapping[str, str]) -> str:
    """The line for the log where there is no report, because of ``message``."""
    return _for_the_log([Annotation(level="error", title="compress", message=message)], environ)


def outputs(report: Report, run: Path) -> bytes:
    """What later steps can read, as lines of ``GITHUB_OUTPUT``; what there is not is ""."""
    ratio = "" if report.accepted_ratio is None else str(report.accepted_ratio)
    values = {
        "verdict": report.verdict,
        "exit-code": str(report.exit_code),
        "accepted-name": report.accepted_name or "",
        "accepted-ratio": ratio,
        "run": str(run.absolute()),
    }
    return b"".join(_output(name, os.fsencode(value)) for name, value in values.items())


def fitted(content: bytes, *, room: int) -> bytes:
    """At most ``room`` bytes of the text: whole lines and a sentence that there are more."""
    if len(content) <= room:
        return content
    kept = content[: max(0, room - len(_CUT))]
    cut = kept[: kept.rfind(b"\n") + 1] + _CUT
    return cut if len(cut) <= room else b""


def _append(file: Path, content: bytes, *, limit: int | None) -> None:
    with file.open("ab") as end:
        end.write(content if limit is None else fitted(content, room=limit - end.tell()))


def _output(name: str, value: bytes) -> bytes:
    if b"\n" not in value and b"\r" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    # No value holds its own digest, so that none can end early and add an output.
    end = digest(value).encode()
    return b"%s<<%s\n%s\n%s\n" % (name.encode(), end, value, end)


def _for_the_log(lines: list[Annotation], environ: Mapping[str, str]) -> str:
    if environ.get("GITHUB_ACTIONS") != "true":
        return ""
    return "\n".join(command(line) for line in lines)
