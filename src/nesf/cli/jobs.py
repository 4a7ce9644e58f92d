"""What the commands share that take any number of crystals: they go on after an interruption and account for all."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from nesf import __version__, jobs, streams
from nesf.cli.console import note_failures, notes, progress
from nesf.codec import Codec
from nesf.errors import NesfError
from nesf.io.export import write_left_out
from nesf.jobs import Job
from nesf.memory import keep_freed_memory

T = TypeVar("T")
Work = Callable[[T, Callable[[int], None]], tuple[pa.Table, Mapping[str, Any] | None]]
"""From a chunk, and a function to be told of progress, to the rows and the note that a job keeps."""

LITERAL_CHUNK = 16
"""Crystals that are kept together where each takes seconds."""


@contextmanager
def begin(folder: Path, command: str, codec: Codec, stamp: str, **options: Any) -> Iterator[Job]:
    """A job of a command, new or taken up; its working folder is removed when the block ends well.

    Args:
        folder: the working folder.
        command: its name.
        codec: the model.
        stamp: what tells the input from another one.
        options: whatever else the results depend on.
    """
    keep_freed_memory()
    card = codec.card.to_dict()
    model = [codec.fingerprint, card["config"], card["domain"]]
    digest = sha256(json.dumps([model, options], sort_keys=True, default=str).encode()).hexdigest()
    manifest = {"command": command, "model": codec.card.name, "input": stamp, "hash": digest, "nesf": __version__}
    job = Job(folder, manifest)
    if job.dropped:
        notes.print("What an interrupted command left here belongs to another model, input or option; it is dropped.")
    if job.done:
        notes.print(f"continuing after {job.done} crystals", markup=False)
    try:
        yield job
        job.finish()
    except KeyboardInterrupt:
        kept = f"goes on after {job.done} crystals" if job.done else "starts again, as none were finished yet"
        raise KeyboardInterrupt(f"Interrupted; the same command {kept}.") from None


def chunk_size(codec: Codec, literal: bool = False) -> int:
    """Crystals that are worked on and kept together: no fewer than a GPU decodes at once."""
    if literal:
        return LITERAL_CHUNK
    return jobs.CHUNK if codec.device.type == "cpu" else max(jobs.CHUNK, codec.at_once)


def run(job: Job, task: str, total: int | None, chunks: Iterable[T], work: Work[T]) -> None:
    """Work through the chunks that a job has not done yet, and keep the results of each."""
    with progress(task, total, job.done) as done:
        for chunk in chunks:
            job.append(*work(chunk, done))


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
    if path is not None:
        write_left_out(streams.left_out(job), path)
