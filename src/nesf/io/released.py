"""The data sets released with the NeSF paper: a folder with ``dataset.pkl`` and ``dataset_attr.json``.

The pickle is a list of (positions, species indices, lengths, angles in radians, id). A pickle can run any code
when it is loaded, so this reader admits none: the three names with which NumPy pickles an array are answered by
the inert class below, which only remembers what it was given, and any other name is refused.
"""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.structures import one_line
from nesf.lattice import cell_from_parameters

_ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
_TYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}


class _Remembered:
    """Stands for a NumPy array or dtype while unpickling: keeps arguments and state, does nothing with them."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Remembered]:
        if (module, name) in _ADMITTED:
            return _Remembered
        raise NesfError(f"it asks for {module}.{name}; only plain NumPy arrays are admitted")


def read_released(folder: str | Path) -> Iterator[Crystal | Failure]:
    """The crystals of a released data set; no code in its pickle is ever run.

    Raises:
        NesfError: where a file is missing, is not of this layout, or holds anything but plain arrays of numbers.
    """
    folder = Path(folder)
    symbols = _attributes(folder / "dataset_attr.json")
    rows = _load(folder / "dataset.pkl")
    for index, row in enumerate(rows, start=1):
        name = row[4] if isinstance(row, tuple) and len(row) == 5 and isinstance(row[4], str) else f"row {index}"
        try:
            yield _crystal(row, symbols)
        except NesfError as error:
            yield Failure(name, str(error))


def _attributes(path: Path) -> NDArray[np.int64]:
    """Atomic number of each species index."""
    try:
        return np.array(json.loads(path.read_text(encoding="utf-8"))["sidx_to_z"], dtype=np.int64).reshape(-1)
    except OSError as error:
        raise NesfError(f"File {path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise NesfError(f"File {path} has no list 'sidx_to_z' of atomic numbers.") from None


def _load(path: Path) -> list[Any]:
    try:
        with path.open("rb") as file:
            rows = _Unpickler(file).load()
    except OSError as error:
        raise NesfError(f"File {path} cannot be read: {error.strerror}.") from None
    except Exception as error:  # a damaged pickle raises almost anything
        raise NesfError(f"Pickle {path} is refused: {one_line(error)}.") from None
    if not isinstance(rows, list):
        raise NesfError(f"Pickle {path} is refused: it holds no list of crystals.")
    return rows


def _crystal(row: Any, numbers_of: NDArray[np.int64]) -> Crystal:
    try:
        positions, species, lengths, angles_rad, name = row
        if not isinstance(name, str):
            raise TypeError("the id is no text")
        cart, index = _array(positions).astype(np.float64), _array(species)
        parameters = torch.tensor([lengths, angles_rad], dtype=torch.float64).reshape(2, 3)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise NesfError(f"A row is not (positions, species, lengths, angles, id): {one_line(error)}.") from None
    if index.dtype.kind not in "iu" or index.size == 0 or index.min() < 0 or index.max() >= len(numbers_of):
        raise NesfError(f"Crystal {name!r} has a species index outside 0 to {len(numbers_of) - 1}.")
    cell = cell_from_parameters(parameters[0], parameters[1])
    return Crystal(name, numbers_of[index], cart, cell.numpy())


def _array(remembered: Any) -> NDArray[Any]:
    """The array that the remembered arguments describe, made from its bytes and nothing else."""
    if not (isinstance(remembered, _Remembered) and isinstance(remembered.state, tuple)):
        raise ValueError("an array is missing")
    _, shape, dtype, fortran_order, data = remembered.state
    if not (isinstance(dtype, _Remembered) and isinstance(dtype.state, tuple) and isinstance(data, bytes)):
        raise ValueError("an array is not one of plain numbers")
    code, byte_order = dtype.arguments[0], dtype.state[1]
    if code not in _TYPES or byte_order not in {"<", ">", "|", "="}:
        raise ValueError(f"an array has the type {str(code)[:20]!r}, not one of plain numbers")
    flat = np.frombuffer(data, dtype=np.dtype(byte_order + code))
    return flat.reshape(shape, order="F" if fortran_order else "C")
