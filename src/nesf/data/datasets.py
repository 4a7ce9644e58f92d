"""Data sets by name or path."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import find

EMBEDDED = ("textbook",)


@dataclass(frozen=True)
class Dataset:
    """Crystals with a name and a fingerprint.

    Attributes:
        name: the embedded data set's name, or the file's name.
        crystals: what could be read, in order.
        failures: what could not, with the reason.
        sha256: of the file's bytes; for a folder, of its files' bytes in order of path.
    """

    name: str
    crystals: tuple[Crystal, ...]
    failures: tuple[Failure, ...]
    sha256: str


@dataclass(frozen=True)
class DataStream:
    """A data set of any length, to be read entry by entry.

    Attributes:
        name: the embedded data set's name, or the file's name.
        sha256: of the file's bytes; for a folder, of its files' bytes in order of path.
        expected: how many entries there probably are; None where that is not known without reading.
        entries: reads them, from some entry on; arguments as ``nesf.io.Source.entries``.
    """

    name: str
    sha256: str
    expected: int | None
    entries: Callable[..., Iterator[Crystal | Failure]]


def open_dataset(source: str | Path) -> DataStream:
    """An embedded data set by name, or any readable file or folder, not yet read.

    Raises:
        NesfError: if there is no such data set or file.
    """
    if str(source) in EMBEDDED and not Path(source).exists():
        return _embedded(str(source))
    path = Path(source)
    if not path.exists():
        names = ", ".join(EMBEDDED)
        raise NesfError(f"{path} is neither a file or folder nor an embedded data set ({names}).")
    files = find([path])
    return DataStream(path.name, _fingerprint(path), files.expected, files.entries)


def load_dataset(source: str | Path) -> Dataset:
    """An embedded data set by name, or any readable file or folder.

    Raises:
        NesfError: if there is no such data set or file, or nothing in it can be used.
    """
    stream = open_dataset(source)
    entries = list(stream.entries())
    crystals = tuple(entry for entry in entries if isinstance(entry, Crystal))
    failures = tuple(entry for entry in entries if isinstance(entry, Failure))
    if not crystals:
        reason = f"; the first reason: {failures[0].reason}" if failures else ""
        raise NesfError(f"{source} holds no crystal that can be read{reason}")
    return Dataset(stream.name, crystals, failures, stream.sha256)


def _embedded(name: str) -> DataStream:
    from nesf.data.textbook import textbook  # needs pymatgen to apply space groups

    table = resources.files("nesf.data").joinpath(f"{name}.toml").read_bytes()
    crystals = textbook()

    def entries(skip: int = 0, taken: object = ()) -> Iterator[Crystal]:  # noqa: ARG001 (its ids are unique)
        return islice(crystals, skip, None)

    return DataStream(name, hashlib.sha256(table).hexdigest(), len(crystals), entries)


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256()
    for name in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        with name.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()
