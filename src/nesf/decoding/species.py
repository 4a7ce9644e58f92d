"""Step 5 for many atoms at once: a local vote on the element."""

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.fields import StructureField
from nesf.fields.grids import local_grid
from nesf.shapes import Float, Int

# Votes counted at once: bounds the memory of the class scores.
_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 20}


def vote(
    field: StructureField,
    atoms: Float[Tensor, "atoms 3"],
    owner: Int[Tensor, " atoms"],
    settings: EstimationSettings,
    draft: StructureField | None = None,
) -> Int[Tensor, " atoms"]:
    """The class that most points of a grid around each atom name; of equals, the first in the vocabulary.

    With ``settings.quick_votes`` the centre and the corners of the grid's cube are asked first, by the cheaper
    ``draft`` if there is one; where they agree the grid is not asked.
    """
    if len(atoms) == 0:
        return owner.new_zeros(0)
    grid = local_grid(settings.species_interval, settings.species_width).to(atoms.device)
    if not settings.quick_votes:
        return _majority(_named(field, atoms, owner, grid), len(field.vocabulary))
    few = torch.cat((torch.zeros_like(grid[:1]), local_grid(settings.species_width, settings.species_width).to(grid)))
    named = _named(draft or field, atoms, owner, few)
    classes = named[:, 0].clone()
    split = (named != named[:, :1]).any(1).nonzero().squeeze(1)
    if len(split) > 0:
        classes[split] = _majority(_named(field, atoms[split], owner[split], grid), len(field.vocabulary))
    return classes


def _named(field: StructureField, atoms: Tensor, owner: Tensor, grid: Tensor) -> Int[Tensor, "atoms votes"]:
    """The class that the field names at each point of a grid around each atom."""
    at_once = max(1, _AT_ONCE.get(atoms.device.type, _AT_ONCE["cpu"]) // len(grid))
    named = []
    for some, whose in zip(atoms.split(at_once), owner.split(at_once), strict=True):
        points = (some.unsqueeze(1) + grid).reshape(-1, 3)
        logits = field.species_logits(points, whose.repeat_interleave(len(grid)))
        named.append(logits.argmax(1).reshape(len(some), -1))
    return torch.cat(named)


def _majority(named: Int[Tensor, "atoms votes"], n_classes: int) -> Int[Tensor, " atoms"]:
    ballots = torch.zeros((len(named), n_classes), dtype=torch.long, device=named.device)
    return ballots.scatter_add_(1, named, torch.ones_like(named)).argmax(1)
