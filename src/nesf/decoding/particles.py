"""Steps 1 to 3 for many crystals at once: start, move, score."""

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.decoding.start import start_grid
from nesf.fields import StructureField
from nesf.fields.grids import Box
from nesf.shapes import Float, Int

# Points queried at once: bounds the memory of a field's hidden layers (256 values of 4 bytes each).
POINTS_AT_ONCE = 1 << 16


def start(
    field: StructureField, chosen: Int[Tensor, " crystals"], settings: EstimationSettings, box: Box | None
) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
    """Particles of the chosen crystals (angstrom) and the crystal that each belongs to, ascending."""
    cells = field.cells
    grids = [start_grid(cells[i], settings, box) for i in chosen.tolist()]
    counts = torch.tensor([len(grid) for grid in grids], device=chosen.device)
    return torch.cat(grids), chosen.repeat_interleave(counts)


def displacement(field: StructureField, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """The position field at any number of points, in bounded memory."""
    chunks = zip(points.split(POINTS_AT_ONCE), owner.split(POINTS_AT_ONCE), strict=True)
    return torch.cat([field.displacement(p, o).float() for p, o in chunks])


def move(
    field: StructureField,
    points: Float[Tensor, "n 3"],
    owner: Int[Tensor, " n"],
    settings: EstimationSettings,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """Final positions (angstrom) and scores, the field's distance to the nearest atom (angstrom).

    Particles whose step is shorter than ``settings.converged`` have arrived and are not moved again.
    """
    points = points.clone()
    scores = points.new_full((len(points),), torch.inf)
    moving = torch.arange(len(points), device=points.device)
    for _ in range(settings.iterations):
        if len(moving) == 0:
            break
        steps = displacement(field, points[moving], owner[moving])
        points[moving] += steps
        lengths = steps.norm(dim=1)
        scores[moving] = lengths
        # Without a convergence threshold everything moves every time, as in the paper.
        moving = moving[lengths >= settings.converged]
    if len(moving) > 0:
        scores[moving] = displacement(field, points[moving], owner[moving]).norm(dim=1)
    return points, scores
