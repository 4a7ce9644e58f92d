"""The only file with lattice conventions.

A cell is a 3 x 3 matrix whose rows are the lattice vectors a, b, c in angstrom, in the *standard
frame*: a along x, b in the xy plane with positive y, c with positive z. The matrix is then lower
triangular with a positive diagonal. Every function works on any number of leading dimensions.
"""

import torch
from torch import Tensor

from nesf.shapes import Float

# Atoms this close below the upper face, a fraction, are listed at the lower one: files print 0.99999 for 0.
# Halfway between two numbers of six digits, as files print, so that rounding decides of next to none.
FOLD_TOLERANCE = 1.3650e-4

STANDARD_TOLERANCE = 1e-4
"""What is above the diagonal of a cell in the standard frame may be this large, Å."""


def cell_from_parameters(
    lengths: Float[Tensor, "*batch 3"], angles_rad: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """Lattice vectors as rows (angstrom) from a, b, c (angstrom) and alpha, beta, gamma (radians).

    Angles that belong to no cell give a third vector in the ab plane (volume zero), never NaN.

    >>> cell_from_parameters(torch.tensor([2.0, 3.0, 4.0]), torch.full((3,), torch.pi / 2)).round()
    tensor([[2., 0., 0.],
            [-0., 3., 0.],
            [-0., -0., 4.]])
    """
    a, b, c = lengths.unbind(-1)
    cos_alpha, cos_beta, cos_gamma = angles_rad.cos().unbind(-1)
    sin_gamma = angles_rad[..., 2].sin()
    zero = torch.zeros_like(a)
    c_x = cos_beta
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    c_z = (1 - c_x**2 - c_y**2).clamp_min(0).sqrt()
    rows = (
        torch.stack((a, zero, zero), -1),
        torch.stack((b * cos_gamma, b * sin_gamma, zero), -1),
        torch.stack((c * c_x, c * c_y, c * c_z), -1),
    )
    return torch.stack(rows, -2)


def parameters_from_cell(
    cell: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Lengths a, b, c (angstrom) and angles alpha, beta, gamma (radians) of any cell, in any frame."""
    lengths, cosines = lengths_and_cosines(cell)
    return lengths, cosines.arccos()


def lengths_and_cosines(
    cell: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Lengths (angstrom) and cosines of the angles of any cell, in any frame; that of a right angle is 0.

    >>> lengths_and_cosines(torch.tensor([[2.0, 0, 0], [0, 3.0, 0], [0, 0, 4.0]]))
    (tensor([2., 3., 4.]), tensor([0., 0., 0.]))
    """
    lengths = cell.norm(dim=-1)
    unit = cell / lengths.unsqueeze(-1)
    a, b, c = unit.unbind(-2)
    cosines = torch.stack(((b * c).sum(-1), (a * c).sum(-1), (a * b).sum(-1)), -1)
    return lengths, cosines.clamp(-1, 1)


def standard_frame(cell: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The same lattice turned into the standard frame (fractional coordinates are unchanged)."""
    return cell_from_parameters(*parameters_from_cell(cell))


def is_standard(cell: Float[Tensor, "3 3"], tolerance: float = STANDARD_TOLERANCE) -> bool:
    """Whether a cell (angstrom) is in the standard frame, to ``tolerance`` angstrom."""
    (a_x, a_y, a_z), (_, b_y, b_z), (_, _, c_z) = cell.tolist()
    return max(abs(a_y), abs(a_z), abs(b_z)) <= tolerance and min(a_x, b_y, c_z) > 0


def volume(cell: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Volume of the cell in cubic angstrom."""
    return torch.linalg.det(cell).abs()


def frac_to_cart(frac: Float[Tensor, "*batch n 3"], cell: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch n 3"]:
    """Fractional to Cartesian coordinates (angstrom)."""
    return frac @ cell


def cart_to_frac(cart: Float[Tensor, "*batch n 3"], cell: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch n 3"]:
    """Cartesian (angstrom) to fractional coordinates."""
    return torch.linalg.solve(cell, cart, left=False)


def fold(frac: Float[Tensor, "*batch 3"], below: float = FOLD_TOLERANCE) -> Float[Tensor, "*batch 3"]:
    """Fractional coordinates moved by whole lattice vectors into [-below, 1 - below), so that no atom moves.

    >>> fold(torch.tensor([1.25, -0.25, 0.0]))
    tensor([0.2500, 0.7500, 0.0000])
    >>> fold(torch.tensor([0.97, 0.5, 0.0]), below=0.045)
    tensor([-0.0300,  0.5000,  0.0000])
    """
    return frac - (frac + below).floor()


def minimum_image(delta: Float[Tensor, "*batch n 3"], cell: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch n 3"]:
    """The shortest periodic image of each Cartesian difference (angstrom).

    The difference is first brought into [-1/2, 1/2) of the cell, then all 27 neighbouring images are
    compared, which is exact for every cell that is not extremely skewed (Niggli-reduced or conventional).
    """
    frac = cart_to_frac(delta, cell)
    near = frac_to_cart(frac - frac.round(), cell)
    step = torch.tensor([-1.0, 0.0, 1.0], dtype=cell.dtype, device=cell.device)
    images = torch.cartesian_prod(step, step, step) @ cell  # (*batch, 27, 3)
    candidates = near.unsqueeze(-2) + images.unsqueeze(-3)
    best = candidates.square().sum(-1).argmin(-1)
    index = best[..., None, None].expand(*best.shape, 1, 3)
    return candidates.gather(-2, index).squeeze(-2)
