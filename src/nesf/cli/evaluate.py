"""``nesf evaluate``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tyro.conf import Positional

from nesf import streams
from nesf.cli.console import note_failures, parse, results, score_rows, table, write_json
from nesf.cli.jobs import account, begin, chunk_size, run
from nesf.io.export import work_beside
from nesf.jobs import chunks
from nesf.metrics import COLUMNS, named, published
from nesf.precision import best_device


def evaluate(arguments: Sequence[str]) -> None:
    """The command ``nesf evaluate``."""
    parse(_evaluate, "evaluate", arguments)


def _evaluate(
    model: Positional[str], data: Positional[str], /, json: Path | None = None, literal: bool = False
) -> None:
    """Measure how well a model gives the crystals of a data set back, by the seven metrics of the paper.

    Distances are Euclidean over the atoms listed in the cells, as in the paper; the periodic variants
    (nearest image) are shown below. A crystal that is refused or not found counts as failed. Data of any
    length will do; with --json FILE the same command goes on after an interruption.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        json: write the metrics to this file (- for the standard output); interim results are kept beside it.
        literal: decode by the slow reference path.
    """
    from nesf import codec, evaluation
    from nesf.data.datasets import open_dataset

    loaded = codec.load(model, best_device())
    stream = open_dataset(data)
    with _folder(json) as folder, begin(folder, "evaluate", loaded, stream.sha256, literal=literal) as job:

        def work(chunk: list[Any], done: Callable[[int], None]) -> tuple[Any, dict[str, Any]]:
            _, rows, tally = streams.reconstruct(loaded, chunk, literal, done)
            return rows.select(["material_id", "read", "reason"]), tally.to_dict()

        entries = stream.entries(job.done, streams.ids(job))
        run(job, "reconstructing", stream.expected, chunks(entries, chunk_size(loaded, literal)), work)
        account(job, None)
        result = streams.total(job)
        unreadable = sum(1 for _ in streams.left_out(job, read=False))
        description = {"name": stream.name, "sha256": stream.sha256, "unreadable": unreadable}
        values = evaluation.report(loaded, result, description)
        if json is not None:
            write_json(values, json)
    if json is None or str(json) != "-":
        show(values, stream.name)
    note_failures(result.failure_reasons, "crystals failed")


@contextmanager
def _folder(json: Path | None) -> Iterator[Path]:
    """The working folder: beside the output, or, where there is none to go on to, a temporary one."""
    if json is not None and str(json) != "-":
        yield work_beside(json)
    else:
        with TemporaryDirectory() as folder:
            try:
                yield Path(folder) / "parts"
            except KeyboardInterrupt:
                raise KeyboardInterrupt("Interrupted; with --json FILE the same command could go on.") from None


def show(values: dict[str, Any], name: str, *, method: str = "nesf", rows: Sequence[Sequence[str]] = ()) -> None:
    """Print the scores of a method on a data set, with what the paper reports for it.

    Args:
        values: what ``evaluate --json`` writes.
        name: the data set's.
        method: whose row of the paper is shown beside: "nesf" or "icsg3d".
        rows: further rows, each a label and the cells of ``score_rows``.
    """
    title = f"{values['model']} on {name}: {values['n']} crystals, {values['failures']} failed"
    shown: list[Sequence[str]] = [["this model", *score_rows(values)]]
    periodic = values["periodic"] | {"atoms_error_percent": None, "length_error": None, "angle_error": None}
    shown += [["  periodic", *score_rows(periodic)], *rows]
    table_of_paper = named(name)
    row = published(*table_of_paper, method) if table_of_paper is not None else None
    if row is not None:
        whose = "paper" if method == "nesf" else method.upper()
        shown.append([f"{whose} ({row.split})", *score_rows(dict(row.mean))])
    results.print(table(title, ["", *[column.title for column in COLUMNS]], shown))
    left_out = values["position_crystals_left_out"]
    results.print(
        f"positions cover {values['n'] - left_out} of {values['n']} crystals "
        f"({values['n_atoms_true']} true atoms, {values['n_atoms_found']} found); {left_out} left out"
    )
