"""What the representation alone costs: the true grid of each crystal, read as if a perfect network had made it."""

from collections.abc import Callable, Sequence

import torch

from nesf.baselines.voxel.atoms import crystal_from_grid
from nesf.baselines.voxel.grid import GridSettings, voxelise
from nesf.baselines.voxel.radii import number_problem
from nesf.crystal import Crystal, CrystalBatch, Failure


def oracle(
    crystals: Sequence[Crystal], settings: GridSettings, progress: Callable[[int], None] | None = None
) -> list[Crystal | Failure]:
    """The crystals that are found in their own true labels, with their true lengths.

    No network can be expected to do better, so its errors are the ceiling of the method.

    Args:
        crystals: true crystals; one with an element that has no class becomes a ``Failure``.
        settings: of the grid; its ``angles`` say whether the true angles are known.
        progress: called with the number of crystals done since its last call.
    """
    found = []
    for crystal in crystals:
        found.append(_found(crystal, settings))
        if progress is not None:
            progress(1)
    return found


def _found(crystal: Crystal, settings: GridSettings) -> Crystal | Failure:
    if (problem := number_problem(torch.tensor(crystal.numbers))) is not None:
        return Failure(crystal.id, problem)
    species = voxelise(CrystalBatch.from_crystals([crystal]), settings).labels[0].numpy()
    angles = crystal.angles_rad if settings.angles == "true" else None
    return crystal_from_grid(crystal.id, species, species > 0, crystal.lengths, angles, settings)
