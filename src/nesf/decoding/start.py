"""Where particles start."""

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.errors import NesfError
from nesf.fields.grids import Box, box_grid, cell_box
from nesf.shapes import Float


def start_grid(cell: Float[Tensor, "3 3"], settings: EstimationSettings, box: Box | None) -> Float[Tensor, "n 3"]:
    """The grid of particles for one crystal.

    Args:
        cell: lattice vectors as rows, angstrom.
        settings: region, margin and interval.
        box: lower and upper corner of the training atoms, angstrom; for region "training_box".

    Raises:
        NesfError: if the region needs a box and none is given.
    """
    if settings.region == "cell":
        lower, upper = cell_box(cell.unsqueeze(0), settings.margin)
        return box_grid(lower[0], upper[0], settings.interval)
    if box is None:
        raise NesfError('Estimation in the region "training_box" needs the box of the training atoms.')
    corners = torch.tensor(box, device=cell.device, dtype=cell.dtype)
    return box_grid(corners[0] - settings.margin, corners[1] + settings.margin, settings.interval)
