"""Step 4 for many crystals at once: non-maximum suppression."""

import torch
from torch import Tensor

from nesf.decoding.particles import Particles
from nesf.decoding.settings import EstimationSettings
from nesf.shapes import Float, Int


def detect(
    particles: Particles, settings: EstimationSettings
) -> tuple[Float[Tensor, "atoms 3"], Int[Tensor, " atoms"]]:
    """Atoms (angstrom) and the crystal of each, ascending; within a crystal the best-scored comes first.

    The greedy algorithm of the paper, in rounds of all crystals together: every crystal takes its best particle left,
    accepts it if enough particles lie in its ball, and removes the ball. Each round looks once at what is left, so
    memory stays that of the particles, however many of them are close to each other.
    """
    somewhere = particles.points.isfinite().all(1)
    good = ((particles.scores <= settings.score_threshold) & somewhere).nonzero().squeeze(1)
    # By crystal, best particle first.
    good = good[particles.scores[good].argsort(stable=True)]
    left = particles.select(good[particles.owner[good].argsort(stable=True)])
    atoms, owners = [left.points.new_zeros((0, 3))], [left.owner.new_zeros(0)]
    while len(left) > 0:
        # Particles are sorted, so the first of each crystal is its best.
        first = torch.ones_like(left.owner, dtype=torch.bool)
        first[1:] = left.owner[1:] != left.owner[:-1]
        best = first.nonzero().squeeze(1)
        rank = first.cumsum(0) - 1
        offsets = left.points - left.points[best[rank]]
        inside = offsets.norm(dim=1) < settings.radius
        within = inside.nonzero().squeeze(1)
        whose = rank[within]
        counts = torch.zeros_like(best).index_add_(0, whose, left.weight[within])
        accepted = counts >= settings.min_particles
        place = left.points[best]
        if settings.refine == "weighted":
            place = place + _weighted_mean(offsets[within], left.select(within), whose, len(best))
        atoms.append(place[accepted])
        owners.append(left.owner[best][accepted])
        left = left.select((~inside).nonzero().squeeze(1))
    found, owner = torch.cat(atoms), torch.cat(owners)
    order = owner.argsort(stable=True)
    return found[order], owner[order]


def _weighted_mean(offsets: Tensor, particles: Particles, whose: Tensor, n: int) -> Tensor:
    """Mean offset in each of ``n`` balls, weighted by softmax(-score^2) of the particles that each stands for."""
    # Scores are at most the threshold, below 1, so that no exponent can overflow.
    weights = particles.weight * (-particles.scores.square()).exp()
    total = weights.new_zeros(n).index_add_(0, whose, weights)
    sums = offsets.new_zeros((n, 3)).index_add_(0, whose, weights.unsqueeze(1) * offsets)
    return sums / total.unsqueeze(1)
