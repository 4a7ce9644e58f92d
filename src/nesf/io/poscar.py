"""POSCAR read by pymatgen: VASP 5 and later, or older ones that name an element behind each position.

pymatgen guesses where a text is damaged: any mode line but Cartesian is Direct, counts that end too early leave atoms
away. So the text is looked through first.
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nesf.crystal import Crystal
from nesf.elements import SYMBOLS
from nesf.errors import NesfError
from nesf.io.limits import MOST_ATOMS, text_of
from nesf.io.structures import from_pymatgen, number_of, one_line, quiet

LARGEST_NUMBER = 1e9


def read_poscar(path: Path) -> Iterator[Crystal]:
    """The crystal of a POSCAR; its id is the file's stem, for a bare ``POSCAR`` or ``CONTCAR`` its folder's name."""
    from pymatgen.io.vasp.inputs import Poscar

    named = path.suffix.lower() in {".vasp", ".poscar"}
    bare = path.name in {"POSCAR", "CONTCAR"}
    name = path.stem if named else path.absolute().parent.name if bare else path.name
    text = text_of(path)
    try:
        _check(text.split("\n"), name)
        with quiet():
            # Without element names pymatgen would guess them and only warn.
            warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
            structure = Poscar.from_str(text, read_velocities=False).structure
        yield from_pymatgen(structure, name)
    except NesfError as error:
        raise NesfError(f"In {path}: {error}") from None
    except Exception as error:  # the parser raises many kinds
        reason = "it does not name its elements" if "Elements in POSCAR" in str(error) else one_line(error)
        cure = "; write their symbols on line 6, above the numbers of atoms" if reason.startswith("it does") else ""
        raise NesfError(f"File {path} is no readable POSCAR: {reason}{cure}.") from None


def _check(lines: list[str], id: str) -> None:
    """Raise ``ValueError``, which names the line, where the text is damaged, or ``NesfError`` for no element."""
    if len(lines) < 8:
        raise ValueError(f"it ends on line {len(lines)}, before its atoms")
    [scale] = _numbers(lines, 1, 1)
    if scale == 0:
        raise ValueError(f"its scale on line 2 is {lines[1].strip()[:40]!r}; expected another number than 0")
    cell = [_numbers(lines, row, 3) for row in (2, 3, 4)]
    if scale < 0 and np.linalg.det(cell) == 0:  # the volume is given
        raise ValueError("its lattice vectors lie in a plane")
    symbols, counts, at = _contents(lines)
    for index, symbol in enumerate(symbols):
        number_of(symbol, id, sum(counts[:index]))
    selective = _line(lines, at).strip()[:1] in ("S", "s")
    at += selective
    if _line(lines, at).strip()[:1].lower() not in ("d", "c", "k"):
        raise ValueError(f"line {at + 1} is {_line(lines, at).strip()[:40]!r}; expected Direct or Cartesian")
    names = [symbol for symbol, count in zip(symbols, counts, strict=False) for _ in range(count)]
    for index in range(sum(counts)):
        row = at + 1 + index
        _numbers(lines, row, 3, more=True)
        behind = lines[row].split()[3:]
        if selective and len(behind) < 3:
            raise ValueError(f"line {row + 1} has no three of T and F behind its numbers, as selective dynamics needs")
        other = next((word for word in behind if word in SYMBOLS and word != "F"), None)  # F is false, too
        if names and other not in (None, names[index]):
            raise ValueError(f"line {row + 1} says {other} where line 6 says {names[index]}; correct one of them")
    _check_end(lines, at + 1 + sum(counts))


def _contents(lines: list[str]) -> tuple[list[str], list[int], int]:
    """Symbols (none in old files), how many atoms of each, and the index of the line that follows."""
    words, at = lines[5].split(), 6
    symbols: list[str] = []
    if not words or not words[0].isdecimal():
        symbols, words, at = [re.split(r"[_/]", word)[0] for word in words], lines[6].split(), 7
    if not words or not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise ValueError(f"line {at} is {lines[at - 1].strip()[:40]!r}; expected the number of atoms of each element")
    counts = [int(word) for word in words]
    if at == 7 and len(symbols) != len(counts):
        raise ValueError(f"it names {len(symbols)} elements on line 6 and gives {len(counts)} numbers of atoms")
    if not 0 < sum(counts) <= MOST_ATOMS:
        raise ValueError(f"it announces {sum(counts)} atoms on line {at}; expected 1 to {MOST_ATOMS}")
    return symbols, counts, at


def _check_end(lines: list[str], end: int) -> None:
    """What follows directly after the last position may not be another one: the numbers of atoms are wrong then."""
    if end < len(lines) and len([word for word in lines[end].split()[:3] if _is_number(word)]) == 3:
        raise ValueError(f"line {end + 1} is one more position than the numbers of atoms announce")


def _line(lines: list[str], index: int) -> str:
    if index >= len(lines):
        raise ValueError(f"it ends on line {len(lines)}, before its last atom")
    return lines[index]


def _numbers(lines: list[str], index: int, count: int, more: bool = False) -> list[float]:
    words = _line(lines, index).split()
    if len(words) < count or (len(words) > count and not more) or not all(map(_is_number, words[:count])):
        wanted = "one number" if count == 1 else f"{count} numbers"
        raise ValueError(f"line {index + 1} is {' '.join(words)[:40]!r}; expected {wanted}")
    return [float(word) for word in words[:count]]


def _is_number(word: str) -> bool:
    try:
        return len(word) < 60 and "_" not in word and abs(float(word)) < LARGEST_NUMBER
    except ValueError:
        return False
