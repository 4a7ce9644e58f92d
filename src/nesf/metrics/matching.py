"""One crystal against another: each atom is paired with the nearest atom of the other crystal."""

from dataclasses import dataclass

import numpy as np
import torch

from nesf import lattice
from nesf.crystal import Crystal, Failure
from nesf.metrics.images import nearest_distances
from nesf.shapes import Bool, Float, Int

TIE_ANGSTROM = 1e-6
"""Atoms whose distances differ by less are equally near."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Each atom of one crystal and the nearest atom of the other.

    Attributes:
        distances: (n,) distance to the nearest atom in Å; infinite where the other crystal has none.
        wrong_species: (n,) whether the nearest atom is of another element. Among equally near atoms
            one of another element suffices, so that the order of the atoms never matters.
    """

    distances: Float[np.ndarray, " n"]
    wrong_species: Bool[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far a found crystal is from the true one.

    Attributes:
        id: id of the true crystal.
        n_true: atoms in the true cell.
        n_found: atoms found; 0 for a failure.
        actual: from each true atom to the nearest found one.
        detected: from each found atom to the nearest true one.
        length_errors: absolute errors of a, b, c in Å; None for a failure.
        angle_errors: absolute errors of alpha, beta, gamma in degrees; None for a failure.
        reason: why there is no found crystal, or None.
    """

    id: str
    n_true: int
    n_found: int
    actual: Pairing
    detected: Pairing
    length_errors: Float[np.ndarray, "3"] | None
    angle_errors: Float[np.ndarray, "3"] | None
    reason: str | None

    @property
    def found(self) -> bool:
        """Whether there is a crystal to compare with."""
        return self.reason is None


def compare(true: Crystal, found: Crystal | Failure, periodic: bool = False) -> Comparison:
    """Compare a found crystal with the true one.

    Distances are taken between Cartesian positions in the standard frame. The plain ones run over
    the listed atoms without images, as in the paper, so an atom at the opposite face of the cell is
    a cell length away.

    Args:
        true: the reference.
        found: what was found, or the failure to find it: then no atom is found, every true atom
            has the wrong species and an infinite distance, and there are no lattice errors.
        periodic: take every distance to the nearest image, in the cell of the true crystal.

    >>> from nesf.testing import caesium_chloride
    >>> compare(caesium_chloride(), caesium_chloride()).actual.distances.tolist()
    [0.0, 0.0]
    """
    n_true = len(true)
    if isinstance(found, Failure):
        lost = Pairing(np.full(n_true, np.inf), np.ones(n_true, dtype=bool))
        nothing = Pairing(np.empty(0), np.empty(0, dtype=bool))
        return Comparison(true.id, n_true, 0, lost, nothing, None, None, found.reason)
    distances = _distances(true, found, periodic)
    (true_lengths, true_angles), (lengths, angles) = _parameters(true), _parameters(found)
    return Comparison(
        id=true.id,
        n_true=n_true,
        n_found=len(found),
        actual=_pair(distances, true.numbers, found.numbers),
        detected=_pair(distances.T, found.numbers, true.numbers),
        length_errors=np.abs(lengths - true_lengths),
        angle_errors=np.degrees(np.abs(angles - true_angles)),
        reason=None,
    )


def _parameters(crystal: Crystal) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    lengths, angles = lattice.parameters_from_cell(torch.tensor(crystal.cell))
    return lengths.numpy(), angles.numpy()


def _distances(true: Crystal, found: Crystal, periodic: bool) -> Float[np.ndarray, "n_true n_found"]:
    if periodic:
        return nearest_distances(true.cart, found.cart, true.cell)
    delta = found.cart[None, :] - true.cart[:, None]
    return np.sqrt((delta**2).sum(-1))


def _pair(
    distances: Float[np.ndarray, "n m"], numbers: Int[np.ndarray, " n"], others: Int[np.ndarray, " m"]
) -> Pairing:
    nearest = distances.min(axis=1)
    candidates = distances <= nearest[:, None] + TIE_ANGSTROM
    differs = numbers[:, None] != others[None, :]
    return Pairing(nearest, (candidates & differs).any(axis=1))
