"""Extended XYZ read into crystals, frame by frame."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.crystal import Crystal, Failure
from nesf.elements import SYMBOLS
from nesf.errors import NesfError
from nesf.io.limits import MOST_ATOMS
from nesf.io.structures import ID_KEYS, number_of

LONGEST_LINE = 2**16
MOST_COLUMNS = 1000
# A key begins where a word does: else a long word without "=" would be tried from each of its letters.
_PAIR = re.compile(r"""(?<![^\s=,"'])([^\s=,"']+)=("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S*)""")
_TRUTH = {"T": True, "F": False, "True": True, "False": False, "true": True, "false": False}
_SPECIAL = {"lattice", "properties", "pbc", *ID_KEYS}


def read_extxyz(path: Path) -> Iterator[Crystal | Failure]:
    """The crystals of an extended XYZ file, frame by frame.

    The id is ``material_id`` (or ``id``) of the frame's comment; else the file's stem, with the frame's number
    where there are several.
    """
    frames = _frames(path)
    first, second = next(frames, None), next(frames, None)
    index = 0
    while first is not None:
        index += 1
        comment = {match[1]: match[2] for match in _PAIR.finditer("".join(first[1:2]))}
        name = _id(comment) or (path.stem if index == 1 and second is None else f"{path.stem}-{index}")
        try:
            yield _crystal(name, comment, int(first[0]), first[2:])
        except NesfError as error:
            yield Failure(name, str(error))
        except ValueError as error:
            yield Failure(name, f"Frame {index} is no readable extended XYZ: {error}.")
        first, second = second, next(frames, None)


def _frames(path: Path) -> Iterator[list[str]]:
    """The lines of each frame: the count, the comment, the atoms; of the last one perhaps not all.

    Raises:
        NesfError: where no count stands. Then the frame before had another number of atoms than it says, so it is not
            to be used either; ``read_extxyz`` looks one frame ahead.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = iter(lambda: file.readline(LONGEST_LINE), "")
        for line in lines:
            if not line.strip():
                continue
            word = line.strip()
            if not re.fullmatch(r"[0-9]{1,9}", word) or not 0 < int(word) <= MOST_ATOMS:
                raise NesfError(
                    f"File {path} has {word[:40]!r} where a frame's number of atoms is expected, 1 to {MOST_ATOMS}."
                )
            yield [line, *islice(lines, int(word) + 1)]


def _crystal(id: str, comment: dict[str, str], count: int, atoms: list[str]) -> Crystal:
    """The crystal of a frame; raises ``ValueError`` where the frame is damaged."""
    if len(atoms) < count:  # only the last one
        raise ValueError(f"the file ends in the middle of its {count} atoms")
    special = {key.lower(): value.strip("\"'{}[]") for key, value in comment.items()}
    if "lattice" not in special:
        raise NesfError(f'Structure {id!r} has no Lattice="..." in its comment line: a molecule, not a crystal.')
    flags = [_TRUTH.get(word, word == "1") for word in special.get("pbc", "T T T").replace(",", " ").split()]
    if not all(flags):
        periodic = "".join("T" if flag else "F" for flag in flags)
        raise NesfError(f"Structure {id!r} is not periodic along all axes (pbc {periodic}); a crystal has pbc = True.")
    cell = _floats(special["lattice"].replace(",", " ").split(), "its Lattice")
    if len(cell) != 9:
        raise ValueError(f"its Lattice has {len(cell)} numbers; expected nine, of three vectors")
    species, first = _columns(special.get("properties", "species:S:1:pos:R:3"))
    names, places = [], []
    for row, line in enumerate(atoms, start=1):
        words = line.split()
        if len(words) <= max(species, first + 2):
            raise ValueError(f"atom {row} has only {len(words)} columns")
        names.append(words[species])
        places.append(_floats(words[first : first + 3], f"atom {row}"))
    numbers = [_number(name, id, index) for index, name in enumerate(names)]
    matrix = cell.reshape(3, 3)
    if abs(np.linalg.det(matrix)) < 1e-3:
        raise ValueError("its lattice vectors lie in a plane")
    return Crystal.from_frac(id, numbers, np.linalg.solve(matrix.T, np.array(places).T).T, matrix, _further(comment))


def _columns(properties: str) -> tuple[int, int]:
    """The columns of the species and of the first coordinate."""
    words = properties.split(":")
    found: dict[str, int] = {}
    column = 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if not re.fullmatch(r"[0-9]{1,4}", width) or (name == "pos" and (kind, width) != ("R", "3")):
            raise ValueError(f"its Properties have {name[:20]}:{kind[:5]}:{width[:20]}, which is no list of columns")
        found.setdefault(name, column)
        column += int(width)
    species = found.get("species", found.get("Z"))
    if species is None or "pos" not in found or len(words) % 3 or column > MOST_COLUMNS:
        raise ValueError(f"its Properties {properties[:60]!r} lack species:S:1 or pos:R:3")
    return species, found["pos"]


def _number(name: str, id: str, index: int) -> int:
    if re.fullmatch(r"[0-9]{1,3}", name) and 0 < int(name) < len(SYMBOLS):
        return int(name)
    return number_of(name, id, index)


def _floats(words: list[str], where: str) -> NDArray[np.float64]:
    try:
        values = np.array([float(word[:60]) for word in words], dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not (np.isfinite(values) & (abs(values) < 1e9)).all():
        raise ValueError(f"{where} has {' '.join(words)[:60]!r} for numbers")
    return values


def _id(comment: dict[str, str]) -> str | None:
    """The id exactly as written (007 is no number)."""
    text = next((comment[key] for key in ID_KEYS if comment.get(key)), None)
    return None if text is None else _text(text)


def _further(comment: dict[str, str]) -> dict[str, Any]:
    """The single numbers, truth values and texts of the comment."""
    kept: dict[str, Any] = {}
    for key, value in comment.items():
        if key.lower() not in _SPECIAL and value[:1] not in ("{", "["):
            found = _text(value) if value[:1] in ('"', "'") else _value(value)
            if not (isinstance(found, str) and _is_vector(found)):
                kept[key] = found
    return kept


def _value(text: str) -> Any:
    if text in _TRUTH:
        return _TRUTH[text]
    for kind in (int, float):
        try:
            return kind(text[:300])
        except ValueError:
            continue
    return text


def _is_vector(text: str) -> bool:
    words = text.split()
    return len(words) > 1 and all(re.fullmatch(r"[-+0-9.eE]+|[TF]", word) for word in words)


def _text(value: str) -> str:
    """What stands between quotes, if there are any."""
    if value[:1] == "'":
        return value[1:-1]
    if value[:1] != '"' or value[-1:] != '"' or len(value) < 2:
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return re.sub(r"\\(.)", r"\1", value[1:-1])
