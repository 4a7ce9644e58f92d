"""Species and mask of a grid -> crystal: one atom for each blob of the mask."""

import numpy as np
import torch
from numpy.typing import NDArray

from nesf import lattice
from nesf.baselines.voxel.blobs import Blob, split
from nesf.baselines.voxel.grid import PUBLISHED, GridSettings
from nesf.baselines.voxel.radii import MAX_NUMBER
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.shapes import Float

RIGHT_ANGLES = np.full(3, np.pi / 2)


def crystal_from_grid(
    id: str,
    species: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    lengths: NDArray[np.floating],
    angles_rad: NDArray[np.floating] | None = None,
    settings: GridSettings = PUBLISHED,
) -> Crystal | Failure:
    """The crystal that a grid shows, or the failure to see one.

    An atom at the edge of the grid may lie outside the cell; it is left there.

    Args:
        id: name of the crystal.
        species: (d, d, d) atomic number of each voxel, 0 for none.
        mask: (d, d, d) whether a voxel lies in an atom.
        lengths: (3,) a, b, c in angstrom.
        angles_rad: (3,) alpha, beta, gamma in radians; without them the cell has right angles.
        settings: those of the grid.
    """
    lengths = np.asarray(lengths, dtype=np.float64)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        return Failure(id, f"The predicted lengths of the cell, {_listed(lengths)} Å, are no lengths.")
    atoms = [(blob, number) for blob in split(mask) if (number := _vote(species, blob))]
    if not atoms:
        return Failure(id, "No atom was found in the voxel grid.")
    angles = RIGHT_ANGLES if angles_rad is None else np.asarray(angles_rad, dtype=np.float64)
    cell = lattice.cell_from_parameters(torch.from_numpy(lengths), torch.from_numpy(angles))
    frac = torch.from_numpy(_fractional(np.stack([blob.mean(0) for blob, _ in atoms]), len(mask), settings))
    try:
        numbers = np.array([number for _, number in atoms])
        return Crystal(id, numbers, lattice.frac_to_cart(frac, cell).numpy(), cell.numpy())
    except NesfError as error:
        return Failure(id, f"The predicted cell holds no crystal: {error}")


def _vote(species: NDArray[np.uint8], blob: Blob) -> int:
    """The most frequent element of a blob, the heaviest of equally frequent ones; 0 if it has none."""
    votes = np.bincount(species[tuple(blob.T)], minlength=MAX_NUMBER + 1)
    votes[0] = 0
    return int(np.flatnonzero(votes == votes.max())[-1]) if votes.any() else 0


def _fractional(index: Float[np.ndarray, "n 3"], size: int, settings: GridSettings) -> Float[np.ndarray, "n 3"]:
    """Fractional coordinates of places given in voxels; 0 is the centre of the first one."""
    return (index + 0.5) * (1 + 2 * settings.padding) / size - settings.padding


def _listed(values: Float[np.ndarray, "3"]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
