"""What is read at most, and what is refused at the door: files and crystals of a size or kind that cannot be meant."""

import codecs
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nesf.crystal import Crystal
from nesf.elements import symbol
from nesf.errors import NesfError

MOST_ATOMS = 20_000
"""Atoms of one crystal; no model takes as many, and a damaged number must not fill the memory."""
LARGEST_TEXT_BYTES = 16 * 2**20
"""Of a file that holds one crystal or few: CIF, POSCAR."""
LARGEST_COLLECTION_BYTES = 2**30
"""Of a file that holds many crystals and is read at once: JSON, csv."""
CLOSEST_ANGSTROM = 0.5
"""Two atoms of a real crystal are farther apart; the shortest bond, of hydrogen, has 0.74 Å."""
_BLOCK = 256
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def text_of(path: Path, most: int = LARGEST_TEXT_BYTES) -> str:
    """The text of a file in UTF-8, or in UTF-16 where it begins with its mark; what is in no encoding is replaced.

    Raises:
        NesfError: where the file is larger than ``most`` bytes.
    """
    check_size(path, most)
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def check_size(path: Path, most: int) -> None:
    """Raise ``NesfError`` where a file is larger than ``most`` bytes."""
    size = path.stat().st_size
    if size > most:
        raise NesfError(
            f"File {path} has {size / 2**20:.0f} MiB, and a file of this kind is read up to {most // 2**20} MiB; "
            "split it."
        )


def oddness(path: Path) -> str | None:
    """Why a path is no file or folder that can be read, in one sentence; None where it is."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        kind = "is a link that leads nowhere" if path.is_symlink() else "cannot be read"
        return f"File {path} {kind}: {error.strerror}; repair or remove it."
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return f"File {path} is a pipe, socket or device and no regular file; save its content as a file first."


def objection(crystal: Crystal) -> str | None:
    """Why something read is no crystal, in one sentence: too many atoms, or two of them in one place; else None."""
    if len(crystal) > MOST_ATOMS:
        return f"Crystal {crystal.id!r} has {len(crystal)} atoms; at most {MOST_ATOMS} are read."
    near = too_near(crystal)
    return near and f"Crystal {crystal.id!r} has {near}."


def too_near(crystal: Crystal) -> str | None:
    """Which two atoms of a crystal are in one place, and the cure, to follow "it has"; None where none are."""
    found = closest_pair(crystal.cart, crystal.cell)
    if found is None:
        return None
    i, j, distance = found
    what = f"its atom {i + 1} ({symbol(int(crystal.numbers[i]))})"
    other = "its own image" if i == j else f"its atom {j + 1} ({symbol(int(crystal.numbers[j]))})"
    cure = "correct the cell" if i == j else "correct the coordinates or delete one of them"
    return f"{what} {distance:.2f} Å from {other}, and no two atoms are closer than {CLOSEST_ANGSTROM} Å; {cure}"


def closest_pair(cart: NDArray[np.float64], cell: NDArray[np.float64]) -> tuple[int, int, float] | None:
    """Two atoms (or one and its image) nearer than ``CLOSEST_ANGSTROM``, with their distance; None where none are.

    Args:
        cart: (n, 3) positions, angstrom.
        cell: (3, 3) lattice vectors as rows, angstrom.
    """
    inverse = np.linalg.inv(cell)
    spacings = 1 / np.sqrt((inverse * inverse).sum(0))  # between the planes that each two lattice vectors span
    frac = cart @ inverse
    if len(cart) <= _BLOCK and spacings.min() >= 2 * CLOSEST_ANGSTROM:
        names = np.arange(len(cart))
        return _nearest(frac, frac, names, names, cell, np.zeros((1, 3)))
    if (own := _shortest_translation(_translations(spacings, 20), cell)) is not None:
        return 0, 0, own
    steps = _translations(spacings, 4)
    axis = int(spacings.argmax())
    frac = frac - np.floor(frac)
    order = frac[:, axis].argsort(kind="stable")
    # In slices along one axis: an atom can only be near those whose coordinate is within the reach.
    reach = CLOSEST_ANGSTROM / spacings[axis]
    height = np.concatenate((frac[order, axis], frac[order, axis] + 1))
    for begin in range(0, len(order), _BLOCK):
        end = min(begin + _BLOCK, len(order))
        last = int(np.searchsorted(height, height[end - 1] + reach, side="right"))
        others = np.unique(np.concatenate((order, order))[begin:last])
        found = _nearest(frac[order[begin:end]], frac[others], order[begin:end], others, cell, steps)
        if found is not None:
            return found
    return None


def _nearest(
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    names: NDArray[np.int64],
    others: NDArray[np.int64],
    cell: NDArray[np.float64],
    steps: NDArray[np.float64],
) -> tuple[int, int, float] | None:
    """The nearest pair of two lists of atoms, if nearer than allowed, by the names of its atoms."""
    gaps = one[:, None] - two
    gaps -= np.rint(gaps)
    squares = np.full(gaps.shape[:2], np.inf)
    for step in steps:
        vectors = (gaps + step) @ cell
        np.minimum(squares, (vectors * vectors).sum(2), out=squares)
    squares[names[:, None] == others] = np.inf
    if squares.min() >= CLOSEST_ANGSTROM**2:
        return None
    i, j = divmod(int(squares.argmin()), len(others))
    first, second = sorted((int(names[i]), int(others[j])))
    return first, second, float(np.sqrt(squares.min()))


def _translations(spacings: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """The lattice translations, in fractional coordinates, that may bring a rounded difference below the limit.

    At most ``most`` along each axis, which is less than all only in cells that are skewed beyond use.
    """
    # Between planes farther apart than twice the limit, the rounded difference is the nearest one.
    needed = np.where(spacings >= 2 * CLOSEST_ANGSTROM, 0, np.ceil(0.5 + CLOSEST_ANGSTROM / spacings))
    counts = np.minimum(needed, most).astype(int)
    axes = [np.arange(-n, n + 1) for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float64)


def _shortest_translation(steps: NDArray[np.float64], cell: NDArray[np.float64]) -> float | None:
    lengths = np.linalg.norm(steps @ cell, axis=1)
    shortest = float(lengths[steps.any(1)].min(initial=np.inf))
    return shortest if shortest < CLOSEST_ANGSTROM else None
