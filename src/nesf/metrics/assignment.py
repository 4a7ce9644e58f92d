"""The atoms of one crystal assigned to those of another, one to one, as GLASS measures reconstructions."""

from dataclasses import dataclass

import numpy as np

from nesf.crystal import Crystal
from nesf.metrics.images import nearest_distances


@dataclass(frozen=True)
class Assignment:
    """How well the atoms of a found crystal lie on the true ones.

    Attributes:
        rmsd: root mean square distance of assigned atoms in Å.
        n_atoms: atoms of either crystal.
        n_right_species: atoms whose partner is of the same element.
    """

    rmsd: float
    n_atoms: int
    n_right_species: int


def assign(true: Crystal, found: Crystal) -> Assignment | None:
    """Assign the atoms of two crystals to each other; None where they have different numbers of atoms.

    The assignment has the smallest sum of distances (Hungarian algorithm) and does not look at species. Distances
    are between Cartesian positions as they are, each cell in the standard frame of ``nesf.lattice``, to the nearest
    image in the found cell; nothing is rescaled to another cell and no origin is shifted. So an error of the
    lattice shows as errors of the positions.

    >>> from nesf.testing import caesium_chloride
    >>> assign(caesium_chloride(), caesium_chloride())
    Assignment(rmsd=0.0, n_atoms=2, n_right_species=2)
    """
    from scipy.optimize import linear_sum_assignment

    if len(true) != len(found):
        return None
    distances = nearest_distances(true.cart, found.cart, found.cell)
    rows, columns = linear_sum_assignment(distances)
    return Assignment(
        rmsd=float(np.sqrt((distances[rows, columns] ** 2).mean())),
        n_atoms=len(true),
        n_right_species=int((true.numbers[rows] == found.numbers[columns]).sum()),
    )
