"""What all studies do on the command line: run, write their folder, show their tables."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nesf.cli.console import note_failures, notes, results, table
from nesf.studies.record import Record, describe_data, describe_model

if TYPE_CHECKING:
    from nesf.data.datasets import Dataset
    from nesf.studies.models import Model
    from nesf.studies.outcome import Outcome

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
            results.print(table(one.title, one.heads, one.rows))
            if one.note:
                results.print(one.note, markup=False)
    results.print(outcome.summary, markup=False)
