"""Step 4 for many crystals at once: non-maximum suppression."""

import torch
from torch import Tensor

from nesf.decoding.particles import Particles
from nesf.decoding.settings import EstimationSettings
from nesf.shapes import Float, Int

# Pairs of particles measured at once: bounds the memory, whatever the number of particles of a crystal.
_PAIRS_AT_ONCE = 1 << 22


def detect(
    particles: Particles, settings: EstimationSettings
) -> tuple[Float[Tensor, "atoms 3"], Int[Tensor, " atoms"]]:
    """Atoms (angstrom) and the crystal of each, ascending; within a crystal the best-scored comes first.

    The greedy algorithm of the paper takes the best particle left, accepts it if enough particles lie in its
    ball, removes the ball, and so on. Its outcome needs no such order in time: a particle is taken if no better
    one that is taken lies within the radius, and every other particle belongs to the best one taken in reach.
    """
    good = (particles.scores <= settings.score_threshold).nonzero().squeeze(1)
    # By crystal, best particle first; a pair (i, j) below is one of the same crystal.
    good = good[particles.scores[good].argsort(stable=True)]
    good = good[particles.owner[good].argsort(stable=True)]
    particles = particles.select(good)
    later, earlier = _close_pairs(particles, settings.radius)
    taken = _taken(len(good), later, earlier)
    # The first of the taken ones in reach: of those not taken the earliest neighbour that is, of taken ones itself.
    index = torch.arange(len(good), device=good.device)
    reach = taken[earlier]
    head = torch.where(taken, index, len(index)).scatter_reduce_(0, later[reach], earlier[reach], "amin")
    counts = torch.zeros_like(index).index_add_(0, head, particles.weight)
    accepted = taken & (counts >= settings.min_particles)
    points = particles.points
    if settings.refine == "weighted":
        points = points + _weighted_mean(points - points[head], particles, head)
    return points[accepted], particles.owner[accepted]


def _close_pairs(particles: Particles, radius: float) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """All pairs of particles of one crystal closer than the radius, the later and the earlier of each."""
    owner, points = particles.owner, particles.points
    index = torch.arange(len(owner), device=owner.device)
    if len(owner) == 0:
        return index, index
    first = torch.searchsorted(owner, owner)
    before = index - first  # each particle is paired with all earlier ones of its crystal
    ends = before.cumsum(0)
    later, earlier = [], []
    for start in range(0, int(ends[-1]), _PAIRS_AT_ONCE):
        stop = min(start + _PAIRS_AT_ONCE, int(ends[-1]))
        number = torch.arange(start, stop, device=owner.device)
        i = torch.searchsorted(ends, number, right=True)
        j = first[i] + number - (ends[i] - before[i])
        close = (points[i] - points[j]).norm(dim=1) < radius
        later.append(i[close])
        earlier.append(j[close])
    return torch.cat([index[:0], *later]), torch.cat([index[:0], *earlier])


def _taken(n: int, later: Tensor, earlier: Tensor) -> Tensor:
    """Which particles the greedy algorithm takes; each round settles all that wait for no undecided one."""
    taken = torch.zeros(n, dtype=torch.bool, device=later.device)
    undecided = torch.ones_like(taken)
    while bool(undecided.any()):
        waiting = torch.zeros_like(taken)
        waiting[later[undecided[earlier]]] = True
        taken |= undecided & ~waiting
        beaten = later[taken[earlier]]
        undecided &= ~taken
        undecided[beaten] = False
    return taken


def _weighted_mean(offsets: Tensor, particles: Particles, head: Tensor) -> Tensor:
    """Mean offset of each head's particles, weighted by softmax(-score^2) of the particles they stand for."""
    # Scores are at most the threshold, below 1, so that no exponent can overflow.
    weights = particles.weight * (-particles.scores.square()).exp()
    total = torch.zeros_like(weights).index_add_(0, head, weights)
    sums = torch.zeros_like(offsets).index_add_(0, head, weights.unsqueeze(1) * offsets)
    return sums / total.unsqueeze(1)
