"""Pages of runs that are finished already: one run anew, or two compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compressor.attestation import SUMS
from compressor.files import digest_of, write_atomically
from compressor.finished import read_finished, read_samples
from compressor.page.comparison import as_json as comparison_json
from compressor.page.comparison import compare
from compressor.page.draw import draw_comparison, draw_report
from compressor.render import headline
from compressor.runs import RunError
from compressor.seal import PAGE

REDRAWN: Final = "report-redrawn.html"
"""The page's name where the run was sealed with another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What came of it."""

    text: str
    """For standard output."""
    file: Path | None
    """None if nothing was drawn."""
    notes: tuple[str, ...] = ()


def redraw(run: Path, other: Path | None, *, target: Path | None, as_json: bool) -> Drawn:
    """Draw the page of ``run``, or that of both, to ``target`` or where it belongs.

    Raises:
        RunError: a folder holds no finished run of this version, or the target is none.
        OSError: the page cannot be written.
    """
    _check_target(target)
    report = read_finished(run)
    if other is None:
        if as_json:
            return Drawn(text=report.model_dump_json(indent=2), file=None)
        page = draw_report(report, read_samples(run, report))
        file, notes = (target, ()) if target is not None else _place(run, page)
        write_atomically(file, page)
        return Drawn(text=str(file), file=file, notes=(headline(report), *notes))
    reports = report, read_finished(other)
    compared = compare(*reports)
    if as_json:
        return Drawn(text=comparison_json(compared), file=None)
    names = _names(run, other)
    file = target or Path(f"{run.resolve().name}-and-{other.resolve().name}.html")
    write_atomically(file, draw_comparison(compared, reports, names))
    notes = tuple(f"{n}: {headline(r)}" for n, r in zip(names, reports, strict=True))
    return Drawn(text=str(file), file=file, notes=notes)


def _check_target(target: Path | None) -> None:
    if target is None:
        return
    if target.suffix.lower() not in {".html", ".htm"}:
        raise RunError(f"{target} does not end in .html; give the name of the page to write")
    if not target.parent.is_dir():
        raise RunError(f"no folder {target.parent} to write {target.name} to; make it first")


def _place(run: Path, page: bytes) -> tuple[Path, tuple[str, ...]]:
    """Where a page goes, and what to say: a file that the seal has is not replaced by another."""
    sums = run / SUMS
    if not sums.is_file():
        return run / PAGE, ()
    sealed = dict(
        line.split("  ", 1)[::-1] for line in sums.read_text().splitlines() if "  " in line
    )
    if sealed.get(PAGE) == digest_of(page):
        return run / PAGE, ()
    why = "without a page" if PAGE not in sealed else f"with another {PAGE}"
    return run / REDRAWN, (
        f"the run was sealed {why}, which stays as it is; this version draws {REDRAWN}",
    )


def _names(first: Path, second: Path) -> tuple[str, str]:
    """What people call two folders: their names, or their paths if these are the same."""
    names = first.resolve().name, second.resolve().name
    return names if names[0] != names[1] else (str(first), str(second))
