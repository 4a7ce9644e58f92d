"""The space group of a crystal, and the crystal snapped onto it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.crystal import Crystal
from nesf.io.structures import quiet

# Two positions of a symmetrised crystal are the same within this; spglib's are exact to about 1e-6.
SAME_ANGSTROM = 1e-2


@dataclass(frozen=True)
class SpaceGroup:
    """A space group and the tolerance it was found with.

    Attributes:
        symbol: short Hermann-Mauguin symbol, as in "Fm-3m".
        number: international number, 1 to 230.
        tolerance_angstrom: how far atoms may lie from their symmetric places.
    """

    symbol: str
    number: int
    tolerance_angstrom: float


@dataclass(frozen=True, eq=False)
class Symmetrized:
    """A crystal snapped onto its space group, in spglib's standard cell of that group.

    Attributes:
        group: the space group and its tolerance.
        full_symbol: Hermann-Mauguin symbol for a CIF, with the setting (``"F d -3 m :1"``).
        hall_symbol: Hall symbol, which fixes axes and origin.
        rotations: (m, 3, 3) integer rotations of all operations, centring included.
        translations: (m, 3) their fractional translations.
        crystal: the whole standard cell.
        unit: indices of one atom of each orbit in ``crystal``.
        multiplicities: atoms of each of these orbits.
        displacement_angstrom: how far the atom moved most by the snapping went (the strain of the cell left out).
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


def space_group(crystal: Crystal, tolerance: float | Sequence[float] = 0.01) -> SpaceGroup:
    """The space group found by spglib; P1 where none is found (never raises).

    With several tolerances (angstrom), the group with the most operations in the given cell that any of them
    finds, and the smallest tolerance that finds it.
    """
    ladder = (float(tolerance),) if isinstance(tolerance, (int, float)) else sorted(tolerance)
    found = [(_dataset(crystal, step), step) for step in ladder]
    # max keeps the first of equals: the smallest tolerance.
    best, step = max(found, key=lambda pair: 0 if pair[0] is None else len(pair[0].rotations))
    return SpaceGroup("P1", 1, step) if best is None else SpaceGroup(best.international, int(best.number), step)


def symmetrize(crystal: Crystal, tolerance: float) -> Symmetrized | None:
    """The crystal snapped onto the space group found; None where that is P1 or the snapping does not close.

    Args:
        crystal: any crystal; its cell may be primitive, conventional or a supercell.
        tolerance: in angstrom.
    """
    dataset = _dataset(crystal, tolerance)
    if dataset is None or dataset.number == 1:
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
    return Symmetrized(
        SpaceGroup(dataset.international, int(dataset.number), tolerance),
        kind.international.split("=")[-1].strip().replace("_", "") + setting,
        kind.hall_symbol,
        rotations,
        translations,
        standard,
        [int(orbit[0]) for orbit in orbits],
        [len(orbit) for orbit in orbits],
        _displacement(crystal, standard, dataset),
    )


def _dataset(crystal: Crystal, tolerance: float) -> Any:
    import spglib

    try:
        with quiet():
            return spglib.get_symmetry_dataset((crystal.cell, crystal.frac, crystal.numbers), symprec=tolerance)
    except Exception:  # newer versions of spglib raise where older ones returned None
        return None


def _orbits(crystal: Crystal, rotations: NDArray[Any], translations: NDArray[Any]) -> list[NDArray[np.int64]] | None:
    """Indices of the atoms of each orbit; None where an operation takes an atom to a place where there is none."""
    frac, left, orbits = crystal.frac, np.ones(len(crystal), dtype=bool), []
    while left.any():
        index = int(left.argmax())
        images = rotations @ frac[index] + translations
        same = _distances(images, frac, crystal.cell) < SAME_ANGSTROM
        same &= (crystal.numbers == crystal.numbers[index]) & left
        if not same.any(axis=1).all():
            return None
        orbits.append(np.flatnonzero(same.any(axis=0)))
        left[orbits[-1]] = False
    return orbits


def _displacement(crystal: Crystal, standard: Crystal, dataset: Any) -> float:
    frac = crystal.frac @ dataset.transformation_matrix.T + dataset.origin_shift
    distance = _distances(frac, standard.frac, standard.cell)
    distance[crystal.numbers[:, None] != standard.numbers] = np.inf
    return float(distance.min(axis=1).max())


def _distances(frac: NDArray[np.float64], other: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Periodic distances (angstrom) between two lists of fractional coordinates, exact where they are short."""
    delta = frac[:, None] - other
    # Rounding finds the nearest image of any pair much closer than a cell is wide, and only such pairs matter here.
    return np.linalg.norm((delta - delta.round()) @ cell, axis=-1)
