"""What lattice heads say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nesf.shapes import Float

RIGHT_ANGLE = torch.pi / 2


@dataclass(frozen=True)
class LatticeEstimate:
    """What the lattice heads say.

    Attributes:
        lengths: (n_crystals, 3) a, b, c in angstrom.
        oblique_angles_rad: (n_crystals, 3) alpha, beta, gamma in radians, if they are not right.
        oblique_logits: (n_crystals, 3) positive where an angle is not right; None with the plain head.
    """

    lengths: Float[Tensor, "n_crystals 3"]
    oblique_angles_rad: Float[Tensor, "n_crystals 3"]
    oblique_logits: Float[Tensor, "n_crystals 3"] | None

    @property
    def angles_rad(self) -> Float[Tensor, "n_crystals 3"]:
        """The estimate of alpha, beta, gamma in radians."""
        if self.oblique_logits is None:
            return self.oblique_angles_rad
        return torch.where(self.oblique_logits > 0, self.oblique_angles_rad, RIGHT_ANGLE)
