"""What every command shows: progress, tables, failures, JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from tyro.conf import arg

from nesf.cli.completeness import note_unread
from nesf.cli.ending import silence
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.metrics import COLUMNS
from nesf.output import check_file, sweep, whole_file

T = TypeVar("T")
Model = Annotated[str, arg(metavar="MODEL")]
Data = Annotated[str, arg(metavar="DATA")]

DEFAULT_MODEL = "universal"
"""What ``nesf.load`` takes without a name, too; here it costs no import of PyTorch."""


_OF_ONE = {"are": "is", "were": "was", "have": "has", "they": "it", "them": "it", "their": "its"}


class _Patient(Console):
    """A console that goes on without a word where nobody reads it any more: the work is to end well all the same."""

    def on_broken_pipe(self) -> None:
        """Called by rich where the reader of a pipe is gone."""
        # What could not be written must not come with the next text. The stream is silenced, and not the console, which
        # other commands of this process use, too.
        del self._buffer[:]
        silence(sys.stderr if self.stderr else sys.stdout)


# Progress and remarks go to the standard error, results to the standard output.
notes = _Patient(stderr=True, highlight=False)
# Into a file or pipe, tables are not squeezed to the 80 columns of an unknown terminal.
results = _Patient(highlight=False, width=None if sys.stdout.isatty() else 120)


def parse(function: Callable[..., T], name: str, arguments: Sequence[str]) -> T:
    """Call a command's function with the arguments of the command line."""
    return tyro.cli(function, prog=f"nesf {name}", args=list(arguments))


def check_processes(count: int) -> None:
    """Raise ``NesfError`` where no process is to do the work."""
    if count < 1:
        raise NesfError(f"--processes is {count}; give at least 1.")


def check_table(out: Path) -> None:
    """Raise ``NesfError`` where an output cannot be a table."""
    check_file(out)
    if out.suffix != ".parquet":
        raise NesfError(f"{out} does not end with .parquet, the format of the project's tables.")


@contextmanager
def progress(task: str, total: int | None, start: int = 0) -> Iterator[Callable[[int], None]]:
    """A progress bar on the standard error; what it yields is called with the number of items done.

    Without a total the bar only says that work goes on.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=notes, transient=True) as bar:
        handle = bar.add_task(task, total=total, completed=start)
        yield lambda done: bar.advance(handle, done)


def note_failures(failures: Iterable[Failure], what: str, most: int = 10) -> None:
    """Say on the standard error which crystals were left out and why: the first ones, and how many there are."""
    failures = iter(failures)
    first = list(islice(failures, most))
    if not first:
        return
    further = sum(1 for _ in failures)
    notes.print(f"[yellow]{counted(len(first) + further, what)}:[/yellow]")
    for failure in first:
        notes.print(f"  {failure.id}: {failure.reason}", markup=False)
    if further:
        notes.print(f"  ... and {further} more")


def counted(count: int, what: str) -> str:
    """A number and what it counts, whose first word is a plural; of one thing it is said in the singular.

    What is counted "of" a data set is left as it is, for the name of a data set may be any word.

    >>> counted(2, "crystals are left out"), counted(1, "entries could not be read and are left out")
    ('2 crystals are left out', '1 entry could not be read and is left out')
    """
    if count != 1 or " of " in what:
        return f"{count} {what}"
    noun, *others = what.split(" ")
    noun = "entry" if noun == "entries" else noun.removesuffix("s")
    return " ".join(["1", noun, *(_OF_ONE.get(word, word) for word in others)])


def crystals_of(entries: Sequence[Crystal | Failure]) -> tuple[list[Crystal], list[Failure]]:
    """The crystals among entries; the rest is said. Raises ``NesfError`` where there are none."""
    crystals = [entry for entry in entries if isinstance(entry, Crystal)]
    failures = [entry for entry in entries if isinstance(entry, Failure)]
    if not crystals:
        reason = f": {failures[0].id}: {failures[0].reason}" if failures else "."
        raise NesfError(f"No crystal could be read{reason}")
    note_failures(failures, "entries could not be read")
    note_unread(len(failures))
    return crystals, failures


def write_json(values: Any, target: Path) -> None:
    """Write JSON to a file, or to the standard output where the file is called ``-``."""
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    if str(target) == "-":
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            silence(sys.stdout)
        return
    sweep(target.parent)
    with whole_file(target) as path:
        path.write_text(text, encoding="utf-8")


def table(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    numbers_from: int = 1,
    *,
    numbers: Sequence[bool] | None = None,
) -> Table:
    """A table for the terminal; columns from ``numbers_from`` on, or just the ``numbers``, are aligned to the right."""
    right = [i >= numbers_from for i in range(len(heads))] if numbers is None else numbers
    shown = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head, number in zip(heads, right, strict=True):
        # Ids stay whole, so that they can be copied; long texts are broken instead.
        shown.add_column(escape(head), justify="right" if number else "left", no_wrap=head == "id")
    for row in rows:
        # Brackets in ids and units are no markup.
        shown.add_row(*[escape(show(value)) for value in row])
    return shown


def show(value: Any, digits: int = 4) -> str:
    """A value for a cell of a table: a dash where there is none.

    >>> show(0.1234), show(3e-7), show(0.0), show(0.3, 0), show(None)
    ('0.1234', '3e-07', '0.0000', '0', '–')
    """
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    # What would look like nothing, and is not, is shown by its size.
    tiny = digits > 0 and 0 < abs(value) < 0.5 * 10**-digits
    return f"{value:.1g}" if tiny else f"{value:.{digits}f}"


def score_rows(values: dict[str, Any]) -> list[str]:
    """The seven metrics of a score, in the order of the paper, with at least three decimals."""
    return [show(values[column.key], max(column.digits, 3)) for column in COLUMNS]
