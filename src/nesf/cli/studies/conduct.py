"""What all studies do on the command line: run, write their folder, show their tables."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from nesf.cli.console import note_failures, notes, results, table
from nesf.crystal import Failure
from nesf.studies.record import Record, describe_data, describe_model
from nesf.studies.rounding import numeric, rounded

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from nesf.data.datasets import Dataset
    from nesf.studies.models import Model
    from nesf.studies.outcome import Outcome, Table

Column = tuple[str, Sequence[str]]
"""The head of a column, and its cells."""
BESIDE = 3
"""Space between two columns."""
SHORTEST = 9
"""Letters that a line of a head may have, however short the words of its column are."""
OUT = Path("nesf-studies")
"""Where studies write by default: each into a folder of its name."""
# Longer tables are in the csv files only.
MOST_ROWS = 30


def command_line(study: str, arguments: Sequence[str]) -> str:
    """The command as it can be typed again."""
    return shlex.join(["nesf", "study", study, *arguments])


def read_data(source: str) -> "Dataset":
    """A data set by name or path; entries that cannot be read are said."""
    from nesf.data.datasets import load_dataset

    data = load_dataset(source)
    note_failures(data.failures, f"entries of {data.name} could not be read and are left out")
    return data


def note_unfit(model: "Model", data: "Dataset") -> None:
    """Say which crystals the model refuses, and which oblique cells are not conventional ones, as it would not know."""
    from nesf.cli.codec import MOST_CHECKED
    from nesf.codec import Codec
    from nesf.io.structures import is_oblique, other_cell

    reasons = ((crystal.id, model.refusal(crystal)) for crystal in data.crystals)
    refused = [Failure(name, reason) for name, reason in reasons if reason is not None]
    note_failures(refused, f"crystals of {data.name} are refused by the model {model.card.name}", most=3)
    if isinstance(model, Codec) and model.card.domain.setting == "any":
        return
    some = islice(filter(is_oblique, data.crystals), MOST_CHECKED)
    others = ((crystal.id, other_cell(crystal)) for crystal in some)
    note_failures(
        [Failure(name, f"{reason}.") for name, reason in others if reason is not None],
        f"crystals of {data.name} are not in their conventional cell; nesf data import --cell conventional converts",
        most=3,
    )


def folder_of(study: str, model: "Model") -> str:
    """The folder of a study that may be asked of nesf and of the baseline, which then stand beside each other."""
    from nesf.studies.models import BASELINE, method_of

    return f"{study}-voxel" if method_of(model) == BASELINE else study


def conduct(
    study: str,
    arguments: Sequence[str],
    out: Path,
    work: "Callable[[], Outcome]",
    *,
    models: "Sequence[Model]" = (),
    data: "Sequence[Dataset]" = (),
    settings: Mapping[str, Any],
    seed: int | None = None,
    folder: str | None = None,
) -> None:
    """Run a study; write its folder ``out/study``; show what came out.

    Args:
        study: its name.
        arguments: of the command line.
        out: the folder of all studies.
        work: the study itself.
        models: the models it asks.
        data: the data sets it uses.
        settings: its other parameters.
        seed: of everything random.
        folder: name of its folder, where it is not that of the study.

    Raises:
        KeyboardInterrupt: with a sentence on what is to be done to go on.
    """
    described = [describe_model(one) for one in models], [describe_data(one) for one in data]
    record = Record(study, command_line(study, arguments), seed, *described, settings)
    try:
        outcome = work()
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(str(interruption) or "Interrupted; the same command starts the study anew.") from None
    where = out / (folder or study)
    record.write(outcome, where)
    show_outcome(outcome)
    notes.print(f"written to {where}", markup=False)


def show_outcome(outcome: "Outcome") -> None:
    """Print an outcome's tables, those that are short, and its summary."""
    for one in outcome.tables.values():
        if len(one.rows) <= MOST_ROWS:
            for part in shown(one, results.width):
                results.print(part)
            if one.note:
                results.print(one.note, markup=False)
    results.print(outcome.summary, markup=False)


def shown(one: "Table", width: int = 120) -> "list[RichTable]":
    """A table as a terminal has room for it: numbers rounded, and what all rows have in common in its title.

    One that is still too wide is shown in parts, each with the columns that tell its rows apart.
    """
    cells = [_texts(column) for column in zip(*one.rows, strict=True)] or [[] for _ in one.heads]
    columns = list(zip(one.heads, cells, strict=True))
    # Rows that are equal in all are left as they are.
    kept = [(head, texts) for head, texts in columns if len(texts) < 2 or len(set(texts)) > 1] or columns
    said = "; ".join(f"{head}: {texts[0]}" for head, texts in columns if (head, texts) not in kept)
    title = f"{one.title} ({said})" if said else one.title
    parts = _parts(kept, width)
    titles = [title, *[f"{one.title}, continued"] * (len(parts) - 1)]
    return [_part(name, part) for name, part in zip(titles, parts, strict=True)]


def _part(title: str, columns: Sequence[Column]) -> "RichTable":
    rows = list(zip(*(texts for _, texts in columns), strict=True))
    numbers = [numeric(texts) for _, texts in columns]
    # In lines already: where room is short, rich would rather cut the words of a head than break a text elsewhere.
    heads = [_broken(one) if number else one[0] for one, number in zip(columns, numbers, strict=True)]
    return table(title, heads, rows, numbers=numbers)


def _broken(column: Column) -> str:
    return "\n".join(wrap(column[0], max(_longest(column), SHORTEST), break_long_words=False))


def _parts(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns in parts that fit."""
    key = list(columns[: _key([texts for _, texts in columns])])
    empty = width - BESIDE - sum(map(_least, key))
    parts, room = [list(key)], empty
    for column in columns[len(key) :]:
        if _least(column) > room and len(parts[-1]) > len(key):
            parts.append(list(key))
            room = empty
        parts[-1].append(column)
        room -= _least(column)
    return parts


def _key(columns: Sequence[Sequence[str]]) -> int:
    """How many of the first columns, one or two, tell the rows apart."""
    return 1 if not columns or len(set(columns[0])) == len(columns[0]) else min(2, len(columns))


def _least(column: Column) -> int:
    """The width that a column needs: its longest word, a line of its head, or whole ids, and the space beside it."""
    return max(_longest(column), *map(len, _broken(column).split("\n"))) + BESIDE


def _longest(column: Column) -> int:
    head, texts = column
    words = [word for text in (head, *texts) for word in ([text] if head == "id" else text.split())]
    return max(map(len, words), default=0)


def _texts(column: Sequence[Any]) -> list[str]:
    return rounded(["" if value is None else str(value) for value in column])
