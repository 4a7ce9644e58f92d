"""One chunk of crystals encoded, decoded or both, as the rows that a job keeps; and what the kept rows add up to.

Every entry of the input has one row: ``material_id``; ``read``, whether there was a crystal at all; and ``reason``, why
it has no result, or null. The result stands beside them: ``z``, the geometry found, the errors.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.io.table import GEOMETRY, crystals_in, geometry_columns
from nesf.jobs import Job
from nesf.metrics import Score, Tally, errors_row

Entry = Crystal | Failure
Progress = Callable[[int], None]

ERRORS = {
    "n_true": pa.int64(),
    "n_found": pa.int64(),
    "position_actual": pa.float64(),
    "position_detected": pa.float64(),
    "species_actual_percent": pa.float64(),
    "species_detected_percent": pa.float64(),
    "length_error": pa.float64(),
    "angle_error": pa.float64(),
    "ok": pa.bool_(),
    "reason": pa.string(),
}
"""The columns of ``metrics.per_crystal_table`` without the id."""


def encode(codec: Codec, entries: Sequence[Entry]) -> pa.Table:
    """The latent vectors of a chunk: rows with ``z``, null where an entry is no crystal or is refused."""
    reasons = [codec.refusal(entry) if isinstance(entry, Crystal) else entry.reason for entry in entries]
    pairs = zip(entries, reasons, strict=True)
    taken = [entry for entry, reason in pairs if reason is None and isinstance(entry, Crystal)]
    flat = codec.encode_taken(taken).ravel()
    counts = [codec.latent if reason is None else 0 for reason in reasons]
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))
    lost = pa.array([reason is not None for reason in reasons], pa.bool_())
    columns = {
        "material_id": pa.array([entry.id for entry in entries], pa.string()),
        "read": _read(entries),
        "reason": pa.array(reasons, pa.string()),
        "z": pa.ListArray.from_arrays(offsets, pa.array(flat), mask=lost),
    }
    return pa.table(columns)


def decoded(found: Sequence[Entry]) -> pa.Table:
    """What was decoded from a chunk of latent vectors: rows with the geometry found, null where there is none."""
    reasons = [entry.reason if isinstance(entry, Failure) else None for entry in found]
    read = pa.array([True] * len(found), pa.bool_())
    return pa.table({**geometry_columns(found), "read": read, "reason": pa.array(reasons, pa.string())})


def reconstruct(
    codec: Codec, entries: Sequence[Entry], literal: bool, progress: Progress, symmetrize: float = 0.0
) -> tuple[list[Entry], pa.Table, Tally]:
    """A chunk encoded and decoded: what was found for each entry, rows with geometry and errors, and their tally."""
    crystals = [entry for entry in entries if isinstance(entry, Crystal)]
    progress(len(entries) - len(crystals))
    answers = iter(codec.reconstruct(crystals, literal=literal, symmetrize=symmetrize, progress=progress))
    found: list[Entry] = [next(answers) if isinstance(entry, Crystal) else entry for entry in entries]
    tally = Tally()
    errors: list[dict[str, Any]] = []
    for entry, one in zip(entries, found, strict=True):
        errors.append(errors_row(tally.add(entry, one)) if isinstance(entry, Crystal) else {"reason": entry.reason})
    columns = {name: pa.array([row.get(name) for row in errors], kind) for name, kind in ERRORS.items()}
    return found, pa.table({**geometry_columns(found), "read": _read(entries), **columns}), tally


def left_out(job: Job, read: bool | None = None) -> Iterator[Failure]:
    """The entries of a job that have no result: those that could be read, those that could not, or all."""
    for rows in job.parts(["material_id", "read", "reason"]):
        for row in rows.filter(rows["reason"].is_valid()).to_pylist():
            if read is None or row["read"] == read:
                yield Failure(row["material_id"], row["reason"])


def ids(job: Job, encoded: bool = False) -> Iterator[str]:
    """The ids of the crystals that a job has read, or of those among them that have a result."""
    for rows in job.parts(["material_id", "read", "reason"]):
        wanted = rows["reason"].is_null() if encoded else rows["read"]
        yield from rows.filter(wanted)["material_id"].to_pylist()


def latents(job: Job, width: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """The ids and latent vectors of a job, part by part."""
    for rows in job.parts(["material_id", "z"]):
        taken = rows.filter(rows["z"].is_valid())
        flat = taken["z"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        yield taken["material_id"].to_pylist(), flat.reshape(-1, width).astype(np.float32, copy=False)


def geometry(job: Job) -> Iterator[pa.Table]:
    """The rows of a job as far as they are columns of a table of crystals, part by part."""
    return job.parts(list(GEOMETRY))


def crystals(job: Job) -> Iterator[Crystal]:
    """The crystals that a job has found."""
    for rows in geometry(job):
        yield from crystals_in(rows)


def errors(job: Job) -> Iterator[dict[str, Any]]:
    """The errors of each crystal that a job has read, as in ``metrics.per_crystal_table``."""
    for rows in job.parts(["material_id", "read", *ERRORS]):
        for row in rows.filter(rows["read"]).to_pylist():
            yield {"id": row["material_id"], **{name: row[name] for name in ERRORS}}


def total(job: Job) -> Score:
    """The score over all crystals that a job has read; its notes are tallies."""
    tally = Tally()
    for note in job.notes():
        tally.merge(Tally.from_dict(note))
    return tally.score()


def _read(entries: Sequence[Entry]) -> Any:
    return pa.array([isinstance(entry, Crystal) for entry in entries], pa.bool_())
