"""What the commands share that take any number of crystals: they go on after an interruption and account for all."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from nesf import __version__, jobs, streams
from nesf.cli.completeness import note_unread
from nesf.cli.console import note_failures, notes, progress
from nesf.codec import Codec
from nesf.data.datasets import EMBEDDED, load_dataset
from nesf.errors import NesfError
from nesf.io import Cell, Source, find
from nesf.io.export import write_left_out
from nesf.jobs import Job
from nesf.lock import alone
from nesf.memory import keep_freed_memory

T = TypeVar("T")
Work = Callable[[T, Callable[[int], None]], tuple[pa.Table, Mapping[str, Any] | None]]
"""From a chunk, and a function to be told of progress, to the rows and the note that a job keeps."""

LITERAL_CHUNK = 16
"""Crystals that are kept together where each takes seconds."""


def source_of(inputs: Iterable[Path], cell: Cell) -> Source:
    """What is to be read at some paths, of which one may be the name of an embedded data set.

    Raises:
        NesfError: as ``nesf.io.find``.
    """
    return Source(tuple(pair for path in inputs for pair in _embedded(path) or find(path, cell).readable), cell)


def _embedded(path: Path) -> list[tuple[Path, Callable[[Path], Iterator[Any]]]]:
    """The file of an embedded data set, which tells another version of it, with what reads it."""
    if str(path) not in EMBEDDED or path.exists():
        return []
    file = Path(str(resources.files("nesf.data").joinpath(f"{path}.toml")))
    return [(file, lambda _: iter(load_dataset(path).crystals))]


@contextmanager
def begin(
    folder: Path, command: str, codec: Codec, stamp: Callable[[], str], out: Path | None = None, **options: Any
) -> Iterator[Job]:
    """A job of a command, new or taken up; its working folder is removed when the block ends well.

    Args:
        folder: the working folder.
        command: its name.
        codec: the model.
        stamp: what tells the input from another one.
        out: the file written to, which other processes are kept from; None where nobody else can know it.
        options: whatever else the results depend on.

    Raises:
        NesfError: where another process writes to the output.
    """
    keep_freed_memory()
    with alone(out) if out is not None else nullcontext():
        job = Job(folder, _manifest(command, codec, stamp(), options))
        if job.dropped:
            notes.print(
                "What an interrupted command left here belongs to another model, input or option; it is dropped."
            )
        if job.damaged:
            notes.print(f"{job.damaged} For now it is made again.", markup=False)
        if job.done:
            notes.print(f"continuing after {job.done} crystals", markup=False)
        try:
            yield job
            job.finish()
        except KeyboardInterrupt:
            kept = f"goes on after {job.done} crystals" if job.done else "starts again, as none were finished yet"
            raise KeyboardInterrupt(f"Interrupted; the same command {kept}.") from None


def _manifest(command: str, codec: Codec, stamp: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the parts of a job are results of."""
    card = codec.card.to_dict()
    model = [codec.fingerprint, card["config"], card["domain"], codec.device.type]
    digest = sha256(json.dumps([model, options], sort_keys=True, default=str).encode()).hexdigest()
    return {"command": command, "model": codec.card.name, "input": stamp, "hash": digest, "nesf": __version__}


def chunk_size(codec: Codec, literal: bool = False) -> int:
    """Crystals that are worked on and kept together: no fewer than a GPU decodes at once."""
    if literal:
        return LITERAL_CHUNK
    return jobs.CHUNK if codec.device.type == "cpu" else max(jobs.CHUNK, codec.at_once)


def run(job: Job, task: str, total: int | None, chunks: Iterable[T], work: Work[T], stamp: Callable[[], str]) -> None:
    """Work through the chunks that a job has not done yet, and keep the results of each.

    Raises:
        NesfError: where the stamp of the input is not that which the job began with.
    """
    with progress(task, total, job.done) as done:
        for chunk in chunks:
            job.append(*work(chunk, done))
    if stamp() != job.manifest["input"]:
        raise NesfError("The input was changed while it was read, so nothing is written; give the command again.")


def account(job: Job, path: Path | None) -> None:
    """Say what could not be read, and write all that is left out to a csv file.

    Raises:
        NesfError: where there was no crystal at all; the job has ended then.
    """
    if next(streams.ids(job), None) is None:
        first = next(streams.left_out(job), None)
        job.finish()
        raise NesfError(
            f"No crystal could be read: {first.id}: {first.reason}" if first else "No crystal could be read."
        )
    note_failures(streams.left_out(job, read=False), "entries could not be read")
    note_unread(sum(1 for _ in streams.left_out(job, read=False)))
    if path is not None:
        write_left_out(streams.left_out(job), path)
