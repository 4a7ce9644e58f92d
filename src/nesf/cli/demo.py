"""``nesf demo``."""

from collections.abc import Sequence
from pathlib import Path

from nesf.cli.console import DEFAULT_MODEL, Model, parse, progress, results, score_rows, show, table, write_json
from nesf.lock import alone
from nesf.metrics import COLUMNS


def demo(arguments: Sequence[str]) -> None:
    """The command ``nesf demo``."""
    parse(_demo, "demo", arguments)


def _demo(
    out: Path = Path("nesf-demo"),
    model: Model = DEFAULT_MODEL,
    tolerance: float | None = None,
    json: Path | None = None,
) -> None:
    """Reconstruct the embedded textbook crystals: each becomes 192 numbers and a crystal again.

    Args:
        out: the folder for CIFs, crystals.extxyz, crystals.parquet, errors.csv and the picture.
        model: a run folder, a weights file or the name of a shipped model.
        tolerance: of the space group search, angstrom; by default what fits the model's errors.
        json: write table and metrics to this file (- for the standard output).
    """
    from nesf import codec, demo

    with alone(out / demo.TABLE), progress("reconstructing", 0) as done:
        found = demo.demo(codec.load(model), out, tolerance=tolerance, progress=done)
    values, summary = found.score.to_dict(), found.summary()
    if json is not None:
        write_json(
            {
                "summary": summary,
                "crystals": found.rows,
                "refused": [vars(failure) for failure in found.refused],
                "score": values,
            },
            json,
        )
    if json is not None and str(json) == "-":
        return
    results.print(
        table(
            "Textbook crystals, each from its 192 numbers (mean errors of positions x, species and lengths a)",
            ["id", "group", "group found", "atoms", "atoms found", "x [Å]", "species [%]", "a [Å]"],
            [
                [
                    row["id"],
                    row["space_group_true"],
                    row["space_group_found"],
                    row["n_true"],
                    row["n_found"],
                    show(row["position_actual"], 4),
                    show(row["species_actual_percent"], 0),
                    show(row["length_error"], 3),
                ]
                for row in found.rows
            ],
            numbers_from=3,
        )
    )
    results.print(table("Outside the model's range", ["id", "reason"], [[f.id, f.reason] for f in found.refused], 2))
    results.print(table("All together", [column.title for column in COLUMNS], [score_rows(values)], numbers_from=0))
    results.print(
        f"Of {summary['crystals']} crystals the model covers {summary['covered']}; {summary['right_atoms']} come "
        f"back with the right atoms, {summary['right_space_group']} with their space group; median position error "
        f"{show(summary['median_position'])} Å."
    )
    files = [f"{len(found.cifs)} CIFs", "crystals.extxyz", "crystals.parquet"] if found.cifs else []
    files += [found.picture.name]
    results.print(f"{', '.join(files)} and {demo.TABLE} written to {out}", markup=False)
