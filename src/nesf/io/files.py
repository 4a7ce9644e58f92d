"""Any readable file or folder, read into crystals."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.cdvae import read_cdvae
from nesf.io.cif_reading import read_cif
from nesf.io.extxyz import read_extxyz
from nesf.io.limits import objection as refusal
from nesf.io.limits import oddness
from nesf.io.poscar import read_poscar
from nesf.io.pymatgen_json import read_json
from nesf.io.released import read_released
from nesf.io.structures import Cell, convert, one_line
from nesf.io.table import count_rows, iter_table

_Reader = Callable[[Path], Iterator[Any]]
_BY_ENDING: dict[str, _Reader] = {
    ".cif": read_cif,
    ".vasp": read_poscar,
    ".poscar": read_poscar,
    ".xyz": read_extxyz,
    ".extxyz": read_extxyz,
    ".json": read_json,
    ".parquet": iter_table,
    ".csv": read_cdvae,
}
_COMPRESSED = {".gz", ".bz2", ".xz", ".zst", ".z"}
_ARCHIVES = {".zip", ".tar", ".tgz", ".7z", ".rar"}
# Bytes of a file name that are no UTF-8, as Python passes them on.
_NO_TEXT = re.compile("[\ud800-\udfff]")
READABLE = "CIF, POSCAR, extended XYZ, pymatgen JSON, Parquet tables, CDVAE csv and the released pickle folders"

Objection = Callable[[Crystal], str | None]
"""Why a crystal is not wanted, in one sentence; None where it is."""


@dataclass(frozen=True)
class LeftOut(Failure):
    """A crystal that could be read, and was objected to.

    Attributes:
        objection: the reason without the name of the file, so that crystals of one kind can be counted.
    """

    objection: str


def read(sources: Iterable[str | Path] | str | Path, cell: Cell = "as-is") -> list[Crystal | Failure]:
    """All crystals of files and folders; see ``iter_read``."""
    return list(iter_read(sources, cell))


def iter_read(sources: Iterable[str | Path] | str | Path, cell: Cell = "as-is") -> Iterator[Crystal | Failure]:
    """The crystals of files and folders, one after the other.

    A folder is searched to its depth, in order of names; files with unknown endings are passed over in it, and a
    folder with ``dataset.pkl`` is read as a released NeSF data set. A file that cannot be read, or a crystal in
    it, becomes a Failure that names the file. Ids are unique within one call: the second and third crystal of
    the same id get the suffixes ``-2`` and ``-3``.

    Args:
        sources: paths of files or folders.
        cell: the cell wanted; a converted crystal says so in its property ``cell_conversion``.

    Raises:
        NesfError: at once, where a path does not exist, has an unknown ending, or is a folder with nothing to read.
    """
    return find(sources, cell).entries()


@dataclass(frozen=True)
class Source:
    """Files that were found and are yet to be read; ``find`` makes it.

    Attributes:
        readable: each file (or folder of a released data set) with its reader.
        cell: the cell wanted.
    """

    readable: tuple[tuple[Path, _Reader], ...]
    cell: Cell

    def entries(
        self, skip: int = 0, taken: Iterable[str] = (), objection: Objection | None = None
    ) -> Iterator[Crystal | Failure]:
        """What ``iter_read`` gives, from some entry on.

        Args:
            skip: entries to pass over; they are read, and not converted.
            taken: ids of the crystals among them, which the following ones may not have.
            objection: asked about each crystal as its file holds it, before its cell is converted and its id made
                unique; in the place of one that it objects to there is a LeftOut.
        """
        items = (pair for path, reader in self.readable for pair in _read_one(path, reader))
        asked = ((_asked(item, path, objection), path) for item, path in islice(items, skip, None))
        wanted = (_named(_converted(item, self.cell), path) for item, path in asked)
        return _unique(wanted, taken)

    def ids(self) -> frozenset[str]:
        """The ids as the files hold them, before any is made unique; also of entries that are no crystal.

        Raises:
            NesfError: where a file cannot be read to its end, because not all of its ids are known then.
        """
        found = set()
        for path, reader in self.readable:
            for item, _ in _read_one(path, reader):
                if isinstance(item, Failure) and item.id == path.name:
                    raise NesfError(f"The ids in {path} are not known; repair it or do without it: {item.reason}")
                found.add(item.id)
        return frozenset(found)

    @property
    def expected(self) -> int | None:
        """How many entries there probably are, as far as that is known without reading; None where it is not."""
        counts = [_expected(path, reader) for path, reader in self.readable]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def stamp(self) -> str:
        """A hash of paths, sizes and times of the files and of the cell: another one means other input."""
        return stamp_of([path for path, _ in self.readable], self.cell)


def stamp_of(paths: Iterable[Path], cell: Cell = "as-is") -> str:
    """A hash of paths, sizes and times of files, or of the files in folders, and of a cell."""
    digest = hashlib.sha256(cell.encode())
    for path in paths:
        for file in _files_of(path):
            state = file.lstat() if file.is_symlink() and not file.exists() else file.stat()
            digest.update(repr((str(file.absolute()), state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_file())
    except OSError:
        return [path]


def find(sources: Iterable[str | Path] | str | Path, cell: Cell = "as-is") -> Source:
    """What is to be read at some paths; arguments and errors as ``iter_read``."""
    if cell not in get_args(Cell):
        raise NesfError(f"Cell {cell!r} is unknown; choose one of {', '.join(get_args(Cell))}.")
    paths = [Path(sources)] if isinstance(sources, (str, Path)) else [Path(source) for source in sources]
    return Source(tuple(pair for path in paths for pair in _find(path)), cell)


def _find(path: Path) -> list[tuple[Path, _Reader]]:
    """What is to be read at a path, each with its reader."""
    if not path.exists() and not path.is_symlink():
        raise NesfError(f"Path {path} does not exist.")
    if (odd := oddness(path)) is not None:
        raise NesfError(odd)
    if path.is_dir():
        found = list(_walk(path))
        if not found:
            raise NesfError(f"Folder {path} holds nothing readable; expected {READABLE}.")
        return found
    reader = _reader_of(path)
    if reader is None:
        raise NesfError(f"File {path} has an unknown ending; readable are {READABLE}.")
    return [(path.parent, reader) if reader is read_released else (path, reader)]


def _walk(folder: Path) -> Iterator[tuple[Path, _Reader]]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        yield folder, _unreadable
        return
    if (folder / "dataset.pkl").is_file():
        yield folder, read_released
        # Its attributes are JSON but no structures.
        entries = [entry for entry in entries if entry.name != "dataset_attr.json"]
    for entry in entries:
        reader = _reader_of(entry)
        if entry.is_dir():
            # A link may lead back to where it stands, so none is followed; but it is not passed over in silence.
            yield from [(entry, _unreadable)] if entry.is_symlink() else _walk(entry)
        elif reader is None and _is_packed(entry):
            yield entry, _packed
        elif reader not in (None, read_released):
            yield entry, reader if oddness(entry) is None else _unreadable


def _is_packed(path: Path) -> bool:
    """Whether a file is an archive, or a compressed file that could be read if it were not."""
    ending = path.suffix.lower()
    return ending in _ARCHIVES or (ending in _COMPRESSED and _reader_of(path.with_suffix("")) is not None)


def _packed(path: Path) -> Iterator[Crystal | Failure]:
    raise NesfError(f"File {path} is packed; unpack it first.")


def _unreadable(path: Path) -> Iterator[Crystal | Failure]:
    """The reader of what was found in a folder and can not be read: it says why."""
    if path.is_dir() and path.is_symlink():
        raise NesfError(f"Folder {path} is a link, and links are not followed; name the folder that it leads to.")
    try:
        next(path.iterdir(), None) if path.is_dir() else None
    except OSError as error:
        raise NesfError(f"Folder {path} cannot be read: {error.strerror}; change its permissions.") from None
    raise NesfError(oddness(path) or f"{path} could not be read when it was looked for; try again.")


def _reader_of(path: Path) -> _Reader | None:
    if path.name == "dataset.pkl":
        return read_released
    ending = path.suffix.lower()
    if ending not in _BY_ENDING and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return read_poscar
    return _BY_ENDING.get(ending)


def _expected(path: Path, reader: _Reader) -> int | None:
    if reader is iter_table:
        return count_rows(path)
    return 1 if reader in (read_cif, read_poscar) else None


def _read_one(path: Path, reader: _Reader) -> Iterator[tuple[Crystal | Failure, Path]]:
    try:
        for item in reader(path):
            reason = refusal(item) if isinstance(item, Crystal) else None
            yield (item if reason is None else Failure(item.id, reason)), path
    except OSError as error:
        yield Failure(path.name, f"File {path} cannot be read: {error.strerror or error}."), path
    except NesfError as error:
        yield Failure(path.name, str(error)), path
    except Exception as error:  # whatever a broken file makes a parser raise, the other files are still read
        yield Failure(path.name, f"File {path} cannot be read: {one_line(error)}."), path


def _asked(item: Crystal | Failure, path: Path, objection: Objection | None) -> Crystal | Failure:
    reason = None if objection is None or isinstance(item, Failure) else objection(item)
    return item if reason is None else LeftOut(item.id, f"In {path}: {reason}", reason)


def _converted(item: Crystal | Failure, cell: Cell) -> Crystal | Failure:
    if isinstance(item, Failure) or cell == "as-is":
        return item
    try:
        return convert(item, cell)
    except NesfError as error:
        return Failure(item.id, str(error))


def _named(item: Crystal | Failure, path: Path) -> Crystal | Failure:
    """A failure's reason names its file; nothing holds bytes of file names that are no text."""
    if isinstance(item, Crystal):
        name = _NO_TEXT.sub("\ufffd", item.id)
        return item if name == item.id else item.renamed(name)
    reason = item.reason if path.name in item.reason else f"In {path}: {item.reason}"
    name, reason = (_NO_TEXT.sub("\ufffd", text) for text in (item.id, reason))
    return item if (name, reason) == (item.id, item.reason) else Failure(name, reason)


def _unique(items: Iterable[Crystal | Failure], taken: Iterable[str]) -> Iterator[Crystal | Failure]:
    # The count of an id is only where the search for a free suffix begins, so the ids taken are all there is to know.
    counts = dict.fromkeys(taken, 1)
    for item in items:
        if isinstance(item, Failure):
            yield item
            continue
        name = item.id
        while name in counts:
            counts[item.id] += 1
            name = f"{item.id}-{counts[item.id]}"
        counts[name] = 1
        yield item if name == item.id else item.renamed(name)
