"""The space group of a crystal, and the crystal projected onto it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nesf.crystal import Crystal
from nesf.errors import NesfError
from nesf.io.structures import quiet
from nesf.shapes import Float

EXACT_ANGSTROM = 1e-5
"""A projected crystal has its group within this, far above rounding and far below what any model resolves."""
ROUNDING_ANGSTROM = 1e-9
"""What moves by no more than this is left as it is."""
MOVED = "symmetry_displacement_angstrom"
"""The property of a projected crystal that says how far the atom moved most went, the strain of the cell left out."""
# Distances that are computed together.
AT_ONCE = 100_000


@dataclass(frozen=True)
class SpaceGroup:
    """A space group and the tolerance it was found with.

    Attributes:
        symbol: short Hermann-Mauguin symbol, as in "Fm-3m".
        number: international number, 1 to 230.
        tolerance_angstrom: how far atoms may lie from their symmetric places.
        operations: how many operations take the given cell into itself, translations included.
    """

    symbol: str
    number: int
    tolerance_angstrom: float
    operations: int = field(default=1, compare=False)


def space_group(crystal: Crystal, tolerance: float | Sequence[float] = 0.01) -> SpaceGroup:
    """The space group found by spglib; P1 where none is found (never raises).

    With several tolerances (angstrom), the group with the most operations in the given cell that any of them
    finds, and the smallest tolerance that finds it.
    """
    ladder = (float(tolerance),) if isinstance(tolerance, (int, float)) else sorted(tolerance)
    found = [(search(crystal, step), step) for step in ladder]
    # max keeps the first of equals: the smallest tolerance.
    best, step = max(found, key=lambda pair: operations_in(pair[0]))
    if best is None:
        return SpaceGroup("P1", 1, step)
    return SpaceGroup(best.international, int(best.number), step, operations_in(best))


def symmetrize(crystal: Crystal, tolerance: float) -> Crystal:
    """The crystal projected onto the space group found, in its own cell; the very crystal given where none closes.

    Positions are averaged over the operations of the group, the metric of the cell over its rotations; the centre of
    the atoms stays. Atoms keep number, order and periodic image, the cell its setting, primitive, conventional or
    other. Where the result is found to have a higher group within the same tolerance, it is projected again, so that
    a projected crystal stays as it is; what would move by 1e-9 angstrom at most does so, too. The property
    ``symmetry_displacement_angstrom`` says how far atoms were moved.

    The crystal given comes back where no symmetry is found, where the result has not the group, where an atom moves
    by more than the tolerance (the strain of the cell left out) or comes nearer than that to another.

    Args:
        crystal: any crystal.
        tolerance: how far apart atoms may lie that symmetry makes equal, angstrom; with 0 nothing is changed.

    Raises:
        NesfError: where the tolerance is negative or no number.

    >>> from nesf.testing import perovskite
    >>> off = Crystal("x", [38, 22, 8, 8, 8], perovskite().cart + 0.01 * np.eye(5, 3), perovskite().cell)
    >>> space_group(off).symbol, space_group(symmetrize(off, 0.1)).symbol
    ('P1', 'Pm-3m')
    """
    check_tolerance(tolerance)
    if tolerance == 0:
        return crystal
    now, count = crystal, 0
    while operations_in(dataset := search(now, tolerance)) > count:
        nearer = _projected(now, dataset, tolerance)
        if nearer is None or (exact := _exact_operations(nearer)) < operations_in(dataset):
            break
        now, count = nearer, exact
    moved = _displacement(crystal, now)
    same = moved < ROUNDING_ANGSTROM and bool(np.abs(now.cell - crystal.cell).max() < ROUNDING_ANGSTROM)
    if same or moved > tolerance:
        return crystal
    return replace(now, properties={**crystal.properties, MOVED: moved})


def check_tolerance(tolerance: float) -> None:
    """Raise ``NesfError`` where a tolerance is negative or no number."""
    if not 0 <= tolerance < np.inf:
        raise NesfError(f"A tolerance for symmetry is a distance in Å, such as 0.2, or 0 for none, not {tolerance:g}.")


def search(crystal: Crystal, tolerance: float) -> Any:
    """What spglib finds, its ``SpglibDataset``, or None where it finds nothing (never raises).

    A tolerance below ``EXACT_ANGSTROM`` is taken for it: with 0, spglib searches for minutes.
    """
    # Its library tells the standard error of searches without a result, past the warnings of Python.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    import spglib

    tolerance = max(tolerance, EXACT_ANGSTROM)
    try:
        with quiet():
            return spglib.get_symmetry_dataset((crystal.cell, crystal.frac, crystal.numbers), symprec=tolerance)
    except Exception:  # newer versions of spglib raise where older ones returned None
        return None


def operations_in(dataset: Any) -> int:
    """How many operations a search has found in the given cell; 0 where it has found nothing."""
    return 0 if dataset is None else len(dataset.rotations)


def distances(
    frac: Float[np.ndarray, "*batch n 3"], other: Float[np.ndarray, "m 3"], cell: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "*batch n m"]:
    """Periodic distances (angstrom) between lists of fractional coordinates, exact where they are short."""
    delta = frac[..., None, :] - other
    # Rounding finds the nearest image of any pair much closer than a cell is wide, and only such pairs matter here.
    return np.linalg.norm((delta - delta.round()) @ cell, axis=-1)


def _displacement(crystal: Crystal, moved: Crystal) -> float:
    return float(np.linalg.norm((moved.frac - crystal.frac) @ moved.cell, axis=1).max())


def _exact_operations(crystal: Crystal) -> int:
    return operations_in(search(crystal, EXACT_ANGSTROM))


def _projected(crystal: Crystal, dataset: Any, tolerance: float) -> Crystal | None:
    """Projected once onto the group found; None where the images of the atoms do not match, or atoms move too far."""
    import spglib

    # All operations of the group, in its standard cell: where the given cell is a supercell, it has only some of them.
    with quiet():
        operations = spglib.get_symmetry_from_database(dataset.hall_number)
    to_standard = dataset.transformation_matrix
    inverse = np.linalg.inv(to_standard)
    rotations = operations["rotations"].astype(np.float64)
    standard = inverse.T @ crystal.cell
    metric = np.mean([r.T @ standard @ standard.T @ r for r in rotations], axis=0)
    # The lower triangular root of the metric is the cell in the standard frame of nesf.lattice.
    cell = np.linalg.cholesky(to_standard.T @ metric @ to_standard)
    step = _step(crystal, dataset, rotations, operations["translations"])
    if step is None:
        return None
    frac = crystal.frac + step @ inverse.T
    between = distances(frac, frac, cell)[~np.eye(len(frac), dtype=bool)]
    # As near as this spglib takes atoms for one.
    if between.min(initial=np.inf) <= tolerance:
        return None
    result = Crystal(crystal.id, crystal.numbers, frac @ cell, cell, crystal.properties)
    return result if _displacement(crystal, result) <= tolerance else None


def _step(
    crystal: Crystal,
    dataset: Any,
    rotations: Float[np.ndarray, "operations 3 3"],
    translations: Float[np.ndarray, "operations 3"],
) -> Float[np.ndarray, "n 3"] | None:
    """Where each atom goes, in fractional coordinates of the standard cell; None where the images do not match.

    An atom goes to the mean of all images that the operations of the group bring to its place.
    """
    frac = crystal.frac @ dataset.transformation_matrix.T + dataset.origin_shift
    places, foreign = dataset.std_positions, crystal.numbers[:, None] != dataset.std_types

    def nearest(images: Any) -> Any:
        apart = distances(images, places, dataset.std_lattice)
        return np.where(foreign, np.inf, apart).argmin(axis=-1)

    total, count = np.zeros_like(places), np.zeros(len(places))
    size = max(1, AT_ONCE // foreign.size)
    for i in range(0, len(rotations), size):
        images = frac @ rotations[i : i + size].transpose(0, 2, 1) + translations[i : i + size, None]
        place = nearest(images)
        delta = images - places[place]
        np.add.at(total, place, delta - delta.round())
        np.add.at(count, place, 1)
    if count.min() == 0 or count.min() != count.max():
        return None
    own = nearest(frac)
    delta = places[own] - frac
    step = delta - delta.round() + (total / count[:, None])[own]
    # The origin of the group found is as uncertain as the atoms; here it is where they do not move as a whole.
    return step - step.mean(axis=0)
