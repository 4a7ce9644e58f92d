"""Crystals written to files that other programs read: CIF, extended XYZ, POSCAR."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nesf.crystal import Crystal
from nesf.elements import symbol
from nesf.io.cif import cif_text
from nesf.output import whole_file

WRITING_TOLERANCE_ANGSTROM = 0.02
"""Of the space group search for crystals with the digits that files have; ``Codec.tolerance`` is for decoded ones."""


def safe_name(id: str) -> str:
    """A file name (without ending) for an id: no folder, no hidden file, different for different ids.

    An id of letters, digits and ``. _ + -`` is its own name; of any other the rest is replaced and a hash added.

    >>> safe_name("mp-1234"), safe_name("../../etc/passwd")
    ('mp-1234', 'etc_passwd-...')
    """
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", id).lstrip("._-").rstrip(".")[:100]
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    if name == id and name and not reserved:
        return name
    if reserved:  # with any ending
        name = name.replace(".", "_")
    # Two ids may be replaced by the same letters; the hash keeps their files apart.
    return f"{name or 'crystal'}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def write_cif(
    crystal: Crystal,
    path: str | Path,
    tolerance: float = WRITING_TOLERANCE_ANGSTROM,
    symmetrize: bool = True,
) -> None:
    """Write a CIF with the space group found and the tolerance used.

    By default the crystal is projected onto its space group by ``nesf.io.symmetrize``, and the file holds spglib's
    standard cell of that group, one atom of each orbit and all symmetry operations, so symbol, operations, axes and
    origin agree for every reader. Number of atoms in the cell, axes and origin may then differ from the crystal's;
    the tag ``_nesf_symmetry_largest_displacement_angstrom`` says how far atoms were moved. With
    ``symmetrize=False``, or where no symmetry is found, all atoms are listed as they are, in P 1.

    In both cases ``_nesf_space_group_symbol``, ``_nesf_space_group_number``, ``_nesf_symmetry_tolerance_angstrom``
    and ``_nesf_material_id`` record what was found, how, and the id.

    Args:
        crystal: what to write.
        path: where; missing folders are made.
        tolerance: in angstrom, for the search of symmetry.
        symmetrize: whether to project the crystal onto the space group.
    """
    text = cif_text(crystal, tolerance, symmetrize)
    with whole_file(path, lasting=False) as target:
        target.write_text(text, encoding="utf-8")


def write_extxyz(crystals: Iterable[Crystal], path: str | Path) -> None:
    """Write crystals as frames of one extended XYZ file; id (``material_id``) and properties stand in the comments."""
    with whole_file(path) as target, target.open("w", encoding="utf-8") as file:
        for crystal in crystals:
            file.write(_frame(crystal))


def write_poscar(crystal: Crystal, path: str | Path) -> None:
    """Write a POSCAR (VASP 5 and later) with the id as its comment; atoms are sorted by element."""
    order = np.argsort(crystal.numbers, kind="stable")
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    lines = [" ".join(crystal.id.split()) or "crystal", "1.0"]
    lines += [" ".join(f"{x:.10f}" for x in row) for row in crystal.cell]
    lines += [" ".join(symbol(z) for z in numbers.tolist()), " ".join(str(n) for n in counts), "Direct"]
    lines += [" ".join(f"{x:.10f}" for x in row) for row in crystal.frac[order]]
    with whole_file(path) as target:
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _frame(crystal: Crystal) -> str:
    cell = " ".join(f"{x:.10f}" for x in crystal.cell.ravel())
    comment = [f'Lattice="{cell}"', "Properties=species:S:1:pos:R:3", f"material_id={json.dumps(crystal.id)}"]
    comment += [f"{_key(name)}={_value(value)}" for name, value in crystal.properties.items() if value is not None]
    lines = [str(len(crystal)), " ".join([*comment, 'pbc="T T T"'])]
    for z, (x, y, w) in zip(crystal.numbers, crystal.cart, strict=True):
        lines.append(f"{symbol(int(z))} {x:.10f} {y:.10f} {w:.10f}")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _value(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "T" if value else "F"
    if isinstance(value, (int, float, np.integer, np.floating)):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False)
