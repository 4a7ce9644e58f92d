"""Extended XYZ read by ASE, frame by frame.

ASE passes over what it does not expect: without a column of positions all atoms are at the origin, "CO" is cobalt.
So the comment line, as ASE understands it, and the columns are looked through first.
"""

import json
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.limits import MOST_ATOMS
from nesf.io.structures import ID_KEYS, from_ase, number_of, one_line, quiet

LONGEST_LINE = 2**16
MOST_COLUMNS = 1000
LARGEST_NUMBER = 1e9
SMALLEST_VOLUME = 1e-3
_ID = re.compile(r'(?:^|\s)(material_id|id)=("(?:[^"\\]|\\.)*"|\S+)')
_SPECIAL = ("Lattice", "Properties", "pbc")
_OWN_NAMES = ("numbers", "positions", "symbols")
"""What ASE calls the columns Z, pos and species; a column of such a name would take their place."""


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
        name = _id("".join(first[1:2])) or (path.stem if index == 1 and second is None else f"{path.stem}-{index}")
        try:
            yield _crystal(name, first)
        except NesfError as error:
            yield Failure(name, str(error))
        except Exception as error:  # the parser raises many kinds
            yield Failure(name, f"Frame {index} is no readable extended XYZ: {one_line(error)}.")
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


def _crystal(id: str, frame: list[str]) -> Crystal:
    """The crystal of a frame; raises ``ValueError`` where the frame is damaged."""
    import ase.io
    from ase.io.extxyz import key_val_str_to_dict

    count, comment, atoms = int(frame[0]), "".join(frame[1:2]), frame[2:]
    if len(atoms) < count:  # only the last one
        raise ValueError(f"the file ends in the middle of its {count} atoms")
    with quiet():
        info = key_val_str_to_dict(comment)
        _check_comment(info, id)
        _check_rows(atoms, str(info.get("Properties", "species:S:1:pos:R:3")), id)
        found = ase.io.read(StringIO("".join(frame)), format="extxyz")
    # ASE takes a number below 1 for an element counted from the end.
    if not (found.numbers > 0).all():
        raise ValueError("an atom has an atomic number (Z) below 1")
    # A word that stands alone in the comment is no property.
    found.info = {key: value for key, value in found.info.items() if f"{key}=" in comment}
    return from_ase(found, id)


def _check_comment(info: Mapping[str, Any], id: str) -> None:
    for key in info:
        if key not in _SPECIAL and key.lower() in map(str.lower, _SPECIAL):
            raise ValueError(f"its comment has {key!r}, which means something only as one of {', '.join(_SPECIAL)}")
    if "Lattice" not in info:
        raise NesfError(f'Structure {id!r} has no Lattice="..." in its comment line: a molecule, not a crystal.')
    if not (abs(np.asarray(info["Lattice"], dtype=np.float64)) < LARGEST_NUMBER).all():
        raise ValueError("its Lattice has a number that is too large or not finite")
    if abs(np.linalg.det(info["Lattice"])) < SMALLEST_VOLUME:
        raise ValueError("its lattice vectors lie in a plane")
    flags = np.ravel(info.get("pbc", True)).tolist()
    if len(flags) not in (1, 3) or not all(flag in (True, 1) for flag in flags):
        periodic = "".join({True: "T", False: "F"}.get(flag, str(flag)[:10]) for flag in flags[:9])
        raise NesfError(f"Structure {id!r} is not periodic along all axes (pbc {periodic}); a crystal has pbc = True.")


def _check_rows(atoms: list[str], properties: str, id: str) -> None:
    """Raise where an atom has not the columns that are announced, or no element or place in them."""
    words = properties.split(":")
    columns: dict[str, int] = {}
    width = 0
    for name, kind, many in zip(words[::3], words[1::3], words[2::3], strict=False):
        expected = {"species": ("S", "1"), "Z": ("I", "1"), "pos": ("R", "3")}.get(name, (kind, many))
        odd = name in columns or name in _OWN_NAMES
        if odd or not re.fullmatch(r"[0-9]{1,4}", many) or (kind, many) != expected:
            raise ValueError(f"its Properties have {name[:20]}:{kind[:5]}:{many[:20]}, which is no list of columns")
        columns[name] = width
        width += int(many)
    if len(words) % 3 or "pos" not in columns or ("species" in columns) == ("Z" in columns) or width > MOST_COLUMNS:
        raise ValueError(f"its Properties {properties[:60]!r} lack pos:R:3 or species:S:1 (or, without it, Z:I:1)")
    for row, line in enumerate(atoms):
        values = line.split()
        if len(values) < width:
            raise ValueError(f"atom {row + 1} has only {len(values)} columns")
        if "species" in columns:
            symbol = values[columns["species"]]
            number_of(symbol, id, row)
            if symbol in ("D", "T"):
                raise ValueError(f"atom {row + 1} is {symbol}, which ASE does not know; write H")
        place = values[columns["pos"] : columns["pos"] + 3]
        if not all(abs(float(word)) < LARGEST_NUMBER for word in place):
            raise ValueError(f"atom {row + 1} has {' '.join(place)[:60]!r} for its place")


def _id(comment: str) -> str | None:
    """The id exactly as written (ASE would read 007 as the number 7)."""
    found = {match[1]: match[2] for match in _ID.finditer(comment)}
    text = next((found[key] for key in ID_KEYS if found.get(key)), None)
    if text is None or not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
