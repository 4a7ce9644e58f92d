"""A crystal as the text of a CIF, projected onto its space group or with all atoms as they are."""

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.crystal import Crystal
from nesf.elements import symbol
from nesf.io.standard_cell import StandardCell, standard_cell
from nesf.io.symmetry import space_group


def cif_text(crystal: Crystal, tolerance: float, symmetrized: bool = True) -> str:
    """A CIF of the crystal; see ``nesf.io.write_cif``."""
    found = standard_cell(crystal, tolerance) if symmetrized else None
    if found is None:
        return _text(crystal, None, tolerance)
    return _text(found.crystal, found, tolerance)


def _text(crystal: Crystal, found: StandardCell | None, tolerance: float) -> str:
    group = found.group if found else space_group(crystal, tolerance)
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    formula = " ".join(f"{symbol(z)}{n}" for z, n in zip(numbers.tolist(), counts, strict=True))
    # Our own tags: what was found and how, whether or not the atoms below were snapped onto it.
    lines = [
        f"# Space group {group.symbol} ({group.number}) found with a tolerance of {tolerance:g} angstrom;",
        "# " + ("the atoms below are projected onto it." if found else "all atoms are listed as they are, in P 1."),
        f"data_{re.sub(r'[^A-Za-z0-9.+-]', '_', crystal.id)[:60] or 'crystal'}",
        f"_nesf_material_id {_quoted(crystal.id)}",
        f"_nesf_space_group_symbol '{group.symbol}'",
        f"_nesf_space_group_number {group.number}",
        f"_nesf_symmetry_tolerance_angstrom {tolerance:g}",
    ]
    if found:
        lines.append(f"_nesf_symmetry_largest_displacement_angstrom {found.displacement_angstrom:.4f}")
    lines += [f"_chemical_formula_sum '{formula}'", *_cell_lines(crystal)]
    if found:
        lines += [
            f"_space_group_name_H-M_alt '{found.full_symbol}'",
            f"_space_group_name_Hall '{found.hall_symbol}'",
            f"_space_group_IT_number {group.number}",
        ]
        operations = [_operation(r, t) for r, t in zip(found.rotations, found.translations, strict=True)]
        atoms = zip(found.unit, found.multiplicities, strict=True)
    else:
        lines += ["_space_group_name_H-M_alt 'P 1'", "_space_group_name_Hall 'P 1'", "_space_group_IT_number 1"]
        operations, atoms = ["x,y,z"], zip(range(len(crystal)), [1] * len(crystal), strict=True)
    lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{operation}'" for operation in operations)]
    return "\n".join(lines + _atom_lines(crystal, atoms)) + "\n"


def _cell_lines(crystal: Crystal) -> list[str]:
    values = [*crystal.lengths, *np.degrees(crystal.angles_rad)]
    names = ["length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"]
    lines = [f"_cell_{name} {value:.8f}" for name, value in zip(names, values, strict=True)]
    return [*lines, f"_cell_volume {abs(np.linalg.det(crystal.cell)):.6f}"]


def _atom_lines(crystal: Crystal, atoms: Iterable[tuple[int, int]]) -> list[str]:
    tags = ("label", "type_symbol", "symmetry_multiplicity", "fract_x", "fract_y", "fract_z", "occupancy")
    lines = ["loop_", *(f"_atom_site_{tag}" for tag in tags)]
    frac = np.where(np.abs(crystal.frac) < 1e-10, 0.0, crystal.frac)  # no "-0.0000000000"
    for count, (index, multiplicity) in enumerate(atoms, start=1):
        element = symbol(int(crystal.numbers[index]))
        x, y, z = frac[index]
        lines.append(f"{element}{count} {element} {multiplicity} {x:.10f} {y:.10f} {z:.10f} 1")
    return lines


def _operation(rotation: NDArray[Any], translation: NDArray[Any]) -> str:
    """One symmetry operation as CIF writes it.

    >>> _operation(np.array([[0, -1, 0], [1, -1, 0], [0, 0, 1]]), np.array([0.0, 0.5, 1 / 3]))
    '-y,x-y+1/2,z+1/3'
    """
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        terms = "".join({1: f"+{axis}", -1: f"-{axis}", 0: ""}[int(n)] for n, axis in zip(row, "xyz", strict=True))
        twelfths = round(float(shift) * 12) % 12  # every translation of a standard setting is one
        divisor = int(np.gcd(twelfths, 12))
        parts.append(terms.removeprefix("+") + (f"+{twelfths // divisor}/{12 // divisor}" if twelfths else ""))
    return ",".join(parts)


def _quoted(id: str) -> str:
    """The id in double quotes, pure ASCII on one line, with no double quote inside: valid CIF and valid JSON."""
    return '"' + json.dumps(id)[1:-1].replace('\\"', "\\u0022").replace("\x7f", "\\u007f") + '"'
