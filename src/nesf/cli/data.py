"""``nesf data import`` and ``nesf data info``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from nesf.cli.console import crystals_of, notes, parse, progress, results, show, table, write_json
from nesf.crystal import Crystal, Failure
from nesf.elements import symbol
from nesf.errors import NesfError
from nesf.io import Cell, iter_read, write_table


def import_(arguments: Sequence[str]) -> None:
    """The command ``nesf data import``."""
    parse(_import, "data import", arguments)


def info(arguments: Sequence[str]) -> None:
    """The command ``nesf data info``."""
    parse(_info, "data info", arguments)


def _import(
    sources: Annotated[Positional[tuple[Path, ...]], arg(metavar="SOURCE...")],
    /,
    out: Path,
    cell: Cell = "as-is",
    json: Path | None = None,
) -> None:
    """Read crystals from files or folders and write them to one Parquet table.

    Readable are CIF, POSCAR, extended XYZ, pymatgen JSON, Parquet tables, CDVAE csv and the released
    pickle folders. What cannot be read is listed and left out.

    Args:
        sources: files or folders.
        out: the table to write (.parquet).
        cell: the cell to store; the shipped model is trained on conventional standard cells.
        json: write what was read and left out to this file (- for the standard output).
    """
    if not sources:
        raise NesfError("Give at least one file or folder to import.")
    if out.suffix != ".parquet":
        raise NesfError(f"{out} does not end with .parquet, the format of the project's tables.")
    entries: list[Crystal | Failure] = []
    with progress("reading", 0) as done:
        for entry in iter_read(sources, cell):
            entries.append(entry)
            done(1)
    crystals, failures = crystals_of(entries)
    write_table(out, crystals)
    converted = sum("cell_conversion" in crystal.properties for crystal in crystals)
    remark = f", {converted} of them converted to the {cell} standard cell" if converted else ""
    notes.print(f"{len(crystals)} crystals{remark} written to {out}; {len(failures)} entries left out.", markup=False)
    if json is not None:
        left_out = [vars(failure) for failure in failures]
        write_json({"crystals": len(crystals), "converted": converted, "left_out": left_out, "out": str(out)}, json)


def _info(data: Positional[str], /, model: str = "lcs6a", json: Path | None = None) -> None:
    """Show what a data set holds, and what a model would leave out of it and why.

    Args:
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        model: a run folder, a weights file or the name of a shipped model.
        json: write the figures to this file (- for the standard output).
    """
    from nesf.codec import load
    from nesf.data.datasets import load_dataset

    found = load_dataset(data)
    codec = load(model)
    reasons = [(c, codec.refusal(c)) for c in found.crystals]
    left_out = [Failure(c.id, reason) for c, reason in reasons if reason is not None]
    lengths = np.stack([c.lengths for c in found.crystals])
    angles = np.degrees(np.stack([c.angles_rad for c in found.crystals]))
    atoms = np.array([len(c) for c in found.crystals])
    elements = Counter(symbol(z) for c in found.crystals for z in set(c.numbers.tolist()))
    right = np.isclose(angles, 90, atol=0.01).all(1)
    values = {
        "name": found.name,
        "sha256": found.sha256,
        "crystals": len(found.crystals),
        "unreadable": [vars(failure) for failure in found.failures],
        "elements": dict(elements.most_common()),
        "atoms_per_cell": {"min": int(atoms.min()), "mean": float(atoms.mean()), "max": int(atoms.max())},
        "lengths_angstrom": {"min": lengths.min(0).tolist(), "max": lengths.max(0).tolist()},
        "angles_deg": {"min": angles.min(0).tolist(), "max": angles.max(0).tolist()},
        "right_angled": int(right.sum()),
        "model": codec.card.name,
        "left_out": [vars(failure) for failure in left_out],
    }
    if json is not None:
        write_json(values, json)
    if json is None or str(json) != "-":
        _show_info(values, lengths, angles, atoms)


def _show_info(values: dict, lengths: np.ndarray, angles: np.ndarray, atoms: np.ndarray) -> None:  # type: ignore[type-arg]
    n = values["crystals"]
    results.print(f"{values['name']}: {n} crystals, sha256 {values['sha256'][:16]}…", markup=False)
    rows = [("atoms per cell", int(atoms.min()), float(np.median(atoms)), int(atoms.max()))]
    columns = [(f"{name} [Å]", lengths[:, i]) for i, name in enumerate("abc")]
    columns += [(f"{name} [°]", angles[:, i]) for i, name in enumerate(("α", "β", "γ"))]
    spans = [(name, float(v.min()), float(np.median(v)), float(v.max())) for name, v in columns]
    cells = [[name, *(show(x, 3) for x in span)] for name, *span in rows + spans]
    results.print(table("Cells", ["", "least", "median", "most"], cells))
    results.print(f"right-angled cells: {values['right_angled']} of {n}")
    elements = ", ".join(f"{name} {count}" for name, count in values["elements"].items())
    results.print(f"crystals by element ({len(values['elements'])}): {elements}", markup=False)
    for title, key in (("cannot be read", "unreadable"), (f"would be left out by {values['model']}", "left_out")):
        results.print(f"\n{len(values[key])} of {n + len(values['unreadable'])} {title}", markup=False)
        kinds = Counter(_kind(row["reason"]) for row in values[key])
        example = {_kind(row["reason"]): row for row in reversed(values[key])}
        for kind, count in kinds.most_common(12):
            row = example[kind]
            results.print(f"  {count:6d}  such as {row['id']}: {row['reason']}", markup=False)


def _kind(reason: str) -> str:
    """A reason without its numbers, so that crystals of one kind are counted together."""
    import re

    return re.sub(r"-?\d+(\.\d+)?", "#", reason)
