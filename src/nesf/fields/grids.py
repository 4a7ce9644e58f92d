"""Regular grids of points, in angstrom."""

import torch
from torch import Tensor

from nesf.shapes import Float, Int

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Lower and upper corner, angstrom."""


def box_grid(lower: Float[Tensor, "3"], upper: Float[Tensor, "3"], interval: float) -> Float[Tensor, "n 3"]:
    """Points ``interval`` angstrom apart along each axis, from ``lower`` until ``upper`` is reached.

    >>> box_grid(torch.zeros(3), torch.tensor([1.0, 0.5, 0.0]), 0.5).shape
    torch.Size([6, 3])
    """
    steps = grid_steps(lower, upper, interval).tolist()
    axes = [
        start + interval * torch.arange(n, device=lower.device, dtype=lower.dtype)
        for start, n in zip(lower, steps, strict=True)
    ]
    return torch.cartesian_prod(*axes)


def grid_steps(
    lower: Float[Tensor, "*any 3"], upper: Float[Tensor, "*any 3"], interval: float
) -> Int[Tensor, "*any 3"]:
    """How many points such a grid has along each axis."""
    # The small allowance keeps 6.0 / 0.5 at 12 steps in float32.
    return torch.ceil((upper - lower).clamp_min(0) / interval - 1e-4).long() + 1


def local_grid(interval: float, width: float) -> Float[Tensor, "n 3"]:
    """Offsets ``interval`` angstrom apart that fill a cube of edge ``width``, centred on the origin.

    >>> len(local_grid(0.3, 1.2)), len(local_grid(0.1, 0.5)), len(local_grid(0.1, 0.6))
    (125, 216, 343)
    """
    count = round(width / interval) + 1
    axis = torch.linspace(-width / 2, width / 2, count)
    return torch.cartesian_prod(axis, axis, axis)


def cell_box(
    cells: Float[Tensor, "n_crystals 3 3"], margin: float
) -> tuple[Float[Tensor, "n_crystals 3"], Float[Tensor, "n_crystals 3"]]:
    """Lower and upper corner of the axis-aligned box around each cell, grown by ``margin`` angstrom."""
    corner = torch.tensor([0.0, 1.0], device=cells.device, dtype=cells.dtype)
    corners = torch.cartesian_prod(corner, corner, corner) @ cells
    return corners.amin(1) - margin, corners.amax(1) + margin
