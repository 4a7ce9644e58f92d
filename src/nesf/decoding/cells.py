"""Whether predicted cells can hold a crystal at all."""

import torch
from torch import Tensor

from nesf import lattice
from nesf.decoding.settings import EstimationSettings
from nesf.shapes import Float


def cell_problems(cells: Float[Tensor, "n_crystals 3 3"], settings: EstimationSettings) -> dict[int, str]:
    """The cells (angstrom) that can not, by their index, each with the reason as a sentence."""
    finite = cells.isfinite().flatten(1).all(1)
    lengths = cells.norm(dim=2)
    standard = cells.triu(1).abs().amax((1, 2)) <= lattice.STANDARD_TOLERANCE
    upright = (cells.diagonal(dim1=1, dim2=2) > 0).all(1) & standard
    inside = (lengths.amin(1) >= settings.min_extent) & (lengths.amax(1) <= settings.max_extent)
    thick = lattice.volume(torch.where(finite[:, None, None], cells, 1.0)) >= settings.min_extent**3
    checks = torch.stack((finite, upright, inside, thick), 1).cpu()
    bad = (~checks.all(1)).nonzero().squeeze(1).tolist()
    return {i: _reason(checks[i].tolist(), lengths[i].tolist(), settings) for i in bad}


def _reason(checks: list[bool], lengths: list[float], settings: EstimationSettings) -> str:
    finite, upright, inside, _ = checks
    if not finite:
        return "The predicted cell is not finite."
    if not upright:
        return "The predicted lengths and angles belong to no cell."
    if not inside:
        edges = " × ".join(f"{length:.2f}" for length in lengths)
        return f"The predicted cell, {edges} Å, is outside {settings.min_extent:.1f} to {settings.max_extent:.1f} Å."
    return "The predicted angles belong to a cell of almost no volume."
