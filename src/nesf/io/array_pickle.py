"""Pickles of plain NumPy arrays, read without running what is in them.

A pickle is a program, and can run any code when it is loaded. This reader first looks through the whole of it for what
is not needed to describe arrays, and for sizes that are not those of the file. Then it is loaded with one class alone:
the three names with which NumPy pickles an array are answered by an inert one, which only remembers what it was given.
"""

import pickle
import pickletools
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.errors import NesfError
from nesf.io.limits import LARGEST_TEXT_BYTES, MOST_ATOMS, check_size
from nesf.io.structures import one_line

_ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
_TYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
# Numbers, texts, tuples, lists, the memo, and calls: no dictionaries, whose keys could take years to hash.
_OPERATIONS = set(
    """PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE SHORT_BINBYTES BINBYTES
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD""".split()
)
_MOST_OPERATIONS = 1 << 22
"""That is some 75,000 crystals, looked through within seconds; each takes memory of its own."""


class Remembered:
    """Stands for a NumPy array or dtype while unpickling: keeps arguments and state, does nothing with them."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[Remembered]:
        if (module, name) in _ADMITTED:
            return Remembered
        raise NesfError(f"it asks for {module}.{name}; only plain NumPy arrays are admitted")


def load_pickle(path: Path) -> Any:
    """What a pickle holds, with a ``Remembered`` in the place of each array; no code in it is ever run.

    Raises:
        NesfError: where the file cannot be read, is damaged, or holds anything but texts, numbers, tuples and lists.
    """
    try:
        check_size(path, LARGEST_TEXT_BYTES)
        content = path.read_bytes()
    except OSError as error:
        raise NesfError(f"File {path} cannot be read: {error.strerror}.") from None
    try:
        _look_through(content)
        return _Unpickler(BytesIO(content)).load()
    except Exception as error:  # a damaged pickle raises almost anything
        cure = "get the file from its source again"
        raise NesfError(f"Pickle {path} is refused: {one_line(error).rstrip('.')}; {cure}.") from None


def _look_through(content: bytes) -> None:
    """Raise ``NesfError`` where a pickle does more than describe arrays; sizes beyond the file are a ``ValueError``."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(content), start=1):
        if operation.name not in _OPERATIONS:
            raise NesfError(f"it uses {operation.name}; only plain NumPy arrays are admitted")
        # The loader would make a memo of the size of the largest number in it.
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= count:
            raise NesfError(f"it numbers its {count}th step {argument}; only plain NumPy arrays are admitted")
        if count > _MOST_OPERATIONS:
            raise NesfError(f"it has more than {_MOST_OPERATIONS:,} steps; split the data set")


def array_of(remembered: Any) -> NDArray[Any]:
    """The array that the remembered arguments describe, made from its bytes and nothing else.

    Raises:
        ValueError: where they describe none of plain numbers, or one of more than the atoms of a crystal.
    """
    try:
        _, shape, dtype, fortran_order, data = remembered.state
        code, byte_order = dtype.arguments[0], dtype.state[1]
    except (AttributeError, TypeError, IndexError, ValueError):
        raise ValueError("an array is missing") from None
    # Tuples within tuples could take years to print or to hash, so only texts are looked at.
    if not (isinstance(code, str) and code in _TYPES):
        name = f"the type {code[:20]!r}" if isinstance(code, str) else "a type"
        raise ValueError(f"an array has {name} that is not one of plain numbers")
    if not (isinstance(byte_order, str) and byte_order in ("<", ">", "|", "=") and isinstance(data, bytes)):
        raise ValueError("an array is not one of plain numbers")
    flat = np.frombuffer(data, dtype=np.dtype(byte_order + code))
    if flat.size > 3 * MOST_ATOMS:
        raise ValueError(f"an array has {flat.size:,} numbers; a crystal has at most {MOST_ATOMS:,} atoms")
    if not (
        isinstance(shape, tuple) and len(shape) <= 2 and all(isinstance(n, int) and 0 <= n <= flat.size for n in shape)
    ):
        raise ValueError("an array has a shape that is not that of its numbers")
    return flat.reshape(shape, order="F" if fortran_order is True else "C")
