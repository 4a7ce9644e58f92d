"""An order of atoms that depends on the crystal alone."""

import torch
from torch import Tensor

from nesf.shapes import Float

# Powers of 1/1.3247 (the plastic number): no two places whose coordinates are among 0, 1/4, 1/3, 1/2, 2/3 and 3/4 are
# nearer than 0.001 to each other along this direction.
DIRECTION = (1.0, 0.7548776662, 0.5698402910)


def along_a_direction(frac: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n"]:
    """How far each atom lies along one fixed direction of fractional coordinates: what atoms are ordered by.

    The order in which a file lists them does not matter (but among atoms that lie equally far), nor do their elements
    or a strain of the cell; two atoms change places in it only where they pass each other along this direction, or
    where one leaves the cell and comes in again on the other side.
    """
    return frac @ torch.tensor(DIRECTION, device=frac.device, dtype=frac.dtype)
