"""Long jobs over any number of crystals: done chunk by chunk, and gone on with after an interruption."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from nesf.errors import NesfError
from nesf.io.output import whole_file

T = TypeVar("T")

CHUNK = 1024
"""Crystals that are worked on, and kept, together: an interruption loses at most so many."""
_MANIFEST = "manifest.json"
_NOTE = b"nesf.note"
_PART = re.compile(r"\d{12}-\d{12}\.parquet")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Successive lists of ``size`` items; the last may be shorter.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class Job:
    """The results so far of a command, in a working folder beside its output.

    Results are tables with one row for each entry of the input, in its order. Each chunk is a file of its own, a
    *part*, which appears whole or not at all and is named after the entries it covers; so the names alone say how
    far the job has come. The manifest says what the parts are results of: where it differs, they are dropped.

    Attributes:
        folder: the working folder; made with the first part.
        done: entries of the input that have their results.
        dropped: whether parts of another job were found and dropped.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.done = 0
        self.dropped = False
        self._manifest = json.dumps(dict(manifest), sort_keys=True, ensure_ascii=False)
        self._parts: list[Path] = []
        self._take_up()

    def append(self, rows: pa.Table, note: Mapping[str, Any] | None = None) -> None:
        """Keep the results of the next entries, one row for each, with a note (JSON) about them."""
        if not self._parts:
            with whole_file(self.folder / _MANIFEST) as target:
                target.write_text(self._manifest, encoding="utf-8")
        end = self.done + rows.num_rows
        path = self.folder / f"{self.done:012d}-{end:012d}.parquet"
        with whole_file(path) as target:
            pq.write_table(rows.replace_schema_metadata({_NOTE: json.dumps(note).encode()}), target)
            # After a loss of power the name must not be there without the content.
            with target.open("rb+") as file:
                os.fsync(file.fileno())
        self._parts.append(path)
        self.done = end

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The parts in order, one in memory at a time, with all columns or some."""
        for path in self._parts:
            with self._opened(path) as file:
                yield file.read(columns=None if columns is None else list(columns), use_threads=False)

    def notes(self) -> Iterator[Any]:
        """The notes of the parts, in order."""
        for path in self._parts:
            with self._opened(path) as file:
                yield json.loads(file.schema_arrow.metadata[_NOTE])

    def finish(self) -> None:
        """Remove the working folder: its parts have gone into the output, or are good for nothing."""
        # Without the manifest the parts are nobody's, should this be interrupted.
        (self.folder / _MANIFEST).unlink(missing_ok=True)
        for path in self.folder.glob("*"):
            if _PART.fullmatch(path.name) or path.name.endswith(".part"):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # never made, or somebody keeps files in it
            self.folder.rmdir()
        self._parts, self.done = [], 0

    def _take_up(self) -> None:
        """Find the parts that are there, or drop them."""
        manifest = self.folder / _MANIFEST
        if not manifest.is_file():
            return
        if manifest.read_text(encoding="utf-8", errors="replace") != self._manifest:
            self.finish()
            self.dropped = True
            return
        for path in sorted(path for path in self.folder.glob("*.parquet") if _PART.fullmatch(path.name)):
            start, end = (int(word) for word in path.stem.split("-"))
            if start == self.done:
                self._parts.append(path)
                self.done = end

    def _opened(self, path: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            cure = f"delete the folder {self.folder} and start again"
            raise NesfError(f"The interim result {path} cannot be read ({error}); {cure}.") from None
