"""POSCAR read into crystals: VASP 5 and later, or older ones that name an element behind each position."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nesf.crystal import Crystal
from nesf.elements import SYMBOLS
from nesf.errors import NesfError
from nesf.io.limits import MOST_ATOMS, text_of
from nesf.io.structures import number_of

_ELEMENT = re.compile(r"[A-Z][a-z]?")


def read_poscar(path: Path) -> Iterator[Crystal]:
    """The crystal of a POSCAR; its id is the file's stem, for a bare ``POSCAR`` or ``CONTCAR`` its folder's name."""
    named = path.suffix.lower() in {".vasp", ".poscar"}
    bare = path.name in {"POSCAR", "CONTCAR"}
    name = path.stem if named else path.absolute().parent.name if bare else path.name
    try:
        yield _crystal(name, text_of(path).split("\n"))
    except NesfError as error:
        raise NesfError(f"In {path}: {error}") from None
    except ValueError as error:
        raise NesfError(f"File {path} is no readable POSCAR: {error}.") from None


def _crystal(id: str, lines: list[str]) -> Crystal:
    """The crystal; raises ``ValueError``, which names the line, where the text is no POSCAR."""
    if len(lines) < 8:
        raise ValueError(f"it ends on line {len(lines)}, before its atoms")
    scale = _numbers(lines, 1, (1, 3))
    cell = np.array([_numbers(lines, i, (3,)) for i in (2, 3, 4)])
    if not scale.all() or (len(scale) == 3 and scale.min() < 0):
        raise ValueError(f"its scale on line 2 is {lines[1].strip()[:40]!r}; expected one number, or three above 0")
    if len(scale) == 1 and scale[0] < 0:  # the volume is given
        volume = abs(np.linalg.det(cell))
        if volume == 0:
            raise ValueError("its lattice vectors lie in a plane")
        scale = (-scale / volume) ** (1 / 3)
    symbols, counts, at = _contents(lines)
    if _line(lines, at).strip()[:1] in ("S", "s"):
        at += 1
    mode = _line(lines, at).strip()[:1].lower()
    if mode not in ("d", "c", "k"):
        raise ValueError(f"line {at + 1} is {_line(lines, at).strip()[:40]!r}; expected Direct or Cartesian")
    rows = range(at + 1, at + 1 + sum(counts))
    places = np.array([_numbers(lines, row, (3,), more=True) for row in rows])
    _check_end(lines, rows.stop)
    names = _names(lines, rows, symbols, counts)
    numbers = [number_of(name, id, index) for index, name in enumerate(names)]
    frac = places if mode == "d" else np.linalg.solve((cell * scale).T, (places * scale).T).T
    return Crystal.from_frac(id, numbers, frac, cell * scale)


def _contents(lines: list[str]) -> tuple[list[str] | None, list[int], int]:
    """Symbols (None where there are none), how many atoms of each, and the index of the line that follows."""
    words, at = lines[5].split(), 6
    symbols = None
    if not words or not words[0].isdecimal():
        symbols, words, at = [re.split(r"[_/]", word)[0] for word in words], lines[6].split(), 7
    if not words or not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise ValueError(f"line {at} is {lines[at - 1].strip()[:40]!r}; expected the number of atoms of each element")
    counts = [int(word) for word in words]
    if symbols is not None and len(symbols) != len(counts):
        raise ValueError(f"it names {len(symbols)} elements on line 6 and gives {len(counts)} numbers of atoms")
    if not 0 < sum(counts) <= MOST_ATOMS:
        raise ValueError(f"it announces {sum(counts)} atoms on line {at}; expected 1 to {MOST_ATOMS}")
    return symbols, counts, at


def _names(lines: list[str], rows: range, symbols: list[str] | None, counts: list[int]) -> list[str]:
    """The symbol of each atom; those behind the positions, if any, must not say another element."""
    behind = [
        next((w for w in lines[row].split()[3:] if _ELEMENT.fullmatch(w) and w not in "TF"), None) for row in rows
    ]
    if symbols is None:
        if None in behind:
            raise ValueError("it does not name its elements; write their symbols on line 6, above the numbers of atoms")
        return [name or "" for name in behind]
    names = [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
    for row, name, other in zip(rows, names, behind, strict=True):
        if other in SYMBOLS and name in SYMBOLS and other != name:
            raise ValueError(f"line {row + 1} says {other} where line 6 says {name}; correct the one or the other")
    return names


def _check_end(lines: list[str], end: int) -> None:
    """What follows directly after the last position may not be another one: the numbers of atoms are wrong then."""
    words = _line(lines, end).split() if end < len(lines) else []
    if len(words) >= 3 and all(_float(word) is not None for word in words[:3]):
        raise ValueError(f"line {end + 1} is one more position than the numbers of atoms announce")


def _line(lines: list[str], index: int) -> str:
    if index >= len(lines):
        raise ValueError(f"it ends on line {len(lines)}, before its last atom")
    return lines[index]


def _numbers(lines: list[str], index: int, expected: tuple[int, ...], more: bool = False) -> NDArray[np.float64]:
    words = _line(lines, index).split()
    values = [value for word in words if (value := _float(word)) is not None] if not more else []
    values = [value for word in words[:3] if (value := _float(word)) is not None] if more else values
    if len(values) not in expected or (not more and len(values) < min(len(words), max(expected))):
        wanted = " or ".join(map(str, expected))
        raise ValueError(f"line {index + 1} is {_line(lines, index).strip()[:40]!r}; expected {wanted} numbers")
    return np.array(values)


def _float(word: str) -> float | None:
    """A finite number, also with the exponent of Fortran; None where the word is none."""
    try:
        value = float(word[:60].replace("D", "E").replace("d", "e").replace("_", "x"))
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None
