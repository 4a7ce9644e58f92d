"""Any readable file or folder, read into crystals."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.cdvae import read_cdvae
from nesf.io.cif import read_cif
from nesf.io.reading import read_extxyz, read_json, read_poscar
from nesf.io.released import read_released
from nesf.io.structures import Cell, convert, one_line
from nesf.io.table import iter_table

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
READABLE = "CIF, POSCAR, extended XYZ, pymatgen JSON, Parquet tables, CDVAE csv and the released pickle folders"


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
    if cell not in get_args(Cell):
        raise NesfError(f"Cell {cell!r} is unknown; choose one of {', '.join(get_args(Cell))}.")
    paths = [Path(sources)] if isinstance(sources, (str, Path)) else [Path(source) for source in sources]
    readable = [pair for path in paths for pair in _find(path)]
    return _unique(item for path, reader in readable for item in _read_one(path, reader, cell))


def _find(path: Path) -> list[tuple[Path, _Reader]]:
    """What is to be read at a path, each with its reader."""
    if not path.exists():
        raise NesfError(f"Path {path} does not exist.")
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
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if (folder / "dataset.pkl").is_file():
        yield folder, read_released
        # Its attributes are JSON but no structures.
        entries = [entry for entry in entries if entry.name != "dataset_attr.json"]
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        elif entry.is_file() and (reader := _reader_of(entry)) not in (None, read_released):
            yield entry, reader


def _reader_of(path: Path) -> _Reader | None:
    if path.name == "dataset.pkl":
        return read_released
    ending = path.suffix.lower()
    if ending not in _BY_ENDING and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return read_poscar
    return _BY_ENDING.get(ending)


def _read_one(path: Path, reader: _Reader, cell: Cell) -> Iterator[Crystal | Failure]:
    try:
        for item in reader(path):
            yield _named(_converted(item, cell), path)
    except NesfError as error:
        yield _named(Failure(path.name, str(error)), path)
    except Exception as error:  # whatever a broken file makes a parser raise, the other files are still read
        yield Failure(path.name, f"File {path} cannot be read: {one_line(error)}.")


def _converted(item: Crystal | Failure, cell: Cell) -> Crystal | Failure:
    if isinstance(item, Failure) or cell == "as-is":
        return item
    try:
        return convert(item, cell)
    except NesfError as error:
        return Failure(item.id, str(error))


def _named(item: Crystal | Failure, path: Path) -> Crystal | Failure:
    """A failure's reason names its file."""
    if isinstance(item, Crystal) or path.name in item.reason:
        return item
    return Failure(item.id, f"In {path}: {item.reason}")


def _unique(items: Iterable[Crystal | Failure]) -> Iterator[Crystal | Failure]:
    counts: dict[str, int] = {}
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
