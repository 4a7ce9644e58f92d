"""Crystals and their errors written to a folder, in every format that people open next."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.io.output import whole_file
from nesf.io.table import write_table
from nesf.io.writing import WRITING_TOLERANCE_ANGSTROM, safe_name, write_cif, write_extxyz


def write_folder(
    found: Iterable[Crystal | Failure],
    folder: str | Path,
    *,
    tolerance: float = WRITING_TOLERANCE_ANGSTROM,
    symmetrize: bool = True,
) -> list[Path]:
    """One CIF for each crystal, and all of them as ``crystals.extxyz`` and ``crystals.parquet``.

    Args:
        found: crystals; failures among them are passed over.
        folder: where; made if missing.
        tolerance: of the space group search for the CIFs, angstrom.
        symmetrize: whether the CIFs are snapped onto the space group found.

    Returns:
        The paths of the CIFs, ``<id>.cif``, in the order of the crystals.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    crystals = [one for one in found if isinstance(one, Crystal)]
    paths = [folder / f"{safe_name(crystal.id)}.cif" for crystal in crystals]
    for crystal, path in zip(crystals, paths, strict=True):
        write_cif(crystal, path, tolerance, symmetrize)
    if crystals:
        write_extxyz(crystals, folder / "crystals.extxyz")
        write_table(folder / "crystals.parquet", crystals)
    return paths


def write_rows(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write rows of equal keys as a csv file with a head."""
    with whole_file(path) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
