"""``nesf encode``, ``nesf decode`` and ``nesf reconstruct``."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from rich.markup import escape
from tyro.conf import Positional, arg

from nesf import streams
from nesf.cli.console import (
    Model,
    check_table,
    counted,
    note_failures,
    notes,
    parse,
    results,
    score_rows,
    table,
    write_json,
)
from nesf.cli.jobs import account, begin, chunk_size, run, source_of
from nesf.codec import Codec, load
from nesf.crystal import Crystal, Failure
from nesf.elements import formula
from nesf.errors import NesfError
from nesf.io import Cell, LatentsFile, Source, open_latents, write_extxyz
from nesf.io.export import Destination, refuse_to_replace, work_beside, write_cifs, write_left_out, write_rows
from nesf.io.files import stamp_of
from nesf.io.latents import write_latent_batches
from nesf.io.structures import is_oblique, other_cell
from nesf.io.symmetry import check_tolerance
from nesf.io.table import write_geometry
from nesf.jobs import Job, chunks
from nesf.metrics import COLUMNS
from nesf.output import settle
from nesf.precision import best_device

Inputs = Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT...")]
Done = Callable[[int], None]
# How refusals begin that another cell of the same lattice may mend.
_OF_CELL = ("Its cell", "A lattice vector of its cell")
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
    model: Positional[Model], inputs: Inputs, /, out: Path, cell: Cell = "as-is", json: Path | None = None
) -> None:
    """Turn crystals into latent vectors, in a Parquet table with the columns material_id and z.

    Crystals that the model cannot take are listed with the reason, also in OUT.left_out.csv, and left out. Any
    number of crystals will do, and after an interruption the same command goes on.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        inputs: files or folders with crystals, or textbook (embedded).
        out: the table to write (.parquet).
        cell: convert the crystals to this cell first; universal takes any, lcs6a-paper conventional standard cells.
        json: write what was encoded and left out to this file (- for the standard output).
    """
    check_table(out)
    codec = load(model, best_device())
    refuse_to_replace(out, inputs)
    source = _source(inputs, cell)
    with begin(work_beside(out), "encode", codec, source.stamp, out) as job:
        others = OtherCells(codec, cell)

        def work(chunk: list[streams.Entry], done: Done) -> tuple[pa.Table, None]:
            rows = streams.encode(codec, chunk)
            done(len(chunk))
            return others.beside(rows, chunk), None

        entries = source.entries(job.done, streams.ids(job))
        run(job, "encoding", source.expected, chunks(entries, chunk_size(codec)), work, source.stamp)
        account(job, out.with_suffix(".left_out.csv"))
        _note_remarks(job)
        _note_refused(codec, job, cell)
        count = sum(1 for _ in streams.ids(job, encoded=True))
        if not count:
            total = sum(1 for _ in streams.ids(job))
            job.finish()
            raise NesfError(f"The model {codec.card.name} can take none of the {total} crystals.")
        write_latent_batches(out, streams.latents(job, codec.latent), codec.latent, codec.card.name, codec.fingerprint)
        notes.print(f"{count} crystals encoded to {out}; {job.done - count} left out.", markup=False)
        if json is not None:
            left_out = [vars(failure) for failure in streams.left_out(job)]
            write_json({"encoded": list(streams.ids(job, encoded=True)), "left_out": left_out, "out": str(out)}, json)


def _decode(
    model: Positional[Model],
    latents: Annotated[Positional[Path], arg(metavar="Z.parquet")],
    /,
    out: Path,
    cifs: bool = True,
    symmetrize: float | None = None,
    literal: bool = False,
    json: Path | None = None,
) -> None:
    """Turn latent vectors into crystals: a CIF for each, and all as extended XYZ and Parquet.

    Any number of vectors will do, and after an interruption the same command goes on. For many, give an output that
    ends in .parquet, or --no-cifs: the space group search for a CIF takes longer than decoding.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        latents: a table written by nesf encode.
        out: the folder to write to, or a file .parquet for the table of crystals alone.
        cifs: write a CIF for each crystal (into a folder).
        symmetrize: project each crystal onto the space group found within so many angstrom, in its own cell, and
            write that to all files. By default only the CIFs have it, found within the model's own tolerance
            (0.01; the paper's network 0.2); with 0 not even they.
        literal: decode by the slow reference path.
        json: write what was decoded and what failed to this file (- for the standard output).
    """
    check_tolerance(symmetrize or 0.0)
    codec = load(model, best_device())
    refuse_to_replace(out, [latents])
    given = open_latents(latents)
    _check_origin(codec, given)
    to = Destination.of(out)
    style = {"cifs": cifs and to.extxyz is not None, "symmetrize": symmetrize}

    def stamp() -> str:
        return stamp_of([latents])

    with begin(to.work, "decode", codec, stamp, to.table, literal=literal, **style) as job:

        def work(chunk: tuple[list[str], Any], done: Done) -> tuple[pa.Table, None]:
            ids, z = chunk
            found = codec.decode(z, ids, literal=literal, symmetrize=symmetrize or 0.0, progress=done)
            if style["cifs"]:
                _write_cifs(found, out, symmetrize, codec.tolerance)
            return streams.decoded(found), None

        run(job, "decoding", given.n, given.batches(chunk_size(codec, literal), job.done), work, stamp)
        count = _write_crystals(job, to)
        write_left_out(streams.left_out(job), to.left_out)
        note_failures(streams.left_out(job), "crystals were not found")
        notes.print(f"{count} crystals written to {out}.", markup=False)
        _note_others(to, count if style["cifs"] else 0, to.errors, *([] if count else to.crystals))
        if json is not None:
            failures = [vars(failure) for failure in streams.left_out(job)]
            write_json({"decoded": list(_formulas(job)), "failures": failures, "out": str(out)}, json)
    _check_any(count, to.left_out)


def _reconstruct(
    model: Positional[Model],
    inputs: Inputs,
    /,
    out: Path,
    cell: Cell = "as-is",
    cifs: bool = True,
    symmetrize: float | None = None,
    literal: bool = False,
    json: Path | None = None,
) -> None:
    """Encode crystals and decode them again: CIFs of what comes back, and a table of errors.

    Any number of crystals will do, and after an interruption the same command goes on. For many, give an output that
    ends in .parquet, or --no-cifs: the space group search for a CIF takes longer than decoding.

    Args:
        model: a run folder, a weights file or the name of a shipped model.
        inputs: files or folders with crystals, or textbook (embedded).
        out: the folder to write to: CIFs, crystals.extxyz, crystals.parquet, errors.csv, left_out.csv; or a file
            .parquet for the table of crystals, with .errors.csv and .left_out.csv beside it.
        cell: convert the crystals to this cell first; universal takes any, lcs6a-paper conventional standard cells.
        cifs: write a CIF for each crystal (into a folder).
        symmetrize: project each crystal onto the space group found within so many angstrom, in its own cell; all files
            and errors are then of that. By default only the CIFs have it, found within the model's own tolerance
            (0.01; the paper's network 0.2); with 0 not even they.
        literal: decode by the slow reference path.
        json: write errors and metrics to this file (- for the standard output).
    """
    check_tolerance(symmetrize or 0.0)
    codec = load(model, best_device())
    refuse_to_replace(out, inputs if out.suffix else ())
    source = _source(inputs, cell)
    to = Destination.of(out)
    style = {"cifs": cifs and to.extxyz is not None, "symmetrize": symmetrize}
    with begin(to.work, "reconstruct", codec, source.stamp, to.table, literal=literal, **style) as job:
        others = OtherCells(codec, cell)

        def work(chunk: list[streams.Entry], done: Done) -> tuple[pa.Table, dict[str, Any]]:
            found, rows, tally = streams.reconstruct(codec, chunk, literal, done, symmetrize or 0.0)
            if style["cifs"]:
                _write_cifs(found, out, symmetrize, codec.tolerance)
            return others.beside(rows, chunk), tally.to_dict()

        pieces = chunks(source.entries(job.done, streams.ids(job)), chunk_size(codec, literal))
        run(job, "reconstructing", source.expected, pieces, work, source.stamp)
        account(job, to.left_out)
        _note_remarks(job)
        count = _write_crystals(job, to)
        write_rows(streams.errors(job), to.errors)
        _show_all(job, to, json)
        _note_refused(codec, job, cell)
        notes.print(f"{counted(count, 'crystals')} written to {out}, errors to {to.errors}.", markup=False)
        _note_others(to, count if style["cifs"] else 0, *([] if count else to.crystals))
    _check_any(count, to.left_out)


def _show_all(job: Job, to: Destination, json: Path | None) -> None:
    values = streams.total(job).to_dict()
    if json is not None:
        unread = [vars(failure) for failure in streams.left_out(job, read=False)]
        write_json(
            {"crystals": list(streams.errors(job)), "score": values, "unreadable": unread, "out": str(to.out)}, json
        )
    if json is None or str(json) != "-":
        show_errors(streams.errors(job), to.errors)
        lost = f", {values['failures']} of them refused or not found" if values["failures"] else ""
        title = f"All together: {counted(values['n'], 'crystals')}{lost}"
        results.print(table(title, [c.title for c in COLUMNS], [score_rows(values)], numbers_from=0))


def show_errors(rows: Iterable[dict[str, Any]], where: Path, most: int = 60) -> None:
    """Print the errors of the crystals that were found, as many as one cares to read."""
    heads = ["id", "atoms", "found", "position [Å]", "species wrong [%]", "length [Å]", "angle [°]"]
    keys = ["id", "n_true", "n_found", "position_actual", "species_actual_percent", "length_error", "angle_error"]
    there = (row for row in rows if row["ok"])
    results.print(table("Crystals", heads, [[row[key] for key in keys] for row in islice(there, most)]))
    if further := sum(1 for _ in there):
        results.print(f"... and {further} more, all of them in {where}", markup=False)


def _write_cifs(found: Iterable[streams.Entry], folder: Path, symmetrize: float | None, usual: float) -> None:
    """CIFs in the space group that the crystals were projected onto; where they were not, in that found as usual."""
    write_cifs(found, folder, tolerance=symmetrize or usual, symmetrize=symmetrize != 0)
    settle(folder)  # before the part that says that they are there


def _write_crystals(job: Job, to: Destination) -> int:
    """Write the crystals that were found; returns how many."""
    count = job.done - sum(1 for _ in streams.left_out(job))
    if count and to.extxyz is not None:
        write_extxyz(streams.crystals(job), to.extxyz)
    if count or to.extxyz is None:
        write_geometry(to.table, streams.geometry(job))
    return count


def _note_others(to: Destination, cifs: int, *others: Path) -> None:
    """Say what an earlier command has left in the folder, in which this one has written so many CIFs."""
    if to.extxyz is None:
        return
    further = sum(1 for _ in to.out.glob("*.cif")) - cifs
    left = [f"{further} CIF{'s' * (further > 1)}"] if further > 0 else []
    left += [path.name for path in others if path.exists()]
    if left:
        notes.print(f"[yellow]Left in {escape(str(to.out))} by an earlier command: {', '.join(left)}.[/yellow]")


def _check_any(count: int, reasons: Path) -> None:
    """Raise ``NesfError`` where nothing was found, so that a script notices."""
    if not count:
        raise NesfError(f"No crystal was found; {reasons} says why.")


def _formulas(job: Job) -> Iterator[dict[str, str]]:
    for rows in job.parts(["material_id", "numbers"]):
        for row in rows.filter(rows["numbers"].is_valid()).to_pylist():
            yield {"id": row["material_id"], "formula": formula(row["numbers"])}


def _source(inputs: Sequence[Path], cell: Cell) -> Source:
    if not inputs:
        raise NesfError("Give at least one file or folder with crystals.")
    return source_of(inputs, cell)


class OtherCells:
    """Finds the oblique cells that are not conventional ones: a model for those would not know them.

    A model's domain cannot tell: a primitive cell of 60 degrees and a conventional triclinic one look alike.
    """

    def __init__(self, codec: Codec, cell: Cell) -> None:
        wanted = codec.card.domain.setting == "conventional" and cell == "as-is"
        self._left = MOST_CHECKED if wanted else 0

    def beside(self, rows: pa.Table, entries: Sequence[streams.Entry]) -> pa.Table:
        """The rows with a remark on each cell that is another than its conventional one."""
        remarks = [self._remark(entry) if isinstance(entry, Crystal) else None for entry in entries]
        return rows.append_column("remark", pa.array(remarks, pa.string()))

    def _remark(self, crystal: Crystal) -> str | None:
        if not self._left or not is_oblique(crystal):
            return None
        self._left -= 1
        other = other_cell(crystal)
        return other and f"{other}."


def _note_remarks(job: Job) -> None:
    parts = (rows.filter(rows["remark"].is_valid()).to_pylist() for rows in job.parts(["material_id", "remark"]))
    other = (Failure(row["material_id"], row["remark"]) for rows in parts for row in rows)
    note_failures(other, "crystals are not in their conventional cell; with --cell conventional they are converted")


def _note_refused(codec: Codec, job: Job, cell: Cell) -> None:
    note_failures(
        streams.left_out(job, read=True), f"crystals were refused or not found by the model {codec.card.name}"
    )
    reasons = (failure.reason for failure in streams.left_out(job, read=True))
    if cell == "as-is" and any(reason.startswith(_OF_CELL) for reason in reasons):
        notes.print("Another cell of the same crystal may do: --cell conventional or --cell primitive converts.")


def _check_origin(codec: Codec, given: LatentsFile) -> None:
    if given.model_hash and given.model_hash != codec.fingerprint:
        raise NesfError(
            f"{given.path} was made by another model ({given.model}, {given.model_hash[:12]}…) than {codec.card.name} "
            f"({codec.fingerprint[:12]}…); latent vectors can be decoded only by the model that made them."
        )
