"""The data sets released with the NeSF paper: a folder with ``dataset.pkl`` and ``dataset_attr.json``.

The pickle is a list of (positions, species indices, lengths, angles in radians, id).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nesf.crystal import Crystal, Failure
from nesf.elements import MAX_NUMBER
from nesf.errors import NesfError
from nesf.io.array_pickle import Remembered, array_of, load_pickle
from nesf.io.structures import one_line
from nesf.lattice import cell_from_parameters


def read_released(folder: str | Path) -> Iterator[Crystal | Failure]:
    """The crystals of a released data set; no code in its pickle is ever run.

    Raises:
        NesfError: where a file is missing, is not of this layout, or holds anything but plain arrays of numbers.
    """
    folder = Path(folder)
    symbols = _attributes(folder / "dataset_attr.json")
    rows = load_pickle(folder / "dataset.pkl")
    if not isinstance(rows, list):
        raise NesfError(f"Pickle {folder / 'dataset.pkl'} is refused: it holds no list of crystals.")
    for index, row in enumerate(rows, start=1):
        name = row[4] if isinstance(row, tuple) and len(row) == 5 and isinstance(row[4], str) else f"row {index}"
        try:
            yield _crystal(row, symbols)
        except NesfError as error:
            yield Failure(name, str(error))


def _attributes(path: Path) -> NDArray[np.int64]:
    """Atomic number of each species index."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["sidx_to_z"]
        if not all(type(value) is int and 1 <= value <= MAX_NUMBER for value in values):
            raise ValueError("an entry is no atomic number")
        return np.array(values, dtype=np.int64)
    except OSError as error:
        raise NesfError(f"File {path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NesfError(f"File {path} has no list 'sidx_to_z' of atomic numbers.") from None


def _crystal(row: Any, numbers_of: NDArray[np.int64]) -> Crystal:
    try:
        positions, species, lengths, angles_rad, name = row
        if not isinstance(name, str):
            raise TypeError("the id is no text")
        cart, index = array_of(positions).astype(np.float64), array_of(species)
        parameters = torch.tensor([_three(lengths), _three(angles_rad)], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, IndexError, OverflowError) as error:
        raise NesfError(f"A row is not (positions, species, lengths, angles, id): {one_line(error)}.") from None
    if index.dtype.kind not in "iu" or index.size == 0 or index.min() < 0 or index.max() >= len(numbers_of):
        raise NesfError(f"Crystal {name!r} has a species index outside 0 to {len(numbers_of) - 1}.")
    cell = cell_from_parameters(parameters[0], parameters[1])
    return Crystal(name, numbers_of[index], cart, cell.numpy())


def _three(values: Any) -> list[float]:
    """Lengths or angles: three numbers, in a tuple or an array."""
    given = array_of(values).tolist() if isinstance(values, Remembered) else values
    # Asked before they are looked into, because tuples within tuples have no end.
    if not (isinstance(given, (tuple, list)) and len(given) == 3 and all(isinstance(x, (int, float)) for x in given)):
        raise ValueError("lengths or angles are not three numbers")
    return [float(x) for x in given]
