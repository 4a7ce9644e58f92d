"""The cell in z: six numbers that need no learning."""

import torch
from torch import Tensor

from nesf.model.estimates import LatticeEstimate
from nesf.shapes import Float

# Mean and deviation of the logarithms of lengths (angstrom), and of the cosines of angles, over cells of the Materials
# Project, so that these numbers are about as large as the others of z.
_LOG_MEAN, _LOG_DEVIATION, _COS_DEVIATION = 1.7, 0.4, 0.3
# Longer or shorter edges than e^-3 to e^6 angstrom belong to no crystal, and must not overflow either.
_SHORTEST, _LONGEST, _FLATTEST = -3.0, 6.0, 1 - 1e-6


def encode_cell(
    lengths: Float[Tensor, "n_crystals 3"], cosines: Float[Tensor, "n_crystals 3"]
) -> Float[Tensor, "n_crystals 6"]:
    """Logarithms of the lengths (angstrom) and cosines of the angles, scaled."""
    return torch.cat(((lengths.log() - _LOG_MEAN) / _LOG_DEVIATION, cosines / _COS_DEVIATION), 1)


def decode_cell(code: Float[Tensor, "n_crystals 6"]) -> LatticeEstimate:
    """The inverse of ``encode_cell``; whatever the numbers, lengths are positive and angles are angles.

    In double precision: in single, no angle is right.
    """
    code = code.double()
    lengths = (_LOG_MEAN + _LOG_DEVIATION * code[:, :3]).clamp(_SHORTEST, _LONGEST).exp()
    return LatticeEstimate(lengths, (_COS_DEVIATION * code[:, 3:]).clamp(-_FLATTEST, _FLATTEST).arccos(), None)
