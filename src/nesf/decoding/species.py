"""Step 5 for many atoms at once: a local vote on the element."""

import torch
from torch import Tensor

from nesf.decoding.particles import POINTS_AT_ONCE
from nesf.decoding.settings import EstimationSettings
from nesf.fields import StructureField
from nesf.fields.grids import local_grid
from nesf.shapes import Float, Int


def vote(
    field: StructureField,
    atoms: Float[Tensor, "atoms 3"],
    owner: Int[Tensor, " atoms"],
    settings: EstimationSettings,
) -> Int[Tensor, " atoms"]:
    """The class that most points of a grid around each atom name; of equals, the first in the vocabulary."""
    if len(atoms) == 0:
        return owner.new_zeros(0)
    grid = local_grid(settings.species_interval, settings.species_width).to(atoms.device)
    classes = []
    at_once = max(1, POINTS_AT_ONCE // len(grid))
    for some, whose in zip(atoms.split(at_once), owner.split(at_once), strict=True):
        points = (some.unsqueeze(1) + grid).reshape(-1, 3)
        named = field.species_logits(points, whose.repeat_interleave(len(grid))).argmax(1)
        ballots = torch.zeros((len(some), len(field.vocabulary)), dtype=torch.long, device=atoms.device)
        ballots.scatter_add_(1, named.reshape(len(some), -1), torch.ones_like(named).reshape(len(some), -1))
        classes.append(ballots.argmax(1))
    return torch.cat(classes)
