"""The lengths of a cell, read from the three ramps of its grid."""

from typing import Literal

import torch
from torch import Tensor

from nesf.baselines.voxel.grid import GridSettings
from nesf.shapes import Float

Estimator = Literal["slope", "legacy"]


def lattice_lengths(
    ramps: Float[Tensor, "n 3 d d d"], settings: GridSettings, estimator: Estimator = "slope"
) -> Float[Tensor, "n 3"]:
    """a, b, c (angstrom) of each crystal from its coordinate channels; not negative.

    Args:
        ramps: the last three channels of the grids, as a network made them.
        settings: those of the grids.
        estimator: "slope" fits a line to the averages over the planes across a channel's own axis: exact without
            noise, and noise averages out. "legacy" is what was published: the range of the channel, less one part in
            ``size``, which makes an exact ramp too short by that part.
    """
    return (_slope if estimator == "slope" else _range)(ramps, settings)


def _slope(ramps: Float[Tensor, "n 3 d d d"], settings: GridSettings) -> Float[Tensor, "n 3"]:
    size = ramps.shape[-1]
    values = ramps.double()
    means = torch.stack((values[:, 0].mean((2, 3)), values[:, 1].mean((1, 3)), values[:, 2].mean((1, 2))), 1)
    steps = torch.arange(size, device=ramps.device, dtype=means.dtype) - (size - 1) / 2
    slopes = (means @ steps) / steps.square().sum()
    return (slopes.abs() * size / (1 + 2 * settings.padding)).float()


def _range(ramps: Float[Tensor, "n 3 d d d"], settings: GridSettings) -> Float[Tensor, "n 3"]:
    size = ramps.shape[-1]
    lowest, highest = ramps.flatten(2).aminmax(dim=2)
    full = (highest - lowest) / (1 + 2 * settings.padding) * size / (size - 1)
    return (full * (1 - 1 / size)).float()
