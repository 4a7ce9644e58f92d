"""``nesf study report``."""

from collections.abc import Sequence
from pathlib import Path

from nesf.cli.console import note_failures, notes, parse
from nesf.cli.studies.conduct import OUT


def report(arguments: Sequence[str]) -> None:
    """The command ``nesf study report``."""
    parse(_report, "study report", arguments)


def _report(out: Path = OUT) -> None:
    """Gather all studies of a folder into one page, report.html, that a browser opens without network.

    Args:
        out: the folder of the studies.
    """
    from nesf.studies.report import LARGE_BYTES, write_report

    written = write_report(out)
    note_failures(written.broken, "folders could not be read and are left out")
    count = len(written.sections)
    studies = "study" if count == 1 else "studies"
    notes.print(f"{written.path}: {count} {studies}, {_size(written.size)}", markup=False)
    if written.size > LARGE_BYTES:
        name, size = written.largest
        warning = f"More than {_size(LARGE_BYTES)}; the largest picture is {name}, {_size(size)}."
        notes.print(warning, style="yellow", markup=False)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
