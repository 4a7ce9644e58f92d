"""``nesf encode``, ``nesf decode`` and ``nesf reconstruct``."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from nesf.cli.console import crystals_of, note_failures, notes, parse, progress, results, score_rows, table, write_json
from nesf.codec import Codec, load
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import Cell, Latents, convert, read, read_latents, write_latents
from nesf.io.export import write_folder, write_rows
from nesf.io.writing import WRITING_TOLERANCE_ANGSTROM
from nesf.metrics import COLUMNS, per_crystal_table, score

Inputs = Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT...")]
ERRORS = "errors.csv"
OBLIQUE_RAD = 0.01
"""Angles farther than this from a right one make a cell oblique."""
MOST_CHECKED = 500
"""Oblique cells that are compared with their conventional ones; finding each of these takes some milliseconds."""


def encode(arguments: Sequence[str]) -> None:
    """The command ``nesf encode``."""
    parse(_encode, "encode", arguments)


def decode(arguments: Sequence[str]) -> None:
    """The command ``nesf decode``."""
    parse(_decode, "decode", arguments)


def reconstruct(arguments: Sequence[str]) -> None:
    """The command ``nesf reconstruct``."""
    parse(_reconstruct, "reconstruct", arguments)


def _encode(
    model: Positional[str], inputs: Inputs, /, out: Path, cell: Cell = "as-is", json: Path | None = None
) -> None:
    """Turn crystals into latent vectors, in a Parquet table with the columns material_id and z.

    Crystals that the model cannot take are listed with the reason and left out.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        inputs: files or folders with crystals.
        out: the table to write (.parquet).
        cell: convert the crystals to this cell first; the shipped model wants conventional standard cells.
        json: write what was encoded and left out to this file (- for the standard output).
    """
    codec = load(model)
    crystals, unreadable = _read(inputs, cell)
    refused = [Failure(c.id, reason) for c in crystals if (reason := codec.refusal(c)) is not None]
    names = {failure.id for failure in refused}
    taken = [crystal for crystal in crystals if crystal.id not in names]
    _note_refused(codec, refused, cell)
    if not taken:
        raise NesfError(f"The model {codec.card.name} can take none of the {len(crystals)} crystals.")
    write_latents(out, [crystal.id for crystal in taken], codec.encode(taken), codec.card.name, codec.fingerprint)
    notes.print(f"{len(taken)} crystals encoded to {out}; {len(refused) + len(unreadable)} left out.", markup=False)
    if json is not None:
        left_out = [vars(failure) for failure in [*unreadable, *refused]]
        write_json({"encoded": [crystal.id for crystal in taken], "left_out": left_out, "out": str(out)}, json)


def _decode(
    model: Positional[str],
    latents: Annotated[Positional[Path], arg(metavar="Z.parquet")],
    /,
    out: Path,
    tolerance: float = WRITING_TOLERANCE_ANGSTROM,
    symmetrize: bool = True,
    literal: bool = False,
    json: Path | None = None,
) -> None:
    """Turn latent vectors into crystals: a CIF for each, and all as extended XYZ and Parquet.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        latents: a table written by nesf encode.
        out: the folder to write to.
        tolerance: of the space group search for the CIFs, angstrom.
        symmetrize: snap the CIFs onto the space group found; otherwise they list the atoms as decoded, in P 1.
        literal: decode by the slow reference path.
        json: write what was decoded and what failed to this file (- for the standard output).
    """
    codec = load(model)
    given = read_latents(latents)
    _check_origin(codec, given, latents)
    with progress("decoding", len(given.ids)) as done:
        found = codec.decode(given.z, given.ids, literal=literal, progress=done)
    cifs = write_folder(found, out, tolerance=tolerance, symmetrize=symmetrize)
    failures = [one for one in found if isinstance(one, Failure)]
    note_failures(failures, "crystals were not found")
    notes.print(f"{len(cifs)} crystals written to {out}.", markup=False)
    if json is not None:
        decoded = [{"id": c.id, "formula": c.formula} for c in found if isinstance(c, Crystal)]
        write_json({"decoded": decoded, "failures": [vars(f) for f in failures], "out": str(out)}, json)


def _reconstruct(
    model: Positional[str],
    inputs: Inputs,
    /,
    out: Path,
    cell: Cell = "as-is",
    tolerance: float = WRITING_TOLERANCE_ANGSTROM,
    symmetrize: bool = True,
    literal: bool = False,
    json: Path | None = None,
) -> None:
    """Encode crystals and decode them again: CIFs of what comes back, and a table of errors.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        inputs: files or folders with crystals.
        out: the folder to write to: CIFs, crystals.extxyz, crystals.parquet, errors.csv.
        cell: convert the crystals to this cell first; the shipped model wants conventional standard cells.
        tolerance: of the space group search for the CIFs, angstrom.
        symmetrize: snap the CIFs onto the space group found; otherwise they list the atoms as decoded, in P 1.
        literal: decode by the slow reference path.
        json: write errors and metrics to this file (- for the standard output).
    """
    codec = load(model)
    crystals, unreadable = _read(inputs, cell)
    with progress("reconstructing", len(crystals)) as done:
        found = codec.reconstruct(crystals, literal=literal, progress=done)
    pairs = list(zip(crystals, found, strict=True))
    rows = per_crystal_table(pairs)
    cifs = write_folder(found, out, tolerance=tolerance, symmetrize=symmetrize)
    write_rows(rows, out / ERRORS)
    values = score(pairs).to_dict()
    if json is not None:
        unread = [vars(failure) for failure in unreadable]
        write_json({"crystals": rows, "score": values, "unreadable": unread, "out": str(out)}, json)
    if json is None or str(json) != "-":
        show_errors(rows)
        results.print(table("All together", [c.title for c in COLUMNS], [score_rows(values)], numbers_from=0))
    _note_refused(codec, [one for one in found if isinstance(one, Failure)], cell)
    notes.print(f"{len(cifs)} crystals and {ERRORS} written to {out}.", markup=False)


def show_errors(rows: Sequence[dict], most: int = 60) -> None:  # type: ignore[type-arg]
    """Print the errors of each crystal that was found."""
    heads = ["id", "atoms", "found", "position [Å]", "species wrong [%]", "length [Å]", "angle [°]"]
    keys = ["id", "n_true", "n_found", "position_actual", "species_actual_percent", "length_error", "angle_error"]
    there = [row for row in rows if row["ok"]]
    results.print(table("Crystals", heads, [[row[key] for key in keys] for row in there[:most]]))
    if len(there) > most:
        results.print(f"... and {len(there) - most} more, all of them in {ERRORS}")


def _read(inputs: Sequence[Path], cell: Cell) -> tuple[list[Crystal], list[Failure]]:
    if not inputs:
        raise NesfError("Give at least one file or folder with crystals.")
    crystals, failures = crystals_of(read(inputs, cell))
    if cell == "as-is":
        _note_other_cells(crystals)
    return crystals, failures


def _note_other_cells(crystals: Sequence[Crystal]) -> None:
    """Say which oblique cells are not conventional ones: a model trained on those would not know them.

    A model's domain cannot tell: a primitive cell of 60 degrees and a conventional triclinic one look alike.
    """
    oblique = [c for c in crystals if abs(c.angles_rad - math.pi / 2).max() > OBLIQUE_RAD]
    other = []
    for crystal in oblique[:MOST_CHECKED]:
        try:
            standard = convert(crystal, "conventional")
        except NesfError:
            continue
        if len(standard) != len(crystal):
            other.append(Failure(crystal.id, f"It has {len(crystal)} atoms, its conventional cell {len(standard)}."))
    note_failures(other, "crystals are not in their conventional cell; with --cell conventional they are converted")


def _note_refused(codec: Codec, failures: Sequence[Failure], cell: Cell) -> None:
    note_failures(failures, f"crystals were refused or not found by the model {codec.card.name}")
    if cell == "as-is" and any("cell" in failure.reason for failure in failures):
        notes.print("Another cell of the same crystal may do: --cell conventional or --cell primitive converts.")


def _check_origin(codec: Codec, given: Latents, path: Path) -> None:
    if given.model_hash and given.model_hash != codec.fingerprint:
        raise NesfError(
            f"{path} was made by another model ({given.model}, {given.model_hash[:12]}…) than {codec.card.name} "
            f"({codec.fingerprint[:12]}…); latent vectors can be decoded only by the model that made them."
        )
