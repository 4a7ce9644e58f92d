"""Step 1: where particles start."""

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.errors import NesfError
from nesf.fields.grids import Box, cell_box, grid_steps
from nesf.shapes import Bool, Float, Int

_MOST_STEPS = 1 << 20


def start_boxes(
    cells: Float[Tensor, "n_crystals 3 3"], settings: EstimationSettings, box: Box | None
) -> tuple[Float[Tensor, "n_crystals 3"], Float[Tensor, "n_crystals 3"]]:
    """Lower and upper corner (angstrom) of the box that particles of each crystal start in.

    Args:
        cells: lattice vectors as rows, angstrom.
        settings: region and margin.
        box: lower and upper corner of the training atoms, angstrom; for region "training_box".

    Raises:
        NesfError: if the region needs a box and none is given.
    """
    if settings.region == "cell":
        return cell_box(cells, settings.margin)
    if box is None:
        raise NesfError('Estimation in the region "training_box" needs the box of the training atoms.')
    corners = torch.tensor(box, device=cells.device, dtype=cells.dtype)
    lower, upper = corners[0] - settings.margin, corners[1] + settings.margin
    return lower.expand(len(cells), 3), upper.expand(len(cells), 3)


class StartGrids:
    """The grids that the particles of some crystals start on, made only when asked for.

    Args:
        cells: lattice vectors as rows, angstrom.
        settings: region, margin and interval.
        box: lower and upper corner of the training atoms, angstrom; for region "training_box".

    Attributes:
        counts: particles of each crystal.
    """

    def __init__(self, cells: Float[Tensor, "n_crystals 3 3"], settings: EstimationSettings, box: Box | None) -> None:
        self._lower, upper = start_boxes(cells, settings, box)
        self._interval = settings.interval
        # A box without end has no grid, but must be told from others.
        self._steps = grid_steps(self._lower, upper, settings.interval).clamp(1, _MOST_STEPS)
        self.counts: Int[Tensor, " n_crystals"] = self._steps.prod(1)

    def points(self, chosen: Int[Tensor, " chosen"]) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
        """The particles (angstrom) of the chosen crystals and the crystal of each, in the order of ``chosen``.

        Within a crystal the order is that of ``box_grid``: the last axis runs fastest.
        """
        places, owner, _ = self._places(chosen)
        place = torch.stack(places, 1).to(self._lower.dtype)
        return self._lower.index_select(0, owner) + self._interval * place, owner

    def neighbours(self, chosen: Int[Tensor, " chosen"]) -> tuple[Bool[Tensor, " n"], Int[Tensor, "8 between"]]:
        """The coarse grid of every second point, and what it holds around the points between.

        Returns:
            Which of the particles of ``points`` lie on the coarse grid (first and last of each axis included), and for
            each of the others the indices of the eight that enclose it; those of an axis on which it lies are equal.
        """
        places, owner, first = self._places(chosen)
        steps = self._steps.index_select(0, owner).unbind(1)
        odd = [(place % 2 == 1) & (place < n - 1) for place, n in zip(places, steps, strict=True)]
        coarse = ~(odd[0] | odd[1] | odd[2])
        between = (~coarse).nonzero().squeeze(1)
        strides = (steps[1] * steps[2], steps[2], torch.ones_like(first))
        # Along an axis on which a point lies between two coarse ones, those are one stride away on either side.
        away = [(flag * stride)[between] for flag, stride in zip(odd, strides, strict=True)]
        corners = between.expand(8, -1).clone()
        for axis, stride in enumerate(away):
            for corner in range(8):
                corners[corner] += stride if corner >> axis & 1 else -stride
        return coarse, corners

    def _places(self, chosen: Int[Tensor, " chosen"]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Place of each particle along the axes, its crystal, and the index of that crystal's first particle."""
        counts = self.counts[chosen]
        owner = chosen.repeat_interleave(counts)
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        index = torch.arange(len(owner), device=owner.device) - first
        _, along_y, along_z = self._steps.index_select(0, owner).unbind(1)
        rest = index // along_z
        return [rest // along_y, rest % along_y, index % along_z], owner, first
