"""The estimation, written as the paper describes it: one crystal, every particle, every iteration.

It is slow, and stays: the fast path must agree with it.
"""

import torch
from torch import Tensor

from nesf.decoding.settings import EstimationSettings
from nesf.decoding.start import start_boxes
from nesf.fields import StructureField
from nesf.fields.grids import Box, box_grid, local_grid
from nesf.shapes import Float, Int


def estimate_one(
    field: StructureField, index: int, settings: EstimationSettings, box: Box | None
) -> tuple[Float[Tensor, "atoms 3"], Int[Tensor, " atoms"]]:
    """Positions (angstrom) and classes of the atoms of crystal ``index`` of a field (paper, section 2.1)."""
    # 1. Initialise particles.
    lower, upper = start_boxes(field.cells[index : index + 1], settings, box)
    particles = box_grid(lower[0], upper[0], settings.interval)
    owner = torch.full((len(particles),), index, device=particles.device)
    # 2. Move particles.
    for _ in range(settings.iterations):
        particles = particles + field.displacement(particles, owner)
    # 3. Score particles.
    scores = field.displacement(particles, owner).norm(dim=1)
    good = (scores <= settings.score_threshold) & particles.isfinite().all(1)
    # 4. Detect atoms.
    atoms = non_maximum_suppression(particles[good], scores[good], settings)
    # 5. Estimate species.
    return atoms, majority_vote(field, index, atoms, settings)


def non_maximum_suppression(
    particles: Float[Tensor, "n 3"], scores: Float[Tensor, " n"], settings: EstimationSettings
) -> Float[Tensor, "atoms 3"]:
    """Best-scored particle first: accept it if its ball holds enough particles, remove the ball, repeat."""
    atoms = []
    while len(particles) > 0:
        best = scores.argmin()
        inside = (particles - particles[best]).norm(dim=1) < settings.radius
        if int(inside.sum()) >= settings.min_particles:
            if settings.refine == "best":
                atoms.append(particles[best])
            else:
                weights = torch.softmax(-scores[inside].square(), 0)
                atoms.append((weights.unsqueeze(1) * particles[inside]).sum(0))
        particles, scores = particles[~inside], scores[~inside]
    return torch.stack(atoms) if atoms else particles.new_zeros((0, 3))


def majority_vote(
    field: StructureField, index: int, atoms: Float[Tensor, "atoms 3"], settings: EstimationSettings
) -> Int[Tensor, " atoms"]:
    """The class that most points of a grid around each atom name; of equals, the first in the vocabulary."""
    grid = local_grid(settings.species_interval, settings.species_width).to(atoms.device)
    classes = []
    for atom in atoms:
        points = atom + grid
        owner = torch.full((len(points),), index, device=points.device)
        votes = field.species_logits(points, owner).argmax(1)
        classes.append(votes.bincount(minlength=len(field.vocabulary)).argmax())
    return torch.stack(classes) if classes else torch.zeros(0, dtype=torch.long, device=atoms.device)
