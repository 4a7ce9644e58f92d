"""Crystals named on a command line: by a file, or by an id in some data sets."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.io import Cell, convert, read
from nesf.io.structures import other_cell


def find_usable(
    model: Codec, names: Iterable[str], data: Sequence[Dataset], cell: Cell = "as-is"
) -> dict[str, Crystal | Failure]:
    """The crystal behind each name, or the reason why there is none, or why the model should not be asked for it.

    Args:
        model: the model that is to take them.
        names: paths of files that hold one crystal, or ids; a file comes first.
        data: where ids are looked up, the first data set first.
        cell: the cell wanted.
    """
    found = {name: _found(name, data, cell) for name in names}
    for name, one in found.items():
        if isinstance(one, Crystal) and (reason := objection(model, one)) is not None:
            found[name] = Failure(name, reason)
    return found


def objection(model: Codec, crystal: Crystal) -> str | None:
    """Why a crystal cannot be used, in one sentence; None if it can.

    A model's domain cannot tell a primitive cell from an oblique conventional one, so that is asked here.
    """
    if (reason := model.refusal(crystal)) is not None:
        return reason
    other = other_cell(crystal)
    return other and f"{other}; --cell conventional converts it, as models are trained on conventional cells."


def describe_files(names: Iterable[str]) -> list[dict[str, str]]:
    """Name and hash of each of the names that is a file."""
    files = [name for name in dict.fromkeys(names) if Path(name).is_file()]
    return [{"name": name, "sha256": sha256(Path(name).read_bytes()).hexdigest()} for name in files]


def _found(name: str, data: Sequence[Dataset], cell: Cell) -> Crystal | Failure:
    try:
        if Path(name).is_file():
            return _only(name, cell)
        for table in data:
            for crystal in table.crystals:
                if crystal.id == name:
                    return convert(crystal, cell)
    except NesfError as error:
        return Failure(name, str(error))
    where = ", ".join(table.name for table in data)
    return Failure(name, f"There is no such file, and no crystal of this id in {where}.")


def _only(file: str, cell: Cell) -> Crystal | Failure:
    entries = read(file, cell)
    if len(entries) != 1:
        return Failure(file, f"The file holds {len(entries)} crystals; give one by its id, and the file with --data.")
    return entries[0]
