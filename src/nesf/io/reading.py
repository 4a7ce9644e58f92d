"""POSCAR, extended XYZ and pymatgen JSON read into crystals; each reader takes a path and yields crystals."""

import json
import re
import warnings
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.structures import ID_KEYS, from_ase, from_pymatgen, one_line, quiet

_XYZ_ID = re.compile(r'(?:^|\s)(material_id|id)=("(?:[^"\\]|\\.)*"|\S+)')


def read_poscar(path: Path) -> Iterator[Crystal]:
    """The crystal of a POSCAR; its id is the file's stem, for a bare ``POSCAR`` or ``CONTCAR`` its folder's name."""
    from pymatgen.io.vasp.inputs import Poscar

    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        with quiet():
            # Without element names pymatgen would guess them and only warn.
            warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
            structure = Poscar.from_str(text, read_velocities=False).structure
    except Exception as error:  # the parser raises many kinds
        reason = "it does not name its elements" if "Elements in POSCAR" in str(error) else one_line(error)
        raise NesfError(f"File {path} is no readable POSCAR: {reason}.") from None
    named = path.suffix.lower() in {".vasp", ".poscar"}
    bare = path.name in {"POSCAR", "CONTCAR"}
    yield from_pymatgen(structure, path.stem if named else path.resolve().parent.name if bare else path.name)


def read_extxyz(path: Path) -> Iterator[Crystal | Failure]:
    """The crystals of an extended XYZ file, frame by frame.

    The id is ``material_id`` (or ``id``) of the frame's comment; else the file's stem, with the frame's number
    where there are several.
    """
    import ase.io

    frames = _frames(path)
    first, second = next(frames, None), next(frames, None)
    index = 0
    while first is not None:
        index += 1
        name = _id_of_comment(first[1]) or (path.stem if index == 1 and second is None else f"{path.stem}-{index}")
        try:
            if not re.search(r"(?:^|\s)Lattice\s*=", first[1], re.I):
                raise NesfError(f'Frame {index} has no Lattice="..." in its comment line: a molecule, not a crystal.')
            with quiet():
                atoms = ase.io.read(StringIO("".join(first)), format="extxyz")
            yield from_ase(atoms, name)
        except NesfError as error:
            yield Failure(name, str(error))
        except Exception as error:  # the parser raises many kinds
            yield Failure(name, f"Frame {index} is no readable extended XYZ: {one_line(error)}.")
        first, second = second, next(frames, None)


def read_json(path: Path) -> Iterator[Crystal | Failure]:
    """The crystals of pymatgen JSON: one structure, a list of them, or a mapping from ids to them.

    In place of a structure there may be a record with a ``structure``: its ``material_id`` is the id, its other
    single numbers and texts become properties.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise NesfError(f"File {path} is no JSON: {one_line(error)}.") from None
    if _is_entry(data):
        entries = [(path.stem, data)]
    elif isinstance(data, list) and data:
        stems = [path.stem] if len(data) == 1 else [f"{path.stem}-{i}" for i in range(1, len(data) + 1)]
        entries = list(zip(stems, data, strict=True))
    elif isinstance(data, dict) and any(_is_entry(value) for value in data.values()):
        entries = list(data.items())
    else:
        raise NesfError(f"File {path} holds no pymatgen structure, list of structures or mapping from ids to them.")
    for fallback, entry in entries:
        try:
            yield _crystal_of_entry(fallback, entry)
        except NesfError as error:
            yield Failure(fallback if len(entries) > 1 else path.name, str(error))


def _frames(path: Path) -> Iterator[list[str]]:
    """The lines of each frame: the count, the comment, the atoms."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.strip():
                continue
            if not re.fullmatch(r"[1-9]\d{0,8}", line.strip()):
                raise NesfError(f"File {path} has {line.strip()[:40]!r} where a frame's number of atoms is expected.")
            lines = [line, *islice(file, int(line) + 1)]
            if len(lines) < int(line) + 2:
                raise NesfError(f"File {path} ends in the middle of a frame of {int(line)} atoms.")
            yield lines


def _id_of_comment(comment: str) -> str | None:
    """The id exactly as written (ASE would read 007 as the number 7)."""
    found = {match[1]: match[2] for match in _XYZ_ID.finditer(comment)}
    text = next((found[key] for key in ID_KEYS if key in found), None)
    if text is None or not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return re.sub(r"\\(.)", r"\1", text[1:-1])


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and (
        {"lattice", "sites"} <= value.keys() or isinstance(value.get("structure"), dict)
    )


def _crystal_of_entry(fallback: str, entry: Any) -> Crystal:
    from pymatgen.core import Structure

    if not _is_entry(entry):
        raise NesfError(f"Entry {fallback!r} is no pymatgen structure.")
    record = dict(entry) if "structure" in entry else {"structure": entry}
    body = record.pop("structure")
    try:
        with quiet():
            structure = Structure.from_dict(body)
    except Exception as error:  # the parser raises many kinds
        raise NesfError(f"Entry {fallback!r} is no readable pymatgen structure: {one_line(error)}.") from None
    structure.properties = {**(structure.properties or {}), **record}
    given = next((structure.properties[key] for key in ID_KEYS if structure.properties.get(key) is not None), fallback)
    return from_pymatgen(structure, str(given))
