"""Crystals and their errors written to a folder, in every format that people open next."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.table import write_table
from nesf.io.writing import WRITING_TOLERANCE_ANGSTROM, safe_name, write_cif, write_extxyz
from nesf.output import whole_file


@dataclass(frozen=True)
class Destination:
    """Where the results of a command go: into a folder, or, where the path ends so, into one Parquet table.

    Attributes:
        out: the path given.
        table: the crystals found.
        errors: errors of each crystal.
        left_out: entries of the input without a result, and why.
        extxyz: the crystals found, or None where only the table is wanted.
        work: the working folder, until the command has ended.

    >>> Destination.of("runs/z.parquet").left_out.as_posix(), Destination.of("runs/found").table.as_posix()
    ('runs/z.left_out.csv', 'runs/found/crystals.parquet')
    """

    out: Path
    table: Path
    errors: Path
    left_out: Path
    extxyz: Path | None
    work: Path

    @classmethod
    def of(cls, out: str | Path) -> "Destination":
        """The files that belong to an output path."""
        out = Path(out)
        if out.suffix == ".parquet":
            errors, left_out = out.with_suffix(".errors.csv"), out.with_suffix(".left_out.csv")
            return cls(out, out, errors, left_out, None, work_beside(out))
        crystals = [out / f"crystals{ending}" for ending in (".parquet", ".extxyz")]
        return cls(out, crystals[0], out / "errors.csv", out / "left_out.csv", crystals[1], out / ".parts")

    @property
    def crystals(self) -> tuple[Path, ...]:
        """The files of crystals."""
        return (self.table,) if self.extxyz is None else (self.table, self.extxyz)


def refuse_to_replace(out: Path, inputs: Iterable[Path]) -> None:
    """Raise ``NesfError`` where an output is one of the inputs, which it would replace."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise NesfError(f"{out} is the input; choose another --out, or it would be replaced.")


def work_beside(file: Path) -> Path:
    """The working folder of a command that writes a file."""
    return file.with_name(f".{file.name}.parts")


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
        symmetrize: whether the CIFs are projected onto the space group found.

    Returns:
        The paths of the CIFs, ``<id>.cif``, in the order of the crystals.
    """
    folder = Path(folder)
    crystals = [one for one in found if isinstance(one, Crystal)]
    paths = write_cifs(crystals, folder, tolerance=tolerance, symmetrize=symmetrize)
    if crystals:
        write_extxyz(crystals, folder / "crystals.extxyz")
        write_table(folder / "crystals.parquet", crystals)
    return paths


def write_cifs(
    found: Iterable[Crystal | Failure],
    folder: Path,
    *,
    tolerance: float = WRITING_TOLERANCE_ANGSTROM,
    symmetrize: bool = True,
) -> list[Path]:
    """The CIFs of ``write_folder`` alone."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for crystal in found:
        if isinstance(crystal, Crystal):
            paths.append(folder / f"{safe_name(crystal.id)}.cif")
            write_cif(crystal, paths[-1], tolerance, symmetrize)
    return paths


def write_rows(rows: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Write rows of equal keys, of which there must be one, as a csv file with a head; see ``inert``."""
    rows = ({key: inert(value) for key, value in row.items()} for row in rows)
    first = next(rows)
    with whole_file(path) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerows(chain([first], rows))


def inert(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: a text that begins like one gets an apostrophe before it.

    >>> inert("mp-1"), inert("=cmd|' /C calc'!A0"), inert("-0.5"), inert(-0.5)
    ('mp-1', "'=cmd|' /C calc'!A0", '-0.5', -0.5)
    """
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    return value if re.fullmatch(r"[+-][0-9.eE+-]*", value) else f"'{value}"


def write_left_out(failures: Iterable[Failure], path: Path) -> None:
    """Write ids and reasons as a csv file; where there are none, no such file is there afterwards."""
    failures = iter(failures)
    first = next(failures, None)
    if first is None:
        path.unlink(missing_ok=True)
    else:
        write_rows(map(vars, chain([first], failures)), path)
