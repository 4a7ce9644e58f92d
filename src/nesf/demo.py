"""The first thing a new user runs: the embedded crystals, given back by the shipped model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import load_dataset
from nesf.io import space_group
from nesf.io.export import write_folder, write_rows
from nesf.metrics import Score, per_crystal_table, score
from nesf.output import whole_file

PICTURE, TABLE = "structures.png", "errors.csv"


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Attributes:
        rows: one row of errors for each crystal that the model covers, with formula, structure type,
            and the space groups of the true and the found crystal.
        refused: the crystals that the model does not cover, with the reason.
        score: the metrics over the covered crystals.
        cifs: the CIFs written.
        picture: the picture written.
    """

    rows: list[dict[str, Any]]
    refused: list[Failure]
    score: Score
    cifs: list[Path]
    picture: Path

    def summary(self) -> dict[str, Any]:
        """How many crystals there are, are covered, come back with the right atoms and with their space group.

        With the median over the covered crystals of the mean position error, angstrom.
        """
        there = [row for row in self.rows if row["ok"]]
        atoms = [r for r in there if r["n_true"] == r["n_found"] and r["species_actual_percent"] == 0]
        groups = [row for row in there if row["space_group_true"] == row["space_group_found"]]
        return {
            "crystals": len(self.rows) + len(self.refused),
            "covered": len(self.rows),
            "right_atoms": len(atoms),
            "right_space_group": len(groups),
            "median_position": median(row["position_actual"] for row in there) if there else None,
        }


def demo(
    model: Codec, folder: Path, *, tolerance: float | None = None, progress: Callable[[int], None] | None = None
) -> Demo:
    """Reconstruct the ``textbook`` crystals that a model covers; write CIFs, table and one picture into a folder.

    Args:
        model: the model.
        folder: where the files go.
        tolerance: of the space group search in what was found, angstrom; by default the model's own.
        progress: called with the number of crystals done since its last call.
    """
    from nesf.plots import reconstructions

    tolerance = model.tolerance if tolerance is None else tolerance
    crystals = load_dataset("textbook").crystals
    reasons = {crystal.id: model.refusal(crystal) for crystal in crystals}
    refused = [Failure(name, reason) for name, reason in reasons.items() if reason is not None]
    covered = [crystal for crystal in crystals if reasons[crystal.id] is None]
    found = model.reconstruct(covered, progress=progress)
    pairs = list(zip(covered, found, strict=True))
    rows = [
        _described(row, true, one, tolerance) for row, (true, one) in zip(per_crystal_table(pairs), pairs, strict=True)
    ]
    cifs = write_folder(found, folder, tolerance=tolerance)
    write_rows(rows, folder / TABLE)
    picture = folder / PICTURE
    figure = reconstructions([(true, one) for true, one in pairs if isinstance(one, Crystal)])
    with whole_file(picture) as path:
        figure.savefig(path, format="png", dpi=110)
    return Demo(rows, refused, score(pairs), cifs, picture)


def _described(row: dict[str, Any], true: Crystal, found: Crystal | Failure, tolerance: float) -> dict[str, Any]:
    return {
        **row,
        "name": true.properties.get("name"),
        "structure_type": true.properties.get("structure_type"),
        "formula_true": true.formula,
        "formula_found": found.formula if isinstance(found, Crystal) else None,
        "space_group_true": space_group(true).symbol,
        "space_group_found": space_group(found, tolerance).symbol if isinstance(found, Crystal) else None,
    }
