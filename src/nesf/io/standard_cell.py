"""The standard cell of a crystal's space group, as a CIF needs it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.crystal import Crystal
from nesf.io.structures import quiet
from nesf.io.symmetry import EXACT_ANGSTROM, MOVED, SpaceGroup, distances, operations_in, search, symmetrize

# Two positions of a standard cell are the same within this; spglib's are exact to about 1e-6.
SAME_ANGSTROM = 1e-2


@dataclass(frozen=True, eq=False)
class StandardCell:
    """A crystal projected onto its space group, in spglib's standard cell of that group.

    Attributes:
        group: the space group and the tolerance of the projection.
        full_symbol: Hermann-Mauguin symbol for a CIF, with the setting (``"F d -3 m :1"``).
        hall_symbol: Hall symbol, which fixes axes and origin.
        rotations: (m, 3, 3) integer rotations of all operations, centring included.
        translations: (m, 3) their fractional translations.
        crystal: the whole standard cell.
        unit: indices of one atom of each orbit in ``crystal``.
        multiplicities: atoms of each of these orbits.
        displacement_angstrom: how far the atom moved most by the projection went (the strain of the cell left out).
    """

    group: SpaceGroup
    full_symbol: str
    hall_symbol: str
    rotations: NDArray[np.int32]
    translations: NDArray[np.float64]
    crystal: Crystal
    unit: list[int]
    multiplicities: list[int]
    displacement_angstrom: float


def standard_cell(crystal: Crystal, tolerance: float) -> StandardCell | None:
    """The crystal projected by ``symmetrize``, in the standard cell of its group; None where that is P1.

    Args:
        crystal: any crystal; its cell may be primitive, conventional or a supercell.
        tolerance: of the projection, angstrom.
    """
    projected = symmetrize(crystal, tolerance)
    dataset = search(projected, EXACT_ANGSTROM)
    # Where atoms are nearer than the tolerance no group is found with it, whatever the exact one.
    if dataset is None or dataset.number == 1 or search(projected, tolerance) is None:
        return None
    import spglib

    with quiet():
        kind = spglib.get_spacegroup_type(dataset.hall_number)
        operations = spglib.get_symmetry_from_database(dataset.hall_number)
    rotations, translations = operations["rotations"], operations["translations"]
    standard = Crystal.from_frac(
        crystal.id, dataset.std_types.astype(np.int64), dataset.std_positions, dataset.std_lattice, crystal.properties
    )
    orbits = _orbits(standard, rotations, translations)
    if orbits is None:
        return None
    setting = f" :{kind.choice}" if kind.choice in {"1", "2", "H", "R"} else ""
    return StandardCell(
        SpaceGroup(dataset.international, int(dataset.number), tolerance, operations_in(dataset)),
        kind.international.split("=")[-1].strip().replace("_", "") + setting,
        kind.hall_symbol,
        rotations,
        translations,
        standard,
        [int(orbit[0]) for orbit in orbits],
        [len(orbit) for orbit in orbits],
        projected.properties.get(MOVED, 0.0),
    )


def _orbits(crystal: Crystal, rotations: NDArray[Any], translations: NDArray[Any]) -> list[NDArray[np.int64]] | None:
    """Indices of the atoms of each orbit; None where an operation takes an atom to a place where there is none."""
    frac, left, orbits = crystal.frac, np.ones(len(crystal), dtype=bool), []
    while left.any():
        index = int(left.argmax())
        images = rotations @ frac[index] + translations
        same = distances(images, frac, crystal.cell) < SAME_ANGSTROM
        same &= (crystal.numbers == crystal.numbers[index]) & left
        if not same.any(axis=1).all():
            return None
        orbits.append(np.flatnonzero(same.any(axis=0)))
        left[orbits[-1]] = False
    return orbits
