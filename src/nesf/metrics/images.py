"""Distances to nearest images that are exact in any cell, however skewed a model makes it."""

from itertools import product

import numpy as np
import torch

from nesf import lattice
from nesf.crystal import Crystal
from nesf.shapes import Float

_STEPS = np.array(list(product((-1.0, 0.0, 1.0), repeat=2)))
_SHORTER = 1 - 1e-12
"""A vector counts as shortened only by more than rounding, so that the search ends."""


def reduced_cell(cell: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The same lattice by its three shortest vectors (rows, Å, shortest first): the Minkowski-reduced cell.

    No vector can be shortened by the other two, each taken at most once forth or back, which in three dimensions
    is all that Minkowski's conditions ask for.
    """
    vectors = np.array(cell, dtype=np.float64)
    shortened = True
    while shortened:
        shortened = False
        vectors = vectors[np.argsort((vectors**2).sum(-1), kind="stable")]
        for index in (1, 2):
            others = np.delete(vectors, index, axis=0)
            # First the whole way at once, as far as rounding tells, then the neighbours of where that leads.
            share = np.linalg.lstsq(others.T, vectors[index], rcond=None)[0]
            candidates = vectors[index] - (np.round(share) + _STEPS) @ others
            best = candidates[(candidates**2).sum(-1).argmin()]
            if best @ best < _SHORTER * (vectors[index] @ vectors[index]):
                vectors[index] = best
                shortened = True
    return vectors


def nearest_distances(
    points: Float[np.ndarray, "n 3"], others: Float[np.ndarray, "m 3"], cell: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "n m"]:
    """Distances (Å) between Cartesian positions, each to the nearest image in the lattice of a cell."""
    delta = (others[None, :] - points[:, None]).reshape(-1, 3)
    nearest = lattice.minimum_image(torch.from_numpy(delta), torch.from_numpy(reduced_cell(cell)))
    return nearest.norm(dim=-1).reshape(len(points), len(others)).numpy()


def closest_approach(crystal: Crystal) -> float:
    """The shortest distance (Å) between two atoms of the infinite crystal; images of the same atom are two atoms."""
    distances = nearest_distances(crystal.cart, crystal.cart, crystal.cell)
    np.fill_diagonal(distances, np.linalg.norm(reduced_cell(crystal.cell)[0]))
    return float(distances.min())
