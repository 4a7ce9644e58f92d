"""``nesf evaluate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from nesf.cli.console import note_failures, parse, progress, results, score_rows, table, write_json
from nesf.metrics import COLUMNS, published


def evaluate(arguments: Sequence[str]) -> None:
    """The command ``nesf evaluate``."""
    parse(_evaluate, "evaluate", arguments)


def _evaluate(
    model: Positional[str], data: Positional[str], /, json: Path | None = None, literal: bool = False
) -> None:
    """Measure how well a model gives the crystals of a data set back, by the seven metrics of the paper.

    Distances are Euclidean over the atoms listed in the cells, as in the paper; the periodic variants
    (nearest image) are shown below. A crystal that is refused or not found counts as failed.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        json: write the metrics to this file (- for the standard output).
        literal: decode by the slow reference path.
    """
    from nesf import codec, evaluation
    from nesf.data.datasets import load_dataset

    loaded = codec.load(model)
    found = load_dataset(data)
    note_failures(found.failures, "entries could not be read")
    with progress("reconstructing", len(found.crystals)) as done:
        result = evaluation.evaluate(loaded, found.crystals, literal=literal, progress=done)
    description = {"name": found.name, "sha256": found.sha256, "unreadable": len(found.failures)}
    values = evaluation.report(loaded, result, description)
    if json is not None:
        write_json(values, json)
    if json is None or str(json) != "-":
        _show(values, found.name)
    note_failures(result.failure_reasons, "crystals failed")


def _show(values: dict[str, Any], name: str) -> None:
    title = f"{values['model']} on {name}: {values['n']} crystals, {values['failures']} failed"
    rows = [["this model", *score_rows(values)]]
    periodic = values["periodic"] | {"atoms_error_percent": None, "length_error": None, "angle_error": None}
    rows.append(["  periodic", *score_rows(periodic)])
    stem, _, split = name.removesuffix(".parquet").rpartition("_")
    row = published(stem, split) if (stem, split) in _SPLITS else None  # type: ignore[arg-type]
    if row is not None:
        rows.append([f"paper ({split})", *score_rows(dict(row.mean))])
    results.print(table(title, ["", *[column.title for column in COLUMNS]], rows))
    left_out = values["position_crystals_left_out"]
    results.print(
        f"positions cover {values['n'] - left_out} of {values['n']} crystals "
        f"({values['n_atoms_true']} true atoms, {values['n_atoms_found']} found); {left_out} left out"
    )


_SPLITS = [(dataset, split) for dataset in ("lcs6a", "icsg3d", "ybco_like") for split in ("train", "val", "test")]
