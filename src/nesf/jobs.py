"""Long jobs over any number of crystals: done chunk by chunk, and gone on with after an interruption."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from nesf.errors import NesfError
from nesf.output import settle_folder, whole_file, writing

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
        manifest: what the parts are results of.
        done: entries of the input that have their results.
        dropped: whether parts of another job were found and dropped.
        damaged: why a part cannot be used, where there was one; it and those after it are made again.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.done = 0
        self.dropped = False
        self.damaged: str | None = None
        self.manifest = dict(manifest)
        self._manifest = json.dumps(self.manifest, sort_keys=True, ensure_ascii=False)
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
            noted = rows.replace_schema_metadata({_NOTE: json.dumps(note).encode()})
            pq.write_table(noted, target, write_page_checksum=True)
        self._parts.append(path)
        self.done = end

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The parts in order, one in memory at a time, with all columns or some."""
        for path in self._parts:
            with self._reading(path), _opened(path) as file:
                rows = file.read(columns=None if columns is None else list(columns), use_threads=False)
            yield rows

    def notes(self) -> Iterator[Any]:
        """The notes of the parts, in order."""
        for path in self._parts:
            with self._reading(path), _opened(path) as file:
                note = json.loads(file.schema_arrow.metadata[_NOTE])
            yield note

    def finish(self) -> None:
        """Remove the working folder: its parts have gone into the output, or are good for nothing."""
        settle_folder(self.folder.parent)
        # Without the manifest the parts are nobody's, should this be interrupted.
        with writing(self.folder / _MANIFEST):
            (self.folder / _MANIFEST).unlink(missing_ok=True)
        for path in self.folder.glob("*"):
            if _PART.fullmatch(path.name) or path.name.endswith(".part"):
                with writing(path):
                    path.unlink(missing_ok=True)
        with suppress(OSError):  # never made, or somebody keeps files in it
            self.folder.rmdir()
        self._parts, self.done = [], 0

    def _take_up(self) -> None:
        """Find the parts that are there, or drop them."""
        manifest = self.folder / _MANIFEST
        if not manifest.is_file():
            # What is left of a job whose end was interrupted: taken for parts of this one, it would be mixed with them.
            self.finish()
            return
        if manifest.read_text(encoding="utf-8", errors="replace") != self._manifest:
            self.finish()
            self.dropped = True
            return
        for path in sorted(path for path in self.folder.glob("*.parquet") if _PART.fullmatch(path.name)):
            start, end = (int(word) for word in path.stem.split("-"))
            if start != self.done:
                continue
            try:
                self._check(path, end - start)
            except NesfError as error:
                self.damaged = str(error)
                return
            self._parts.append(path)
            self.done = end

    def _check(self, path: Path, count: int) -> None:
        """Read a part to its end, so that damage is found before the hours of work that follow, not after them."""
        with self._reading(path), _opened(path) as file:
            if file.metadata.num_rows != count or _NOTE not in (file.schema_arrow.metadata or {}):
                raise ValueError("it is not what was written")
            for _ in file.iter_batches(use_threads=False):
                pass

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            cure = "delete it and give the command again"
            raise NesfError(f"The interim result {path} cannot be read ({reason}); {cure}.") from None


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)
