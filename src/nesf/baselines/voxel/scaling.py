"""What the networks see of a grid."""

from typing import Literal

import torch
from torch import Tensor

from nesf.shapes import Float

Scaling = Literal["raw", "root"]

UNIT: dict[Scaling, float] = {"raw": 1.0, "root": 6.0}
"""Length (angstrom) that a coordinate channel counts in."""


def scaled(grids: Float[Tensor, "n 4 d d d"], scaling: Scaling) -> Float[Tensor, "n 4 d d d"]:
    """Grids (electrons per cubic angstrom, angstrom) as the networks see them."""
    if scaling == "raw":
        return grids
    return torch.cat((grids[:, :1].sqrt(), grids[:, 1:] / UNIT[scaling]), 1)
